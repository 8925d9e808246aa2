"""The folder of results: where it is, and what is said when it cannot be used."""

import pytest

from {{ cookiecutter.package_name }}.flows import ResultsNotStoredError, load_flights
from {{ cookiecutter.package_name }}.probe import StoreError
from {{ cookiecutter.package_name }}.results import RESULTS, register
from {{ cookiecutter.package_name }}.settings import settings


def test_results_are_in_the_folder_of_the_settings() -> None:
    assert settings.results_dir == RESULTS
    assert register() == f"results are kept in {RESULTS}"


def test_folder_that_cannot_be_used_is_said() -> None:
    RESULTS.write_text("a file in the way")
    with pytest.raises(StoreError, match=r"results cannot be kept in .*/results: .*RESULTS_DIR"):
        register()


@pytest.mark.usefixtures("api")
def test_run_whose_results_cannot_be_stored_does_not_complete() -> None:
    # Prefect alone completes such a run, with an error in the log.
    RESULTS.write_text("a file in the way")
    with pytest.raises((ResultsNotStoredError, StoreError), match=r"the results of 31 could not|a mark cannot be read"):
        load_flights()
    RESULTS.unlink()
    load_flights()
