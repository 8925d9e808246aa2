"""What is pinned is raised to what there is, and what there is not is said."""

from pathlib import Path

import outdated
import pytest
from history import git

OLD = "1" * 40
STEP = f"      - uses: actions/checkout@{OLD} # v6.1.0\n        with:\n"


@pytest.fixture
def tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tags of an action, which git asks instead of GitHub; return the commit of the newest version."""
    action = tmp_path / "actions" / "checkout"
    action.mkdir(parents=True)
    git(action, "init", "--quiet")
    for name in ("v6.1.0", "v6.9.0", "v6.10.0", "v6.10.1-beta", "v6", "latest"):
        git(action, "commit", "--quiet", "--allow-empty", f"--message={name}")
        git(action, "tag", *(["--annotate", "--message=it"] if name == "v6.10.0" else []), name)
    for name, value in {"COUNT": "1", "KEY_0": f"url.{tmp_path}/.insteadOf", "VALUE_0": "https://github.com/"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    return git(action, "rev-parse", "v6.10.0^{commit}").strip()


def test_an_action_is_raised_to_the_commit_of_its_newest_version(tag: str) -> None:
    raised = outdated.ACTION.sub(outdated.newest_action, STEP)
    assert raised == f"      - uses: actions/checkout@{tag} # v6.10.0\n        with:\n"
    assert outdated.ACTION.sub(outdated.newest_action, raised) == raised


def test_an_action_of_which_nothing_is_known_stays(tag: str, capsys: pytest.CaptureFixture[str]) -> None:
    step = STEP.replace("checkout", "gone")
    assert outdated.ACTION.sub(outdated.newest_action, step) == step
    assert "actions/gone: its versions cannot be asked for; 6.1.0 stays" in capsys.readouterr().err


def test_every_use_of_an_action_is_known() -> None:
    for workflow in outdated.WORKFLOWS:
        text = workflow.read_text(encoding="utf-8")
        assert len(outdated.ACTION.findall(text)) == text.count("uses: ") > 0


def test_exact_versions_are_read() -> None:
    text = (
        "numpy==2.1 ; python_full_version < '3.12'\nnumpy==2.4 ; python_full_version >= '3.12'\npsycopg[binary]==3.3\n"
    )
    assert outdated.pins(text) == {"numpy": "2.1, 2.4", "psycopg": "3.3"}


def test_what_is_asked_for_is_what_is_pinned() -> None:
    assert outdated.requirements().keys() <= outdated.pins(outdated.REQUIREMENTS.read_text(encoding="utf-8")).keys()
