"""The answers that can be given to the template, and which sets of them the tests bake.

Everything is read from `cookiecutter.json` and from the table of refused combinations in the pre-generation hook, so
that a new prompt or a new answer is covered as soon as it is written there.
"""

import itertools
import json
import math
import os
import random
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from cookiecutter.utils import create_env_with_context

ROOT = Path(__file__).resolve().parents[1]
PROMPTS: dict[str, Any] = {
    prompt: default
    for prompt, default in json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8")).items()
    if not prompt.startswith("_")
}
CHOICES: dict[str, list[str]] = {prompt: answers for prompt, answers in PROMPTS.items() if isinstance(answers, list)}
FREE_TEXT = tuple(prompt for prompt in PROMPTS if prompt not in CHOICES)
CORE = ("result_storage", "cache_key", "retry_policy", "upsert", "checkpoint")
"""The prompts that choose code and act on each other: all their combinations are baked."""

ALL = os.environ.get("VARIANTS") == "all"
"""Whether the whole proof is asked for, as `make test-all` does."""
only_all = pytest.mark.skipif(not ALL, reason="it takes minutes: make test-all runs it")
"""For tests that `make test` has no time for."""
SPREAD = os.environ.get("VARIANTS") == "spread"
"""Whether a few whole projects are to be tested on other Pythons, as `make test-pythons` does."""

Answers = dict[str, str]
Together = frozenset[tuple[str, str]]
"""Answers of two or three prompts."""


@dataclass(frozen=True)
class Options:
    """Prompts with their answers, the default first, and the combinations of answers that are refused."""

    choices: Mapping[str, list[str]]
    refused: Iterable[Answers]
    core: tuple[str, ...] = CORE

    def valid(self, answers: Answers) -> bool:
        """Say whether these answers, of some prompts or of all, hold no refused combination."""
        return not any(combination.items() <= answers.items() for combination in self.refused)

    def all_variants(self) -> list[Answers]:
        """Return every valid combination of the core prompts."""
        lists = [self.choices[prompt] for prompt in self.core]
        combinations = (dict(zip(self.core, answers, strict=True)) for answers in itertools.product(*lists))
        return [answers for answers in combinations if self.completed(answers, set())]

    def pairwise(self) -> list[Answers]:
        """Return a few variants in which every valid pair of answers occurs, of any two prompts; the defaults first."""
        return min((self.some_pairwise(random.Random(seed)) for seed in range(30)), key=len)

    def some_pairwise(self, chance: random.Random) -> list[Answers]:
        """Return such variants, a few more or less by chance."""
        variants = [{prompt: answers[0] for prompt, answers in self.choices.items()}]
        wanted = self.together(2) - together_in(variants[0], 2)
        pairs = sorted(wanted, key=sorted)
        chance.shuffle(pairs)
        # The prompts with the most answers come first: their pairs need the most variants.
        pairs.sort(key=lambda pair: -math.prod(len(self.choices[prompt]) for prompt, _ in pair))
        # Before all of them come runners, so that few variants have a cluster.
        pairs.sort(key=lambda pair: "task_runner" not in dict(pair))
        for pair in pairs:
            if pair in wanted and (variant := self.completed(dict(pair), wanted)):
                variants.append(variant)
                wanted -= together_in(variant, 2)
        return variants

    def spread(self) -> list[Answers]:
        """Return very few variants, in which every answer occurs at least once; the defaults first."""
        variants = [{prompt: answers[0] for prompt, answers in self.choices.items()}]
        wanted = self.together(1) - together_in(variants[0], 1)
        for one in sorted(wanted, key=sorted):
            if one in wanted and (variant := self.completed(dict(one), wanted, 1)):
                variants.append(variant)
                wanted -= together_in(variant, 1)
        return variants

    def covering(self) -> list[Answers]:
        """Return all core variants, with the others spread so that any valid three answers occur together."""
        wanted = self.together(3)
        variants: list[Answers] = []
        for start in self.all_variants():
            if variant := self.completed(start, wanted, 3):
                variants.append(variant)
                wanted -= together_in(variant, 3)
        for three in sorted(wanted, key=sorted):
            if three in wanted and (variant := self.completed(dict(three), wanted, 3)):
                variants.append(variant)
                wanted -= together_in(variant, 3)
        return variants

    def together(self, size: int) -> set[Together]:
        """Return all answers of so many different prompts, those included that no variant can hold."""
        return {
            frozenset(zip(prompts, answers, strict=True))
            for prompts in itertools.combinations(self.choices, size)
            for answers in itertools.product(*(self.choices[prompt] for prompt in prompts))
        }

    def completed(self, answers: Answers, wanted: set[Together], size: int = 2) -> Answers | None:
        """Answer the other prompts too, so that many of what is wanted occur; None where no valid answers exist."""
        if not self.valid(answers):
            return None
        prompt = next((prompt for prompt in self.choices if prompt not in answers), None)
        if prompt is None:
            return {prompt: answers[prompt] for prompt in self.choices}

        def gain(answer: str) -> int:
            others = itertools.combinations(answers.items(), size - 1)
            return sum(frozenset({(prompt, answer), *other}) in wanted for other in others)

        # Sorting is stable: of answers that gain as much, the default comes first.
        for answer in sorted(self.choices[prompt], key=gain, reverse=True):
            if found := self.completed({**answers, prompt: answer}, wanted, size):
                return found
        return None


def together_in(answers: Answers, size: int) -> set[Together]:
    """Return every so many of these answers."""
    return {frozenset(some) for some in itertools.combinations(answers.items(), size)}


def typed(answers: Answers) -> Answers:
    """Make answers of free text ready to be given to Cookiecutter as somebody types them at its prompts.

    Cookiecutter takes what is typed as it is, but renders what it is given on the command line or by a program. A Jinja
    string literal renders to itself, braces, backslashes and line ends included.
    """
    return {
        prompt: "{{ " + json.dumps(answer, ensure_ascii=False) + " }}" if prompt in FREE_TEXT else answer
        for prompt, answer in answers.items()
    }


def context(**answers: str) -> dict[str, Any]:
    """Return what Cookiecutter renders names, files and hooks with."""
    given = generate_context(context_file=str(ROOT / "cookiecutter.json"), extra_context=typed(answers))
    given["cookiecutter"]["_template"] = str(ROOT)
    return {"cookiecutter": prompt_for_config(given, no_input=True)}


def hook(name: str, **answers: str) -> ModuleType:
    """Render a hook the way Cookiecutter does, and return it as a module whose `main` has not run."""
    source = (ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8")
    given = context(**answers)
    module = ModuleType(name)
    exec(create_env_with_context(given).from_string(source).render(**given), vars(module))
    return module


def command(answers: Answers) -> str:
    """Return the command that bakes these answers again."""
    given = " ".join(f"{prompt}={shlex.quote(answer)}" for prompt, answer in answers.items())
    return f"cookiecutter {shlex.quote(str(ROOT))} --no-input {given}"


def given(answers: Answers) -> str:
    """Return the answers that are not the defaults, as they are given on the command line."""
    return " ".join(f"{prompt}={answer}" for prompt, answer in answers.items() if answer != CHOICES[prompt][0])


def name(answers: Answers) -> str:
    """Name a variant by the answers that are not the defaults."""
    return given(answers).replace("=", ":").replace(" ", "+") or "defaults"


def each(variants: Iterable[Answers], *more: Iterable[Any]) -> list[Any]:
    """Return variants as parameters of a test, with readable names, and what else belongs to each."""
    return [pytest.param(answers, *others, id=name(answers)) for answers, *others in zip(variants, *more, strict=True)]


TEMPLATE = Options(CHOICES, [combination for combination, *_ in hook("pre_gen_project").REFUSED])
valid = TEMPLATE.valid
all_variants = TEMPLATE.all_variants
pairwise = TEMPLATE.pairwise
covering = TEMPLATE.covering
spread = TEMPLATE.spread
DEFAULTS: Answers = {prompt: answers[0] for prompt, answers in CHOICES.items()}


@cache
def chosen() -> list[Answers]:
    """Return the variants that are tested: those of `pairwise`, or all of them if the environment has VARIANTS=all."""
    return covering() if ALL else pairwise()
