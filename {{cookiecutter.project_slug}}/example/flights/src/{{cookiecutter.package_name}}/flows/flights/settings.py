"""The settings of the flow, beside those of `durable`."""

from pathlib import Path

from pydantic import Field

from ...durable import ProjectSettings


class FlightsSettings(ProjectSettings):
    """What is loaded, and in which pieces."""

    source: Path = Path("data/flights.csv")
    """The file to load when none is given."""
    chunk_days: int = Field(default=1, ge=1, le=366)
    """Days of flights in a chunk: one task, one step."""


settings = FlightsSettings()
