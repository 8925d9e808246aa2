"""`durable-project` asks in a terminal, refuses at once, and makes what Cookiecutter makes."""

import fcntl
import importlib
import json
import os
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.exceptions import OutputDirExistsException
from history import git
from projects import Snapshot, cookiecutter, cruft, snapshot
from test_outdated import UNKNOWN, UNREACHABLE
from variants import FREE_TEXT, PROMPTS, ROOT, Answers, context, each, hook, pairwise, typed

import durable_project

DEFAULTS: Answers = {prompt: context()["cookiecutter"][prompt] for prompt in PROMPTS}
AWKWARD: Answers = {
    "project_name": 'O\'Neil & "Sons"',
    "project_slug": "sons",
    "package_name": "sons",
    "description": "{{ 7*7 }} {% raw %} {# no #} }} C:\\new\\ ünï 👩‍👩‍👧‍👦 $(id) `x` [b]",
    "author_name": "C:\\new\\",
}
PRE = hook("pre_gen_project")
SECONDS = 60.0
"""How long to wait for the screen."""
ENTER, UP, DOWN, CTRL_C, CLEAR = "\r", "\x1b[A", "\x1b[B", "\x03", "\x15"
SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()].|[=>])")


def squeezed(text: str) -> str:
    """Return the text without terminal sequences and blanks: a terminal may move the cursor where a blank is."""
    return re.sub(r"\s", "", SEQUENCE.sub("", text))


class Terminal:
    """The command in a pseudo-terminal."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        self.screen = ""
        self.seen = 0
        self.keyboard, child = os.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 250, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "durable_project", *arguments],
            cwd=folder,
            env={**environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.keyboard)

    def read(self, seconds: float) -> bool:
        """Read what comes within these seconds; return whether more may come."""
        if not select.select([self.keyboard], [], [], seconds)[0]:
            return True
        try:
            text = os.read(self.keyboard, 65536)
        except OSError:
            return False
        self.screen += text.decode(errors="replace")
        return bool(text)

    def expect(self, text: str) -> str:
        """Wait until the text is on the screen, after what was expected before; return what came up to it."""
        deadline = time.monotonic() + SECONDS
        while (place := squeezed(self.screen).find(squeezed(text), self.seen)) < 0:
            if not self.read(0.1) or time.monotonic() > deadline:
                pytest.fail(f"{text!r} does not come:\n{self.screen[-3000:]}")
        before, self.seen = squeezed(self.screen)[self.seen : place], place + len(squeezed(text))
        return before

    def press(self, *keys: str) -> None:
        for key in keys:
            os.write(self.keyboard, key.encode())
            time.sleep(0.05)

    def answer(self, until: str = "Make this project?", **keys: list[str]) -> None:
        """Accept the default of each prompt, or press the keys; stop at the prompt `until`."""
        for number, prompt in enumerate(PROMPTS, 1):
            self.expect(f"[{number}/{len(PROMPTS)}]")
            if prompt == until:
                return self.ready()
            self.press(*keys.get(prompt, []), ENTER)
        self.expect(until)
        return self.ready()

    def ready(self) -> None:
        """Wait until the prompt is drawn whole."""
        while (known := len(self.screen)) and self.read(0.15) and len(self.screen) > known:
            continue

    def end(self) -> int:
        """Wait until the command has ended, and return its exit code."""
        deadline = time.monotonic() + SECONDS
        while self.read(0.1) and self.process.poll() is None and time.monotonic() < deadline:
            continue
        while (known := len(self.screen)) and self.read(0.1) and len(self.screen) > known:
            continue
        assert "Traceback" not in self.screen
        return self.process.wait(SECONDS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The user's folder."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which Cookiecutter keeps the answers."""
    configure(tmp_path, monkeypatch, {})
    return tmp_path / "replay" / f"{ROOT.name}.json"


def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defaults: object) -> None:
    """Write the user's configuration of Cookiecutter."""
    file = tmp_path / "cookiecutter.yaml"
    file.write_text(json.dumps({"replay_dir": str(tmp_path / "replay"), "default_context": defaults}))
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(file))


@pytest.fixture
def terminal(folder: Path, replay: Path, environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Start the command in the user's folder."""
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        config = {"COOKIECUTTER_CONFIG": os.environ["COOKIECUTTER_CONFIG"]}
        opened.append(Terminal(folder, {**environment, **config, "PYTHONPATH": paths}, *arguments))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Call the command in this process, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["durable-project", *map(str, arguments)])
    return durable_project.main()


def given(answers: Answers) -> list[str]:
    return [f"{name}={answer}" for name, answer in answers.items()]


def expected(answers: Answers, output: Path) -> Snapshot:
    """Make the project with Cookiecutter, and return what is in it."""
    cookiecutter(ROOT, "--no-input", "--output-dir", output, *given(typed(answers)))
    (project,) = output.iterdir()
    return snapshot(project)


# In a terminal


def test_accepting_the_defaults_makes_what_cookiecutter_makes(
    terminal: Callable[..., Terminal], folder: Path, replay: Path, tmp_path: Path
) -> None:
    shell = terminal()
    shell.answer()
    assert list(folder.iterdir()) == []
    assert not replay.exists()
    for shown in ("durable-flights/", "src/durable_flights/", "AGENTS.md", "takes effect exactly once in the database"):
        assert squeezed(shown) in squeezed(shell.screen)
    assert "Made durable-flights" not in shell.screen
    shell.press(ENTER)
    assert shell.end() == 0
    assert shell.screen.count("Made durable-flights with") == 1
    assert json.loads(replay.read_text())["cookiecutter"].items() >= DEFAULTS.items()
    assert snapshot(folder / "durable-flights") == expected({}, tmp_path / "expected")


def test_an_answer_that_is_refused_is_shown_with_the_reason_and_cannot_be_chosen(
    terminal: Callable[..., Terminal],
) -> None:
    shell = terminal()
    shell.answer(until="checkpoint", upsert=[UP])
    reason = "(checkpoint=database keeps checkpoints in the database that upsert writes to, and upsert=none"
    assert squeezed(reason) in squeezed(shell.screen)
    # Three answers are left, and the first of them is the default: `database` is passed over.
    shell.press(DOWN, DOWN, DOWN, ENTER)
    shell.expect(f"{prompt_text('checkpoint')} file")
    shell.expect("[15/17]")


def test_a_prompt_with_one_possible_answer_is_asked(terminal: Callable[..., Terminal]) -> None:
    shell = terminal()
    shell.answer(until="task_runner", upsert=[DOWN, DOWN])
    assert squeezed(shell.screen).count(squeezed("and a DuckDB file is open in one)")) == 2
    shell.press(DOWN, ENTER)
    shell.expect(f"{prompt_text('task_runner')} threads")


def test_a_bad_slug_is_refused_at_once_and_asked_again_with_a_better_one(terminal: Callable[..., Terminal]) -> None:
    shell = terminal()
    shell.answer(until="project_slug")
    shell.press(CLEAR, *"My Flights!", ENTER)
    shell.expect(PRE.refusals({"project_slug": "My Flights!"})[0][0])
    shell.expect("[2/17]")
    shell.expect("my-flights")
    shell.ready()
    shell.press(ENTER)
    shell.expect("[3/17]")
    shell.expect("my_flights")


def test_a_folder_that_exists_is_refused_at_once(terminal: Callable[..., Terminal], folder: Path) -> None:
    (folder / "durable-flights").mkdir()
    shell = terminal()
    shell.answer(until="project_slug")
    shell.press(ENTER)
    shell.expect("durable-flights exists: choose another project_slug or --output-dir")
    shell.expect("[2/17]")


@pytest.mark.parametrize("prompt", ["project_name", "upsert", "Make this project?"])
def test_ctrl_c_leaves_nothing(
    terminal: Callable[..., Terminal], folder: Path, replay: Path, environment: dict[str, str], prompt: str
) -> None:
    shell = terminal()
    shell.answer(until=prompt)
    shell.press(CTRL_C)
    assert shell.end() == 130
    shell.expect("Stopped: no project was made.")
    assert list(folder.iterdir()) == []
    assert not replay.exists()


def test_no_leaves_nothing(terminal: Callable[..., Terminal], folder: Path, replay: Path) -> None:
    shell = terminal()
    shell.answer()
    shell.press(DOWN, ENTER)
    assert shell.end() == 1
    shell.expect("No project was made.")
    assert list(folder.iterdir()) == []
    assert not replay.exists()


def test_answers_can_be_changed_before_the_project_is_made(terminal: Callable[..., Terminal], folder: Path) -> None:
    shell = terminal()
    shell.answer(project_name=[CLEAR, *"Nightly Load"], upsert=[DOWN])
    shell.press(UP, ENTER)
    shell.answer(project_name=[*"s"])
    shell.press(ENTER)
    assert shell.end() == 0
    project = folder / "nightly-loads"
    assert (project / "README.md").read_text(encoding="utf-8").startswith("# Nightly Loads\n")
    assert "psycopg" in (project / "pyproject.toml").read_text(encoding="utf-8")


def test_what_is_typed_arrives_as_it_is(terminal: Callable[..., Terminal], folder: Path, tmp_path: Path) -> None:
    shell = terminal()
    shell.answer(**{name: [CLEAR, text] for name, text in AWKWARD.items()})
    shell.press(ENTER)
    assert shell.end() == 0
    assert snapshot(folder / "sons") == expected(AWKWARD, tmp_path / "expected")


def test_defaults_are_those_of_the_user(
    terminal: Callable[..., Terminal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    configure(tmp_path, monkeypatch, {"author_name": "Zoë", "upsert": "postgres", "python_version": "3.13"})
    shell = terminal("project_name=Prices")
    shell.answer()
    shell.press(ENTER)
    assert shell.end() == 0
    for line in ("project_slug = prices", "author_name = Zoë", "upsert = postgres", "python_version = 3.13"):
        assert line in shell.screen
    assert [path.name for path in folder.iterdir()] == ["prices"]


def prompt_text(prompt: str) -> str:
    labels = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))["__prompts__"]
    return f"{labels[prompt]['__prompt__']}:"


# Equal projects


@pytest.mark.parametrize("variant", [*each(pairwise()[1::4]), pytest.param(AWKWARD, id="awkward")])
def test_bytes_and_replay_are_those_of_cookiecutter(
    variant: Answers, folder: Path, replay: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, "--no-input", "-o", folder, *given(variant)) == 0
    (project,) = folder.iterdir()
    made, kept = snapshot(project), json.loads(replay.read_text())
    shutil.rmtree(project)
    replay.unlink()
    answers = {name: kept["cookiecutter"][name] for name in PROMPTS}
    assert answers.items() >= variant.items()
    as_given = [f"{name}={PRE.quoted(answer)}" for name, answer in answers.items()]
    cookiecutter(ROOT, "--no-input", "--output-dir", folder, *as_given)
    assert snapshot(project) == made
    assert json.loads(replay.read_text()) == kept
    shutil.rmtree(project)
    cookiecutter(ROOT, "--no-input", "--output-dir", folder, *given(typed(variant)))
    assert snapshot(project) == made


def test_it_can_be_replayed(folder: Path, replay: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert call(monkeypatch, "--no-input", "-o", folder, *given(AWKWARD)) == 0
    cookiecutter(ROOT, "--replay", "--output-dir", tmp_path / "again")
    assert snapshot(tmp_path / "again" / "sons") == snapshot(folder / "sons")


def test_it_can_be_linked_to_the_template(
    folder: Path, replay: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    # cruft itself renders the answers that it has noted, so braces are left out.
    answers = {**AWKWARD, "description": AWKWARD["author_name"]}
    assert call(monkeypatch, "--no-input", "-o", folder, *given(answers)) == 0
    project = folder / "sons"
    git(project, "init", "--quiet")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=As the template made it")
    cruft("link", repository, "--no-input", "--extra-context", json.dumps(typed(answers)), "--project-dir", project)
    assert cruft("diff", "--project-dir", project) == ""


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-input", "upsrt=none"], "unknown name 'upsrt': did you mean upsert?"),
        (["upsrt=none"], "unknown name 'upsrt': did you mean upsert?"),
        (["--no-input", "_template=x"], "unknown name '_template': did you mean "),
        (["--no-input", "upsert=oracle"], "unknown answer upsert=oracle: choose one of sqlite, postgres, duckdb, none"),
        (["--no-input", "upsert"], "'upsert' is not name=answer"),
        ([], "the prompts need a terminal: use --no-input and name=answer"),
        (["--no-input", "-o", "file"], "no folder can be made in "),
        (["--no-input", "project_slug=there"], "there exists: choose another project_slug or --output-dir"),
        (["project_slug=there"], "there exists: choose another project_slug or --output-dir"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    folder: Path,
    replay: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    (folder / "file").touch()
    (folder / "there").mkdir()
    assert call(monkeypatch, *arguments) == 2
    output, error = capfd.readouterr()
    assert output == ""
    assert error.startswith(message)
    assert error.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == ["file", "there"]
    assert not replay.exists()


def test_refused_answers_are_told_once_with_a_command_that_works(
    folder: Path, replay: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = {"upsert": "none", "project_slug": "A", "description": "{{ x }} 'y'"}
    monkeypatch.chdir(folder)
    assert call(monkeypatch, "--no-input", *given(wrong)) == 2
    error = capfd.readouterr().err
    reasons, better = PRE.refusals({**DEFAULTS, **wrong, "package_name": "A"})
    assert len(reasons) == 3
    assert error == PRE.explanation(reasons, better, "durable-project") + "\n"
    assert list(folder.iterdir()) == []
    assert call(monkeypatch, "--no-input", *given(better)) == 0
    assert "{{ x }} 'y'" in (folder / "a" / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("configuration", "code"),
    [
        (None, 1),
        ("default_context: [", 1),
        ("default_context: [a]", 2),
        ("default_context: {description: '{{ cookiecutter.nope }}'}", 1),
        ("default_context: {description: '{{ 7'}", 1),
    ],
)
def test_a_broken_configuration_is_one_line(
    configuration: str | None,
    code: int,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "broken.yaml"
    if configuration:
        file.write_text(configuration)
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(file))
    assert call(monkeypatch, "--no-input", "-o", folder) == code
    assert capfd.readouterr().err.count("\n") == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError("disk full"), 1)], ids=str)
def test_a_project_that_is_half_made_is_removed(
    error: BaseException,
    code: int,
    folder: Path,
    replay: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        (folder / "durable-flights" / "src").mkdir(parents=True)
        raise error

    monkeypatch.setattr(durable_project, "cookiecutter", interrupted)
    assert call(monkeypatch, "--no-input", "-o", folder) == code
    assert list(folder.iterdir()) == []
    assert "no project was made" in capfd.readouterr().err.lower()


def test_a_folder_that_somebody_else_makes_meanwhile_is_left_alone(
    folder: Path, replay: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def late(*_: Any, **__: Any) -> None:
        (folder / "durable-flights").mkdir()
        raise OutputDirExistsException("it is there")

    monkeypatch.setattr(durable_project, "cookiecutter", late)
    assert call(monkeypatch, "--no-input", "-o", folder) == 1
    assert capfd.readouterr().err == "No project was made: it is there\n"
    assert [path.name for path in folder.iterdir()] == ["durable-flights"]


def test_a_hook_that_fails_is_heard_once(folder: Path, replay: Path, tmp_path: Path) -> None:
    template = tmp_path / ROOT.name
    copy_template(template)
    with (template / "hooks" / "post_gen_project.py").open("a") as file:
        file.write('\nraise SystemExit("this hook fails")\n')
    # In a process of its own: pytest handles what is logged here.
    program = (
        "import durable_project, pathlib;"
        f"durable_project.TEMPLATE = pathlib.Path({str(template)!r});"
        "raise SystemExit(durable_project.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-input", "-o", str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "this hook fails\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("prompt", FREE_TEXT)
def test_the_hook_checks_an_answer_alone(prompt: str) -> None:
    assert PRE.refusals({prompt: DEFAULTS[prompt]})[0] == []
    [reason] = PRE.refusals({prompt: "a\n"})[0]
    assert reason.startswith(prompt)
    assert PRE.refusals(PRE.refusals({prompt: "a\n"})[1])[0] == []


# The package


def copy_template(target: Path) -> None:
    for name in ("hooks", "{{cookiecutter.project_slug}}"):
        shutil.copytree(ROOT / name, target / name)
    shutil.copy(ROOT / "cookiecutter.json", target)


def test_bytecode_of_the_template_gets_into_no_project(tmp_path: Path) -> None:
    """An installer that compiles what it installs compiles the template too."""
    template = tmp_path / "template"
    copy_template(template)
    for folder in {path.parent for path in template.rglob("*.py")}:
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"\0\1")
    cookiecutter(template, "--no-input", "--output-dir", tmp_path / "made")
    assert snapshot(tmp_path / "made" / "durable-flights") == expected({}, tmp_path / "expected")


def test_it_is_short() -> None:
    modules = sorted((ROOT / "src" / "durable_project").glob("*.py"))
    assert [module.name for module in modules] == ["__init__.py", "__main__.py"]
    assert sum(len(module.read_text(encoding="utf-8").splitlines()) for module in modules) <= 200


def test_a_clone_uses_its_own_files() -> None:
    assert importlib.import_module("durable_project").TEMPLATE == ROOT


@pytest.mark.rotating
@pytest.mark.slow
def test_an_installed_wheel_makes_the_same_project(uv: str, tmp_path: Path, environment: dict[str, str]) -> None:
    def run(*command: object) -> str:
        # The paths of these tests are not those of the new environment.
        plain = {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        done = subprocess.run(
            [str(part) for part in command], cwd=tmp_path, env=plain, capture_output=True, text=True, check=False
        )
        if done.returncode and UNREACHABLE.search(done.stderr):
            pytest.skip(UNKNOWN)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", ROOT)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    run(uv, "venv", "--quiet", "--python", sys.executable, "env")
    python = tmp_path / "env" / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, wheel)
    run(python.with_name("durable-project"), "--no-input", "-o", "made", *given(AWKWARD))
    assert snapshot(tmp_path / "made" / "sons") == expected(AWKWARD, tmp_path / "expected")
