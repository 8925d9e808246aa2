"""Keys of tasks that other processes get by cloudpickle, as on Dask and Ray, and of tasks that are in no module."""

import linecache
import os
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE

from {{ cookiecutter.package_name }}.durable import durable_task
from {{ cookiecutter.package_name }}.durable.cache_keys import CACHING, cache_key
from {{ cookiecutter.package_name }}.durable.runners import task_runner

from tests.support.processes import Child

PICKLES = ["cloudpickle", *(["ray.cloudpickle"] if type(task_runner()).__name__ == "RayTaskRunner" else [])]
HEAD = """
import sys
from functools import wraps
from pathlib import Path
from types import SimpleNamespace

from {{ cookiecutter.package_name }}.durable.cache_keys import cache_key
from {{ cookiecutter.package_name }}.durable import durable_task

def helper(day):
    return day

def named(fn):
    @wraps(fn)
    def wrapper(day):
        return fn(day)
    return wrapper

def unnamed(fn):
    def wrapper(day):
        return fn(day)
    return wrapper

def factory(used):
    @durable_task(version="1")
    def load(day):
        return used(day), later(day)
    def later(day):
        return day
    return load

"""
LOAD = '@durable_task(version="1")\ndef load(day):\n    return helper(day)\n'
SEND = """
if __name__ == "__main__":
    import importlib
    print(cache_key(SimpleNamespace(task=load), {"day": 1}))
    Path(sys.argv[2]).write_bytes(importlib.import_module(sys.argv[1]).dumps(load))
"""
RECEIVE = """
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

from {{ cookiecutter.package_name }}.durable.cache_keys import cache_key

task = pickle.loads(Path(sys.argv[1]).read_bytes())
print(cache_key(SimpleNamespace(task=task), {"day": 1}), task.fn(1))
"""
WAYS = {
    "plain": LOAD,
    "with options": LOAD + "load = load.with_options(retries=0, name='other')\n",
    "wrapped": '@durable_task(version="1")\n@named\ndef load(day):\n    return helper(day)\n',
    "unnamed": '@durable_task(version="1")\n@unnamed\ndef load(day):\n    return helper(day)\n',
    "of a factory": "load = factory(helper)\n",
    "lambda": 'load = durable_task(version="1", name="load")(lambda day: helper(day))\n',
}


def key(task: Task[Any, Any]) -> str:
    context: Any = SimpleNamespace(task=task)
    return cache_key(context, {"day": 1})


def send(script: Path, pickler: str = "cloudpickle") -> tuple[str, str]:
    """Run a script, and then a worker that gets its task and has no source of it; return the keys that both find."""
    sent = script.with_suffix(".sent")
    code, here = Child(script, pickler, str(sent)).end()
    assert code == 0, here
    script.rename(script.with_suffix(".away"))
    worker = script.parent / "worker" / "worker.py"
    worker.parent.mkdir(exist_ok=True)
    worker.write_text(RECEIVE)
    code, there = Child(worker, str(sent)).end()
    assert code == 0, there
    script.with_suffix(".away").rename(script)
    return here.strip(), there.split()[0]


@pytest.mark.slow
@pytest.mark.parametrize("pickler", PICKLES)
@pytest.mark.parametrize("way", WAYS)
def test_task_of_a_script_has_one_key_here_and_in_workers(tmp_path: Path, way: str, pickler: str) -> None:
    keys = []
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(HEAD + WAYS[way] + SEND)
        here, there = send(tmp_path / name, pickler)
        assert here == there
        keys.append(here)
    assert keys[0] != keys[1], "each script is `__main__` when it is run"


@pytest.mark.slow
def test_task_has_one_key_by_import_and_by_cloudpickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "imported_job.py").write_text(HEAD + LOAD)
    import imported_job  # type: ignore[import-not-found]

    try:
        expected = key(imported_job.load)
        sent = cloudpickle.dumps(imported_job.load)
        assert key(cloudpickle.loads(sent)) == expected
        assert key(cloudpickle.loads(cloudpickle.dumps(cloudpickle.loads(sent)))) == expected, "sent on"
    finally:
        del sys.modules["imported_job"]
    monkeypatch.syspath_prepend(tmp_path)
    assert key(cloudpickle.loads(sent)) == expected, "in a process that has not imported the module"


def test_function_that_workers_import_has_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """cloudpickle sends its name alone, if the task has another name."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "library_job.py").write_text("def plain(day):\n    return day\n")
    import library_job  # type: ignore[import-not-found]

    work = durable_task(version="1")(library_job.plain)
    sent = cloudpickle.dumps(work)
    expected = key(work)
    del sys.modules["library_job"]
    received = cloudpickle.loads(sent)
    assert received.fn is sys.modules.pop("library_job").plain
    assert key(received) == expected


def test_task_in_a_zip_has_one_key_here_and_in_workers(tmp_path: Path) -> None:
    keys = []
    for text in (LOAD, "from inner import load\n"):
        app = tmp_path / "app.zip"
        with zipfile.ZipFile(app, "w") as file:
            file.writestr("__main__.py", HEAD + text + SEND)
            file.writestr("inner.py", HEAD + LOAD.replace("helper(day)", "day"))
        here, there = send(app)
        assert here == there
        keys.append(here)
    assert keys[0] != keys[1], "one is `__main__`, the other a module"


def cell(text: str, variables: dict[str, Any], file: str) -> None:
    """Run a cell as IPython does, which keeps its text in `linecache`."""
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    exec(compile(text, file, "exec"), variables)


def notebook(file: str, **variables: Any) -> Task[Any, Any]:
    variables |= {"__name__": "__main__", "durable_task": durable_task}
    cell("def helper(day):\n    return day\n", variables, f"{file}0")
    cell(LOAD, variables, file)
    return variables["load"]  # type: ignore[no-any-return]


def test_task_of_a_notebook_has_one_key_in_each_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    for name in ("/work/a.ipynb", "/work/b.ipynb"):
        monkeypatch.setenv("JPY_SESSION_NAME", name)
        tasks = [notebook(file) for file in ("/tmp/ipykernel_1/2.py", "/tmp/ipykernel_3/4.py", "<ipython-input-1-abc>")]
        sent = list(map(cloudpickle.dumps, tasks))
        found = set(map(key, tasks))
        monkeypatch.delenv("JPY_SESSION_NAME")
        linecache.clearcache()
        found |= {key(cloudpickle.loads(each)) for each in sent}
        assert len(found) == 1
        keys += found
    assert keys[0] != keys[1], "each notebook is `__main__`"


def test_notebook_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    keys = {
        key(notebook("<ipython-input-1-abc>", **{variable: name}))
        for variable in ("__file__", "__vsc_ipynb_file__")
        for name in ("a", "b")
    }
    assert len(keys) == 2


def refused(**options: Any) -> str:
    """What is said of a task that is typed into a console without a name, when it is made."""
    variables: dict[str, Any] = {"__name__": "__main__"}
    exec("def load(day): ...", variables)
    with pytest.raises(TypeError) as raised:
        durable_task(version="1", **options)(variables["load"])
    return str(raised.value)


def test_task_without_a_file_is_refused_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    expected = 'task load: load is not in a file, and its key needs one; set `__file__ = "'
    assert refused().startswith(expected)
    assert "\n" not in refused()
    assert refused(cache_policy=CACHING["cache_policy"] + CACHING["cache_policy"]).startswith(expected)
    assert refused(name="days").startswith("task days: load is not in a file")


def test_task_with_another_cache_policy_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    variables: dict[str, Any] = {"__name__": "__main__"}
    exec("def load(day): ...", variables)
    task = durable_task(version="1", cache_policy=NO_CACHE)(variables["load"])
    assert cloudpickle.loads(cloudpickle.dumps(task)).cache_policy == NO_CACHE


def test_object_that_is_called_is_refused_when_it_is_made() -> None:
    class Load:
        def __call__(self, day: int) -> None: ...

    with pytest.raises(TypeError, match=r"^task Load: .* is not a function"):
        durable_task(version="1")(Load())


def test_names_of_files_do_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    work = notebook("<ipython-input-1-abc>", __file__="a.ipynb")
    before, sent = key(work), cloudpickle.dumps(work)
    os.chdir("/")
    assert key(cloudpickle.loads(sent)) == before
