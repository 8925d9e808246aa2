"""A misspelt key of prefect.yaml is found before it is missed."""

import pytest

from prefect_yaml import FILE, unknown_keys

TEXT = FILE.read_text(encoding="utf-8")


def test_the_file_as_it_is_has_none() -> None:
    assert list(unknown_keys(TEXT)) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("deployments:", "deployment:"),
        ("    entrypoint:", "    entry_point:"),
        ("    schedules:", "    shedules:"),
        ("    pull:", "    puls:"),
        ("    concurrency_limit:", "    concurency_limit:"),
        ("      collision_strategy:", "      collision:"),
        ("      name:", "      pool:"),
    ],
)
def test_a_misspelt_key_is_named_with_its_line(right: str, wrong: str) -> None:
    assert right in TEXT
    line = TEXT[: TEXT.index(right)].count("\n") + 1
    (said,) = unknown_keys(TEXT.replace(right, wrong, 1))
    assert said.startswith(f"prefect.yaml:{line}: Prefect knows no {wrong.strip(' :')} here")


def test_what_may_be_meant_is_said() -> None:
    (said,) = unknown_keys(f"{TEXT}    shedules: []\n")
    assert said.endswith("Prefect knows no shedules here; schedules may be meant")


def test_schedules_steps_and_anchors_are_known() -> None:
    assert not list(
        unknown_keys(
            "definitions: {daily: &daily {cron: 0 4 * * *}}\n"
            "pull: [{prefect.deployments.steps.set_working_directory: {directory: /app}}]\n"
            "deployments: [{name: a, schedules: [*daily, {interval: 60, slug: often}], concurrency_limit: 1}]\n"
        )
    )
    assert list(unknown_keys("deployments: [{schedules: [{corn: 0 4 * * *}]}]"))
