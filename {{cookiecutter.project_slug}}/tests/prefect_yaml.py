"""Keys of prefect.yaml that Prefect does not know, and so ignores: `python tests/prefect_yaml.py` names their lines."""

import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from pydantic import BaseModel

FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"
ANCHORS = "definitions"
"""The key under which Prefect's documentation keeps what is used more than once."""


def unknown_keys(text: str) -> Iterator[str]:
    """Yield a line for each key that Prefect's own models of the file do not have (3.8: they take it, and drop it)."""
    if (document := yaml.compose(text)) is not None:
        yield from _unknown(document, [PrefectYamlModel], {ANCHORS})


def _unknown(node: yaml.Node, models: list[type[BaseModel]], more: set[str]) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _unknown(item, models, more)
    elif isinstance(node, yaml.MappingNode):
        for model in models:
            # Some are written with names of models that come after them.
            model.model_rebuild(force=True)
        fields = {name: field for model in models for name, field in model.model_fields.items()}
        known = {field.alias or name: field for name, field in fields.items()}
        for key, value in node.value:
            if key.value in known:
                if inner := list(_models(known[key.value].annotation)):
                    yield from _unknown(value, inner, set())
            elif key.value not in {"<<", *more}:
                meant = get_close_matches(key.value, known, 1)
                hint = f"; {meant[0]} may be meant" if meant else ""
                yield f"{FILE.name}:{key.start_mark.line + 1}: Prefect knows no {key.value} here{hint}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


if __name__ == "__main__":
    found = list(unknown_keys(FILE.read_text(encoding="utf-8")))
    print("\n".join(found), end="\n" if found else "")
    sys.exit(bool(found))
