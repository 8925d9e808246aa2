"""Draw the figures of upserts.py and steps.py as bars.

A bar's length is the logarithm of times the floor: twice the time is the same length everywhere.
"""

import math
from html import escape
from typing import Any

TITLES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "duckdb": "DuckDB", "file": "a journal in a file"}
WIDTH, LABELS, RIGHT = 860, 330, 150
"""Pixels: of the picture, of the labels before the bars, and of the figures behind the longest one."""
LINE, TITLE = 22, 46
"""Pixels: the height of a bar with its gap, and of a heading."""

STYLE = """
text { font: 13px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.note { fill: #59636e }
.other { fill: #afb8c1 }
.floor { fill: #59636e }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.note { fill: #9198a1 }
.other { fill: #4d555e }
.floor { fill: #9198a1 }
.ours { fill: #4493f8 }
}
"""

Bar = tuple[str, float, str]
"""A label, times the floor, and the class of the bar."""


def groups(figures: dict[str, Any]) -> list[tuple[str, list[Bar]]]:
    """The headings and their bars, the fastest first."""
    found = []
    for name, on in figures.get("upserts", {}).items():
        bars = [
            (
                f"{way['name']} †"
                if way["rows"] < max(other["rows"] for other in on["writers"].values())
                else way["name"],
                way["ratio"],
                kind(way["name"], "floor"),
            )
            for way in on["writers"].values()
            if "random" not in way["name"]
        ]
        found.append((f"Upsert of rows, {TITLES[name]}", bars))
    for name, on in figures.get("steps", {}).items():
        # What has no transaction or flush for each item is not the same thing.
        bars = [
            (way["name"], way["ratio"], kind(way["name"], "by hand"))
            for way in on["ways"].values()
            if "a commit each" not in way["name"]
        ]
        found.append((f"An item and its mark, {TITLES[name]}", bars))
    return [(title, sorted(bars, key=lambda bar: bar[1])) for title, bars in found]


def kind(name: str, floor: str) -> str:
    """The class of a bar."""
    return "floor" if name == floor else "ours" if name.startswith(("upsert()", "step()", "claim()")) else "other"


def draw(figures: dict[str, Any]) -> str:
    """The picture, as SVG."""
    found = groups(figures)
    ratios = [ratio for _, bars in found for _, ratio, _ in bars]
    # The shortest bar is still to be seen.
    low, high = math.log(min(ratios) / 2), math.log(max(ratios))
    scale = (WIDTH - LABELS - RIGHT) / (high - low)
    lines, y = [], 0
    for title, bars in found:
        y += TITLE
        lines.append(f'<text class="title" x="12" y="{y - 12}">{escape(title)}, times the floor</text>')
        for label, ratio, style in bars:
            length = (math.log(ratio) - low) * scale
            figure = f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"
            lines += [
                f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>',
                f'<rect class="{style}" x="{LABELS}" y="{y + 2}" width="{length:.1f}" height="{LINE - 6}" rx="2"/>',
                f'<text class="note" x="{LABELS + length + 6:.1f}" y="{y + 14}">{figure}</text>',
            ]
            y += LINE
    note = "Shorter is faster; logarithmic. † fewer rows, compared by the row. See benchmarks/README.md."
    y += TITLE
    lines.append(f'<text class="note" x="12" y="{y - 14}">{note}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">'
    return "\n".join([head, f"<title>{escape(note)}</title>", f"<style>{STYLE}</style>", *lines, "</svg>\n"])
