"""The rules of a project's two rooms, what its owner writes and what the template keeps, read from their code."""

import ast
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Bake
from projects import snapshot
from tree import PROJECT, alternatives, answers_of
from variants import CHOICES, ROOT, Answers, chosen, each, pairwise

Baked = Callable[[Answers], Path]
each_variant = pytest.mark.parametrize("variant", each(chosen()))
PACKAGE = "durable_flights"
DURABLE = f"{PACKAGE}.durable"

LAYERS = [
    "artifacts canonical context errors fields idempotency masking names parts probe progress",
    "settings",
    "backfills block delivery discovery files identity labels limits runs server tables transient",
    "attempts cache_keys migrations results rows",
    "bounds locks marks retries upserts",
    "checkpoints deployments high_water tasks",
    "claims clusters effects rejects",
    "outbox records runners",
    "steps",
    "cursors",
    "chunks",
    "flows",
    "heartbeats prefect_yaml resume scaffold transfer",
    "alerts drill switch",
    "cli doctor",
]
"""The modules of `durable`, from the ground up: each imports from layers below its own. CONTRIBUTING says why."""


# Imports


def imports(tree: ast.AST, module: str, late: bool = False) -> Iterator[str]:
    """Yield the full names of what is imported with a module; with `late`, of what its functions import too.

    Imports for types alone do not count.
    """
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = module.split(".")[: -node.level] if node.level else []
                base += [node.module] if node.module else []
                yield from (".".join([*base, alias.name]) for alias in node.names)
            case ast.If() if ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef() if not late:
                continue
            case _:
                yield from imports(node, module, late)


def durable(project: Path) -> dict[str, ast.Module]:
    """Return the modules of `durable` by their names."""
    folder = project / "src" / PACKAGE / "durable"
    files = sorted(folder.glob("*.py"))
    assert {file.parent for file in folder.rglob("*.py")} == {folder}, "the rules are for modules in one folder"
    return {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in files}


@pytest.mark.rotating
@each_variant
def test_durable_imports_nothing_of_the_owners(baked: Baked, variant: Answers) -> None:
    for module, tree in durable(baked(variant)).items():
        found = [name for name in imports(tree, f"{DURABLE}.{module}", late=True) if name.startswith(f"{PACKAGE}.")]
        assert [name for name in found if not name.startswith(f"{DURABLE}.")] == [], module


def neighbours(tree: ast.Module, module: str) -> set[str]:
    """Return the modules of `durable` that one of them imports with it."""
    names = (name for name in imports(tree, f"{DURABLE}.{module}") if name.startswith(f"{DURABLE}."))
    # `from .settings import PREFIX` is one of `settings.PREFIX`, `from . import settings` one of `settings`.
    return {name.removeprefix(f"{DURABLE}.").partition(".")[0] for name in names}


@each_variant
def test_modules_import_from_lower_layers_alone(baked: Baked, variant: Answers) -> None:
    """So there are no circles."""
    layer = {module: number for number, line in enumerate(LAYERS) for module in line.split()}
    trees = durable(baked(variant))
    assert neighbours(trees.pop("__init__"), "__init__") == set(), "the public verbs are imported when they are used"
    for module, tree in trees.items():
        assert module in layer, f"{module} stands in no layer"
        for other in neighbours(tree, module):
            assert layer[other] < layer[module], f"{module} imports {other}, which does not stand below it"


def test_layers_have_each_module_once(baked: Baked) -> None:
    every = {module for variant in pairwise() for module in durable(baked(variant))} - {"__init__"}
    assert sorted(" ".join(LAYERS).split()) == sorted(every)


def test_contributors_are_told_the_layers() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The layers of `durable/`\n")[2]
    rows = re.findall(r"^\| \d+ \| (.+?) \|", section, re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == [line.split() for line in LAYERS]


def test_imports_are_found() -> None:
    text = """
import a
from . import b
from .c import d
from ..e import f
if TYPE_CHECKING:
    from .types import t
try:
    import g
except ImportError:
    pass
class H:
    import i
def late():
    from .j import k
"""
    now = ["a", "p.q.b", "p.q.c.d", "p.e.f", "g", "i"]
    assert list(imports(ast.parse(text), "p.q.r")) == now
    assert list(imports(ast.parse(text), "p.q.r", late=True)) == [*now, "p.q.j.k"]


# The example


def without_example() -> list[Answers]:
    """Return variants without an example in which any two answers come together."""
    found = ({**variant, "example": "none"} for variant in pairwise())
    return list({tuple(variant.items()): variant for variant in found}.values())


@pytest.mark.rotating
@pytest.mark.parametrize("variant", each(without_example()))
def test_nothing_of_an_example_is_in_a_project_without(bake: Bake, variant: Answers) -> None:
    project = bake(**variant, project_name="Daily Prices")
    for path in sorted(project.rglob("*")):
        assert "flight" not in path.name.lower(), path
        if path.is_file():
            lines = path.read_bytes().lower().splitlines()
            found = [number for number, line in enumerate(lines, 1) if b"flight" in line]
            assert found == [], f"{path.relative_to(project)} names flights in these lines"


def test_the_templates_room_knows_no_example(baked: Baked) -> None:
    """Not by the name of a flow, nor of its table, nor of a variable that one of its settings is read from."""
    settings = ast.parse((baked({}) / "src" / PACKAGE / "flows/flights/settings.py").read_text(encoding="utf-8"))
    (fields,) = (node.body for node in settings.body if isinstance(node, ast.ClassDef))
    names = [node.target.id.upper() for node in fields if isinstance(node, ast.AnnAssign)]
    assert {"SOURCE", "CHUNK_DAYS"} == set(names)
    # After a prefix, as in PRICES_SOURCE or f"{PREFIX}SOURCE".
    known = re.compile(rf"(?i:flight)|[_}}]({'|'.join(names)})\b")
    rooms = [next((PROJECT / "src").iterdir()) / "durable", PROJECT / "tests/durable", PROJECT / "tests/support"]
    files = [PROJECT / "tests/conftest.py", *(path for room in rooms for path in sorted(room.rglob("*.py")))]
    assert len(files) > 100
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if known.search(line)]
        assert found == [], path.relative_to(PROJECT)


def remove_example(project: Path) -> None:
    """Remove the example as the README says: three paths, and an entry of `prefect.yaml`."""
    shutil.rmtree(project / "src" / PACKAGE / "flows" / "flights")
    (project / "tests/flows/test_flights.py").unlink()
    (project / "data/flights.csv").unlink()
    (project / "data").rmdir()
    prefect_yaml = project / "prefect.yaml"
    before, entry = prefect_yaml.read_text(encoding="utf-8").split("deployments:\n")
    assert entry.count("  - name: ") == 1
    prefect_yaml.write_text(before + "deployments: []\n", encoding="utf-8")


PROSE = {"README.md", ".env.example", "prefect.yaml"}
"""Texts and comments for people, which tell of the example where there is one."""


@pytest.mark.rotating
@pytest.mark.parametrize("variant", each(without_example()))
def test_an_example_that_is_removed_by_hand_leaves_nothing(
    baked: Baked, copy: Callable[[Path], Path], variant: Answers
) -> None:
    project = copy(baked({**variant, "example": "flights"}))
    remove_example(project)
    found, expected = snapshot(project), snapshot(baked(variant))
    assert found.keys() == expected.keys()
    assert {name for name in found if found[name] != expected[name]} <= PROSE
    said, wanted = (yaml.safe_load((place / "prefect.yaml").read_text()) for place in (project, baked(variant)))
    assert said == wanted


# Alternatives

JINJA = re.compile(r"\{\{ cookiecutter\.(package_name( \| upper)?|project_slug) \}\}")


def test_python_holds_no_jinja_but_names() -> None:
    """So that editors, linters and people read it as it is."""
    files = [file for file in sorted(PROJECT.rglob("*.py*")) if file.suffix in {".py", ".pyi"}]
    assert len(files) > 100
    found = {
        str(file.relative_to(PROJECT)): lines
        for file in files
        if (lines := re.findall(r".*(?:\{\{|\{%|\{#).*", JINJA.sub("", file.read_text(encoding="utf-8"))))
    }
    assert found == {}


def parsed(file: Path) -> ast.Module:
    """Parse a Python file of the template."""
    return ast.parse(JINJA.sub("package", file.read_text(encoding="utf-8")), str(file))


def public(tree: ast.Module) -> dict[str, ast.stmt | None]:
    """Return what a module offers: the names in its `__all__`, and those that it defines without an underscore."""
    found: dict[str, ast.stmt | None] = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found[node.name] = node
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                found |= {name: None for name in ast.literal_eval(node.value) if name not in found}
            case ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = node
    return {name: node for name, node in found.items() if not name.startswith("_")}


def signatures(name: str, node: ast.stmt | None) -> dict[str, str]:
    """Return the parameters of a function, or of the public methods of a class, by name."""
    match node:
        case ast.FunctionDef():
            return {name: ast.unparse(node.args)}
        case ast.ClassDef():
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef))
            return {
                f"{name}.{each.name}": ast.unparse(each.args)
                for each in methods
                if not each.name.startswith("_") or each.name == "__init__"
            }
    return {}


def code_folders() -> Iterator[tuple[Path, str]]:
    """Yield the folders of alternatives in `durable`."""
    for folder, prompt in alternatives():
        if folder.parent.name == "durable" and list(folder.glob("*.py")) and "tests" not in folder.parts:
            yield folder, prompt


FOLDERS = [pytest.param(*found, id=found[0].relative_to(PROJECT).as_posix()) for found in code_folders()]
each_folder = pytest.mark.parametrize(("folder", "prompt"), FOLDERS)


@each_folder
def test_alternatives_have_equal_signatures(folder: Path, prompt: str) -> None:
    """Of what they all have; `test_callers_find_what_they_take` sees to it that they have what it takes."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for file in sorted(folder.glob("*.py")):
        for name, node in public(parsed(file)).items():
            # A type of SQLAlchemy's has methods for its dialect.
            if name != "ExactNumeric":
                for function, parameters in signatures(name, node).items():
                    found[function][file.stem] = parameters
    assert {name: texts for name, texts in found.items() if len(set(texts.values())) > 1} == {}


SOME_ALONE = {
    "checkpoints": {"database": {"steps"}},
    "retries": {"exponential escalating fixed": {"DELAYS", "task_retries"}},
    "upserts": {
        "sqlite postgres duckdb": {"ExactNumeric", "UpsertReport", "database", "database_settings", "insert", "upsert"}
    },
}
"""What only some alternatives have, and files for all answers ask for all the same."""


def taken(tree: ast.Module, module: str) -> set[str]:
    """Return what a file takes of a module of `durable`: names that it imports of it, and attributes."""
    found = set()
    for node in ast.walk(tree):
        match node:
            # Prefect has modules of the same names.
            case ast.ImportFrom(module=where) if f".{where}".endswith(f".{module}") and where != f"prefect.{module}":
                found |= {alias.name for alias in node.names}
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == module:
                found.add(attribute)
    return found


@each_folder
def test_callers_find_what_they_take(folder: Path, prompt: str) -> None:
    """What files for any answer to a prompt take of an alternative, each of the alternatives has."""
    others = [path for path, of in alternatives() if of == prompt]
    callers = [file for file in PROJECT.rglob("*.py") if not any(file.is_relative_to(other) for other in others)]
    wanted = set().union(*(taken(parsed(file), folder.name) for file in callers))
    assert wanted
    for file in folder.glob("*.py"):
        answers = answers_of(file.name, prompt)[0]
        tree = parsed(file)
        imported = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        offered = {*public(tree), *imported}
        alone = SOME_ALONE.get(folder.name, {})
        excepted = {name for which, names in alone.items() if not answers & {*which.split()} for name in names}
        assert wanted - offered - excepted == set(), f"{file.name} lacks what callers take"


def test_exceptions_name_what_is_there() -> None:
    for name, alone in SOME_ALONE.items():
        ((folder, prompt),) = (found for found in code_folders() if found[0].name == name)
        for which, names in alone.items():
            for file in folder.glob("*.py"):
                has = answers_of(file.name, prompt)[0] <= {*which.split()}
                assert (names <= public(parsed(file)).keys()) == has, file
            assert {*which.split()} <= {*CHOICES[prompt]}
