"""The chunks of the flows with planted faults."""

from dataclasses import dataclass

URL = "https://crm.example.com/parts"
"""What they send requests to, which the proof leads to its receiver."""


@dataclass(frozen=True)
class Part:
    """A chunk."""

    number: int
    extra: str = ""

    @property
    def key(self) -> str:
        return f"{self.number}{self.extra}"

    @property
    def label(self) -> str:
        return f"part {self.number}"


def parts(extra: str = "") -> list[Part]:
    """Return the chunks of a source, whose keys end so."""
    return [Part(number, extra) for number in range(6)]
