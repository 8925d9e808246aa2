"""Names of jobs and steps: what cannot be kept is refused."""

from typing import Any

import pytest

from {{ cookiecutter.package_name }}.durable.checkpoints import Checkpoint
from {{ cookiecutter.package_name }}.durable.names import checked

BAD = {"": "empty", "a" * 201: "201 characters", "a\x00b": "zero byte", "a\ud83d": "half of a character"}
bad = pytest.mark.parametrize("name", BAD, ids=list(BAD.values()))


@bad
def test_name_that_cannot_be_kept_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"job .*{BAD[name]}"):
        Checkpoint(name)
    with pytest.raises(ValueError, match=f"step .*{BAD[name]}"):
        Checkpoint("job").remaining(["a", name])
    with pytest.raises(ValueError, match=f"step .*{BAD[name]}"), Checkpoint("job").step(name):
        pass


@pytest.mark.parametrize("name", [None, 5, b"a", ("a",)])
def test_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="the name of the job is text"):
        Checkpoint(name)
    with pytest.raises(ValueError, match="the name of the step is text"):
        Checkpoint("job").remaining(["a", name])
    with pytest.raises(ValueError, match="the name of the step is text"), Checkpoint("job").step(name):
        pass


def test_one_text_is_no_list_of_steps() -> None:
    with pytest.raises(ValueError, match="not as one text: 'abc'"):
        Checkpoint("job").remaining("abc")


@pytest.mark.parametrize("name", ["a", "\U0001f600" * 200, " ", "../a", "line\nend"])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert checked(name, "step") == name
