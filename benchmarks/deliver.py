"""Send effects and deliver them, without and with ordering keys: `deliver.py URL EFFECTS`.

Before that the same requests go out alone: one client, as many threads, the same body and key. Prints, as JSON, the
microseconds to write an effect and the effects a second.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from durable_flights.durable import outbox, upserts
from durable_flights.durable.delivery import TIMEOUT, delivery_settings
from durable_flights.durable.steps import Step

STEP = 1000
CUSTOMERS = 100


def payload(number: int) -> dict[str, object]:
    return {"order": number, "customer": f"customer-{number % CUSTOMERS}", "amount": "12.50", "currency": "EUR"}


def alone(url: str, effects: int) -> float:
    """Make the requests of effects, and nothing else; return how many in a second."""
    threads = delivery_settings.outbox_requests
    limits = httpx.Limits(max_connections=threads, max_keepalive_connections=threads)
    bodies = [json.dumps(payload(number), separators=(",", ":")) for number in range(effects)]
    start = time.perf_counter()
    with httpx.Client(timeout=TIMEOUT, limits=limits) as client, ThreadPoolExecutor(threads) as pool:

        def post(number: int) -> bool:
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"{number:064}"}
            return client.post(url, content=bodies[number], headers=headers).is_success

        assert all(pool.map(post, range(effects)))
    return effects / (time.perf_counter() - start)


def write(job: str, url: str, effects: int, ordered: bool) -> float:
    """Send effects, in steps; return the seconds."""
    start = time.perf_counter()
    for first in range(0, effects, STEP):
        step = Step(job, f"step-{first}", "", f"step {first}")
        with step:
            for number in range(first, min(first + STEP, effects)):
                key = f"customer-{number % CUSTOMERS}" if ordered else None
                step.send(url, f"order {number}", payload(number), ordering_key=key)
    return time.perf_counter() - start


def deliver(job: str, effects: int) -> float:
    """Deliver the effects of a job; return how many in a second."""
    start = time.perf_counter()
    numbers: list[int] = []
    outbox.attempt(job, numbers.append)
    assert sum(numbers) == effects
    return effects / (time.perf_counter() - start)


def main() -> None:
    url, effects = sys.argv[1], int(sys.argv[2])
    upserts.prepare()
    rate = alone(url, effects)
    writing = 1e6 * write("benchmark/plain", url, effects, ordered=False) / effects
    plain = deliver("benchmark/plain", effects)
    write("benchmark/ordered", url, effects, ordered=True)
    ordered = deliver("benchmark/ordered", effects)
    print(json.dumps({"write": writing, "alone": rate, "plain": plain, "ordered": ordered}))


if __name__ == "__main__":
    main()
