"""The marks of a job's steps in the project's checkpoint, filled at once; imported by scripts that run in a project."""

import time
from datetime import UTC, datetime
from typing import Any

from durable_flights.durable import checkpoints
from durable_flights.durable.checkpoints import Checkpoint


def names(first: int, last: int) -> list[str]:
    """The steps' names, as long as those of the example's."""
    return [f"2013-01-01@{number:012}" for number in range(first, last)]


def fill(job: str, first: int, last: int) -> None:
    """Mark steps of a job as done, in the order of their names, and have the database at rest."""
    there: Any = checkpoints
    if not hasattr(there, "steps"):
        # One block opens the journal; then its own lines, without a flush for each.
        with Checkpoint(job).step(names(first, last)[0]):
            pass
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        journal = there._journal(job)
        with journal.path.open("ab") as file:
            file.writelines(there._line("done", name, now) for name in names(first + 1, last))
        return
    from durable_flights.durable.tables import create
    from sqlalchemy import insert

    engine = there.database()
    create(engine)
    now = datetime.now(UTC)
    rows = [{"job": job, "step": name, "done_at": now} for name in names(first, last)]
    with engine.begin() as connection:
        if engine.dialect.name == "duckdb":
            # By its own numbers, for it takes half a millisecond to bind a row.
            source = f"SELECT $1, format('2013-01-01@{{:012d}}', i), now() FROM range({first}, {last}) AS t(i)"
            driver: Any = connection.connection.dbapi_connection
            driver.execute(f"INSERT INTO steps (job, step, done_at) {source}", [job]).fetchall()
        else:
            connection.execute(insert(there.steps), rows)
    rest(engine)


def rest(engine: Any) -> None:
    """Have the database do now what it would do later."""
    statements = {
        "sqlite": ["PRAGMA wal_checkpoint(TRUNCATE)"],
        "postgresql": ["VACUUM ANALYZE", "CHECKPOINT"],
        "duckdb": ["CHECKPOINT"],
    }
    lent = engine.raw_connection()
    driver = lent.driver_connection
    if engine.dialect.name == "postgresql":
        driver.autocommit = True
    for statement in statements[engine.dialect.name]:
        cursor = driver.cursor()
        cursor.execute(statement)
        if engine.dialect.name != "postgresql":
            cursor.fetchall()
        cursor.close()
    if engine.dialect.name == "postgresql":
        driver.autocommit = False
    lent.close()
