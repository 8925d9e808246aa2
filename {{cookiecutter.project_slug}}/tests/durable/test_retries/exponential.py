"""Exponential retries: each delay is twice the one before, up to a cap."""

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


def test_delays_double() -> None:
    assert retries.DELAYS == [1, 2, 4, 8]


def test_delays_are_those_of_the_settings_up_to_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    found = delays(monkeypatch, RETRIES="5", RETRY_BASE="PT100S", RETRY_CAP="PT10M")
    assert found == [100, 200, 400, 600, 600]


def test_as_many_retries_as_prefect_takes_are_within_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    found = delays(monkeypatch, RETRIES="50")
    assert len(found) == 50
    assert max(found) == 300


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETRIES", "0"),
        ("RETRIES", "51"),
        ("RETRY_BASE", "-PT1S"),
        ("RETRY_CAP", "-PT1S"),
    ],
)
def test_setting_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=PREFIX + name):
        retries.DelaySettings()
