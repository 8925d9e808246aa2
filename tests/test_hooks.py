"""The hooks refuse what cannot work, say how it would, and keep what was chosen."""

import importlib.metadata
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import Bake
from cookiecutter.cli import main as cookiecutter
from hypothesis import example, given
from hypothesis import strategies as st
from projects import snapshot
from reserved import names
from tree import PROJECT, alternatives, answers_of
from variants import CHOICES, FREE_TEXT, ROOT, Answers, context, hook, pairwise

DEFAULTS: Answers = context()["cookiecutter"]
PRE = hook("pre_gen_project")


def reasons(**answers: str) -> list[str]:
    return PRE.refusals({**DEFAULTS, **answers})[0]


def better(**answers: str) -> Answers:
    return PRE.refusals({**DEFAULTS, **answers})[1]


# What is accepted


def test_the_defaults_are_accepted() -> None:
    assert reasons() == []


@pytest.mark.parametrize("slug", ["a", "a1", "flights-2", "a-b-c", "x" * 50])
def test_a_good_slug_is_accepted(slug: str) -> None:
    assert reasons(project_slug=slug) == []


@pytest.mark.parametrize(
    "package", ["a", "a1", "flights_2", "a_b_c", "x" * 40, "durable", "flows", "support", "conftest", "test_flights"]
)
def test_a_good_package_name_is_accepted(package: str) -> None:
    assert reasons(package_name=package) == []


@pytest.mark.parametrize("email", ["", "me@example.com", "first.last+tag@mail.example.co.uk"])
def test_a_good_email_is_accepted(email: str) -> None:
    assert reasons(author_email=email) == []


@pytest.mark.parametrize(
    "text", ['O\'Neil & "Sons"', "C:\\new\\", "👩‍👩‍👧‍👦 ❤️", "Ünïcödé 日本語", "{{ 7*7 }}", "x" * 100]
)
@pytest.mark.parametrize("prompt", ["project_name", "author_name", "description"])
def test_text_with_any_visible_characters_is_accepted(prompt: str, text: str) -> None:
    assert reasons(**{prompt: text}) == []


# What is refused


@pytest.mark.parametrize(
    "slug",
    [
        "Flights", "my.flights", "my_flights", "my/flights", "my\\flights", "..", ".", "", " ", "1flights", "-a", "a-",
        "a--b", "a b", "a\n", "ä", "/tmp/flights", "x" * 51, "prefect", "pytest", "con", "nul", "com1", "lpt9",
        "$(id)", "a;b", "{{x}}", "--help",
    ],
)  # fmt: skip
def test_a_slug_that_cannot_work_is_refused(slug: str) -> None:
    assert [reason for reason in reasons(project_slug=slug) if repr(slug) in reason]


@pytest.mark.parametrize("slug", ["python", "python3", "pip"])
def test_a_slug_whose_command_would_replace_one_of_the_environment_is_refused(slug: str) -> None:
    assert reasons(project_slug=slug)


@pytest.mark.parametrize(
    "package",
    [
        "Flights", "my-flights", "my.flights", "my/flights", "..", "", "1flights", "_flights", "a b", "a\n", "ä",
        "class", "async", "json", "types", "tests", "test", "src", "data", "prefect", "pydantic_settings", "con",
        "x" * 41,
    ],
)  # fmt: skip
def test_a_package_name_that_cannot_work_is_refused(package: str) -> None:
    assert [reason for reason in reasons(package_name=package) if repr(package) in reason]


def test_names_of_what_the_project_depends_on_are_refused(baked: Callable[[Answers], Path]) -> None:
    modules: dict[str, list[str]] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for distribution in distributions:
            modules.setdefault(re.sub(r"[-_.]+", "-", distribution).lower(), []).append(module)
    accepted = set()
    for variant in pairwise():
        project = tomllib.loads((baked(variant) / "pyproject.toml").read_text(encoding="utf-8"))
        for requirement in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]:
            name = re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower()
            packages = {name.replace("-", "_"), *modules.get(name, [])}
            accepted |= {f"project_slug {name}"} if not reasons(project_slug=name) else set()
            accepted |= {f"package_name {package}" for package in packages if not reasons(package_name=package)}
    assert not accepted, ", ".join(sorted(accepted))


def test_names_of_all_that_projects_install_are_refused() -> None:
    assert sorted(names() - PRE.DEPENDENCIES) == [], "`make pins` writes them into the hook"


def test_names_of_folders_that_tests_import_from_are_refused(baked: Callable[[Answers], Path]) -> None:
    """Pytest puts the project's folder before the place of the package."""
    packages = {path.parent.name for path in baked({}).glob("*/__init__.py")}
    assert packages == {"tests"}
    assert reasons(package_name="tests")


@pytest.mark.parametrize(
    "email", ["me", "me@", "@example.com", "me@example", "a b@example.com", 'a"@example.com', "a@b.c\n"]
)
def test_an_email_that_is_none_is_refused(email: str) -> None:
    assert [reason for reason in reasons(author_email=email) if repr(email) in reason]


@pytest.mark.parametrize(
    "text",
    [
        "a\nb", "a\r\nb", "a\tb", "a\x00b", "a\x1b[31mb", "a\x7fb", "a\u2028b", "a\u202eb", "a\u00a0b", "a\ufeffb",
        "a\ud800b", "a  b", " a", "a ", "\u202e", "\u200b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("prompt", ["project_name", "author_name", "description"])
def test_text_with_control_characters_or_stray_blanks_is_refused(prompt: str, text: str) -> None:
    assert [reason for reason in reasons(**{prompt: text}) if reason.startswith(prompt) and repr(text) in reason]


@pytest.mark.parametrize(("prompt", "limit"), [("project_name", 100), ("author_name", 100), ("description", 2000)])
def test_text_that_is_too_long_is_refused(prompt: str, limit: int) -> None:
    assert reasons(**{prompt: "x" * limit}) == []
    assert reasons(**{prompt: "x" * (limit + 1)}) == [f"{prompt} has {limit + 1} characters; at most {limit} fit"]


@pytest.mark.parametrize("text", ["", " ", "\u200d", "\ufe0f", "\u2800", "\u3164\u115f"], ids=ascii)
@pytest.mark.parametrize("prompt", ["project_name", "author_name", "description"])
def test_text_without_anything_to_see_is_refused(prompt: str, text: str) -> None:
    assert [reason for reason in reasons(**{prompt: text}) if reason.startswith(prompt)]


@pytest.mark.parametrize("number", range(len(PRE.REFUSED)))
def test_a_refused_combination_is_refused_with_its_reason(number: int) -> None:
    combination, reason, way_out = PRE.REFUSED[number]
    assert reason in reasons(**combination)
    assert reason not in reasons(**{**combination, **way_out})


def test_a_checkpoint_in_a_database_needs_one() -> None:
    [reason] = reasons(checkpoint="database", upsert="none")
    assert "checkpoint=database" in reason
    assert "upsert=none" in reason


@pytest.mark.parametrize(
    "answers",
    [{"result_storage": "local"}, {"upsert": "sqlite"}, {"upsert": "duckdb"}, {"checkpoint": "file"}],
    ids=str,
)
def test_what_is_on_the_disk_of_a_pod_is_refused(answers: Answers) -> None:
    lasting = {"deployment": "kubernetes", "result_storage": "s3", "upsert": "postgres", "checkpoint": "storage"}
    assert reasons(**lasting) == []
    [reason] = reasons(**{**lasting, **answers})
    assert "disk dies" in reason
    assert "deployment=process" in reason


@pytest.mark.parametrize("number", range(len(PRE.REFUSED)))
def test_the_table_of_refused_combinations_names_answers_that_exist(number: int) -> None:
    combination, _, way_out = PRE.REFUSED[number]
    for prompt, answer in [*combination.items(), *way_out.items()]:
        assert answer in CHOICES[prompt]


def test_several_faults_are_all_named_at_once() -> None:
    found = reasons(
        project_name="a\nb",
        project_slug="A",
        package_name="class",
        author_email="me",
        checkpoint="database",
        upsert="none",
    )
    assert [reason.split()[0] for reason in found] == [
        "project_name", "project_slug", "package_name", "author_email", "checkpoint=database",
    ]  # fmt: skip


# What is suggested


@given(
    st.fixed_dictionaries(
        {**dict.fromkeys(FREE_TEXT, st.text()), **{p: st.sampled_from(a) for p, a in CHOICES.items()}}
    )
)
@example(dict.fromkeys(FREE_TEXT, ""))
@example(dict.fromkeys(FREE_TEXT, "\u202e"))
@example(dict.fromkeys(FREE_TEXT, "\ud800"))
@example(dict.fromkeys(FREE_TEXT, "x" * 3000))
@example(dict.fromkeys(FREE_TEXT, "class"))
@example(dict.fromkeys(FREE_TEXT, "con"))
@example(dict.fromkeys(FREE_TEXT, "2024 " * 30))
@example(dict.fromkeys(FREE_TEXT, "日本"))
def test_the_suggested_answers_are_accepted(answers: Answers) -> None:
    suggested = better(**answers)
    assert reasons(**suggested) == []
    assert set(suggested) == {*FREE_TEXT, *CHOICES}


@given(st.fixed_dictionaries(dict.fromkeys(FREE_TEXT, st.text())))
def test_answers_that_are_right_are_not_changed(answers: Answers) -> None:
    wrong = " ".join(reasons(**answers))
    for prompt, answer in better(**answers).items():
        if prompt in answers and prompt not in wrong:
            assert answer == answers[prompt]


@pytest.mark.parametrize(
    "answers",
    [
        {"project_slug": "My Flights", "package_name": "class"},
        {"project_slug": "A", "author_name": "O'Neil", "description": 'Says "hello"; costs $HOME, `id` & $(id) \\'},
        {"project_slug": "A", "project_name": "{{ 7*7 }} {% raw %} {# no #}", "description": "{{ nowhere.to }} }} {"},
        {"project_slug": "A", "description": "first line\nsecond line"},
        {"checkpoint": "database", "upsert": "none", "author_email": "me"},
        {"deployment": "kubernetes"},
        {"deployment": "kubernetes", "upsert": "none"},
        {"deployment": "kubernetes", "upsert": "duckdb", "checkpoint": "file"},
    ],
    ids=["names", "quotes", "braces", "lines", "combination", "pods", "pods-no-database", "pods-files"],
)
def test_the_suggested_command_makes_a_project(refused: Callable[..., str], tmp_path: Path, answers: Answers) -> None:
    *_, line = refused(**answers).split("This would work:\n")[1].splitlines()[:1]
    program, *arguments = shlex.split(line)
    assert program == "cookiecutter"
    outcome = CliRunner().invoke(cookiecutter, [*arguments, "--output-dir", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    [project] = tmp_path.iterdir()
    written = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    expected = better(**answers)
    assert project.name == expected["project_slug"]
    assert written["description"] == expected["description"]
    assert written["authors"][0]["name"] == expected["author_name"]


def test_a_refusal_reaches_the_terminal_and_leaves_nothing(refused: Callable[..., str]) -> None:
    text = refused(project_slug="Flights", package_name="flights", author_email="me")
    assert text.count("\n  - ") == 2
    assert "\n  - project_slug 'Flights' " in text
    assert "\n  - author_email 'me' " in text


@pytest.mark.parametrize("project_name", ["🛫", "2024", "json", "Tests", "Prefect", "日本", "O'Neil's", "x" * 100])
def test_a_name_that_makes_a_bad_slug_is_still_met_with_a_project_or_with_reasons(
    refused: Callable[..., str], bake: Bake, project_name: str
) -> None:
    derived = context(project_name=project_name)["cookiecutter"]
    if PRE.refusals(derived)[0]:
        assert refused(project_name=project_name)
    else:
        assert bake(project_name=project_name)


# What is kept


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], None]:
    """The function that puts a chosen answer in its place, in an empty project."""
    monkeypatch.chdir(tmp_path)
    return hook("post_gen_project").keep


def write(*paths: str) -> None:
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.as_posix(), encoding="utf-8")


def tree() -> dict[str, str]:
    """The files of the current folder, and what was written into each: the path that it had."""
    files = sorted(path for path in Path().rglob("*") if path.is_file())
    return {path.as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_a_file_takes_the_place_of_its_folder(keep: Callable[[Path, str], None]) -> None:
    write("src/upsert/sqlite.py", "src/upsert/postgres.py", "src/other.py")
    keep(Path("src/upsert"), "sqlite")
    assert tree() == {"src/other.py": "src/other.py", "src/upsert.py": "src/upsert/sqlite.py"}


def test_a_file_without_an_ending_takes_the_name_of_its_folder(keep: Callable[[Path, str], None]) -> None:
    write("LICENSE/Apache-2.0", "LICENSE/MIT")
    keep(Path("LICENSE"), "Apache-2.0")
    assert tree() == {"LICENSE": "LICENSE/Apache-2.0"}


def test_a_folder_goes_to_the_root(keep: Callable[[Path, str], None]) -> None:
    write("ci/github/.github/workflows/ci.yml", "ci/gitlab/.gitlab-ci.yml", "README.md")
    keep(Path("ci"), "github")
    assert tree() == {".github/workflows/ci.yml": "ci/github/.github/workflows/ci.yml", "README.md": "README.md"}


def test_a_file_serves_all_answers_that_it_names(keep: Callable[[Path, str], None]) -> None:
    write("src/flow/none.py", "src/flow/sqlite+postgres.py", "src/stubs/none.pyi", "src/stubs/sqlite+postgres.pyi")
    keep(Path("src/flow"), "postgres")
    keep(Path("src/stubs"), "sqlite")
    assert tree() == {"src/flow.py": "src/flow/sqlite+postgres.py", "src/stubs.pyi": "src/stubs/sqlite+postgres.pyi"}


def test_what_answers_share_goes_beside_the_folder(keep: Callable[[Path, str], None]) -> None:
    write("src/upsert/sqlite.py", "src/upsert/postgres.py", "src/upsert/shared/tables.py")
    keep(Path("src/upsert"), "postgres")
    assert tree() == {"src/tables.py": "src/upsert/shared/tables.py", "src/upsert.py": "src/upsert/postgres.py"}


def test_what_some_answers_share_goes_beside_the_folder_with_them(keep: Callable[[Path, str], None]) -> None:
    for answer, tree_then in (
        ("s3", {"src/results.py": "src/results/s3.py", "src/block.py": "src/results/shared+s3+gcs/block.py"}),
        ("local", {"src/results.py": "src/results/local.py"}),
    ):
        shutil.rmtree("src", ignore_errors=True)
        write("src/results/local.py", "src/results/s3.py", "src/results/gcs.py", "src/results/shared+s3+gcs/block.py")
        keep(Path("src/results"), answer)
        assert tree() == tree_then


def test_none_may_have_a_file_and_has_nothing_shared(keep: Callable[[Path, str], None]) -> None:
    write("src/retries/none.py", "src/retries/fixed.py", "src/retries/shared/attempts.py")
    keep(Path("src/retries"), "none")
    assert tree() == {"src/retries.py": "src/retries/none.py"}


def test_none_without_a_file_removes_all(keep: Callable[[Path, str], None]) -> None:
    write("src/upsert/sqlite.py", "src/upsert/shared/tables.py", "src/other.py")
    keep(Path("src/upsert"), "none")
    assert tree() == {"src/other.py": "src/other.py"}
    assert sorted(path.name for path in Path("src").iterdir()) == ["other.py"]


def test_an_answer_without_a_file_is_an_error(keep: Callable[[Path, str], None]) -> None:
    write("src/upsert/sqlite.py")
    with pytest.raises(SystemExit, match="upsert/oracle"):
        keep(Path("src/upsert"), "oracle")


def test_folders_of_the_hook_are_those_of_the_tree() -> None:
    found: dict[str, set[str]] = {}
    for folder, prompt in alternatives():
        name = folder.relative_to(PROJECT).as_posix().replace("{{cookiecutter.package_name}}", "package")
        # What an example brings is in its place when it has been chosen.
        found.setdefault(prompt, set()).add(re.sub(r"^example/\w+/", "", name))
    folders: dict[str, list[str]] = hook("post_gen_project", package_name="package").FOLDERS
    assert {prompt: set(paths) for prompt, paths in folders.items()} == found
    assert next(iter(folders)) == "example", "it has folders of alternatives too"


def test_every_choice_of_a_folder_has_its_file() -> None:
    for folder, prompt in alternatives():
        files = [path.name for path in folder.iterdir() if not path.name.startswith(("shared", "__pycache__"))]
        there = [answer for name in files for answer in answers_of(name, prompt)[0]]
        assert len(there) == len(set(there)), f"{folder} has two files for an answer"
        assert {*there, "none"} == {*CHOICES[prompt], "none"}, folder


def test_the_end_says_what_was_answered_and_what_comes_next(bake: Bake, capfd: pytest.CaptureFixture[str]) -> None:
    """All of it, for Cookiecutter drops a misspelt name without a word."""
    given = {"project_slug": "flights", "cache_key": "none", "author_name": "Zoë", "python_version": "3.13"}
    bake(**given)
    output = capfd.readouterr().out
    said = dict(re.findall(r"^  (\w+) = (.*)$", output, re.MULTILINE))
    known = {prompt: answer for prompt, answer in DEFAULTS.items() if not prompt.startswith("_")}
    assert said == {**known, "package_name": "flights", **given}
    assert output.endswith("Next: cd flights && make run\n")


def test_the_end_says_how_to_write_the_first_flow(bake: Bake, capfd: pytest.CaptureFixture[str]) -> None:
    bake(project_slug="prices", example="none")
    assert capfd.readouterr().out.endswith("Next: cd prices && make flow NAME=orders\n")


def test_a_folder_that_has_a_project_is_left_as_it_is(tmp_path: Path) -> None:
    bake = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--output-dir", str(tmp_path)]
    subprocess.run(bake, check=True, capture_output=True)
    made = snapshot(tmp_path)
    for more in (["-f"], ["-f", "-s"]):
        options = [*more, "upsert=none", "checkpoint=none"]
        again = subprocess.run([*bake, *options], capture_output=True, text=True, check=False)
        assert again.returncode != 0
        assert again.stderr.startswith(f"No project was made: {tmp_path / 'durable-flights'} has one, and files of")
        assert snapshot(tmp_path) == made


def test_the_list_of_standard_modules_is_that_of_the_running_python() -> None:
    assert [
        name for name in sys.stdlib_module_names if re.fullmatch(r"[a-z]\w*", name) and not reasons(package_name=name)
    ] == []
