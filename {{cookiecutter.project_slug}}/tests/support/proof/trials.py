"""Trials: a flow in an empty home, with a database and a store of its own, killed and brought to its end."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from uuid import uuid4

from {{ cookiecutter.package_name }}.durable.server import ServerError, server

from .comparison import Request, State
from .victim import NUMBERED, POINTS, PREFIX, WRITTEN, dask_setup, work
from tests.support import UnavailableError, cluster, sink, store
from tests.support.prefect_home import prepared

TIMEOUT = 600.0
"""Seconds for one command."""
STRIKES = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "WORKER": signal.SIGKILL}
ATTEMPTS = 5
"""How often a killed run may have to be run again."""
FORKS = ForkServerContext()
LIBRARIES = ("prefect.flow_engine", "prefect.task_engine", "cyclopts", "alembic.command", "aiohttp")
"""What commands import that takes long; those of them that are not installed are left out."""


class ProofError(Exception):
    """There can be no proof. The message says why and what to do."""


@dataclass(frozen=True)
class Kill:
    """When and how a process is killed."""

    at: str
    """The so many-th time that it passes a point, as `committed:3`, or after seconds, as `0.84s`."""
    how: str = "KILL"
    """`KILL`; after seconds also `TERM`, or `WORKER`: a process of its cluster is killed."""

    def __str__(self) -> str:
        return self.at if self.how == "KILL" else f"{self.at} {self.how}"

    @property
    def point(self) -> str:
        return self.at.partition(":")[0] if ":" in self.at else ""

    @property
    def hit(self) -> int:
        return int(self.at.partition(":")[2])

    @property
    def seconds(self) -> float:
        return float(self.at.removesuffix("s"))

    @classmethod
    def parse(cls, text: str) -> "Kill":
        """Read what `str` gives.

        Raises:
            ProofError: it is neither a point nor seconds.
        """
        if found := re.fullmatch(r"(\d+(?:\.\d+)?s)(?: (TERM|WORKER))?", text):
            return cls(found[1], found[2] or "KILL")
        point, _, hit = text.partition(":")
        if point not in POINTS or not hit.isdecimal():
            raise ProofError(
                f"{text!r} is no moment for a kill; write seconds, as 0.84s, or a point, as committed:3."
                f" The points: {', '.join(POINTS)}"
            )
        return cls(text)

    def strike(self, process: BaseProcess, struck: list["Kill"]) -> None:
        """Kill a process, or one of its cluster; add this to the kills that have struck."""
        if process.pid is None or wait([process.sentinel], 0):
            return
        leaves = _leaves(process.pid) if self.how == "WORKER" else []
        with suppress(ProcessLookupError):
            os.kill(random.choice(leaves) if leaves else process.pid, STRIKES[self.how])
            struck.append(self)


class Receiver(ThreadingHTTPServer):
    """A service that records what it is asked to do, each trial by itself."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Record)
        self.requests: dict[str, list[Request]] = {}
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, trial: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{trial}"

    def handle_error(self, *_: object) -> None:
        """Say nothing: whoever asked was killed."""


class _Record(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def _record(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(
            f"{self.command} {self.headers['X-To']}",
            self.headers.get("Idempotency-Key", ""),
            hashlib.sha256(body).hexdigest(),
        )
        self.server.requests.setdefault(self.path.strip("/"), []).append(request)
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_PUT = do_PATCH = do_DELETE = _record  # noqa: N815

    def log_message(self, *_: object) -> None: ...


class Laboratory:
    """Where trials run: a folder, and servers that end with it."""

    def __init__(self, folder: Path, settings: dict[str, str], packages: Sequence[str]) -> None:
        self.folder = folder
        self.settings = settings
        self.packages = tuple(packages)
        self.receiver = Receiver()
        self.begun: list[BaseProcess] = []
        self.ended = False
        self.lock = threading.Lock()
        """Of the processes: whoever starts one also asks for the ends of all, and two may not read one end."""

    def start(self, arguments: Sequence[str], environment: dict[str, str], folder: Path) -> tuple[BaseProcess, Path]:
        """Start a command of the project; return its process, and the file that gets its output.

        Raises:
            ProofError: the proof has ended.
        """
        if self.ended:
            raise ProofError("the proof has ended")
        output = folder / f"{len(self.begun)}.out"
        notes = output.with_suffix(".notes")
        notes.mkdir()
        given = {**self.settings, **environment, "PROOF_NOTES": str(notes)}
        process = FORKS.Process(target=work, args=(list(arguments), given, output, self.packages))
        with self.lock:
            process.start()
        self.begun.append(process)
        return process, output

    def end_of(self, process: BaseProcess) -> int | None:
        """Wait for a process, and kill one that takes too long; return its exit code, that of a signal negative."""
        if not wait([process.sentinel], TIMEOUT):
            process.kill()
        with self.lock:
            process.join()
            return process.exitcode

    def end(self) -> None:
        """End all that runs; nothing more begins."""
        self.ended = True
        for process in self.begun:
            with self.lock:
                if process.is_alive():
                    process.kill()
                    process.join()
        self.receiver.shutdown()
        self.receiver.server_close()


@contextmanager
def laboratory(settings: dict[str, str], packages: Sequence[str]) -> Iterator[Laboratory]:
    """Yield a place for trials, with a Prefect server, and with a database server and a store where trials need them.

    Nothing of the owner's is used: no setting of `durable`, no server, no Prefect profile.

    Args:
        settings: of the owner's flows, as variables of the environment.
        packages: where flows are, beside the project's own.

    Raises:
        ProofError: a server cannot be had here.
    """
    # One that the user of a database server may look into.
    folder = Path(tempfile.mkdtemp(prefix="{{ cookiecutter.project_slug }}-proof-"))
    folder.chmod(0o755)
    given = dict(os.environ)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(os.environ.update, given)
        stack.callback(os.environ.clear)
        stack.callback(sink.stop)
        for name in [name for name in os.environ if name.startswith(("PREFECT_", PREFIX))]:
            del os.environ[name]
        os.environ |= {
            "TESTS_FOLDER": str(folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
            f"{PREFIX}ENV_FILE": os.devnull,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
            **cluster.ENVIRONMENT,
            **cluster.prepared_by(dask_setup, folder),
        }
        # Prefect reads the `.env` of the folder in which it is imported: here, and where processes are forked from.
        with chdir(folder):
            try:
                os.environ |= prepared(folder / "prefect")
                os.environ["PREFECT_API_URL"] = stack.enter_context(server(folder / "server.log"))
                os.environ |= store.start(folder / "store")
                sink.begin(folder / "database")
            except (ServerError, UnavailableError) as error:
                raise ProofError(str(error)) from error
            FORKS.set_forkserver_preload([*LIBRARIES, work.__module__])
            # Ctrl-C is for all processes of a terminal: what is forked is ended by this one.
            handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
            forkserver.ensure_running()
            signal.signal(signal.SIGINT, handler)
        found = Laboratory(folder, settings, packages)
        stack.callback(found.end)
        yield found


class Trial:
    """One flow in an empty home.

    Raises:
        ProofError: `make setup` fails there.
    """

    def __init__(self, place: Laboratory, flow: str, arguments: Sequence[str]) -> None:
        self.place = place
        self.command = ["run", flow, *arguments]
        # A folder in the store, too, may have such a name.
        self.name = f"trial-{uuid4().hex[:12]}"
        self.folder = place.folder / self.name
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.environment = {
            **store.own(self.name),
            **sink.own(),
            f"{PREFIX}HOME": str(self.folder / "home"),
            f"{PREFIX}ENV_FILE": os.devnull,
            "PROOF_RECEIVER": place.receiver.url(self.name),
        }
        self.passed: Counter[str] = Counter()
        """How often the last run has passed each point."""
        self.written: set[str] = set()
        """Files outside the home that runs have opened for writing."""
        self.numbered: set[str] = set()
        """Tables into which runs have inserted rows whose keys are left to the database."""
        code, said = self.run("setup")
        if code:
            raise ProofError(f"`make setup` fails in an empty home:\n{said[-2000:]}")

    def run(self, *command: str) -> tuple[int | None, str]:
        """Run the flow, or another command, to its end; return its exit code and what it says."""
        process, output = self.place.start(command or self.command, self.environment, self.folder)
        code = self.place.end_of(process)
        self.passed = _passed(output)
        self.written |= _noted(output, WRITTEN)
        self.numbered |= _noted(output, NUMBERED)
        return code, output.read_text(encoding="utf-8", errors="replace").strip()

    def disturb(self, kills: Sequence[Kill]) -> list[Kill]:
        """Run the flow in as many processes as there are kills, at the same time; return the kills that have struck."""
        struck: list[Kill] = []
        timers = []
        begun = []
        for kill in kills:
            at = {"PROOF_AT": kill.at} if kill.point else {}
            process, output = self.place.start(self.command, {**self.environment, **at}, self.folder)
            begun.append((kill, process, output))
            if not kill.point:
                timers.append(threading.Timer(kill.seconds, kill.strike, (process, struck)))
                timers[-1].start()
        for kill, process, output in begun:
            self.place.end_of(process)
            # A process of the cluster may have died there, and the flow not.
            if kill.point and _passed(output)[kill.point] >= kill.hit:
                struck.append(kill)
        for timer in timers:
            timer.cancel()
            timer.join()
        return struck

    def finish(self, resume: bool) -> str:
        """Run the flow until all is done; return what it says if it does not come to that.

        Args:
            resume: whether `make resume` goes first.
        """
        said = ""
        if resume:
            self.run("resume")
        for _ in range(ATTEMPTS):
            code, said = self.run()
            if code == 0:
                return ""
        return said

    def state(self) -> State:
        """Return what is left.

        Raises:
            ProofError: it cannot be looked at.
        """
        code, said = self.run("observe")
        if code:
            raise ProofError(said[-2000:])
        found = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        tables = {name: [(key, values) for key, values in rows] for name, rows in found["tables"].items()}
        return State(tables, found["files"], self.requests(), frozenset(self.numbered & tables.keys()))

    def requests(self) -> list[Request]:
        """Return what the receiver has got of this flow."""
        return list(self.place.receiver.requests.get(self.name, []))

    def end(self) -> None:
        """Leave nothing behind."""
        sink.remove(self.environment)
        shutil.rmtree(self.folder, ignore_errors=True)


def _passed(output: Path) -> Counter[str]:
    """Return how often a process and its cluster have passed each point."""
    notes = output.with_suffix(".notes")
    return Counter({file.name: file.stat().st_size for file in notes.iterdir() if file.name in POINTS})


def _noted(output: Path, what: str) -> set[str]:
    """Return the lines that a process and its cluster have noted."""
    file = output.with_suffix(".notes") / what
    return set(file.read_text(encoding="utf-8").splitlines()) if file.exists() else set()


def _leaves(pid: int) -> list[int]:
    """Return the processes that a process and its children have started and that have started none."""
    texts = [file.read_text(encoding="utf-8") for file in Path(f"/proc/{pid}/task").glob("*/children")]
    children = [int(child) for text in texts for child in text.split()]
    return [leaf for child in children for leaf in _leaves(child) or [child]]
