"""Check of `prefect.yaml` for keys that Prefect ignores, and values that it refuses; `make lint` prints their lines."""

import ast
import json
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from prefect.cli.deploy._models import PrefectYamlModel, RawScheduleConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel, ValidationError

from .settings import PACKAGE, PROJECT, ROOT

FILE = ROOT / "prefect.yaml"
POOL = PROJECT
"""The work pool that `make deploy` creates. Job variables of other pools are not checked."""
TEMPLATE = ROOT / "work-pool.json"
"""The work pool's own job template, if it has one."""
ANCHORS = "definitions"
"""The key for shared definitions in Prefect's documentation."""


Place = tuple[int | str, ...]
"""The keys and indexes that lead to a value, with names of pydantic's types between them."""


def faults(file: Path = FILE) -> list[str]:
    """Return a line for each fault of the file, such as an unknown key or a syntax error."""
    try:
        text = file.read_text(encoding="utf-8")
        unknown = list(unknown_keys(text))
        # An unknown key may be a wrong value too.
        lines = {fault.partition(" ")[0] for fault in unknown}
        return [*unknown, *(fault for fault in wrong_values(text) if fault.partition(" ")[0] not in lines)]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return [f"{file.name}:{line}: {error.problem}"]
    except json.JSONDecodeError as error:
        return [f"{TEMPLATE.name}:{error.lineno}: {error.msg}"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return [f"{file.name}: {str(error).splitlines()[0]}"]


def unknown_keys(text: str) -> Iterator[str]:
    """Yield a line for each key that Prefect's models of the file lack, and that Prefect would silently drop.

    Also reports job variables that the work pool lacks, unknown flows, parameters that a flow lacks, and duplicate
    keys.
    """
    if (document := yaml.compose(text)) is not None:
        # A node with an alias is visited more than once.
        yield from dict.fromkeys([*_unknown(document, [PrefectYamlModel], {ANCHORS}, {}), *_repeated(document)])


def wrong_values(text: str) -> Iterator[str]:
    """Yield a line for each value that Prefect refuses, or takes for something else, and for names that come twice."""
    document, content = yaml.compose(text), yaml.safe_load(text)
    if not (document and isinstance(content, dict)):
        return
    found: dict[int, str] = {}
    for path, said in (*_refused(content), *_mistaken(content)):
        line, key = _place(document, path)
        found.setdefault(line, f"{FILE.name}:{line}: {key}: {said}")
    yield from found.values()


def _refused(content: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """Yield the path of each value that Prefect's models of the file refuse, and why."""
    # Of the types that a value may have, the one that fits best fails deepest.
    for path, said in sorted(_invalid(PrefectYamlModel, content), key=lambda fault: -len(fault[0])):
        # A schedule may also have types that are not written in files.
        if "schedules" not in path[2:-1] or RawScheduleConfig.__name__ in str(path):
            yield path, said


def _mistaken(content: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    """Yield the path of each value that the models take, and Prefect then refuses or takes for something else."""
    names = set()
    for number, deployment in enumerate(content.get("deployments") or []):
        if not isinstance(deployment, dict):
            continue
        path = ("deployments", number)
        if isinstance(deployment.get("tags"), str):
            yield (*path, "tags"), f"give a list, [{deployment['tags']}]: Prefect would take each letter"
        entrypoint, name = (str(deployment.get(key, "")) for key in ("entrypoint", "name"))
        if entrypoint and (entrypoint, name) in names:
            yield (*path, "name"), f"this flow has two deployments called {name}"
        names.add((entrypoint, name))
        schedules = deployment.get("schedules")
        for index, schedule in enumerate(schedules if isinstance(schedules, list) else []):
            given = schedule if isinstance(schedule, dict) else {}
            cron = {"cron": "0 0 * * *"} | {key: given[key] for key in given.keys() & {"cron", "timezone"}}
            yield from (((*path, "schedules", index, *inner), said) for inner, said in _invalid(CronSchedule, cron))


def _invalid(model: type[BaseModel], content: dict[str, Any]) -> list[tuple[Place, str]]:
    """Return the path and the message of each value that a model refuses."""
    try:
        model.model_validate(content)
    except ValidationError as error:
        return [(fault["loc"], fault["msg"]) for fault in error.errors()]
    return []


def _place(node: yaml.Node, path: Place) -> tuple[int, str]:
    """Return the line and the key of a value, as near as the path of an error of pydantic leads."""
    line, name = node.start_mark.line + 1, FILE.name
    for part in path:
        inner: Any = None
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            inner = node.value[part]
            line = inner.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            shared = [value for key, value in node.value if key.value == "<<"]
            shared += [part for value in shared if isinstance(value, yaml.SequenceNode) for part in value.value]
            pairs = [pair for value in shared if isinstance(value, yaml.MappingNode) for pair in value.value]
            for key, value in [*pairs, *node.value]:
                if key.value == part:
                    inner, line, name = value, key.start_mark.line + 1, key.value
        # Other parts are names of pydantic's types.
        node = node if inner is None else inner
    return line, name


def _unknown(
    node: yaml.Node, models: list[type[BaseModel]], more: set[str], names: dict[str, Collection[str]]
) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _unknown(item, models, more, names)
    elif isinstance(node, yaml.MappingNode):
        for model in models:
            # Some models refer to models that are defined after them.
            model.model_rebuild(force=True)
        fields = {name: field for model in models for name, field in model.model_fields.items()}
        known = {field.alias or name: field for name, field in fields.items()}
        beside = {key.value: value.value for key, value in node.value}
        if entrypoint := beside.get("entrypoint", ""):
            parameters = _parameters(entrypoint)
            if parameters is None and entrypoint.startswith(f"{PACKAGE}."):
                (line,) = (value.start_mark.line + 1 for key, value in node.value if key.value == "entrypoint")
                yield f"{FILE.name}:{line}: there is no flow {entrypoint}"
            names = names | ({"parameters": parameters} if parameters else {})
        if "job_variables" in beside and beside.get("name") == POOL:
            names = names | {"job_variables": _job_variables()}
        for key, value in node.value:
            if key.value in known:
                if inner := list(_models(known[key.value].annotation)):
                    yield from _unknown(value, inner, set(), names)
                elif key.value in names and isinstance(value, yaml.MappingNode):
                    for name, _ in value.value:
                        yield from _stranger(name, names[key.value], set())
            elif key.value == "<<":
                yield from _unknown(value, models, more, names)
            else:
                yield from _stranger(key, known, more)


def _stranger(key: yaml.Node, known: Collection[str], more: set[str]) -> Iterator[str]:
    if key.value not in {"<<", *known, *more}:
        meant = get_close_matches(key.value, known, 1)
        hint = f"; {meant[0]} may be meant" if meant else ""
        yield f"{FILE.name}:{key.start_mark.line + 1}: Prefect knows no {key.value} here{hint}"


def _repeated(node: yaml.Node) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield f"{FILE.name}:{key.start_mark.line + 1}: {key.value} is given twice, and the first is ignored"
            seen.add(key.value)
            yield from _repeated(value)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _job_variables() -> Collection[str]:
    """Return the job variables of the work pool: of its own template, or of Prefect's template for processes."""
    own = TEMPLATE.exists()
    template = json.loads(TEMPLATE.read_text()) if own else ProcessWorker.get_default_base_job_template()
    properties: dict[str, Any] = template.get("variables", {}).get("properties", {})
    return properties.keys()


def _parameters(entrypoint: str) -> Collection[str] | None:
    """Return the parameters in the flow's source; empty if it takes any, None if the flow is not found."""
    path, _, name = entrypoint.rpartition(":" if ":" in entrypoint else ".")
    file = ROOT / path if ":" in entrypoint else ROOT / "src" / f"{path.replace('.', '/')}.py"
    if file.is_file():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                return [] if node.args.kwarg else [each.arg for each in every]
    return None
