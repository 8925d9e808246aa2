"""Settings: from the environment, absolute, and refused when wrong."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from {{ cookiecutter.package_name }}.settings import ENV_FILE, PREFIX, ROOT, Settings, settings


def test_paths_do_not_depend_on_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(f"{PREFIX}HOME", "elsewhere")
    monkeypatch.chdir(tmp_path)
    elsewhere = Settings()
    assert elsewhere.home == ROOT / "elsewhere"
{%- if cookiecutter.result_storage == "local" %}
    assert elsewhere.results_dir == ROOT / "elsewhere" / "results"
{%- endif %}
    assert elsewhere.source.is_absolute()


def test_tests_use_nothing_of_the_users() -> None:
    assert ENV_FILE.samefile(os.devnull)
{%- if cookiecutter.result_storage == "local" %}
    assert settings.model_copy(update={"home": ROOT / "var", "results_dir": ROOT / "var" / "results"}) == Settings(
        home=ROOT / "var"
    )
{%- else %}
    assert settings.model_copy(update={"home": ROOT / "var"}) == Settings(home=ROOT / "var")
{%- endif %}
    assert not settings.home.is_relative_to(ROOT)


def test_misspelt_setting_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}CHUNK_DAYZ", "2")
    with pytest.raises(ValidationError, match=f"no setting {PREFIX}CHUNK_DAYZ; {PREFIX}CHUNK_DAYS may be meant"):
        Settings()


def test_variable_of_somebody_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}SERVICE_PORT", "80")
    Settings()


@pytest.mark.parametrize(("name", "value"), [("CHUNK_DAYS", "0"), ("CHUNK_DAYS", "x"), ("WORKERS", "-1")])
def test_value_out_of_range_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


{% set here = cookiecutter.result_storage == "local" or cookiecutter.upsert == "sqlite" or cookiecutter.checkpoint == "file" -%}
{% if cookiecutter.task_runner != "threads" and here -%}
@pytest.mark.parametrize("address", ["", "127.0.0.1:6379", "tcp://localhost:8786", "ray://[::1]:10001"])
def test_cluster_of_this_machine_is_accepted(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(f"{PREFIX}CLUSTER_ADDRESS", address)
    assert Settings().cluster_address == address


@pytest.mark.parametrize("address", ["auto", "10.0.0.5:6379", "tcp://127.0.0.1.example.com:8786", "tcp://[fd00::1]:80"])
def test_cluster_that_may_have_other_machines_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(f"{PREFIX}CLUSTER_ADDRESS", address)
    with pytest.raises(ValidationError, match="may be on other machines, but files of this one hold"):
        Settings()


{% endif -%}
def test_secrets_are_of_a_type_that_is_not_shown() -> None:
    for name, field in Settings.model_fields.items():
        if any(word in name for word in ("secret", "credentials", "connection_string", "database_url")):
            assert field.annotation is SecretStr, name
{%- if cookiecutter.upsert != "none" %}


def test_password_in_the_database_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "sqlite:///hunter2.db")
    assert "hunter2" not in repr(Settings())
{%- endif %}
