"""Generation of a flow from skeletons: its source, table, test, sample and entry in `prefect.yaml`.

The owner edits the new files. Each kind of source has its own folder of skeletons, beside those that all flows share.
"""

import ast
import builtins
import keyword
import re
from importlib.resources import files
from pathlib import Path
from typing import Literal

from jinja2 import Environment, StrictUndefined

from . import checkpoints, discovery, upserts
from .cache_keys import ACROSS_RUNS
from .errors import InputError
from .flows import NAME
from .retries import RETRIES
from .settings import PACKAGE, PREFIX, ROOT

Source = Literal["files", "api"]
"""A folder of CSV files, or an HTTP API with pages."""

PREFECT_YAML = ROOT / "prefect.yaml"
LONGEST = 30
"""The maximum number of characters in a name, so that generated lines are not too long."""


def write_flow(name: str, source: Source = "files") -> list[str]:
    """Write a flow `load-<name>`.

    Args:
        name: what the flow loads, such as `orders`: lower-case letters and digits, with dashes between.
        source: the kind of source.

    Returns:
        The files that were written, and what to do next, one per line.

    Raises:
        InputError: the name is invalid, or already used; nothing was written.
    """
    module = name.replace("-", "_")
    targets = _targets(module, name, source)
    if reason := _unusable(name, module, targets):
        raise InputError(f"no flow was written: {reason}")
    # With the old tables only: a migration must create the new one, also in databases elsewhere.
    upserts.prepare(upgrade=True)
    if module in upserts.table_names():
        raise InputError(
            f"no flow was written: there is a table {module}. Take another name, or drop the table of a flow that was"
            " removed: docs/writing.md says how"
        )
    for skeleton, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_text(skeleton, name), encoding="utf-8")
    _add_deployment(_text("deployment.yaml.jinja", name))
    said = [f"wrote {path.relative_to(ROOT)}" for path in targets.values()]
    said.append(f"wrote an entry in {PREFECT_YAML.name}")
    discovery.flows()
    said += upserts.add_tables([module])
    edited = ["source.py", "tables.py" if upserts.WRITES else "flow.py"]
    yours = {
        "files": f"{', '.join(edited)} and the sample",
        "api": f"{' and '.join(edited)}, and set {PREFIX}{module.upper()}_API_URL",
    }
    return [*said, f"next: make run FLOW=load-{name}; then edit {yours[source]}"]


def _text(skeleton: str, name: str) -> str:
    """Return the text of a skeleton for a flow with this name."""
    templates = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - code
    text = files(__package__).joinpath("skeletons", skeleton).read_text(encoding="utf-8")
    return templates.from_string(text).render(
        name=name,
        module=name.replace("-", "_"),
        camel="".join(map(str.capitalize, name.split("-"))),
        package=PACKAGE,
        prefix=PREFIX,
        database=upserts.WRITES,
        retries=bool(RETRIES),
        cached=ACROSS_RUNS,
        remembers=checkpoints.REMEMBERS,
        goes_on=checkpoints.REMEMBERS and ACROSS_RUNS,
    )


def _names(code: str) -> set[str]:
    """Return the names that code uses or gives."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name)
    return names


def _targets(module: str, name: str, source: Source) -> dict[str, Path]:
    """Return the target file of each skeleton."""
    flow = ROOT / "src" / PACKAGE / "flows" / module
    tables = {"tables.py.jinja": flow / "tables.py"} if upserts.WRITES else {}
    days = ("2026-01-01.csv", "2026-01-02.csv")
    samples = {
        "files": {f"files/{day}": ROOT / "data" / name / day for day in days},
        "api": {"api/sample_api.py.jinja": flow / "sample_api.py"},
    }
    return {
        "__init__.py.jinja": flow / "__init__.py",
        f"{source}/flow.py.jinja": flow / "flow.py",
        f"{source}/source.py.jinja": flow / "source.py",
        **tables,
        f"{source}/test.py.jinja": ROOT / "tests" / "flows" / f"test_{module}.py",
        **samples[source],
    }


def _unusable(name: str, module: str, targets: dict[str, Path]) -> str:
    """Return why a flow cannot have this name, or an empty text if it can."""
    if not re.fullmatch(NAME, name):
        return f"{name!r} is not made of lower-case letters and digits, in words joined by single dashes"
    if name.startswith("load-"):
        return f"the flow over {name.removeprefix('load-')} is called {name} by itself: leave load- out"
    if len(name) > LONGEST:
        return f"{name!r} has {len(name)} characters; at most {LONGEST} keep the lines of its code short"
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        return f"{name!r} is a keyword of Python"
    # With another name, so that what is found is not the flow's own.
    code = [_text(skeleton, f"{name}-0") for skeleton in targets if skeleton.endswith(".py.jinja")]
    if hasattr(builtins, module) or module in set[str]().union(*map(_names, code)):
        return f"its code uses the name {module} for something else; add a word, as in {name}-of-today"
    if f"load-{name}" in discovery.flows():
        return f"there is a flow load-{name}"
    there = [path for path in targets.values() if path.exists()]
    return f"{there[0].relative_to(ROOT)} is there" if there else ""


def _add_deployment(entry: str) -> None:
    text = PREFECT_YAML.read_text(encoding="utf-8")
    if re.search(r"^deployments: \[\]$", text, re.MULTILINE):
        text = re.sub(r"(# `make flow` adds one\.\n)?deployments: \[\]\n", "deployments:\n", text)
    PREFECT_YAML.write_text(f"{text.rstrip()}\n{entry}", encoding="utf-8")
