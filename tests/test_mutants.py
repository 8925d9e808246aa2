"""The faults that `make mutants` puts in are of the template as it is."""

import mutants
import pytest


def test_faults_can_be_put_in() -> None:
    assert len(mutants.FAULTS) >= 30
    assert len({fault.name for fault in mutants.FAULTS}) == len(mutants.FAULTS)
    assert mutants.outdated(mutants.FAULTS) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"old": "no such text"}, "has no 'no such text'"),
        ({"tests": "test_nonsense.py"}, "there is no test_nonsense.py"),
    ],
)
def test_faults_that_the_template_has_moved_away_from_are_named(change: dict[str, str], reason: str) -> None:
    fault = mutants.Fault(**{**vars(mutants.FAULTS[0]), **change})
    assert reason in " ".join(mutants.outdated([fault]))


def test_words_that_choose_nothing_are_an_error() -> None:
    with pytest.raises(SystemExit, match="no fault has nonsense in its name"):
        mutants.main(["nonsense"])
