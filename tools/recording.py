"""Record `make demo` in a pseudo-terminal, and write it to `docs/screens/demo.svg`, an animation without scripts.

Long waits are shortened, and the path of this checkout is left out. The animation plays once. Its last frame stays, and
is all that is shown where motion is not wanted.
"""

import fcntl
import getpass
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import pyte

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "screens" / "demo.svg"
COMMAND = ["make", "demo"]
COLUMNS, LINES = 80, 60
WAIT = 1.5
"""Seconds that nothing happens, at most."""
COLUMN, LINE, MARGIN, SIZE = 8.4, 19, 16, 14
"""Pixels: a character's width, a line's height, the margin, the size of the letters."""
COLOURS = {
    "3a3a3a": ("left", "#c4c8ce", "#454b54"),
    "ff005f": ("busy", "#c2185b", "#ff5c93"),
    "5faf00": ("full", "#2e7d32", "#7ee787"),
    "green": ("green", "#116329", "#7ee787"),
    "red": ("red", "#a40e26", "#ff9492"),
    "cyan": ("cyan", "#1b5f87", "#79c0ff"),
    "brown": ("yellow", "#7a5200", "#e3b341"),
}
"""Colours of the terminal that the demo uses: a name, and the colour on a light and on a dark page."""
STYLE = """
svg {{ --page: #f6f8fa; --edge: #d0d7de; --text: #1f2328; {light} }}
@media (prefers-color-scheme: dark) {{
  svg {{ --page: #0d1117; --edge: #30363d; --text: #e6edf3; {dark} }}
}}
text {{ font: {size}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--text);
  white-space: pre; }}
rect {{ fill: var(--page); stroke: var(--edge); }}
.gone {{ visibility: hidden; }}
.row {{ animation: {seconds}s step-end both; }}
{classes}
{keyframes}
@media (prefers-reduced-motion: reduce) {{ .row {{ animation: none; }} }}
"""


class Event(NamedTuple):
    """What a command has written at a time."""

    seconds: float
    text: str


class Span(NamedTuple):
    """Characters of one colour in a line."""

    column: int
    text: str
    colour: str


Row = tuple[Span, ...]


class Frame(NamedTuple):
    """The screen from a time on."""

    seconds: float
    rows: list[Row]


def record(command: list[str]) -> list[Event]:
    """Run a command in a pseudo-terminal, and return what it writes. Raise CalledProcessError if it fails."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    # Make tells its children about itself. Without the last variable Prefect prints a long notice on statistics.
    theirs = ("MAKE", "MFLAGS", "PREFECT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    environment |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "DO_NOT_TRACK": "1"}
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdin=end, stdout=end, stderr=end, env=environment)
    os.close(end)
    events = []
    try:
        while piece := os.read(terminal, 65536):
            text = piece.decode(errors="replace")
            events.append(Event(time.monotonic() - start, text))
            print(text, end="", flush=True)
    except OSError:  # the process has closed its end
        pass
    os.close(terminal)
    if code := process.wait():
        raise subprocess.CalledProcessError(code, command)
    return events


def shortened(events: Iterable[Event], prompt: str) -> list[Event]:
    """Return the events after a prompt, with short waits and without the path of this checkout."""
    kept = [Event(0.0, f"{prompt}\r\n")]
    before = clock = 0.0
    for seconds, text in events:
        clock += min(seconds - before, WAIT)
        before = seconds
        kept.append(Event(clock, text.replace(f"{ROOT}/", "").replace(str(ROOT), ".")))
    return kept


def frames(events: Iterable[Event]) -> list[Frame]:
    """Return the screens that the events lead to, each other than the one before it."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    found: list[Frame] = []
    for seconds, text in events:
        stream.feed(text)
        rows = [row(screen, line) for line in range(LINES)]
        if not found or found[-1].rows != rows:
            found.append(Frame(seconds, rows))
    return found


def row(screen: pyte.Screen, line: int) -> Row:
    """Return what a line of a screen has, by colours."""
    spans: list[Span] = []
    for column in range(COLUMNS):
        character = screen.buffer[line][column]
        if spans and spans[-1].colour == character.fg:
            spans[-1] = spans[-1]._replace(text=spans[-1].text + character.data)
        else:
            spans.append(Span(column, character.data, character.fg))
    trimmed = [span._replace(text=span.text.rstrip()) for span in spans]
    return tuple(span for span in trimmed if span.text)


def svg(shown: list[Frame], title: str) -> str:
    """Return an animation of frames: an element for each line, and for the time that it stands there."""
    end = shown[-1].seconds + WAIT
    height = 1 + max(line for frame in shown for line in range(LINES) if frame.rows[line])
    keyframes: dict[tuple[float, float | None], str] = {}
    elements: list[str] = []
    for line in range(height):
        changes = [(frame.seconds, frame.rows[line]) for frame in shown]
        starts = [changes[0], *(after for before, after in pairwise(changes) if before[1] != after[1])]
        ends = [*(seconds for seconds, _ in starts[1:]), None]
        for (start, spans), stop in zip(starts, ends, strict=True):
            if spans:
                name = keyframes.setdefault((start, stop), f"t{len(keyframes)}")
                gone = "" if stop is None else " gone"
                elements.append(f'<g class="row{gone}" style="animation-name: {name}">{texts(spans, line)}</g>')
    width = 2 * MARGIN + COLUMNS * COLUMN
    tall = 2 * MARGIN + height * LINE
    style = STYLE.format(
        size=SIZE,
        seconds=f"{end:.2f}",
        light=" ".join(f"--{name}: {light};" for name, light, _ in COLOURS.values()),
        dark=" ".join(f"--{name}: {dark};" for name, _, dark in COLOURS.values()),
        classes="\n".join(f".{name} {{ fill: var(--{name}); }}" for name, _, _ in COLOURS.values()),
        keyframes="\n".join(moves(name, start, stop, end) for (start, stop), name in keyframes.items()),
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {tall}" width="{width:.0f}" height="{tall}"'
        f' role="img"><title>{escape(title)}</title>',
        f"<style>{style}</style>",
        f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{tall - 1}" rx="8"/>',
        *elements,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def texts(spans: Row, line: int) -> str:
    """Return the text elements of a line. Their length is given, since fonts differ in width."""
    y = MARGIN + line * LINE + SIZE
    parts = []
    for span in spans:
        known = f' class="{COLOURS[span.colour][0]}"' if span.colour in COLOURS else ""
        begin = len(span.text) - len(span.text.lstrip())
        x, length = MARGIN + (span.column + begin) * COLUMN, (len(span.text) - begin) * COLUMN
        text = escape(span.text[begin:])
        parts.append(f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{known}>{text}</text>')
    return "".join(parts)


def moves(name: str, start: float, stop: float | None, end: float) -> str:
    """Return the keyframes of what stands on the screen from a time to another, or to the end."""
    steps = ["0% { visibility: hidden; }"] if start else []
    steps.append(f"{100 * start / end:.3f}% {{ visibility: visible; }}")
    if stop is not None:
        steps.append(f"{100 * stop / end:.3f}% {{ visibility: hidden; }}")
    return f"@keyframes {name} {{ {' '.join(steps)} }}"


def private(text: str) -> list[str]:
    """Return what a text tells of this machine: its paths and its user's name."""
    own = [str(ROOT), str(Path.home()), *re.findall(r"(?<![\w.}/-])/(?:home|root|tmp|Users)/[^\s<]*", text)]
    user = getpass.getuser()
    return [place for place in own if place in text] + re.findall(rf"\b{re.escape(user)}\b", text)


def main() -> None:
    """Record the demo, or draw again what was recorded: `recording.py EVENTS.json`."""
    if sys.argv[1:]:
        events = [Event(*event) for event in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))]
    else:
        events = record(COMMAND)
    shown = frames(shortened(events, f"$ {' '.join(COMMAND)}"))
    picture = svg(shown, "make demo: a run is killed with SIGKILL and run again; no row is lost or doubled")
    if found := private(picture):
        sys.exit(f"the recording tells of this machine: {', '.join(found)}")
    PICTURE.write_text(picture, encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1000} kB, {shown[-1].seconds:.0f} s")


if __name__ == "__main__":
    main()
