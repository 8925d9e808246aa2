"""Make the default project, kill its run with SIGKILL in the middle, run it again, and check the table.

Everything happens in the folder `.demo` of this checkout, Prefect's own files included.
"""

import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1]
DEMO = TEMPLATE / ".demo"
PROJECT = DEMO / "durable-flights"
PYTHON = PROJECT / ".venv" / "bin" / "python"
TRIES = 5


def main() -> None:
    say("Making the default project in .demo/durable-flights")
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    config = DEMO / "cookiecutter.yaml"
    config.write_text(f'cookiecutters_dir: "{DEMO}/templates"\nreplay_dir: "{DEMO}/replay"\n')
    cookiecutter = [sys.executable, "-m", "cookiecutter", "--config-file", str(config), "--no-input"]
    run([*cookiecutter, "--output-dir", str(DEMO), str(TEMPLATE)], stdout=subprocess.DEVNULL)

    say("Installing what it needs")
    os.environ["PREFECT_HOME"] = str(DEMO / "prefect")
    run(["make", "--no-print-directory", "setup"])

    for _ in range(TRIES):
        say("Loading real flights; the first start of a Prefect server takes a while")
        if kill_half_way():
            break
        say("The run ended before it could be killed; once more from the start")
        shutil.rmtree(PROJECT / "var")
    else:
        sys.exit(f"the run ended {TRIES} times before it could be killed")

    say("Running it again")
    run([str(PYTHON), "-m", "durable_flights", "run"])

    say("Comparing the table with the source")
    compare()


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(command: list[str], stdout: int | None = None) -> None:
    folder = PROJECT if PROJECT.exists() else DEMO
    done = subprocess.run(command, cwd=folder, stdout=stdout, check=False)
    if done.returncode:
        sys.exit(f"failed with exit code {done.returncode}: {' '.join(command)}")


def kill_half_way() -> bool:
    """Start a run and kill it when about half of its chunks are done; tell whether that came off."""
    process = subprocess.Popen([PYTHON, "-m", "durable_flights", "run"], cwd=PROJECT)
    while process.poll() is None and done() < 12:
        time.sleep(0.002)
    process.kill()
    if process.wait() != -signal.SIGKILL or done() == 31:
        return False
    if sys.stderr.isatty():
        print("\033[?25h", end="", file=sys.stderr)  # the cursor, which the killed bar had hidden
    say(f"Killed with SIGKILL after {done()} of 31 chunks")
    return True


def query(text: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{PROJECT / 'var' / 'database.db'}?mode=ro", uri=True)
    try:
        return connection.execute(text).fetchall()
    finally:
        connection.close()


def done() -> int:
    try:
        return int(str(query("SELECT count(*) FROM steps")[0][0]))
    except sqlite3.OperationalError:  # the tables are not made yet
        return 0


def compare() -> None:
    with (PROJECT / "data" / "flights.csv").open(newline="") as file:
        columns, *records = list(csv.reader(file))
    names = ", ".join(f'"{name}"' for name in columns)
    source = sorted(tuple("" if value == "NA" else value for value in record) for record in records)
    table = sorted(
        tuple("" if value is None else str(value) for value in (*row[:-1], f"{str(row[-1])[:19].replace(' ', 'T')}Z"))
        for row in query(f"SELECT {names} FROM flights")
    )
    lost, doubled = len(set(source) - set(table)), len(table) - len(set(table))
    print(f"{len(source)} rows in the source, {len(table)} in the table: {lost} lost, {doubled} doubled")
    if source != table:
        sys.exit("the table is not what the source is")
    print("Every value is the same. Look around: cd .demo/durable-flights && make help")


if __name__ == "__main__":
    main()
