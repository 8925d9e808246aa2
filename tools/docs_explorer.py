"""The data of the explorer, a page of the documentation site: each file of each variant, found by baking.

The text of a file is cut into parts at Jinja's own top-level nodes, and each part is rendered with each combination of
the answers that it names. Where files go, and which are removed, the post-generation hook says: it runs on a project
whose files hold no more than their own path. `tests/test_explorer.py` compares variants with Cookiecutter's output.
"""

import base64
import gzip
import io
import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import chdir, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from cookiecutter.generate import generate_context, is_copy_only_path
from cookiecutter.prompt import prompt_for_config
from cookiecutter.utils import create_env_with_context
from docs_reference import text_of
from jinja2 import Environment, Template, nodes

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
LAST = ("license", "python_version", "ci")
"""Prompts that the page asks last: they choose no code."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where the hook runs, thousands of small folders are made and removed: on some disks that takes four times as long."""

Answers = dict[str, str]
Table = tuple[list[str], list[str]]
"""Prompts, and a text for each combination of their answers; the answers of the last prompt change first."""


class Variants:
    """The files of all variants, with the default names."""

    def __init__(self) -> None:
        given = generate_context(context_file=str(ROOT / "cookiecutter.json"))
        asked = given["cookiecutter"]
        self.labels: dict[str, Any] = asked["__prompts__"]
        choices = {prompt: asked[prompt] for prompt in self.labels if isinstance(asked[prompt], list)}
        self.choices: dict[str, list[str]] = dict(sorted(choices.items(), key=lambda choice: choice[0] in LAST))
        self.context = {"cookiecutter": prompt_for_config(given, no_input=True)}
        self.environment: Environment = create_env_with_context(self.context)
        self.pre, self.post = self.hook("pre_gen_project"), self.hook("post_gen_project")
        self.folders: dict[str, list[str]] = self.post.FOLDERS
        self.needs_of: dict[str, list[Answers]] = self.post.NEEDED
        paths = [path.relative_to(TEMPLATE) for path in sorted(TEMPLATE.rglob("*")) if path.is_file()]
        self.sources = {self.render(path.as_posix()): path for path in paths if "__pycache__" not in path.parts}
        """Files of the template, by the place that they have in a project before the hook runs."""

    def hook(self, name: str) -> ModuleType:
        """Render a hook the way Cookiecutter does, and return it as a module whose `main` has not run."""
        module = ModuleType(name)
        exec(self.render((ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8")), vars(module))
        return module

    def render(self, text: str) -> str:
        return self.environment.from_string(text).render(**self.context)

    def ordered(self, prompts: Iterable[str]) -> list[str]:
        return [prompt for prompt in self.choices if prompt in prompts]

    def combinations(self, prompts: Iterable[str]) -> Iterator[Answers]:
        """Yield all answers of some prompts, refused combinations included."""
        names = self.ordered(prompts)
        for answers in itertools.product(*(self.choices[name] for name in names)):
            yield dict(zip(names, answers, strict=True))

    def parts(self, source: Path) -> list[Table]:
        """Cut a file of the template into parts, and render each with the answers that it names."""
        if is_copy_only_path(str(source), self.context):
            return [([], [(TEMPLATE / source).read_bytes().decode("utf-8")])]
        parts: list[Table] = []
        variables: list[nodes.Node] = []
        for node in pieces(self.environment.parse((TEMPLATE / source).read_text(encoding="utf-8"))):
            if isinstance(node, nodes.Assign):
                variables.append(node)
                continue
            prompts, texts = self.part(node, variables)
            if len(set(texts)) > 1:
                parts.append((prompts, texts))
            elif parts and not parts[-1][0]:
                parts[-1] = ([], [parts[-1][1][0] + texts[0]])
            else:
                parts.append(([], texts[:1]))
        return parts

    def part(self, node: nodes.Node, variables: list[nodes.Node]) -> Table:
        """Render a node, with those of the variables before it that it names."""
        names = {name.name for name in node.find_all(nodes.Name)}
        body = [*(one for one in variables if names & {name.name for name in one.find_all(nodes.Name)}), node]
        prompts = self.ordered({attribute.attr for one in body for attribute in attributes(one)})
        code = self.environment.compile(nodes.Template(body, lineno=1).set_environment(self.environment))
        template = Template.from_code(self.environment, code, self.environment.make_globals(None))
        own = self.context["cookiecutter"]
        return prompts, [template.render(cookiecutter=own | answers) for answers in self.combinations(prompts)]

    def paths(self) -> dict[str, Table]:
        """Return for each path of a project the prompts that decide about it, and the place of what comes there."""
        moving = {place: self.trail(place) for place in self.sources if self.trail(place) or self.needs(place)}
        # First where files go, then which of them are removed.
        depends = {place: self.needs(place) for place in self.sources if not self.trail(place)}
        for trail in {*moving.values()}:
            for found in self.moved(trail, moving, {}):
                for path, place in found.items():
                    depends[path] = depends.get(path, frozenset()) | moving[place] | self.needs(path)
        moved = {prompts: self.moved(prompts, moving, self.needed(prompts, depends)) for prompts in {*depends.values()}}
        return {
            path: (
                self.ordered(prompts),
                [found.get(path, "") for found in moved[prompts]] if prompts else [path],
            )
            for path, prompts in sorted(depends.items())
        }

    def moved(self, prompts: Iterable[str], moving: dict[str, frozenset[str]], needed: dict[str, Any]) -> list[Answers]:
        """Have the hook do its work for some prompts, once for each combination of their answers.

        For each return the places that files were at, by the paths where they are now.
        """
        places = [Path(place) for place, trail in moving.items() if trail | self.needs(place) <= {*prompts}]
        self.post.FOLDERS = {prompt: folders for prompt, folders in self.folders.items() if prompt in prompts}
        self.post.NEEDED = needed
        results = []
        for answers in self.combinations(prompts):
            self.post.ANSWERS = self.context["cookiecutter"] | answers
            with tempfile.TemporaryDirectory(dir=MEMORY) as folder, chdir(folder), redirect_stdout(io.StringIO()):
                for place in places:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_text(place.as_posix(), encoding="utf-8")
                self.post.main()
                files = [path for path in Path().rglob("*") if path.is_file()]
                results.append({path.as_posix(): path.read_text(encoding="utf-8") for path in files})
        return results

    def needed(self, prompts: frozenset[str], depends: dict[str, frozenset[str]]) -> dict[str, Any]:
        """Return the rows of the hook's table of what only some answers need that these prompts decide."""
        return {
            name: rows
            for name, rows in self.needs_of.items()
            if all(depends[path] <= prompts for path in depends if Path(path).is_relative_to(name))
        }

    def trail(self, place: str) -> frozenset[str]:
        """Return the prompts whose folders of alternatives a place is in."""
        return frozenset(
            prompt
            for prompt, folders in self.folders.items()
            if any(f"/{folder}/" in f"/{place}" for folder in folders)
        )

    def needs(self, path: str) -> frozenset[str]:
        """Return the prompts that decide whether the file at a path is kept."""
        rows = [rows for name, rows in self.needs_of.items() if Path(path).is_relative_to(name)]
        return frozenset(prompt for answers in itertools.chain(*rows) for prompt in answers)


def pieces(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Yield the top-level nodes of a template, and each text and expression between them by itself."""
    for node in tree.body:
        if isinstance(node, nodes.Output):
            yield from (nodes.Output([inner], lineno=node.lineno) for inner in node.nodes)
        else:
            yield node


def attributes(node: nodes.Node) -> list[nodes.Getattr]:
    """Return what a node asks of `cookiecutter`; answers that it names in no other way can be told."""
    found = [one for one in node.find_all(nodes.Getattr) if one.node == nodes.Name("cookiecutter", "load")]
    if len(found) != sum(name.name == "cookiecutter" for name in node.find_all(nodes.Name)):
        raise ValueError(f"line {node.lineno} names cookiecutter without an attribute: write cookiecutter.prompt")
    return found


def data() -> dict[str, Any]:
    """Return what the page is made of. Prompts, places and texts are numbers there; -1 is no file."""
    variants = Variants()
    prompts, places = list(variants.choices), list(variants.sources)
    texts: dict[str, int] = {}

    def part(table: Table) -> Any:
        numbers = [texts.setdefault(text, len(texts)) for text in table[1]]
        return [list(map(prompts.index, table[0])), numbers] if table[0] else numbers[0]

    return {
        "prompts": [
            {
                "name": prompt,
                "label": variants.labels[prompt]["__prompt__"],
                "answers": {answer: text_of(variants.labels[prompt], answer) for answer in answers},
            }
            for prompt, answers in variants.choices.items()
        ],
        "refused": [
            {"answers": answers, "reason": reason, "instead": instead}
            for answers, reason, instead in variants.pre.REFUSED
        ],
        "places": [list(map(part, variants.parts(source))) for source in variants.sources.values()],
        "paths": {
            path: [
                [prompts.index(prompt) for prompt in named],
                [places.index(place) if place else -1 for place in found],
            ]
            for path, (named, found) in variants.paths().items()
        },
        "texts": list(texts),
    }


@cache
def script() -> str:
    """Return the data as a script, which a page that is opened from a disk can load too."""
    packed = gzip.compress(json.dumps(data(), separators=(",", ":")).encode(), mtime=0)
    return f'const EXPLORER_DATA = "{base64.b64encode(packed).decode()}";\n'
