"""What people see of a run: in a terminal, through a pipe, and in Prefect's UI as `make ui` starts it."""

import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import screens
from screens import Place, ask
from variants import ROOT, Answers

PICTURE = re.compile(
    r'<picture><source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">'
    r'<img alt="(?P<text>[^"]*)" src="(?P<light>[^"]+)"></picture>'
)
"""A picture in light and dark, as the site's hook knows it too."""

Baked = Callable[[Answers], Path]

COLUMNS = ["chunk", "outcome", "read", "rejected", "inserted", "updated", "unchanged", "duplicates"]


def in_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    """Run a command in a pseudo-terminal; return what it writes there, without colours."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(command, env={**environment, "TERM": "xterm"}, stdin=end, stdout=end, stderr=end)
    os.close(end)
    written = b""
    try:
        while piece := os.read(terminal, 65536):
            written += piece
    except OSError:  # the process has closed its end
        pass
    os.close(terminal)
    assert process.wait(screens.TIMEOUT) == 0, written.decode()
    return re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", written.decode()).replace("\r", "\n")


@pytest.mark.rotating
@pytest.mark.slow
def test_terminal_has_a_bar_and_make_ui_has_the_runs_so_far(baked: Baked, tmp_path: Path) -> None:
    place = Place.of(baked({}), tmp_path)
    written = in_a_terminal([sys.executable, "-m", "durable_flights", "run"], place.environment)
    lines = [line for line in written.split("\n") if line]
    *bar, last = [line for line in lines if line.startswith("flights ")]
    assert bar
    assert re.fullmatch(r"flights ━+ 31/31 [\d.]+/s 0:00:\d\d", last)
    assert lines[-3:] == [
        "load-flights/flights: 31 chunks, 0 skipped, 31 done",
        "2001 read, 0 rejected, 2001 inserted, 0 updated, 0 unchanged, 0 duplicates",
        "`make ui` shows this run",
    ]
    with place.ui() as url:
        (run,) = ask(url, "flow_runs")
        assert (run["state_name"], run["name"]) == ("Completed", "flights")
        artifacts = {artifact["key"]: artifact["flow_run_id"] for artifact in ask(url, "artifacts")}
        assert artifacts == dict.fromkeys(["load-flights-progress", "load-flights-chunks"], run["id"])


def test_port_that_is_taken_is_said_in_one_line(baked: Baked, tmp_path: Path) -> None:
    place = Place.of(baked({}), tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            place.make("ui", f"PORT={port}"),
            env=place.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode != 0
    said, _ = done.stderr.splitlines()  # the other line is that of make itself
    assert said == f"port {port} is not free; if the page is not there, http://127.0.0.1:{port}, try: make ui PORT=4201"
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.skipif(not screens.chromium(), reason="there is no Chromium here; on Debian: apt-get install chromium")
def test_pages_of_a_resumed_run_say_what_it_did(baked: Baked, tmp_path: Path) -> None:
    place = Place.of(baked({}), tmp_path)
    rejects = tmp_path / "var" / "rejects" / "load-flights" / "january.csv"
    with place.ui() as url:
        run = screens.resumed_run(place, url, tmp_path)
        assert 0 < run.seen < 100, "the progress moves while the run is at work"
        begin, found, counts, *rest = run.output.splitlines()
        assert begin == "Resuming flow run january of load-flights."
        assert found == "load-flights/january: 17 chunks, 12 skipped, 5 done"
        assert re.fullmatch(r"\d+ read, \d rejected, \d+ inserted, 0 updated, 0 unchanged, 0 duplicates", counts)
        assert rest == [
            f"2 rejected records, with line and reason: {rejects}",
            "correct the source and run again: only what has changed is loaded",
            f"this run: {url}/runs/flow-run/{run.flow_run_id}",
        ]
        place.deploy(url)
        seen = {}
        for name, page in screens.visit(url, run):
            seen[name] = page.locator("body").inner_text()
            if name == "load":
                cells = page.get_by_role("table").inner_text().split()
                assert cells[:8] == COLUMNS
                assert (cells.count("done"), cells.count("skipped")) == (5, 4), (
                    "ten rows, of which the first is the sums"
                )
            if name == "resumed":
                page.locator("p", has_text="Attempt 2 of this run of load-flights/january").wait_for()
                page.locator("code", has_text=str(rejects)).wait_for()
                page.get_by_role("link", name="The tables of all runs").click()
                page.get_by_text("Created load-flights-chunks").first.wait_for()
                assert page.url == f"{url}/artifacts/key/load-flights-chunks"
                page.goto(run.page)
                page.get_by_text(screens.DAY).first.wait_for()
        assert "Completed" in seen["run"]
        assert "january: 12 of 17 were done before" in seen["artifacts"]
        assert {screens.PROGRESS, "load-flights-chunks", "load-flights-resumed"} <= set(seen["artifacts"].split())
        assert str(rejects) in seen["load"]


def test_pages_show_each_picture_in_light_and_dark_with_a_text() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = [match for page in pages for match in PICTURE.finditer(page.read_text(encoding="utf-8"))]
    shown = {match[name].rpartition("/")[2] for match in found for name in ("light", "dark")}
    assert shown == {path.name for path in screens.PICTURES.glob("*.png")}
    for match in found:
        assert match["dark"] == match["light"].replace(".png", "-dark.png")
        assert len(match["text"]) > 40
