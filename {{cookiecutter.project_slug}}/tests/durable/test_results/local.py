"""The folder of results: where it is, and what is said when it cannot be used."""

from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.durable import checkpoints, flows, upserts
from {{ cookiecutter.package_name }}.durable.errors import ResultsNotStoredError
from {{ cookiecutter.package_name }}.durable.probe import StoreError
from {{ cookiecutter.package_name }}.durable.results import RESULTS, ResultsSettings, register

from tests.support import toys
from tests.support.toy import load_toys


def test_results_are_in_the_folder_of_the_settings() -> None:
    assert ResultsSettings().results_dir == RESULTS
    assert register() == f"results are kept in {RESULTS}"


def test_folder_that_cannot_be_used_is_said() -> None:
    RESULTS.write_text("a file in the way")
    with pytest.raises(StoreError, match=r"results cannot be kept in .*/results: .*RESULTS_DIR"):
        register()


@pytest.mark.usefixtures("api")
def test_run_does_not_begin_where_results_cannot_be_stored(tmp_path: Path) -> None:
    path = toys.chunks(tmp_path / "toys.txt", 2)
    RESULTS.write_text("a file in the way")
    with pytest.raises(StoreError, match=r"results cannot be kept in .*/results"):
        load_toys(path)
    RESULTS.unlink()
    assert load_toys(path)["done"] == 2, "nothing was taken for done"


@pytest.mark.usefixtures("api")
def test_run_whose_results_are_read_and_cannot_be_stored_does_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Prefect 3.9 alone completes such a run, with an error in the log.
    path = toys.chunks(tmp_path / "toys.txt", 3)
    monkeypatch.setattr(flows, "register", lambda: "the folder goes bad when the run has begun")
    RESULTS.write_text("a file in the way")
    if checkpoints.REMEMBERS and upserts.WRITES and not checkpoints.IN_STORE:
        assert load_toys(path)["done"] == 3, "the checkpoint says what is done: no run reads the results of chunks"
    else:
        with pytest.raises(
            (ResultsNotStoredError, StoreError), match=r"the results of 3 could not|a checkpoint cannot be read"
        ):
            load_toys(path)
    RESULTS.unlink()
    report = load_toys(path)
    assert report["skipped"] + report["done"] == 3
