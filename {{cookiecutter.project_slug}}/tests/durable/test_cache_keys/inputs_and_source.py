"""Keys by inputs and source: what a task can reach counts, and nothing else."""

import gc
import importlib
import inspect
import linecache
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from importlib.machinery import EXTENSION_SUFFIXES
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest
from prefect import Task, flow

from {{ cookiecutter.package_name }}.durable import cache_keys
from {{ cookiecutter.package_name }}.durable.cache_keys import cache_key, fingerprint
from {{ cookiecutter.package_name }}.durable.tasks import durable_task

TASK = """
from {{ cookiecutter.package_name }}.durable.tasks import durable_task

{imports}

@durable_task(version="1")
def work() -> str:
    {inner}
    return "done"
"""
FILES = {
    "example/__init__.py": "",
    "example/near.py": "from .deep import far\nVALUE = 1\n",
    "example/deep/__init__.py": "",
    "example/deep/far.py": "import example.near\nVALUE = 1\n",
    "example/unrelated.py": "VALUE = 1\n",
}


def write(folder: Path, imports: str = "", inner: str = "pass") -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "example/job.py").write_text(TASK.format(imports=imports, inner=inner))


def forget() -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == "example"]:
        del sys.modules[module]
    importlib.invalidate_caches()
    fingerprint.cache_clear()


def key(name: str = "example.job") -> str:
    """The key of a task, as a new process finds it."""
    forget()
    context: Any = SimpleNamespace(task=importlib.import_module(name).work)
    return cache_key(context, {})


def key_with(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"example/{name}.py").write_text(text)
    return key()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    forget()


@pytest.mark.parametrize(
    ("imports", "inner"),
    [
        ("from .near import VALUE", "pass"),
        ("from . import near", "pass"),
        ("from .near import *", "pass"),
        ("from . import *", "pass"),
        ("import example.near", "pass"),
        ("import example.near as other", "pass"),
        ("from example import near as other", "pass"),
        ("from example.near import VALUE", "pass"),
        ("", "from .near import VALUE"),
        ("", "import example.deep.far"),
        ("if True:\n    from .deep import far", "pass"),
        ("try:\n    import example.deep.far\nexcept ImportError:\n    pass", "pass"),
    ],
)
def test_change_of_what_is_imported_changes_the_key(folder: Path, imports: str, inner: str) -> None:
    write(folder, imports, inner)
    if "*" in imports:
        (folder / "example/__init__.py").write_text("__all__ = ['near']\n")
    before = key()
    assert key() == before
    # Two imports away, and around a cycle.
    for name in ("example/deep/far.py", "example/deep/__init__.py", "example/near.py"):
        text = (folder / name).read_text()
        (folder / name).write_text(text + "MORE = 2\n")
        assert key() != before, name
        (folder / name).write_text(text)
    assert key() == before


def test_package_that_is_imported_by_the_way_counts(folder: Path) -> None:
    write(folder)
    before = key()
    (folder / "example/__init__.py").write_text("MORE = 2\n")
    assert key() == before, "the package is not imported by the module"
    write(folder, "import example.unrelated")
    before = key()
    (folder / "example/__init__.py").write_text("from .deep import far\n")
    between = key()
    assert between != before
    (folder / "example/deep/far.py").write_text("VALUE = 2\n")
    assert key() != between


@pytest.mark.parametrize(
    ("imports", "module"),
    [("", "tasks.py"), ("from {{ cookiecutter.package_name }}.durable import Reject", "rejects.py")],
    ids=["its module", "imported lazily"],
)
def test_the_projects_package_counts_for_tasks_outside_of_it(
    imports: str, module: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, imports)
    before = key()
    text = Path(str(cache_keys.__file__)).with_name(module).read_bytes()
    read = Path.read_bytes
    changed = {module: text + b"\nMORE = 2\n"}
    monkeypatch.setattr(Path, "read_bytes", lambda path: changed.get(path.name) or read(path))
    assert key() != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("VALUE = 1", "VALUE = 1  # a comment"),
        ("VALUE = 1", "\n\n# a comment\nVALUE=(1)\n\n"),
        ("VALUE = 1", "VALUE = 0x1"),
        ("VALUE = 1", "VALUE = \\\n    1"),
    ],
)
def test_comments_and_formatting_do_not_count(folder: Path, old: str, new: str) -> None:
    write(folder, "from . import near")
    before = key()
    file = folder / "example/near.py"
    file.write_text(file.read_text().replace(old, new))
    assert key() == before


@pytest.mark.parametrize("new", ["VALUE = 2", "VALUE = 1.0", "VALUE = True", "OTHER = 1", '"""Said."""\nVALUE = 1', ""])
def test_all_else_counts(folder: Path, new: str) -> None:
    write(folder, "from . import near")
    before = key()
    (folder / "example/near.py").write_text("from .deep import far\n" + new + "\n")
    assert key() != before


def test_modules_that_are_not_imported_do_not_count(folder: Path) -> None:
    write(folder, "from . import near", "importlib = __import__('importlib')")
    before = key()
    (folder / "example/unrelated.py").write_text("VALUE = 2\n")
    (folder / "example/another.py").write_text("VALUE = 2\n")
    assert key() == before


def test_place_of_the_files_does_not_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "from . import near")
    before = key()
    (folder / "example").rename(folder / "moved")
    (folder / "elsewhere").mkdir()
    (folder / "moved").rename(folder / "elsewhere" / "example")
    monkeypatch.syspath_prepend(folder / "elsewhere")
    assert key() == before


def test_module_without_a_package_is_read_too(folder: Path) -> None:
    write(folder)
    (folder / "example/job.py").rename(folder / "alone.py")
    keys = []
    for value in (1, 2):
        with (folder / "alone.py").open("a") as file:
            file.write(f"VALUE = {value}\n")
        sys.modules.pop("alone", None)
        keys.append(key("alone"))
    assert keys[0] != keys[1]


def wrapped(fn: Callable[[], None]) -> Callable[[], None]:
    @wraps(fn)
    def wrapper() -> None:
        fn()

    return wrapper


def test_task_of_a_wrapped_function_has_a_key() -> None:
    def work() -> None: ...

    keys = []
    for fn in (work, wrapped(work), wrapped(wrapped(work))):
        context: Any = SimpleNamespace(task=durable_task(version="1")(fn))
        keys.append(cache_key(context, {}))
    assert len(set(keys)) == 1


def test_task_without_a_source_is_refused_when_it_is_made() -> None:
    namespace: dict[str, Any] = {"__name__": "nowhere"}
    exec("def work(): ...", namespace)
    with pytest.raises(TypeError) as raised:
        durable_task(version="1")(namespace["work"])
    assert str(raised.value) == (
        "task work: work has no source to see a change in; define it in a module, or give the task"
        " `cache_policy=NO_CACHE`"
    )


def test_task_whose_file_is_gone_is_refused_when_it_is_made(folder: Path) -> None:
    write(folder)
    (folder / "example/job.py").write_text("import os\nos.remove(__file__)\n" + TASK.format(imports="", inner="pass"))
    with pytest.raises(TypeError, match=r"^task work: the source of example.job is not at .*; define it in a module"):
        key()


def test_helper_that_cannot_be_parsed_is_named_when_the_task_is_made(folder: Path) -> None:
    write(folder, "", "import example.unrelated")
    (folder / "example/unrelated.py").write_text("no python\n")
    with pytest.raises(TypeError, match=r"^task work: the source of example.unrelated cannot be parsed: "):
        key()


def test_code_in_a_zip_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "from .near import VALUE\nfrom .star import *")
    (folder / "example/star").mkdir()
    (folder / "example/star/__init__.py").write_text("__all__ = ['far']\n")
    (folder / "example/star/far.py").write_text("VALUE = 1\n")
    before = key()
    keys = []
    for number, (name, text) in enumerate(
        [
            ("unrelated", "VALUE = 2\n"),
            ("job", (folder / "example/job.py").read_text() + "MORE = 2\n"),
            ("deep/far", "VALUE = 2\n"),
            ("star/far", "VALUE = 2\n"),
        ]
    ):
        place = folder / f"{number}.zip"
        with zipfile.ZipFile(place, "w") as file:
            for path in (folder / "example").rglob("*.py"):
                file.write(path, path.relative_to(folder))
        with zipfile.ZipFile(place, "a") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file.writestr(f"example/{name}.py", text)
        monkeypatch.syspath_prepend(place)
        keys.append(key())
        assert str(place) in str(sys.modules["example"].__file__)
    assert keys[0] == before, "the same code has the same key in a folder and in a zip"
    assert len(set(keys)) == 4


def test_extension_counts_by_its_bytes(folder: Path) -> None:
    write(folder, "", "import example.built")
    keys = []
    for content in (b"1", b"2"):
        (folder / f"example/built{EXTENSION_SUFFIXES[0]}").write_bytes(content)
        keys.append(key())
    assert keys[0] != keys[1]


def test_task_that_is_sent_keeps_the_fingerprint_of_its_code(folder: Path) -> None:
    write(folder, "from . import near")
    keys = [key()]
    sent = cloudpickle.dumps(sys.modules["example.job"].work)
    (folder / "example/near.py").write_text("VALUE = 2\n")
    keys.append(key())
    forget()
    assert key_of(cloudpickle.loads(sent)) == keys[0] != keys[1]


CELLS = {
    "constant": "FACTOR = 2\n",
    "helper": "def helper():\n    return FACTOR * deeper()\ndef deeper():\n    return 1\n",
    "kind": "class Base:\n    def f(self):\n        return 1\nclass Kind(Base):\n    g = lambda self: other()\n",
    "around": "def around(fn):\n    @wraps(fn)\n    def inner():\n        return fn()\n    return inner\n",
    "unrelated": "x = 1\n",
    "load": '@durable_task(version="1")\n@around\ndef load():\n    return helper(), Kind().f(), near.VALUE\n',
    "other": "def other():\n    return 1\n",
}
NOTEBOOK = "notebook.ipynb"


def run_cells(**changed: str) -> Task[Any, Any]:
    variables: dict[str, Any] = {
        "__name__": "__main__",
        "__file__": NOTEBOOK,
        "durable_task": durable_task,
        "wraps": wraps,
        "near": wraps,
    }
    for name, text in (CELLS | changed).items():
        file = f"/tmp/ipykernel_{next(NUMBERS)}/{name}.py"
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
        exec(compile(text, file, "exec"), variables)
    return variables["load"]  # type: ignore[no-any-return]


NUMBERS = count()


def key_of(task: Task[Any, Any]) -> str:
    context: Any = SimpleNamespace(task=task)
    return cache_key(context, {})


def key_of_cells(**changed: str) -> str:
    return key_of(run_cells(**changed))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("constant", "2", "3"),
        ("helper", "FACTOR * deeper", "deeper"),
        ("helper", "return 1", "return 2"),
        ("kind", "return 1", "return 2"),
        ("around", "return fn()", "return None"),
        ("load", "helper(), ", ""),
        ("other", "1", "2"),
    ],
)
def test_change_of_a_cell_that_a_task_uses_changes_its_key(name: str, old: str, new: str) -> None:
    assert key_of_cells() == key_of_cells() != key_of_cells(**{name: CELLS[name].replace(old, new, 1)})


def test_change_of_another_cell_does_not_count() -> None:
    assert key_of_cells() == key_of_cells(unrelated="x = 2\n", helper=CELLS["helper"] + "# a comment\n")


def test_cell_that_is_run_again_counts_for_the_task_that_is_there() -> None:
    task = run_cells()
    expected = key_of_cells(constant="FACTOR = 3\n")
    assert key_of(task) != expected
    inspect.unwrap(task.fn).__globals__["FACTOR"] = 3
    assert key_of(task) == expected
    assert key_of(cloudpickle.loads(cloudpickle.dumps(task))) == expected


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"constant": "FACTOR = object()\n"}, "helper uses FACTOR, which no key can tell from others"),
        ({"kind": "class Kind:\n    x = 1\n"}, "class Kind has no method to find its source by"),
    ],
)
def test_cell_that_has_no_fingerprint_is_refused_when_the_task_is_made(changed: dict[str, str], reason: str) -> None:
    with pytest.raises(TypeError) as raised:
        run_cells(**changed)
    assert str(raised.value).startswith(f"task load: {reason}; define it in a module, or give the task")
    assert "\n" not in str(raised.value)


def test_code_of_the_project_counts_for_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [
        {"load": CELLS["load"].replace("near.VALUE", "durable_task")},
        {"load": CELLS["load"].replace("near.VALUE", "project.durable"), "constant": CELLS["constant"] + IMPORT},
        {"helper": "def helper():\n    from {{ cookiecutter.package_name }}.durable import durable_task\n"},
    ]
    before = [key_of_cells(**changed) for changed in cells]
    tasks = Path(str(cache_keys.__file__)).with_name("tasks.py").read_bytes()
    read = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: tasks + b"\nMORE = 2\n" if path.name == "tasks.py" else read(path)
    )
    after = [key_of_cells(**changed) for changed in cells]
    assert not set(before) & set(after)


IMPORT = "import {{ cookiecutter.package_name }} as project\n"


SOURCE = r'''
"""Said."""


class A:
    """Said.

        Indented.
    """

    x: int = -1

    def f(self, /, a, *b, c=None, **d):
        return f"{a!r:>{self.x}} {b=}" f'{c:{a}.{a}}' 'é\u200b'


try:
    pass
except* ValueError as e:
    lambda: {**{}, 1: [*()]}
'''
GOLDEN = "556a2fba5ec6b3f689ebdada6978ba02c09e5128adbd5b3a8bf8e90c46eaeca9"


def test_fingerprint_is_the_same_on_every_python(tmp_path: Path) -> None:
    """`ast.dump` is not: 3.12 has type parameters and empty pieces of f-strings, 3.13 leaves out empty lists."""
    (tmp_path / "golden.py").write_text(SOURCE, encoding="utf-8")
    assert fingerprint("golden", tmp_path / "golden.py") == GOLDEN


@pytest.mark.usefixtures("api")
def test_task_is_run_again_when_its_code_has_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "from . import near", "print('ran')")

    def ran() -> int:
        key()

        @flow
        def job() -> None:
            sys.modules["example.job"].work()

        job()
        return capsys.readouterr().out.count("ran\n")

    assert ran() == 1
    assert ran() == 0
    (folder / "example/deep/far.py").write_text("VALUE = 2\n")
    assert ran() == 1


DURABLE = "from {{ cookiecutter.package_name }}.durable.tasks import durable_task\n"


def test_function_behind_a_decorator_that_does_not_name_it_counts(folder: Path) -> None:
    write(folder)
    around = "def around(fn):\n    def inner():\n        return fn()\n    return inner\n"
    job = f'{DURABLE}from .around import around\n@durable_task(version="1")\n@around\ndef work():\n    return %d\n'
    assert key_with(folder, around=around, job=job % 1) != key_with(folder, job=job % 2)


def test_function_that_a_factory_was_given_counts(folder: Path) -> None:
    write(folder)
    factory = f'{DURABLE}def make(fn):\n    @durable_task(version="1")\n    def do():\n        fn()\n    return do\n'
    helper = "def help():\n    return %d\n"
    (folder / "example/job.py").write_text("from .factory import make\nfrom .helper import help\nwork = make(help)\n")
    assert key_with(folder, factory=factory, helper=helper % 1) != key_with(folder, helper=helper % 2)


def test_threads_may_read_code_at_the_same_time() -> None:
    # Without a lock Python 3.11 raises SystemError in most rounds, if garbage is collected while it parses.
    before = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(interrupt)
    try:
        gc.set_threshold(50, 2, 2)
        sys.setswitchinterval(1e-6)
        read = partial(fingerprint.__wrapped__, cache_keys.__name__, Path(str(cache_keys.__file__)))
        with ThreadPoolExecutor(4) as pool:
            found = [pool.submit(read) for _ in range(8)]
        assert len({future.result() for future in found}) == 1
    finally:
        gc.callbacks.remove(interrupt)
        gc.set_threshold(*before[0])
        sys.setswitchinterval(before[1])


def interrupt(_phase: str, _info: object) -> None:
    sum(range(50))
