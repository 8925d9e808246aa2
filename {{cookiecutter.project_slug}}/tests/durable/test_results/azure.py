"""The container of results: where it is."""

import pytest

from {{ cookiecutter.package_name }}.durable.results import register, settings


@pytest.mark.usefixtures("api")
def test_place_is_said() -> None:
    assert register() == f"results are kept in the container results, folder {settings.results_folder}"
