# What this template does, from a bare machine with python3 (3.11 or later, with venv), make and git.
.DEFAULT_GOAL := help
# Every target whose name is a word.
.PHONY: $(shell sed -n "s/^\([a-z-]*\):.*/\1/p" $(firstword $(MAKEFILE_LIST)))

PYTHON ?= python3
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
BIN := .venv/bin

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "python3 is missing or older than 3.11" >&2; exit 2; }
	@$(PYTHON) -m venv .uv 2>/dev/null || { echo "python3 has no venv (on Debian: apt-get install python3-venv)" >&2; exit 2; }
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

.venv/.ready: requirements.txt $(filter .uv/%,$(UV))
	@$(UV) venv --quiet --clear --python $(PYTHON) .venv
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	@touch $@

demo: $(filter .uv/%,$(UV)) ## make a project in .demo, kill its run in the middle, run it again, check the data
	@$(UV) run --quiet --no-project --python $(PYTHON) --with cookiecutter==2.7.1 tools/demo.py

test: .venv/.ready ## run the tests of the day: the template's, and those of a part of the variants; SAMPLE=all runs all
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@SAMPLE=$(or $(SAMPLE),$(if $(ARGS),all,$(shell date +%F))) $(BIN)/pytest -n 4 --dist worksteal $(ARGS)

test-all: .venv/.ready ## the same, slow tests too, for every two answers; SHARD=1/4 runs a quarter, and a stopped one goes on
	@VARIANTS=all DAY=$(or $(DAY),$(shell date +%F)) $(BIN)/pytest -n 4 --dist worksteal $(ARGS)

# The lowest and the highest versions that the projects' bounds allow.
.bounds/%/.ready: pyproject.toml $(filter .uv/%,$(UV))
	@$(UV) venv --quiet --clear --python $(PYTHON) $(@D)
	@$(UV) pip install --quiet --compile-bytecode --python $(@D)/bin/python --resolution $* --group dev
	@touch $@

test-bounds: .bounds/lowest-direct/.ready .bounds/highest/.ready ## run the variants' own tests with the lowest and the highest versions that their bounds allow
	@for bound in lowest-direct highest; do echo "== $$bound"; \
		.bounds/$$bound/bin/pytest -n 3 --dist worksteal tests/test_variants.py $(ARGS) || exit; done

test-pythons: .venv/.ready ## run the own tests of a few whole projects, with every answer, on the lowest and the newest Python
	@VARIANTS=spread $(BIN)/pytest tests/test_pythons.py $(ARGS)

report: .venv/.ready ## the same, and make test SAMPLE=all; write docs/tested.md and docs/proof.md
	@REPORT=docs/tested.md $(MAKE) --no-print-directory test-pythons ARGS=
	@REPORT=docs/proof.md $(MAKE) --no-print-directory test SAMPLE=all ARGS=

torture: .venv/.ready ## kill workers KILLS=500 times on each database, and look what is lost or doubled
	@KILLS=$(KILLS) $(BIN)/python tools/torture.py $(ARGS)

mutants: .venv/.ready ## put small faults into the template, and see that the tests catch each
	@$(BIN)/python tools/mutants.py $(ARGS)

screens: .venv/.ready ## draw the pictures of Prefect's pages in docs/screens; needs Chromium
	@$(BIN)/python tools/screens.py

recording: .venv/.ready ## record `make demo` as docs/screens/demo.svg
	@$(BIN)/python tools/recording.py

lint: .venv/.ready ## check the style of hooks, tests, tools and benchmarks, and the prose of the documentation
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/python tools/prose.py

format: .venv/.ready ## put them in their style
	@$(BIN)/ruff check --fix --exit-zero --quiet
	@$(BIN)/ruff format
	@$(BIN)/ruff check

# What the benchmarks compare with stays out of the tests' environment.
.bench/venv/.ready: requirements.txt pyproject.toml $(filter .uv/%,$(UV))
	@$(UV) venv --quiet --clear --python $(PYTHON) .bench/venv
	@$(UV) pip install --quiet --compile-bytecode --python .bench/venv/bin/python -r requirements.txt --group bench
	@touch $@

bench: .bench/venv/.ready ## measure speed, and write benchmarks/README.md and docs/speed.svg; ONLY="load steps": some; QUICK=1: less, nothing is written
	@.bench/venv/bin/python benchmarks/all.py $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

# The tools of the site stay out of the tests' environment too.
.docs/.ready: pyproject.toml $(filter .uv/%,$(UV))
	@$(UV) venv --quiet --clear --python $(PYTHON) .docs/venv
	@$(UV) pip install --quiet --python .docs/venv/bin/python --group docs
	@touch $@

docs: .docs/.ready ## build the documentation site in .docs/site; a broken link fails it
	@NO_MKDOCS_2_WARNING=1 .docs/venv/bin/mkdocs build --strict

docs-serve: .docs/.ready ## show the site at http://127.0.0.1:8000, built again after each edit; PORT=8001 takes another port
	@NO_MKDOCS_2_WARNING=1 .docs/venv/bin/mkdocs serve --livereload --dev-addr 127.0.0.1:$(or $(PORT),8000)

pins: $(filter .uv/%,$(UV)) ## raise the exact versions that the tests run with, and the workflows' actions
	@$(PYTHON) tools/outdated.py $(UV)
	@$(MAKE) --no-print-directory .venv/.ready
	@$(BIN)/python tools/reserved.py

outdated: ## raise them, and run the whole proof
	@$(MAKE) --no-print-directory pins
	@rm -rf .bounds
	@$(MAKE) --no-print-directory test-all
	@$(MAKE) --no-print-directory test-bounds

release: ## give the changelog's entries the number VERSION=x.y.z, and note the version
	@$(PYTHON) tools/release.py $(VERSION)

clean: ## remove the environment, the demo and the caches
	@rm -rf .venv .bench .docs .bounds .pythons .uv .demo .pytest_cache .ruff_cache .mypy_cache .hypothesis
