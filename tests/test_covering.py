"""The generator of variants covers what it promises, for the template and for a template with more answers."""

import itertools
from collections import Counter
from datetime import date, timedelta
from typing import Any

import conftest
import pytest
from cookiecutter.environment import StrictEnvironment
from hypothesis import given
from hypothesis import strategies as st
from variants import (
    CORE,
    DEFAULTS,
    FREE_TEXT,
    TEMPLATE,
    Answers,
    Options,
    Together,
    context,
    hook,
    name,
    together_in,
    typed,
)

LARGER = Options(
    {
        "result_storage": ["local", "s3", "gcs", "azure"],
        "cache_key": ["inputs", "file_content", "none"],
        "retry_policy": ["exponential", "fixed", "none"],
        "upsert": ["sqlite", "postgres", "duckdb", "none"],
        "checkpoint": ["database", "file", "storage", "none"],
        "task_runner": ["threads", "dask", "ray"],
        "deployment": ["process", "docker", "kubernetes"],
    },
    [
        {"checkpoint": "database", "upsert": "none"},
        {"upsert": "duckdb", "task_runner": "dask"},
        {"upsert": "duckdb", "task_runner": "ray"},
        {"upsert": "duckdb", "deployment": "kubernetes"},
        {"upsert": "sqlite", "deployment": "kubernetes"},
        {"checkpoint": "file", "deployment": "kubernetes"},
        {"result_storage": "local", "deployment": "kubernetes"},
    ],
)
both = pytest.mark.parametrize("options", [TEMPLATE, LARGER], ids=["template", "larger"])


def named(options: Options) -> list[str]:
    """The prompts that a refusal names, and the core: the answers to the others go with all."""
    return [prompt for prompt in options.choices if prompt in CORE or any(prompt in bad for bad in options.refused)]


def every_variant(options: Options) -> list[Answers]:
    """Every valid combination of those, found without any skill."""
    prompts = named(options)
    combinations = itertools.product(*(options.choices[prompt] for prompt in prompts))
    variants = (dict(zip(prompts, answers, strict=True)) for answers in combinations)
    return [variant for variant in variants if not any(bad.items() <= variant.items() for bad in options.refused)]


def possible(options: Options, size: int) -> set[Together]:
    """Every so many answers that occur in a variant."""
    found = set()
    core, variants = named(options), every_variant(options)
    for prompts in itertools.combinations(options.choices, size):
        ours = [prompt for prompt in prompts if prompt in core]
        others = [[(prompt, answer) for answer in options.choices[prompt]] for prompt in prompts if prompt not in ours]
        for some in {tuple((prompt, variant[prompt]) for prompt in ours) for variant in variants}:
            found |= {frozenset([*some, *more]) for more in itertools.product(*others)}
    return found


@pytest.mark.rotating
@both
def test_pairwise_holds_every_valid_pair(options: Options) -> None:
    assert set().union(*(together_in(variant, 2) for variant in options.pairwise())) == possible(options, 2)


@both
def test_pairwise_is_small(options: Options) -> None:
    two_longest = sorted(map(len, options.choices.values()))[-2:]
    assert len(options.pairwise()) <= 2 * two_longest[0] * two_longest[1]


@both
def test_all_variants_are_all_core_variants(options: Options) -> None:
    possible = {tuple(variant[prompt] for prompt in CORE) for variant in every_variant(options)}
    variants = [tuple(variant.values()) for variant in options.all_variants()]
    assert len(variants) == len(set(variants))
    assert set(variants) == possible


@pytest.mark.rotating
@both
def test_covering_holds_every_valid_three(options: Options) -> None:
    assert set().union(*(together_in(variant, 3) for variant in options.covering())) == possible(options, 3)


@both
def test_covering_holds_all_core_variants_and_every_answer(options: Options) -> None:
    variants = options.covering()
    assert [{prompt: variant[prompt] for prompt in CORE} for variant in variants][
        : len(options.all_variants())
    ] == options.all_variants()
    for prompt, answers in options.choices.items():
        assert {variant[prompt] for variant in variants} == set(answers)


@both
def test_spread_holds_every_answer_in_few_variants(options: Options) -> None:
    variants = options.spread()
    for prompt, answers in options.choices.items():
        assert {variant[prompt] for variant in variants} == set(answers)
    assert variants[0] == {prompt: answers[0] for prompt, answers in options.choices.items()}
    assert len(variants) <= max(map(len, options.choices.values())) + 2


@both
@pytest.mark.parametrize("kind", ["pairwise", "covering", "spread"])
def test_generated_variants_are_complete_and_never_refused(options: Options, kind: str) -> None:
    for variant in getattr(options, kind)():
        assert list(variant) == list(options.choices)
        assert not any(bad.items() <= variant.items() for bad in options.refused)


@both
@pytest.mark.parametrize("kind", ["pairwise", "covering", "spread"])
def test_generated_variants_are_the_same_each_time(options: Options, kind: str) -> None:
    assert getattr(options, kind)() == getattr(options, kind)()


def test_the_hook_accepts_what_is_generated() -> None:
    refusals = hook("pre_gen_project").refusals
    defaults = context()["cookiecutter"]
    for variant in [*TEMPLATE.covering(), *TEMPLATE.pairwise()]:
        assert refusals({**defaults, **variant})[0] == []


def test_variants_have_distinct_names() -> None:
    variants = TEMPLATE.covering()
    assert len({name(variant) for variant in variants}) == len(variants)
    assert name(DEFAULTS) == "defaults"


@given(st.text())
def test_typed_text_reaches_cookiecutter_as_it_is(text: str) -> None:
    prompt = FREE_TEXT[0]
    assert StrictEnvironment(keep_trailing_newline=True).from_string(typed({prompt: text})[prompt]).render() == text


class Item:
    """A test, one in three of which does not take turns."""

    def __init__(self, number: int) -> None:
        self.rotates = bool(number % 3)

    def get_closest_marker(self, _: str) -> bool:
        return self.rotates


@pytest.mark.parametrize("count", [3, 40, 41])
def test_all_tests_have_had_their_turn_after_some_days(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    items: list[Any] = [Item(number) for number in range(count)]
    runs: Counter[Item] = Counter()
    for days in range(conftest.TURNS):
        for variable in ("SAMPLE", "DAY"):
            monkeypatch.setattr(conftest, variable, (date(2026, 11, 29) + timedelta(days)).isoformat())
        runs.update(conftest.sampled(items))
    assert runs == {item: 1 if item.rotates else conftest.TURNS for item in items}


def test_shards_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    items: list[Any] = list(range(10))
    found = []
    for shard in ("1/3", "2/3", "3/3"):
        monkeypatch.setattr(conftest, "SHARD", shard)
        found += conftest.sharded(items)
    assert sorted(found) == items


@pytest.mark.parametrize(("variable", "value"), [("SHARD", "0/3"), ("SHARD", "4/3"), ("SHARD", "2"), ("DAY", "now")])
def test_part_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setattr(conftest, variable, value)
    with pytest.raises(pytest.UsageError, match=f"{variable}={value} is no "):
        assert conftest.sharded([]) == [conftest.day()]
