"""The command: `python -m tests.support.proof load-orders --kills 50 -- --folder data/orders`.

Exit codes: 0, nothing was lost, doubled or different; 1, something was; 2, there can be no proof; 130, Ctrl-C; 143,
SIGTERM.
"""

import argparse
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from .comparison import Fault, State, Varying, compare, repeats, varying
from .trials import Kill, Laboratory, ProofError, Trial, laboratory
from .victim import POINTS
from tests.support import cluster, sink

ROOT = Path(__file__).resolve().parents[3]
UNDISTURBED = 3
"""Runs of a flow that nobody disturbs."""
MOMENTS = {"KILL": "at any time", "TERM": "by SIGTERM", "WORKER": "of a worker"}
"""What a report says of kills after seconds."""
_DEPENDS = "a value that depends on the run, such as `n = n + 1`: compute it from the source"
CAUSES = {
    "doubled table": "an insert outside the step, or no primary key: write with `upsert`, on the step's connection",
    "doubled file": "a second try appends again: write the whole file anew, or write to a table",
    "doubled requests": "no Idempotency-Key, or a random one: use `step.send`, or a key made of the data",
    "lost table": "a transaction of its own: write all within the step",
    "differing table": _DEPENDS,
    "differing file": _DEPENDS,
    "differing requests": _DEPENDS,
}
"""What usually is the cause of a kind of fault, and what to do."""
REAL = "If a request only reads, let it through with REAL=URL, the beginning of its URL."
SUSPECT = "does a key hold a time or a random value?"


@dataclass
class Verdict:
    """What the proof of one flow has found."""

    flow: str
    arguments: Sequence[str]
    real: Sequence[str] = ()
    """Beginnings of URLs that the receiver does not get."""
    again: bool = False
    """Whether this is one trial again, of kills that were given."""
    passed: Counter[str] = field(default_factory=Counter)
    """How often an undisturbed run passes each point."""
    hit: Counter[str] = field(default_factory=Counter)
    """How many processes were killed at each point, or else how."""
    pairs: int = 0
    """Trials in which two processes ran at once."""
    varying: set[tuple[str, str]] = field(default_factory=set)
    """What differs between two undisturbed runs, and is not compared."""
    missed: int = 0
    """Kills that came too late: the process had ended."""
    outside: set[str] = field(default_factory=set)
    """Files outside the home that an undisturbed run has written, which are not compared."""
    repeats: int = 0
    """Requests that were sent again with the idempotency key of the first time."""
    faults: dict[Fault, Sequence[Kill]] = field(default_factory=dict)
    """Each as the first trial shows it, with the kills of that trial."""
    counts: Counter[Fault] = field(default_factory=Counter)
    """How many rows, lines or requests each has in all trials."""
    trials: Counter[Fault] = field(default_factory=Counter)
    """In how many trials each was seen."""
    seconds: float = 0.0

    def add(self, faults: Sequence[Fault], kills: Sequence[Kill]) -> None:
        """Note what a trial has shown."""
        for fault in faults:
            self.faults.setdefault(fault, kills)
            self.counts[fault] += fault.count
            self.trials[fault] += 1

    def lines(self) -> Iterator[str]:
        """Yield a table, and a line for each fault, as Markdown."""
        points = {MOMENTS.get(point, point): count for point, count in self.hit.items()}
        counts = Counter[str]()
        for fault, count in self.counts.items():
            counts[fault.what] += count
        yield f"## {self.flow}"
        yield ""
        yield "| | |"
        yield "|---|---|"
        yield f"| kills | {', '.join(f'{count} {point}' for point, count in sorted(points.items())) or 'none'} |"
        if self.missed:
            yield f"| kills that came too late | {self.missed} |"
        if self.pairs:
            yield f"| trials with two processes at once | {self.pairs} |"
        if not self.again:
            never = [point for point in POINTS if self.passed[point] and not self.hit[point]]
            absent = [point for point in POINTS if not self.passed[point]]
            if never:
                yield f"| points not hit | {', '.join(never)} |"
            if absent:
                yield f"| points that the flow does not have | {', '.join(absent)} |"
        for what in ("lost", "doubled", "differing"):
            yield f"| {what} | {counts.pop(what, 0)} |"
        if counts:
            yield f"| other faults | {counts.total()} |"
        yield f"| requests sent again with their idempotency key | {self.repeats} |"
        if self.outside:
            yield f"| not compared: written outside the home (`settings.home`) | {', '.join(sorted(self.outside))} |"
        if self.varying:
            names = ", ".join(sorted(f"{part} of {place}" for part, place in self.varying))
            yield f"| not compared: they differ from run to run | {names} |"
        yield f"| seconds | {self.seconds:.0f} |"
        yield ""
        # What differs without a kill has other causes than the kills.
        unsteady = {fault.where for fault, kills in self.faults.items() if not kills}
        for fault, kills in self.faults.items():
            trials = self.trials[fault]
            seen = f"{self.counts[fault]} in {trials} trial{'s' * (trials > 1)}" if kills else f"{fault.count}"
            example = f", such as `{fault.example}`" if fault.example else ""
            yield f"- **{fault.what}** in {fault.where}: {seen}{example}; to see it again: `{self.command(kills)}`"
            cause = CAUSES.get(f"{fault.what.partition(' ')[0]} {fault.where.partition(' ')[0]}")
            if cause and not (kills and fault.where in unsteady):
                yield f"  Usual cause: {cause}."
        if not self.faults:
            compared = "" if not (self.outside or self.varying) else " that was compared"
            yield f"Nothing{compared} was lost, doubled or different."

    def command(self, kills: Sequence[Kill]) -> str:
        """Return the command that repeats a trial; without kills, that runs the flow undisturbed."""
        arguments = f' ARGS="{" ".join(self.arguments)}"' if self.arguments else ""
        trials = f'AT="{", ".join(map(str, kills))}"' if kills else "KILLS=1"
        real = f' REAL="{" ".join(self.real)}"' if self.real else ""
        return f"make prove FLOW={self.flow} {trials}{real}{arguments}"


def prove(place: Laboratory, verdict: Verdict, plan: "Plan", skips: bool, advance: Callable[[int], None]) -> None:
    """Prove a flow: run it undisturbed, then kill it in one trial after the other, and compare.

    Raises:
        ProofError: it fails when nobody disturbs it, or no kill has struck.
    """
    began = time.monotonic()
    expected, length = undisturbed(place, verdict, skips, advance)
    if not (verdict.faults and plan.until_fault):
        with pool_of(plan.jobs, place) as pool:
            trials = plan.trials(verdict.passed, length)
            attempts = [
                pool.submit(attempt, place, verdict, kills, number % 2 == 0, expected)
                for number, kills in enumerate(trials)
            ]
            for kills, each in zip(trials, attempts, strict=True):
                faults, struck, again = each.result()
                verdict.missed += len(kills) - len(struck)
                verdict.hit.update(kill.point or kill.how for kill in struck)
                verdict.pairs += len(kills) > 1
                verdict.repeats += again
                verdict.add(faults, struck)
                advance(len(kills))
                if verdict.faults and plan.until_fault:
                    pool.shutdown(cancel_futures=True)
                    break
    verdict.seconds = time.monotonic() - began
    if not verdict.hit and not verdict.faults:
        raise ProofError(f"{verdict.flow}: no process was killed, they had all ended before; give more KILLS")


def undisturbed(
    place: Laboratory, verdict: Verdict, skips: bool, advance: Callable[[int], None]
) -> tuple[State, float]:
    """Run a flow twice with nobody disturbing it, the second time anew and then once more; note what is wrong already.

    Returns:
        What it leaves, and how many seconds it takes.
    """
    states = []
    for _ in range(2):
        trial = Trial(place, verdict.flow, verdict.arguments)
        files, now = _files(ROOT), time.time()
        began = time.monotonic()
        code, said = trial.run()
        length = time.monotonic() - began
        verdict.outside |= {name for name, _ in _files(ROOT) - files}
        verdict.outside |= {path.removeprefix(f"{ROOT}/") for path in trial.written if _has_changed(path, now)}
        advance(1)
        if code:
            why = f"{verdict.flow} fails when nobody disturbs it:\n{said[-2000:]}"
            if asked := ", ".join(sorted({request.what for request in trial.requests()})):
                why += f"\nThe receiver of the proof gave an empty answer to {asked}. {REAL}"
            raise ProofError(why)
        verdict.passed = trial.passed
        states.append(trial.state())
        if len(states) == 2:
            verdict.varying = varying(*states)
            faults = _second_run(trial, said, states[1], verdict.varying, skips)
            advance(1)
        trial.end()
    faults += [
        Fault(f"different without a kill: {SUSPECT}", fault.where, fault.count, fault.example)
        for fault in compare(states[0], states[1], verdict.varying)
    ]
    verdict.add(faults, ())
    return states[0], length


def _has_changed(path: str, began: float) -> bool:
    """Whether there is a file that was opened for writing, and that has changed."""
    file = Path(path)
    # The clock of a file system may be a little behind.
    return file.is_file() and file.stat().st_mtime > began - 0.1


def _files(folder: Path) -> set[tuple[str, int]]:
    """Return the files of a project that is not `durable`'s or a tool's, each with the time of its last change."""
    found = set()
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and name not in ("var", "__pycache__")]
        for name in names:
            with suppress(OSError):
                file = Path(path, name)
                found.add((str(file.relative_to(folder)), file.stat().st_mtime_ns))
    return found


def _second_run(trial: Trial, said: str, before: State, differing: Varying, skips: bool) -> list[Fault]:
    """Run a flow again after all is done: it is to leave everything as it is, and do no chunk again."""
    code, again = trial.run()
    if code:
        raise ProofError(f"a second run fails:\n{again[-2000:]}")
    faults = [
        Fault(f"{fault.what} by a second run", fault.where, fault.count, fault.example)
        for fault in compare(before, trial.state(), differing)
    ]
    counts = [re.findall(r": (\d+) chunks, \d+ skipped, (\d+) done", each) for each in (said, again)]
    if skips and counts[0] and counts[0] == counts[1] and counts[1][-1][1] != "0":
        faults.append(Fault(f"done again by a second run: {SUSPECT}", "chunks", int(counts[1][-1][1])))
    return faults


def attempt(
    place: Laboratory, verdict: Verdict, kills: Sequence[Kill], resume: bool, expected: State
) -> tuple[list[Fault], list[Kill], int]:
    """Kill a flow, bring it to its end, and compare.

    Returns:
        The faults, the kills that have struck, and how many requests were repeated.
    """
    trial = Trial(place, verdict.flow, verdict.arguments)
    struck = trial.disturb(kills)
    if said := trial.finish(resume):
        return [Fault("never ends after a kill", "the run", example=said.splitlines()[-1])], struck, 0
    state = trial.state()
    trial.end()
    return compare(expected, state, verdict.varying), struck, repeats(state.requests)


@contextmanager
def pool_of(jobs: int, place: Laboratory) -> Iterator[ThreadPoolExecutor]:
    """Yield threads for trials; an interrupt ends what they have started."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            place.end()
            raise


@dataclass(frozen=True)
class Plan:
    """Which trials there are."""

    kills: int
    at: Sequence[Kill]
    """Of the one trial that is wanted again."""
    seed: int
    until_fault: bool
    jobs: int

    def trials(self, passed: Counter[str], length: float) -> Sequence[Sequence[Kill]]:
        """Return the kills of each trial: at points that a run passes in turn, and at any time of its length."""
        if self.at:
            # Once resumed, and once run again.
            return [self.at, self.at]
        dice = random.Random(self.seed)
        points = itertools.cycle(point for point in POINTS if passed[point])
        how = ["KILL", "TERM", *([] if cluster.IN_THREADS else ["WORKER"])]
        found: list[list[Kill]] = []
        left = self.kills
        while left > 0:
            point = next(points, None) if len(found) % 3 else None
            kills = [
                Kill(f"{point}:{dice.randint(1, passed[point])}")
                if point
                else Kill(f"{dice.uniform(0, length):.2f}s", dice.choice(how))
            ]
            if sink.WRITERS > 1 and len(found) % 5 == 4:
                kills.append(Kill(f"{dice.uniform(0, length):.2f}s"))
            found.append(kills[:left])
            left -= len(found[-1])
        return found


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ProofError(f"{text!r} is not a whole number from 1, such as KILLS=50")
    return int(text)


def options(given: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make prove", description="Kill flows, resume them, and compare.")
    parser.add_argument("flows", nargs="*", help="all, if none is named")
    parser.add_argument("--kills", type=_count, default=50, help="how many, of each flow (50)")
    parser.add_argument("--at", default="", help='the kills of one trial, as a report gives them: "committed:3"')
    parser.add_argument("--seed", type=int, default=1, help="another one draws other moments (1)")
    parser.add_argument("--jobs", type=_count, default=2, help="trials at a time (2)")
    parser.add_argument("--until-fault", action="store_true", help="end the proof of a flow with its first fault")
    parser.add_argument("--real", action="append", default=[], help="let requests to URLs through that begin with this")
    parser.add_argument("--packages", default="", help="where flows are, beside the project's own, with commas")
    end = given.index("--") if "--" in given else len(given)
    found = parser.parse_args(given[:end])
    found.arguments = given[end + 1 :]
    return found


def run(given: Sequence[str]) -> int:
    """Prove flows, and print and keep a report; return the exit code."""
    asked = options(given)
    packages = asked.packages.split(",") if asked.packages else []
    project = describe(packages)
    if unknown := [flow for flow in asked.flows if flow not in project["flows"]]:
        raise ProofError(f"there is no flow {', '.join(unknown)}; there are: {', '.join(project['flows'])}")
    if not project["flows"]:
        raise ProofError("there is no flow yet; write the first one with: make flow NAME=orders")
    at = [Kill.parse(each.strip()) for each in asked.at.split(",")] if asked.at else []
    console = Console(soft_wrap=True, highlight=False)
    settings = {**project["settings"], "PROOF_REAL": " ".join(asked.real)}
    with laboratory(settings, packages) as place:
        console.print(f"Each trial has an empty home, database and store of its own, in {place.folder}.")
        console.print("Requests of httpx that change something go to a receiver here. Your flow reads its real source.")
        console.print("What it writes outside its home is really written, and not compared.")
        plan = Plan(2 * len(at) or asked.kills, at, asked.seed, asked.until_fault, asked.jobs)
        verdicts = []
        for flow in asked.flows or project["flows"]:
            verdict = Verdict(flow, asked.arguments, asked.real, again=bool(at))
            verdicts.append(verdict)
            with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
                advance = partial(progress.advance, progress.add_task(flow, total=UNDISTURBED + plan.kills))
                prove(place, verdict, plan, flow in project["skips"], advance)
            console.print("\n".join(verdict.lines()), markup=False)
            if not at:
                keep(verdict, Path(project["home"], "proof"), console)
    return 1 if any(verdict.faults for verdict in verdicts) else 0


def keep(verdict: Verdict, home: Path, console: Console) -> None:
    """Write the report to a file."""
    home.mkdir(parents=True, exist_ok=True)
    report = home / f"{verdict.flow}.md"
    report.write_text("\n".join([*verdict.lines(), ""]), encoding="utf-8")
    console.print(f"this report: {report}", markup=False)


def describe(packages: Sequence[str]) -> dict[str, Any]:
    """Return what the project has, from a process of its own: this one's environment is the trials'.

    Raises:
        ProofError: its flows or settings cannot be read.
    """
    command = [sys.executable, "-m", "tests.support.proof.project", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProofError(done.stderr.strip())
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Run the command, and return its exit code."""
    # Also in a pipe, each line comes at once; a CI that ends this by SIGTERM has everything removed too.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return run(sys.argv[1:])
    except ProofError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; everything of the proof is removed", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
