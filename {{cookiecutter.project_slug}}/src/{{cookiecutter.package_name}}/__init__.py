"""A Prefect project whose runs resume after a crash: `flows` holds your flows, `durable` what makes them durable."""
