"""Settings: from the environment, absolute, refused when wrong, and each of one class."""

import importlib
import os
import pkgutil
from pathlib import Path

import pytest
from pydantic import SecretStr

from {{ cookiecutter.package_name }} import durable
from {{ cookiecutter.package_name }}.durable import discovery
from {{ cookiecutter.package_name }}.durable import settings as settings_module
from {{ cookiecutter.package_name }}.durable.errors import SettingsError
from {{ cookiecutter.package_name }}.durable.settings import (
    ENV_FILE,
    PREFIX,
    PROJECT,
    ROOT,
    ProjectSettings,
    Settings,
    check_names,
    settings,
)


def test_paths_do_not_depend_on_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(f"{PREFIX}HOME", "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert Settings().home == ROOT / "elsewhere"


def test_project_is_known_by_its_name() -> None:
    assert PROJECT == "{{ cookiecutter.project_slug }}"


def test_tests_use_nothing_of_the_users() -> None:
    assert ENV_FILE.samefile(os.devnull)
    assert not settings.home.is_relative_to(ROOT)


def test_misspelt_setting_is_an_error_whatever_class_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnersSettings(ProjectSettings):
        orders_folder: Path = Path("data")

    try:
        check_names()
        monkeypatch.setenv(f"{PREFIX}ORDERS_FOLDR", "2")
        meant = f"no setting {PREFIX}ORDERS_FOLDR; did you mean {PREFIX}ORDERS_FOLDER[?]"
        with pytest.raises(SettingsError, match=meant):
            check_names()
        with pytest.raises(SettingsError, match=meant):
            discovery.flows()
    finally:
        del ProjectSettings.names["orders_folder"]
    assert OwnersSettings().orders_folder == ROOT / "data"


def test_two_classes_cannot_have_one_setting() -> None:
    with pytest.raises(TypeError, match=r"settings\.Settings has a setting of that name already"):

        class OwnersSettings(ProjectSettings):
            workers: str = ""


def test_variable_of_somebody_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}SERVICE_PORT", "80")
    check_names()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_env_file_that_is_not_utf8_is_one_line(encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# café\n{PREFIX}WORKERS=3\n", encoding=encoding)
    monkeypatch.setattr(settings_module, "ENV_FILE", file)
    for read in (Settings, check_names):
        with pytest.raises(SettingsError) as caught:
            read()
        assert str(caught.value) == f"{file}: not UTF-8; save it as UTF-8"


def test_line_that_sets_nothing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# a remark\n{PREFIX}WORKERS 3\n")
    monkeypatch.setattr(settings_module, "ENV_FILE", file)
    for read in (Settings, check_names):
        with pytest.raises(SettingsError) as caught:
            read()
        assert str(caught.value) == f"{file}, line 2: write NAME=value, or # before a remark"


def test_env_file_may_begin_with_a_byte_order_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"{PREFIX}WORKERS=3\n", encoding="utf-8-sig")
    monkeypatch.setattr(settings_module, "ENV_FILE", file)
    assert list(settings_module.env_variables()) == [f"{PREFIX}WORKERS"]
    monkeypatch.setitem(Settings.model_config, "env_file", file)
    assert Settings().workers == 3


@pytest.mark.parametrize("value", ["0", "x", "-1"])
def test_value_out_of_range_is_one_line_with_the_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(f"{PREFIX}WORKERS", value)
    with pytest.raises(SettingsError, match=rf"^{PREFIX}WORKERS: Input should be [^\n]*$"):
        Settings()


def test_secrets_are_of_a_type_that_is_not_shown() -> None:
    for module in pkgutil.iter_modules(durable.__path__, f"{durable.__name__}."):
        importlib.import_module(module.name)
    classes = [ProjectSettings]
    for each in classes:
        classes += each.__subclasses__()
    for each in classes:
        for name, field in each.model_fields.items():
            if any(word in name for word in ("secret", "credentials", "connection_string", "database_url")):
                assert field.annotation is SecretStr, name


def test_line_end_around_a_value_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnersSettings(ProjectSettings):
        token_secret: SecretStr = SecretStr("")

    monkeypatch.setenv(f"{PREFIX}TOKEN_SECRET", " a b\n")
    try:
        assert OwnersSettings().token_secret.get_secret_value() == "a b"
    finally:
        del ProjectSettings.names["token_secret"]
