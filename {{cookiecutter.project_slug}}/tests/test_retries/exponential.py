"""Exponential retries: each delay is twice the one before, up to a cap."""

import importlib

import pytest
from pydantic import ValidationError

from {{ cookiecutter.package_name }} import retries
from {{ cookiecutter.package_name }}.settings import PREFIX, Settings


def delays(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[float]:
    """The delays under these settings."""
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(PREFIX + name, value)
        patch.setattr("{{ cookiecutter.package_name }}.settings.settings", Settings())
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
        ("RETRY_JITTER", "0"),
        ("RETRY_JITTER", "1.1"),
        ("RETRY_AFTER_MAX", "-PT1S"),
        ("FLOW_RETRIES", "-1"),
        ("FLOW_RETRY_DELAY", "-PT1S"),
    ],
)
def test_setting_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()
