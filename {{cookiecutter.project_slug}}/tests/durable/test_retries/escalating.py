"""Escalating retries: the delays are those that are listed, and as many."""

import importlib

import pytest

from {{ cookiecutter.package_name }}.durable import retries
from {{ cookiecutter.package_name }}.durable.errors import SettingsError
from {{ cookiecutter.package_name }}.durable.settings import PREFIX


def delays(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[float]:
    """The delays under these settings."""
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(PREFIX + name, value)
        found: list[float] = importlib.reload(retries).DELAYS
    importlib.reload(retries)
    return found


def test_delays_grow() -> None:
    assert retries.DELAYS == [1, 10, 60, 600]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("PT5S", [5]),
        ("PT1S,PT1M,PT1H", [1, 60, 3600]),
        (" PT1S , PT0.5S ", [1, 0.5]),
        ("PT0S", [0]),
        (",".join(["PT1S"] * 50), [1] * 50),
    ],
    ids=["one", "three", "blanks", "none", "fifty"],
)
def test_delays_are_those_of_the_setting(monkeypatch: pytest.MonkeyPatch, value: str, expected: list[float]) -> None:
    assert delays(monkeypatch, RETRY_DELAYS=value) == expected


def test_delays_are_a_list() -> None:
    # Prefect 3.9 refuses a tuple, which the setting is.
    assert type(retries.DELAYS) is list


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETRY_DELAYS", ""),
        ("RETRY_DELAYS", "PT1S,"),
        ("RETRY_DELAYS", "PT1S,-PT1S"),
        ("RETRY_DELAYS", "PT1S;PT2S"),
        ("RETRY_DELAYS", "soon"),
        ("RETRY_DELAYS", ",".join(["PT1S"] * 51)),
    ],
    ids=lambda text: text[:20],
)
def test_setting_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=PREFIX + name):
        retries.DelaySettings()
