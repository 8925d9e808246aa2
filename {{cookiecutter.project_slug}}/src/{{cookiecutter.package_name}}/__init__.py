"""A Prefect project whose runs survive the death of their worker. The README tells what survives what."""
