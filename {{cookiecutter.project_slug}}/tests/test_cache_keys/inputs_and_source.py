"""Keys by inputs and source: what a task can reach counts, and nothing else."""

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow

from {{ cookiecutter.package_name }} import cache_keys
from {{ cookiecutter.package_name }}.cache_keys import cache_key, fingerprint
from {{ cookiecutter.package_name }}.durable import durable_task

TASK = """
from {{ cookiecutter.package_name }}.durable import durable_task

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


def key_of(folder: Path, **files: str) -> str:
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


def test_the_projects_package_counts_for_tasks_outside_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder)
    before = key()
    durable = Path(str(cache_keys.__file__)).with_name("durable.py").read_bytes()
    read = Path.read_bytes
    changed = {"durable.py": durable + b"\nMORE = 2\n"}
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


def test_task_without_a_source_is_an_error() -> None:
    namespace: dict[str, Any] = {"__name__": "nowhere"}
    exec("def work(): ...", namespace)
    context: Any = SimpleNamespace(task=durable_task(version="1")(namespace["work"]))
    with pytest.raises(TypeError, match="work has no source file"):
        cache_key(context, {})


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


DURABLE = "from {{ cookiecutter.package_name }}.durable import durable_task\n"


def test_function_behind_a_decorator_that_does_not_name_it_counts(folder: Path) -> None:
    write(folder)
    around = "def around(fn):\n    def inner():\n        return fn()\n    return inner\n"
    job = f'{DURABLE}from .around import around\n@durable_task(version="1")\n@around\ndef work():\n    return %d\n'
    assert key_of(folder, around=around, job=job % 1) != key_of(folder, job=job % 2)


def test_function_that_a_factory_was_given_counts(folder: Path) -> None:
    write(folder)
    factory = f'{DURABLE}def make(fn):\n    @durable_task(version="1")\n    def do():\n        fn()\n    return do\n'
    helper = "def help():\n    return %d\n"
    (folder / "example/job.py").write_text("from .factory import make\nfrom .helper import help\nwork = make(help)\n")
    assert key_of(folder, factory=factory, helper=helper % 1) != key_of(folder, helper=helper % 2)


def test_threads_may_read_code_at_the_same_time() -> None:
    # Without a lock Python 3.11 raises SystemError in most rounds, if garbage is collected while it parses.
    before = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(interrupt)
    try:
        gc.set_threshold(50, 2, 2)
        sys.setswitchinterval(1e-6)
        read = partial(fingerprint.__wrapped__, cache_keys.__name__, Path(str(cache_keys.__file__)))
        with ThreadPoolExecutor(4) as pool:
            found = [pool.submit(read) for _ in range(24)]
        assert len({future.result() for future in found}) == 1
    finally:
        gc.callbacks.remove(interrupt)
        gc.set_threshold(*before[0])
        sys.setswitchinterval(before[1])


def interrupt(_phase: str, _info: object) -> None:
    sum(range(50))
