"""Fixed retries: the same delay each time."""

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


def test_delays_are_equal() -> None:
    assert retries.DELAYS == [30, 30, 30, 30]


def test_delays_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert delays(monkeypatch, RETRIES="3", RETRY_DELAY="PT1M") == [60, 60, 60]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETRIES", "0"),
        ("RETRIES", "51"),
        ("RETRY_DELAY", "-PT1S"),
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
