"""Each variant has the files of its answers and no others, and each file is clean as it comes, without any fixer."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from conftest import Bake
from packaging.specifiers import SpecifierSet
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration
from tree import expected
from variants import ALL, CHOICES, ROOT, Answers, chosen, each, pairwise, spread

HOME = os.path.expanduser("~")
"""The real home of whoever runs the tests: read before a fixture replaces it."""

# The files of the project with the fewest, whose answers are `none` wherever that can be; `package` stands for the name
# of its package, and `durable` for its folder in there.
FEWEST = """
    .env.example .gitignore .pre-commit-config.yaml AGENTS.md LICENSE Makefile README.md prefect.yaml pyproject.toml
    docs/code.md docs/operation.md docs/promises.md docs/sources.md docs/writing.md package/__init__.py
    package/__main__.py package/flows/__init__.py durable/__init__.py durable/__init__.pyi durable/alert.jinja
    durable/alert.json.jinja durable/alerts.py durable/artifacts.py durable/labels.py durable/backfills.py
    durable/cache_keys.py durable/checkpoints.py durable/chunks.py durable/claims.py durable/cli.py durable/context.py
    durable/cursors.py durable/deployments.py durable/discovery.py durable/doctor.py durable/drill.py durable/effects.py
    durable/errors.py durable/fields.py durable/files.py durable/flows.py durable/heartbeats.py durable/high_water.py
    durable/idempotency.py
    durable/limits.py durable/names.py durable/outbox.py durable/prefect_yaml.py durable/probe.py durable/progress.py
    durable/records.py
    durable/rejects.py durable/results.py durable/resume.py durable/retries.py durable/runners.py durable/runs.py
    durable/scaffold.py durable/server.py durable/settings.py durable/steps.py durable/tasks.py durable/upserts.py
    durable/switch.py durable/transfer.py tests/durable/test_switch.py
    durable/skeletons/__init__.py.jinja durable/skeletons/deployment.yaml.jinja durable/skeletons/tables.py.jinja
    durable/skeletons/api/flow.py.jinja durable/skeletons/api/sample_api.py.jinja
    durable/skeletons/api/source.py.jinja durable/skeletons/api/test.py.jinja durable/skeletons/files/2026-01-01.csv
    durable/skeletons/files/2026-01-02.csv durable/skeletons/files/flow.py.jinja
    durable/skeletons/files/source.py.jinja durable/skeletons/files/test.py.jinja tests/__init__.py tests/conftest.py
    tests/durable/__init__.py tests/durable/test_artifacts.py tests/durable/test_chunks.py tests/durable/test_cli.py
    tests/durable/test_conventions.py tests/durable/test_cursors.py tests/durable/test_backfills.py
    tests/durable/test_limits.py tests/support/feed.py tests/support/feeds.py tests/durable/test_deployment.py
    tests/durable/test_durability.py tests/durable/test_effects.py tests/durable/test_files.py
    tests/durable/test_flows.py
    tests/durable/test_server.py tests/support/effects.py tests/durable/test_alerts.py tests/durable/test_doctor.py
    tests/durable/test_heartbeats.py tests/durable/test_names.py tests/durable/test_prefect_yaml.py
    tests/durable/test_progress.py tests/durable/test_records.py tests/durable/test_results.py
    tests/durable/test_runners.py tests/durable/test_settings.py tests/durable/test_upserts.py tests/flows/__init__.py
    tests/support/__init__.py tests/support/cluster.py tests/support/deploying.py tests/support/prefect_home.py
    tests/support/processes.py
    tests/support/sink.py tests/support/store.py tests/support/toy.py tests/support/toys.py tests/support/loaded.py
    tests/support/parts.py tests/support/planted.py tests/durable/test_proof.py tests/support/proof/__init__.py
    tests/support/proof/__main__.py tests/support/proof/comparison.py tests/support/proof/project.py
    tests/support/proof/trials.py tests/support/proof/victim.py
"""
# Those that the defaults have beside them: of the example, the cache key, the retries, the database and the checkpoint.
DEFAULTS = """
    data/flights.csv package/flows/flights/__init__.py package/flows/flights/flow.py package/flows/flights/settings.py
    package/flows/flights/source.py package/flows/flights/tables.py tests/flows/test_flights.py
    durable/canonical.py durable/identity.py durable/locks.py
    tests/durable/test_cache_keys.py tests/durable/test_caching.py tests/durable/test_canonical.py
    tests/durable/test_locks.py tests/durable/test_origins.py
    durable/attempts.py durable/transient.py
    tests/durable/test_attempts.py tests/durable/test_retries.py tests/durable/test_transient.py
    alembic.ini migrations/env.py migrations/script.py.mako migrations/versions/.gitkeep
    durable/bounds.py durable/delivery.py durable/masking.py durable/migrations.py durable/rows.py durable/tables.py
    tests/durable/test_bounds.py tests/durable/test_claims.py tests/durable/test_kinds.py tests/durable/test_outbox.py
    tests/support/sending.py
    tests/durable/test_migrations.py tests/durable/test_model.py tests/durable/test_rows.py
    tests/durable/test_writers.py tests/durable/test_transfer.py
    tests/support/crash.py tests/durable/test_checkpoints.py tests/durable/test_full_disk.py
    .github/dependabot.yml .github/workflows/ci.yml
"""

# Files and folders that stand in no folder of alternatives, and that only these answers need.
NEEDED: dict[str, Callable[[Answers], bool]] = {
    "alembic.ini": lambda variant: variant["upsert"] in ("sqlite", "postgres"),
    "compose.yaml": lambda variant: variant["upsert"] == "postgres" or variant["deployment"] == "docker",
    "durable/marks.py": lambda variant: variant["checkpoint"] == "storage",
    "migrations/": lambda variant: variant["upsert"] in ("sqlite", "postgres"),
    "tests/durable/test_full_disk.py": lambda variant: (
        variant["checkpoint"] == "database" and variant["upsert"] in ("sqlite", "duckdb")
    ),
    "tests/durable/test_lost_connections.py": lambda variant: (
        variant["checkpoint"] == "database" and variant["upsert"] == "postgres"
    ),
    "tests/durable/test_migrations.py": lambda variant: variant["upsert"] in ("sqlite", "postgres"),
    "tests/durable/test_model.py": lambda variant: variant["upsert"] != "none",
    "tests/support/servers.py": lambda variant: variant["result_storage"] != "local" or variant["upsert"] == "postgres",
}

each_variant = pytest.mark.parametrize("variant", each(chosen()))
Baked = Callable[[Answers], Path]


def expected_files(variant: Answers) -> set[str]:
    """Return the files that the template's tree gives a variant, and NEEDED leaves it."""
    names = {
        str(path).replace("src/{{cookiecutter.package_name}}/", "package/").replace("package/durable/", "durable/")
        for path in expected(variant)
    }
    for place, wanted in NEEDED.items():
        some = {name for name in names if name.startswith(place)}
        assert some, f"the template has no {place}"
        names -= set() if wanted(variant) else some
    return names


def files_of(project: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file with its path in the project, in a fixed order."""
    for path in sorted(project.rglob("*")):
        if not path.is_dir():
            yield path.relative_to(project).as_posix(), path


def texts_of(project: Path) -> Iterator[tuple[str, str]]:
    """Yield each text file's path and content, line ends as they are. A file with a zero byte is no text."""
    for name, path in files_of(project):
        content = path.read_bytes()
        if b"\0" not in content:
            yield name, content.decode("utf-8")


def run(project: Path, program: str, *arguments: str) -> None:
    """Run a program of this environment on a project, and fail with what it says."""
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{program} {' '.join(arguments)}\n{(done.stdout + done.stderr)[-4000:]}"


def assert_clean_code(project: Path) -> None:
    run(project, "ruff", "check", "--no-cache", "--quiet", ".")
    run(project, "ruff", "format", "--no-cache", "--check", "--diff", ".")


def names_of(project: Path) -> set[str]:
    """Return the files of a project, with `package` and `durable` in the place of these folders."""
    (package,) = (project / "src").iterdir()
    names = {name.replace(f"src/{package.name}/", "package/") for name, _ in files_of(project)}
    return {name.replace("package/durable/", "durable/") for name in names}


@each_variant
def test_the_files_are_those_of_the_answers(baked: Baked, variant: Answers) -> None:
    found, expected = names_of(baked(variant)), expected_files(variant)
    assert not found - expected, "files that the template's tree does not give these answers"
    assert not expected - found, "files that are missing"


def test_the_files_of_the_defaults_are_known(baked: Baked) -> None:
    assert sorted(names_of(baked({}))) == sorted([*FEWEST.split(), *DEFAULTS.split()])


def test_the_fewest_files_are_known(baked: Baked) -> None:
    none = {prompt: "none" for prompt, answers in CHOICES.items() if "none" in answers}
    assert sorted(names_of(baked(none))) == sorted(FEWEST.split())


def test_the_database_and_the_example_are_files_of_their_own(baked: Baked) -> None:
    every = names_of(baked({}))
    without = names_of(baked({"example": "none"}))
    assert without <= every
    assert all("flights" in name for name in every - without)
    without = names_of(baked({"upsert": "none", "checkpoint": "none"}))
    assert without <= every
    assert {"package/flows/flights/tables.py", "durable/tables.py", "durable/rows.py"} <= every - without


@each_variant
def test_no_folder_is_empty(baked: Baked, variant: Answers) -> None:
    project = baked(variant)
    assert [path for path in project.rglob("*") if path.is_dir() and not any(path.iterdir())] == []


@each_variant
def test_code_is_clean(baked: Baked, variant: Answers) -> None:
    assert_clean_code(baked(variant))


@pytest.mark.rotating
@pytest.mark.parametrize("length", ["shortest", "longest"])
@pytest.mark.parametrize("variant", each(pairwise()))
def test_code_is_clean_whatever_the_names(bake: Bake, variant: Answers, length: str) -> None:
    names = {
        "shortest": {"project_name": "Z", "project_slug": "z", "package_name": "z", "description": "Z"},
        "longest": {
            "project_name": "An" + " a" * 49,
            "project_slug": "a" * 50,
            "package_name": "a" * 40,
            "description": "A project that" + " a" * 993,
            "author_name": "A" * 100,
            "author_email": f"{'a' * 64}@{'a' * 63}.example.com",
        },
    }
    assert_clean_code(bake(**variant, **names[length]))


@pytest.mark.rotating
@each_variant
def test_no_jinja_is_left(baked: Baked, variant: Answers) -> None:
    for name, text in texts_of(baked(variant)):
        kept = text
        if name.startswith(".github/"):
            kept = re.sub(r"\$\{\{.*?\}\}", "", text)
        elif name == "Makefile":
            # As `prefect.yaml` has it.
            kept = text.replace("{{ $$PROJECT_FOLDER }}", "")
        elif name in {"prefect.yaml", "work-pool.json"}:
            kept = re.sub(r"\{\{.*?\}\}", "", text)
        elif "/durable/skeletons/" in name and name.endswith(".jinja"):
            kept = re.sub(r"\{\{ \w+( \| upper)? \}\}|\{%-? (if \w+|else|endif) -?%\}", "", text)
        elif "/durable/alert." in name and name.endswith(".jinja"):
            # The server's, of its flows and runs.
            values, tests = (
                r"\{\{ (flow|flow_run|subject|body|url)\b.*? \}\}",
                r"\{%- (if|elif|else|endif)( flow_run.*?)? %\}",
            )
            kept = re.sub(f"{values}|{tests}", "", text)
        left = re.findall(r"\{\{.*|\{%.*|cookiecutter\.(?!json\b)\w.*", kept)
        assert left == [], name


@each_variant
def test_each_promise_names_a_test_that_is_there(baked: Baked, variant: Answers) -> None:
    project = baked(variant)
    docs, readme = project / "docs/promises.md", project / "README.md"
    sections = readme.read_text("utf-8").split("\n## ")
    survives = next(section for section in sections if section.startswith("What survives what"))
    tables = {docs: docs.read_text("utf-8"), readme: survives}
    for page, table in tables.items():
        rows = re.findall(r"^\| (?!what happens)(.+) \|$", table, re.MULTILINE)
        assert len(rows) > (8 if page == docs else 2), page
        for row in rows:
            found = re.findall(r"\[`(test_\w+)`\]\((\S+)\)$", row)
            assert found, f"no test tries: {row}"
            name, file = found[0]
            text = (page.parent / file).read_text(encoding="utf-8")
            assert f"\ndef {name}(" in text, f"{file} has no {name}"
            assert f"[`{name}`]" in tables[docs], f"{page.name} names another test: {row}"


@each_variant
def test_each_public_name_is_in_the_docs(baked: Baked, variant: Answers) -> None:
    project = baked(variant)
    stub = (project / "src/durable_flights/durable/__init__.pyi").read_text(encoding="utf-8")
    names = re.findall(r'^    "(\w+)",$', stub, re.MULTILINE)
    assert "run_chunks" in names
    table = (project / "docs/code.md").read_text(encoding="utf-8").partition("## Conventions")[0]
    assert [name for name in names if f"`{name}`" not in table] == []


@each_variant
def test_text_is_tidy(baked: Baked, variant: Answers) -> None:
    for name, text in texts_of(baked(variant)):
        if not text:
            continue
        assert "\r" not in text, f"{name} has carriage returns"
        assert text.endswith("\n"), f"{name} does not end in a newline"
        assert not text.endswith("\n\n"), f"{name} ends in a blank line"
        trailing = [number for number, line in enumerate(text.split("\n"), 1) if line != line.rstrip()]
        assert trailing == [], f"{name} has blanks at the end of these lines"
        blank_lines = 3 if name.endswith((".py", ".py.mako", ".py.jinja")) else 2
        prose = (
            re.sub(r"^```python\n.*?^```$", "`", text, flags=re.DOTALL | re.MULTILINE) if name[-3:] == ".md" else text
        )
        assert "\n" * (blank_lines + 1) not in prose, f"{name} has {blank_lines} blank lines together"


@each_variant
def test_configuration_parses(baked: Baked, variant: Answers) -> None:
    parsers = {".toml": tomllib.loads, ".json": json.loads, ".yaml": yaml.safe_load, ".yml": yaml.safe_load}
    parsed = set()
    for name, text in texts_of(baked(variant)):
        if parser := parsers.get(Path(name).suffix):
            assert parser(text), f"{name} is empty"
            parsed.add(name)
    assert "pyproject.toml" in parsed


@pytest.mark.rotating
@pytest.mark.parametrize("variant", each(pairwise()))
def test_the_same_answers_make_the_same_bytes(bake: Bake, baked: Baked, variant: Answers) -> None:
    def snapshot(project: Path) -> dict[str, tuple[int, bytes]]:
        return {name: (path.lstat().st_mode, path.read_bytes()) for name, path in files_of(project)}

    assert snapshot(bake(**variant)) == snapshot(baked(variant))


@each_variant
def test_nothing_of_this_machine_is_in_the_files(baked: Baked, variant: Answers) -> None:
    project = baked(variant)
    places = {str(ROOT), str(project.parent), f"{HOME}/", sys.prefix, f"{tempfile.gettempdir()}/pytest"}
    for name, text in texts_of(project):
        assert [place for place in places if place in text] == [], name


@each_variant
def test_no_package_index_is_configured(baked: Baked, variant: Answers) -> None:
    words = r"index[-_]url|\[\[(tool\.uv\.)?index|find[-_]links|UV_(DEFAULT_)?INDEX|/simple\b|trusted[-_]host"
    for name, text in texts_of(baked(variant)):
        assert re.findall(words, text, re.IGNORECASE) == [], name


# The template itself


def template_paths() -> list[str]:
    """The paths of the template's own files, as a checkout of it has them."""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    skipped = {".git", *(folder.rstrip("/") for folder in ignored)}
    return [
        path.relative_to(ROOT).as_posix()
        for path in sorted(ROOT.rglob("*"))
        if not skipped & set(path.relative_to(ROOT).parts) and path.is_file()
    ]


def test_paths_can_exist_on_windows() -> None:
    paths = template_paths()
    assert "cookiecutter.json" in paths
    assert [path for path in paths if re.search(r'[\\"|<>:?*\x00-\x1f]', path)] == []
    assert [path for path in paths if any(part[-1] in ". " for part in path.split("/"))] == []
    assert [path for path in paths if len(path) >= 140] == []
    assert len({path.lower() for path in paths}) == len(paths)


def test_alternatives_hold_no_jinja() -> None:
    """A file that is one answer's code is plain Python, for editors and linters."""
    source = ROOT / "{{cookiecutter.project_slug}}" / "src" / "{{cookiecutter.package_name}}"
    alternatives = list(source.glob("*/**/*.py"))
    assert alternatives
    for path in alternatives:
        assert re.findall(r".*(?:\{\{|\{%).*", path.read_text(encoding="utf-8")) == [], path.name


def workflows(baked: Baked) -> list[Path]:
    return [*(ROOT / ".github/workflows").glob("*.yml"), baked({}) / ".github/workflows/ci.yml"]


@pytest.mark.parametrize(
    ("schema", "ci", "name"),
    [
        ("github-workflows", "github", ".github/workflows/ci.yml"),
        ("dependabot", "github", ".github/dependabot.yml"),
        ("gitlab-ci", "gitlab", ".gitlab-ci.yml"),
        ("renovate", "gitlab", "renovate.json"),
    ],
)
def test_continuous_integration_matches_its_schema(baked: Baked, schema: str, ci: str, name: str) -> None:
    files = [str(baked(variant) / name) for variant in pairwise() if variant["ci"] == ci]
    assert files
    run(ROOT, "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


def test_dependabot_knows_all_that_names_versions(baked: Baked) -> None:
    named = {"Dockerfile": "docker", "compose.yaml": "docker-compose"}
    for variant in pairwise():
        if variant["ci"] == "github":
            updates = yaml.safe_load((baked(variant) / ".github/dependabot.yml").read_text())["updates"]
            found = {kind for name, kind in named.items() if (baked(variant) / name).exists()}
            assert {update["package-ecosystem"] for update in updates} == {"uv", "github-actions"} | found


def with_files(baked: Baked, name: str) -> list[Path]:
    """The files of that name, of all variants that have one."""
    files = [path for variant in chosen() if (path := baked(variant) / name).exists()]
    assert files
    return files


def test_compose_files_match_their_schema(baked: Baked) -> None:
    files = map(str, with_files(baked, "compose.yaml"))
    run(ROOT, "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


def test_nothing_is_found_fault_with_in_images(baked: Baked) -> None:
    run(ROOT, "hadolint", "--failure-threshold", "style", *map(str, with_files(baked, "Dockerfile")))


def test_uv_of_images_is_the_one_that_the_makefile_takes(baked: Baked) -> None:
    for dockerfile in with_files(baked, "Dockerfile"):
        (version,) = re.findall(r"uv==(\S+)", dockerfile.read_text())
        (bounds,) = re.findall(r"'uv([<>=,.\d]+)'", (dockerfile.parent / "Makefile").read_text())
        assert SpecifierSet(bounds).contains(version)
        assert dockerfile.read_text().count(f"FROM python:{python_of(dockerfile.parent)}.") == 2


def python_of(project: Path) -> str:
    """The lowest Python that a project supports."""
    requires = tomllib.loads((project / "pyproject.toml").read_text())["project"]["requires-python"]
    return str(re.findall(r"3\.\d+", requires)[0])


def test_images_take_all_that_the_project_needs_and_no_secret(baked: Baked) -> None:
    for file in with_files(baked, ".dockerignore"):
        first, *kept = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        assert first == "*", "what is not named stays out"
        names = {line.removeprefix("!") for line in kept if line.startswith("!")}
        # Without an example the first flow brings `data`.
        assert names <= {"uv.lock", "data", *(path.name for path in file.parent.iterdir())}
        wanted = {"LICENSE", "README.md", "data", "pyproject.toml", "src", "uv.lock"}
        if (file.parent / "migrations").exists():
            wanted |= {"alembic.ini", "migrations"}
        assert names == wanted


def test_images_run_as_a_user_without_rights(baked: Baked) -> None:
    for dockerfile in with_files(baked, "Dockerfile"):
        last_stage = dockerfile.read_text().rpartition("\nFROM ")[2]
        assert re.findall(r"^USER (.+)$", last_stage, re.MULTILINE) == ["10001:10001"]


def test_ports_are_open_to_this_machine_alone(baked: Baked) -> None:
    for file in with_files(baked, "compose.yaml"):
        services = yaml.safe_load(file.read_text())["services"].values()
        ports = [port for service in services for port in service.get("ports", [])]
        assert ports
        assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        ("MIT", "Permission is hereby granted, free of charge"),
        ("Apache-2.0", "Apache License\n                           Version 2.0"),
        ("BSD-3-Clause", "3. Neither the name of the copyright holder"),
        ("Proprietary", "All rights reserved"),
    ],
)
def test_the_license_is_the_one_that_was_chosen(baked: Baked, answer: str, phrase: str) -> None:
    project = baked({"license": answer})
    assert phrase in (project / "LICENSE").read_text(encoding="utf-8")
    stated = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    assert stated == ("LicenseRef-Proprietary" if answer == "Proprietary" else answer)


READ_TWICE = """
import importlib, json, os, pkgutil, sys
import prefect.flow_engine, prefect.task_engine, pydantic_settings, sqlalchemy

def classes(base):
    return [base, *(more for each in base.__subclasses__() for more in classes(each))]

for source, lines in json.load(sys.stdin):
    if not os.fork():
        sys.path.insert(0, source)
        from durable_flights import durable
        from durable_flights.durable import discovery, settings

        for module in pkgutil.iter_modules(durable.__path__):
            importlib.import_module(f"durable_flights.durable.{module.name}")
        discovery.flows()
        print(*(each() for each in classes(settings.ProjectSettings)))
        os.environ.update(lines)
        print(*(each() for each in classes(settings.ProjectSettings)))
        print(*settings.ProjectSettings.names, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, source
"""


@pytest.mark.rotating
def test_the_example_of_settings_shows_each_default(baked: Baked, tmp_path: Path) -> None:
    """As the settings themselves read it: with each line as a variable, they are those without any."""
    projects: dict[str, tuple[str, dict[str, str]]] = {}
    for variant in chosen() if ALL else spread():
        example = (baked(variant) / ".env.example").read_text(encoding="utf-8")
        lines = dict(re.findall(r"^#(DURABLE_FLIGHTS_\w+)=(.*)$", example, re.MULTILINE))
        projects.setdefault(example, (str(baked(variant) / "src"), lines))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_FLIGHTS_")}
    said = subprocess.run(
        [sys.executable, "-B", "-c", READ_TWICE],
        env={**plain, "DURABLE_FLIGHTS_ENV_FILE": os.devnull, "PREFECT_HOME": str(tmp_path)},
        input=json.dumps(list(projects.values())),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr[-4000:]
    found = iter(said.stdout.splitlines())
    for _, lines in projects.values():
        assert next(found) == next(found)
        assert {f"DURABLE_FLIGHTS_{field.upper()}" for field in next(found).split()} == set(lines)


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("run", "durable_flights run"),
        ("flow", 'durable_flights flow "x"'),
        ("resume", "durable_flights resume"),
        ("status", "durable_flights status"),
        ("reset", 'durable_flights reset "x"'),
        ("setup", "durable_flights setup"),
        ("test", "pytest"),
        ("clean", "rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache"),
    ],
)
def test_a_target_of_make_does_what_it_is_called(
    baked: Baked, environment: dict[str, str], target: str, command: str
) -> None:
    for variant in pairwise():
        shown = subprocess.run(
            ["make", "--no-print-directory", "--dry-run", "--old-file=.venv/.ready", target],
            cwd=baked(variant),
            env=environment | {"JOB": "x", "NAME": "x"},
            capture_output=True,
            text=True,
            check=True,
        )
        last = shown.stdout.splitlines()[-1].rstrip()
        assert f"/{command} " in last if target == "test" else last.endswith(command)


def test_a_variable_that_make_does_not_read_is_refused_before_anything_is_done(
    baked: Baked, environment: dict[str, str], tmp_path: Path
) -> None:
    def make(project: Path, *arguments: str) -> tuple[int, str]:
        command = ["make", "--dry-run", "--old-file=.venv/.ready", *arguments]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    for variant in spread():
        project = baked(variant)
        pages = [project / "README.md", *project.glob("docs/*.md")]
        text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
        told = set(re.findall(r"\bmake ([a-z][a-z-]*)((?: [A-Z]+=(?:\"[^\"]*\"|[^\s`]+))+)", text))
        assert {"run", "flow", "reset", "prove"} < {command for command, _ in told}
        for command, given in told:
            assert make(project, command, *shlex.split(given)) == (0, ""), (command, given)
        assert make(project, "help", "PREFECT_API_URL=http://127.0.0.1:4200/api") == (0, "")
        assert make(project, "switch", "upsert=none") == (0, "")
        # One that is misspelt, one of another command, and one without a command.
        for given in ("flow NAME=x FORM=api", "setup run FORM=api", "run KILLS=3", "FLOW=x"):
            code, said = make(project, *given.split())
            assert code == 2
            goals, name = re.sub(r" ?[A-Z]+=\S+", "", f"make {given}"), given.split()[-1].partition("=")[0]
            assert f"*** {goals} does not read {name}; `make` lists what commands read, and a" in said
    # A Makefile of the owner that calls that of the project hands on all that it was given.
    (tmp_path / "Makefile").write_text(f"all:\n\t@$(MAKE) -C {project} help\n", encoding="utf-8")
    assert make(tmp_path, "ENV=production") == (0, "")


def test_jobs_of_kubernetes_are_valid(baked: Baked, tmp_path: Path) -> None:
    for number, file in enumerate(with_files(baked, "work-pool.json")):
        template = json.loads(file.read_text())
        if "job_manifest" not in template["job_configuration"]:
            continue
        job = manifest(template)
        # Prefect's worker asks for these two where Kubernetes does not know them, and leaves them out with a warning.
        pod = job["spec"]["template"]["spec"]
        assert (pod.pop("completions"), pod.pop("parallelism")) == (1, 1)
        # The server makes the name; the check wants one.
        job["metadata"]["name"] = f"{job['metadata'].pop('generateName')}x"
        (tmp_path / f"{number}.json").write_text(json.dumps(job))
    jobs = sorted(tmp_path.iterdir())
    assert jobs
    run(ROOT, "kubernetes-validate", "--strict", *map(str, jobs))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_units_of_systemd_are_valid(baked: Baked, tmp_path: Path) -> None:
    page = (baked({}) / "docs" / "operation.md").read_text()
    (block,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    units = re.findall(r"# /etc/systemd/system/(\S+)\n((?:(?!# /etc).*\n)+)", block)
    for name, text in units:
        # The user and the project of a machine that is not this one.
        here = text.replace("/srv/durable-flights/.venv/bin/python", sys.executable).replace("User=loader\n", "")
        (tmp_path / name).write_text(here.replace("/srv/durable-flights", str(tmp_path)))
    files = [f"./{name}" for name, _ in units]
    assert len(files) == 2
    subprocess.run([str(shutil.which("systemd-analyze")), "verify", *files], cwd=tmp_path, check=True)


def manifest(template: dict[str, Any]) -> dict[str, Any]:
    """Return the job that Prefect's worker makes of a work pool's template for a run."""
    # It is asked for blocks, of which there are none.
    made = KubernetesWorkerJobConfiguration.from_template_and_values(
        template, {"image": "registry.example.com/flights:7"}, client=PrefectClient("http://127.0.0.1:9/api")
    )
    configuration = asyncio.run(made)
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="a-run"))
    job: dict[str, Any] = configuration.job_manifest
    return job


def test_workflows_of_the_template_match_their_schema() -> None:
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    run(ROOT, "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, workflows))


def test_workflows_are_secure(baked: Baked) -> None:
    run(
        ROOT,
        "zizmor",
        "--offline",
        "--quiet",
        "--persona",
        "pedantic",
        str(ROOT / ".github"),
        str(baked({}) / ".github"),
    )


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_continuous_integration_runs_the_projects_commands(baked: Baked, ci: str) -> None:
    """On each Python that the project supports, and nothing but commands of its Makefile."""
    for version, pythons in {
        "3.11": ["3.11", "3.12", "3.13", "3.14"],
        "3.12": ["3.12", "3.13", "3.14"],
        "3.13": ["3.13", "3.14"],
        "3.14": ["3.14"],
    }.items():
        project = baked({"ci": ci, "python_version": version})
        if ci == "github":
            (job,) = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())["jobs"].values()
            matrix, script = (
                job["strategy"]["matrix"]["python"],
                [step["run"] for step in job["steps"] if "run" in step],
            )
        else:
            job = yaml.safe_load((project / ".gitlab-ci.yml").read_text())["check"]
            matrix, script = job["parallel"]["matrix"][0]["PYTHON_VERSION"], job["script"]
            assert job["image"] == "python:$PYTHON_VERSION-bookworm"
        assert matrix == pythons
        assert script == ["make lint", "make test-all"]


def test_actions_are_pinned_by_commit(baked: Callable[[Answers], Path]) -> None:
    for workflow in workflows(baked):
        used = re.findall(r"uses: (.*)", workflow.read_text())
        assert used
        assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action) for action in used), used
