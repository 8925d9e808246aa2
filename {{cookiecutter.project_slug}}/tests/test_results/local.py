"""Results: they outlive their process, and no other store is needed."""

import json

import pytest
from prefect import flow

from {{ cookiecutter.package_name }}.durable import durable_task
from {{ cookiecutter.package_name }}.results import RESULTS, register
from {{ cookiecutter.package_name }}.settings import settings


@pytest.mark.usefixtures("api")
def test_results_are_json_in_the_folder_of_the_settings() -> None:
    @durable_task(version="1")
    def work() -> dict[str, int]:
        return {"n": 1}

    @flow
    def job() -> None:
        work()

    job()
    (record,) = [json.loads(path.read_text()) for path in settings.results_dir.iterdir()]
    assert record["metadata"]["serializer"]["type"] == "json"
    assert json.loads(record["result"]) == {"n": 1}


def test_register_may_be_repeated_and_leaves_no_trace() -> None:
    assert register() == register() == f"results are kept in {RESULTS}"
    assert list(RESULTS.iterdir()) == []


def test_register_says_that_the_folder_cannot_be_used() -> None:
    RESULTS.write_text("a file in the way")
    with pytest.raises(OSError, match="results"):
        register()
