"""The explorer, in Chromium: its files are Cookiecutter's, and everybody can use it."""

import hashlib
import json
import os
import random
import shutil
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import docs_explorer
import pytest
import screens
from jinja2 import Environment
from playwright.sync_api import Page, Request
from variants import ALL, CHOICES, TEMPLATE, Answers, hook, pairwise

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not screens.chromium(), reason="there is no Chromium here; on Debian: apt-get install chromium"),
]
COUNT = 200 if ALL else 12
"""Random variants that are compared."""
MEGABYTES = 5
"""What the page may weigh, with all variants."""
OTHERS = {"result_storage": "s3", "upsert": "postgres", "deployment": "docker", "task_runner": "dask"}
HASHES = """async (choices) => {
  const { variants } = await explorer;
  const known = new Map();
  const hash = async (text) => {
    if (!known.has(text)) {
      const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
      known.set(text, Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join(""));
    }
    return known.get(text);
  };
  const found = [];
  for (const choice of choices) {
    const files = {};
    for (const [path, text] of variants.files(choice)) files[path] = await hash(text);
    found.push(files);
  }
  return found;
}"""
"""Returns, for each choice, the digests of the files that the page shows."""
FAULTS = """async (choices) => {
  const { variants, original } = await explorer;
  const faults = [];
  const lines = (text, path) => highlighted(text, path).map((line) => line.map(([, token]) => token).join(""));
  for (const choice of choices) for (const [path, text] of variants.files(choice)) {
    const [before, after] = [lines(original.get(path) ?? "", path), lines(text, path)];
    const whole = after.join("\\n") + (text.endsWith("\\n") ? "\\n" : "");
    const edit = difference(before, after);
    const side = (sign) => edit.filter(([other]) => other !== sign);
    const then = side("+").map(([, x]) => before[x]).join("\\n");
    const now = side("-").map(([sign, x, y]) => (sign ? after[y] : before[x])).join("\\n");
    if (whole !== text || then !== before.join("\\n") || now !== after.join("\\n")) faults.push(path);
  }
  return faults;
}"""
"""Returns the files whose highlighting or whose changes do not add up to their text."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The explorer's address, on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/explorer/"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    with screens.browser() as page:
        yield page


@pytest.fixture
def page(chromium: Page, address: str) -> Page:
    """The explorer with the default answers."""
    chromium.set_viewport_size({"width": 1360, "height": 800})
    chromium.emulate_media(color_scheme="light")
    return show(chromium, address)


def show(page: Page, address: str, fragment: str = "") -> Page:
    page.goto("about:blank")
    page.goto(address + fragment)
    page.locator(".x-code").wait_for()
    return page


def some(count: int, dice: random.Random, valid: bool = True) -> list[Answers]:
    """Return random answers to all prompts that have choices."""
    found: list[Answers] = []
    while len(found) < count:
        answers = {prompt: dice.choice(choices) for prompt, choices in CHOICES.items()}
        if TEMPLATE.valid(answers) == valid:
            found.append(answers)
    return found


def test_files_of_random_variants_are_those_of_cookiecutter(page: Page, bake: Callable[..., Path]) -> None:
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
    print(f"SEED={seed} tries the same variants again")
    variants = [{prompt: answers[0] for prompt, answers in CHOICES.items()}, *some(COUNT - 1, random.Random(seed))]
    for answers, shown in zip(variants, page.evaluate(HASHES, variants), strict=True):
        project = bake(**answers)
        files = {
            path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in project.rglob("*")
            if path.is_file()
        }
        shutil.rmtree(project.parent)
        assert shown == files, f"SEED={seed} {answers}"


def test_answer_that_a_template_names_in_another_way_fails_the_build() -> None:
    with pytest.raises(ValueError, match="without an attribute"):
        docs_explorer.attributes(Environment().parse("{{ cookiecutter | tojson }}"))


def test_each_answer_and_refusal_is_the_templates(page: Page) -> None:
    refusals = hook("pre_gen_project").refusals
    choices = some(100, random.Random(1), valid=False) + some(20, random.Random(2))
    found = page.evaluate(
        "async (choices) => { const { variants } = await explorer;"
        " return choices.map((choice) => [variants.reasons(choice), variants.better(choice)]); }",
        choices,
    )
    assert found == [list(refusals(answers)) for answers in choices]
    offered = {
        name: page.locator(f"input[name={name}]").evaluate_all("all => all.map((one) => one.value)") for name in CHOICES
    }
    assert offered == CHOICES


def test_refused_answer_is_disabled_with_its_reason_and_a_way_out(page: Page) -> None:
    assert page.locator("input:disabled").evaluate_all("all => all.map((one) => `${one.name}=${one.value}`)") == [
        "upsert=none",
        "deployment=kubernetes",
    ]
    deployment = page.get_by_role("group", name="deployment")
    assert "kubernetes is refused: deployment=kubernetes runs in pods" in deployment.inner_text()
    deployment.get_by_role("button", name="Choose kubernetes, with result_storage=s3 and upsert=postgres").click()
    assert deployment.get_by_role("radio", name="kubernetes").is_checked()
    assert page.locator(".x-command").inner_text() == (
        "uvx cookiecutter TEMPLATE --no-input result_storage=s3 upsert=postgres deployment=kubernetes"
    )


def test_button_copies_the_command(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("radio", name="postgres").check(force=True)
    page.get_by_role("button", name="Copy", exact=True).click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "uvx cookiecutter TEMPLATE --no-input upsert=postgres"


def test_address_with_refused_answers_says_why_and_shows_others(page: Page, address: str) -> None:
    show(page, address, "#upsert=duckdb&task_runner=dask&nonsense=1&ci=nowhere")
    assert "task_runner=dask writes from several processes" in page.get_by_role("alert").inner_text()
    assert page.locator(".x-command").inner_text() == "uvx cookiecutter TEMPLATE --no-input upsert=duckdb"


def test_choice_file_and_view_are_in_the_address(page: Page) -> None:
    page.get_by_role("radio", name="postgres").check(force=True)
    page.get_by_role("radio", name="docker").check(force=True)
    page.get_by_role("button", name="pyproject.toml").click()
    page.get_by_role("button", name="Changes").click()
    assert page.url.endswith("#upsert=postgres&deployment=docker&file=pyproject.toml&view=changes")
    command = page.locator(".x-command").inner_text()
    changes = page.locator(".x-code").inner_text()
    assert '"psycopg[binary]>=' in changes
    page.reload()
    page.locator(".x-code").wait_for()
    assert page.locator(".x-command").inner_text() == command
    assert page.locator(".x-code").inner_text() == changes
    page.get_by_role("button", name="Reset").click()
    assert page.url.endswith("/explorer/#file=pyproject.toml")


def test_highlighting_and_changes_add_up_to_the_text(page: Page) -> None:
    assert page.evaluate(FAULTS, pairwise()) == []


def test_guarantees_and_dependencies_are_those_of_the_project(
    page: Page, address: str, baked: Callable[[Answers], Path]
) -> None:
    show(page, address, "#" + "&".join(f"{prompt}={answer}" for prompt, answer in OTHERS.items()))
    project = baked(OTHERS)
    lines = (project / "docs" / "promises.md").read_text(encoding="utf-8").splitlines()
    promised = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")][1:]
    section = page.get_by_role("region", name="What survives what")
    assert [text.removesuffix(" differs") for text in section.locator("td:first-child").all_inner_texts()] == promised
    section.get_by_role("button", name="test_chunk_whose_process_is_killed").click()
    assert page.locator(".x-target").inner_text().startswith("def test_chunk_whose_process_is_killed_is_done_again")
    asked = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    packages = page.get_by_role("region", name="Dependencies").locator("li:not(.x-D)").all_inner_texts()
    found = ["".join(text.removesuffix("added").split()) for text in packages]
    assert sorted(found) == sorted(asked["project"]["dependencies"] + asked["dependency-groups"]["dev"])


def test_keyboard_alone_chooses_answers_and_opens_files(page: Page) -> None:
    focused = "document.activeElement.value || document.activeElement.dataset.path"

    def tab_to(wanted: str) -> None:
        for _ in range(120):
            page.keyboard.press("Tab")
            if page.evaluate(focused) == wanted:
                return
        raise AssertionError(f"Tab does not come to {wanted}")

    tab_to("sqlite")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "postgres"
    assert page.locator(".x-command").inner_text().endswith(" upsert=postgres")
    tab_to("src/durable_flights/")
    page.keyboard.press("Enter")
    tab_to("src/durable_flights/durable/")
    page.keyboard.press("Enter")
    tab_to("src/durable_flights/durable/upserts.py")
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "src/durable_flights/durable/upserts.py", "the focus stays"
    assert page.get_by_role("heading", name="src/durable_flights/durable/upserts.py").is_visible()
    page.keyboard.press("Tab")
    assert "file=src/durable_flights/durable/upserts.py" in page.url


@pytest.mark.parametrize("width", [320, 390, 800, 1100, 1360])
def test_no_width_scrolls_sideways(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for view in ("", "&view=changes"):
        show(page, address, f"#upsert=duckdb&file=src/durable_flights/durable/upserts.py{view}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, address: str, scheme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.emulate_media(color_scheme=scheme)
    for width, view in ((1360, ""), (1360, "&view=changes"), (390, "&view=changes")):
        page.set_viewport_size({"width": width, "height": 800})
        show(page, address, f"#upsert=postgres&file=pyproject.toml{view}")
        found = axe.Axe().run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == [], json.dumps(
            serious, indent=1
        )


def test_page_is_light_and_asks_this_host_only(chromium: Page, address: str, site: Path) -> None:
    urls: list[str] = []

    def note(request: Request) -> None:
        urls.append(request.url.partition("#")[0])

    chromium.on("request", note)
    show(chromium, address, "#upsert=postgres&view=changes")
    chromium.remove_listener("request", note)
    asked = {url for url in urls if not url.startswith(("about:", "data:", "blob:"))}
    root = address.removesuffix("explorer/")
    assert {url for url in asked if not url.startswith(root)} == set()
    assert {f"{address}{name}.js" for name in ("data", "variants", "text", "page")} <= asked
    files = [site / url.removeprefix(root) for url in asked]
    sizes = [(path / "index.html" if path.is_dir() else path).stat().st_size for path in files]
    assert sum(sizes) < MEGABYTES * 10**6
