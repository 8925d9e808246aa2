"""Fixed retries: the same delay each time."""

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
    ],
)
def test_setting_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=PREFIX + name):
        retries.DelaySettings()
