"""The recording of `make demo`: the committed picture, and how its frames are made."""

import ast
import re
import xml.etree.ElementTree as ET

import pytest
import recording
from recording import ROOT, WAIT, Event, Span

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = recording.PICTURE.read_text(encoding="utf-8")


def lines(picture: str, of: str = "row") -> list[str]:
    """Return the lines of text in the elements of a class, from the top."""
    rows: dict[float, str] = {}
    for group in ET.fromstring(picture).iter(f"{SVG}g"):
        if group.attrib["class"] == of:
            for text in group.iter(f"{SVG}text"):
                y = float(text.attrib["y"])
                rows[y] = " ".join([*([rows[y]] if y in rows else []), text.text or ""])
    return [rows[y] for y in sorted(rows)]


def drawn(*events: tuple[float, str]) -> str:
    shown = recording.frames(recording.shortened([Event(*event) for event in events], "$ make demo"))
    return recording.svg(shown, "a title")


def test_last_frame_has_the_kill_and_the_verdict() -> None:
    shown = lines(PICTURE)
    assert shown[0] == "$ make demo"
    assert any(re.fullmatch(r"== Killed with SIGKILL after \d+ of 31 chunks", line) for line in shown)
    assert any(re.fullmatch(r"load-flights/flights: 31 chunks, \d+ skipped, \d+ done", line) for line in shown)
    assert shown[-2] == "2001 rows in the source, 2001 in the table: 0 lost, 0 doubled"
    assert shown[-1].startswith("Every value is the same.")


def test_recording_is_of_the_demo_as_it_is() -> None:
    nodes = ast.walk(ast.parse((ROOT / "tools" / "demo.py").read_text(encoding="utf-8")))
    said = [ast.literal_eval(node.args[0]) for node in nodes if isinstance(node, ast.Call) and is_say(node)]
    assert len(said) > 4
    once_more = "The run ended before it could be killed; once more from the start"
    assert [text for text in said if text != once_more and f"== {text}" not in lines(PICTURE)] == []


def is_say(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "say" and isinstance(call.args[0], ast.Constant)


def test_picture_is_small_and_runs_nothing() -> None:
    assert recording.PICTURE.stat().st_size < 300_000
    root = ET.fromstring(PICTURE)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {"svg", "title", "style", "rect", "g", "text"}
    names = {name for element in root.iter() for name in element.attrib}
    assert not [name for name in names if name.startswith("on") or "href" in name]
    style = root.findtext(f"{SVG}style") or ""
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert "prefers-reduced-motion: reduce" in style


def test_picture_names_no_other_host_and_nothing_of_a_machine() -> None:
    texts = " ".join([*lines(PICTURE), *lines(PICTURE, "row gone")])
    assert "://" not in texts.replace("sqlite:///.demo/", "")
    assert re.findall(r"(?<![\w.])/(?!s\b)\w+", texts) == []
    assert "@" not in texts


def test_lines_that_are_overwritten_are_shown_one_after_the_other() -> None:
    picture = drawn((0.1, "bar \x1b[32m1/2\x1b[0m"), (0.3, "\r\x1b[2Kbar \x1b[32m2/2\x1b[0m\r\n"), (0.4, "done\r\n"))
    assert lines(picture) == ["$ make demo", "bar 2/2", "done"]
    assert lines(picture, "row gone") == ["bar 1/2"]
    assert 'class="green">2/2</text>' in picture
    end = 0.4 + WAIT
    for seconds, state in ((0.1, "visible"), (0.3, "hidden"), (0.3, "visible"), (0.4, "visible")):
        assert f"{100 * seconds / end:.3f}% {{ visibility: {state}; }}" in picture


def test_waits_are_shortened_and_the_checkout_is_left_out() -> None:
    events = recording.shortened([Event(60.0, f"in {ROOT}/var/results"), Event(60.5, f"of {ROOT}")], "$ make")
    assert events == [Event(0.0, "$ make\r\n"), Event(WAIT, "in var/results"), Event(WAIT + 0.5, "of .")]


def test_text_is_escaped_and_keeps_its_columns() -> None:
    (frame,) = recording.frames([Event(0.0, "  a <b> && c")])
    assert frame.rows[0] == (Span(0, "  a <b> && c", "default"),)
    picture = recording.svg([frame], "<title>")
    assert lines(picture) == ["a <b> && c"]
    assert f'x="{recording.MARGIN + 2 * recording.COLUMN:.1f}"' in picture


@pytest.mark.parametrize("text", [f"in {ROOT}", "/home/somebody/x", "see /tmp/pytest/x"])
def test_recording_that_tells_of_a_machine_is_found(text: str) -> None:
    assert recording.private(text)
    assert recording.private("sqlite:///.demo/durable-flights/var/database.db .venv /s") == []


def test_command_that_fails_is_not_recorded() -> None:
    with pytest.raises(recording.subprocess.CalledProcessError):
        recording.record(["false"])
