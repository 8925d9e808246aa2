"""Put small faults into the template, one at a time, and see that its tests catch each: `mutants.py [WORD ...]`.

A fault is a change of one text in one file. A project is baked with it, and those of its own tests run that are to
catch it, all of which `make test` runs too; faults of the hooks are looked for by the template's tests. Without the
fault the same tests must pass. Prints what caught each fault, and the score; the exit code is 1 if one was missed.

Words choose the faults whose name holds one of them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "{{cookiecutter.project_slug}}"
DURABLE = f"{PROJECT}/src/{{{{cookiecutter.package_name}}}}/durable"
TIMEOUT = 600.0
"""Seconds for the tests of one fault; what hangs is caught too."""


@dataclass(frozen=True)
class Fault:
    """A change of one text in one file, and who is to catch it."""

    name: str
    file: str
    """In `durable`, or, beginning with `/`, in the template."""
    old: str
    new: str
    tests: str
    """Of the project; or, beginning with `/`, of the template."""
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return Path(self.file[1:]) if self.file.startswith("/") else Path(DURABLE) / self.file


POSTGRES = {"upsert": "postgres"}
DUCKDB = {"upsert": "duckdb"}
FILE = {"checkpoint": "file"}
STORAGE = {"checkpoint": "storage"}
DASK = {"task_runner": "dask"}
RAY = {"task_runner": "ray"}
PODS = {"deployment": "kubernetes", "result_storage": "s3", "upsert": "postgres"}

FAULTS = [
    # Upserts.
    Fault(
        "sqlite: no IMMEDIATE", "upserts/sqlite.py", 'BEGIN IMMEDIATE")', 'BEGIN")', "test_writers.py test_upserts.py"
    ),
    Fault(
        "sqlite: counts of rows met",
        "upserts/sqlite.py",
        "UpsertReport(len(rows) - known,",
        "UpsertReport(written,",
        "test_rows.py",
    ),
    Fault(
        "sqlite: columns in the rows' order",
        "upserts/sqlite.py",
        "columns[place] for place in statement.order",
        "columns[place] for place in range(len(columns))",
        "test_rows.py",
    ),
    Fault(
        "sqlite: no savepoint",
        "upserts/sqlite.py",
        "with connection.begin_nested():",
        "if True:",
        "test_rows.py test_upserts.py",
    ),
    Fault(
        "postgres: no lock for many batches",
        "upserts/postgres.py",
        "SHARE ROW EXCLUSIVE",
        "ACCESS SHARE",
        "test_writers.py test_upserts.py",
        POSTGRES,
    ),
    Fault(
        "postgres: rows in their own order",
        "upserts/postgres.py",
        "check=_unfit, size=BATCH)",
        "check=_unfit, size=BATCH, ordered=False)",
        "test_writers.py test_upserts.py",
        POSTGRES,
    ),
    Fault(
        "duckdb: what was written stays",
        "upserts/duckdb.py",
        "            transaction.rollback()",
        "            pass",
        "test_upserts.py test_rows.py",
        DUCKDB,
    ),
    Fault(
        "rows: the first of a key wins",
        "upserts/shared/rows.py",
        "last = dict(zip(keys, range(len(keys)), strict=True))",
        "last = {name: place for place, name in reversed([*enumerate(keys)])}",
        "test_rows.py",
    ),
    Fault(
        "rows: all are written, changed or not",
        "upserts/shared/rows.py",
        "        if self.newer is None:\n            return differs\n",
        "        if self.newer is None:\n            return differs | True\n",
        "test_rows.py",
    ),
    Fault(
        "rows: newer only",
        "upserts/shared/rows.py",
        "new[self.newer] >= old[self.newer]",
        "new[self.newer] > old[self.newer]",
        "test_rows.py test_model.py",
    ),
    Fault(
        "rows: NULL in a key",
        "upserts/shared/rows.py",
        'raise ValueError("has no value, and is part of the key")',
        "pass",
        "test_rows.py",
    ),
    Fault(
        "rows: naive moments pass",
        "upserts/shared/rows.py",
        "if {value.tzinfo is None for value in values} <= {not kind.timezone}:",
        "if True:",
        "test_rows.py",
    ),
    Fault(
        "tables: zones are dropped",
        "upserts/shared/tables.py",
        "return value.astimezone(UTC)\n\n    def process_result",
        "return value.replace(tzinfo=UTC)\n\n    def process_result",
        "test_rows.py test_upserts.py",
    ),
    # Checkpoints.
    Fault(
        "database: two transactions",
        "checkpoints/database.py",
        'yield connection if self._claim(connection, checked(key, "step")) else None',
        'claimed = self._claim(connection, checked(key, "step"))\n'
        "                connection.commit()\n                yield connection if claimed else None",
        "test_checkpoints.py",
    ),
    Fault(
        "database: a lost COMMIT is an error",
        "checkpoints/database.py",
        "if not (ended and error.connection_invalidated and self._is_done(key)):",
        "if True:",
        "test_lost_connections.py test_checkpoints.py",
        POSTGRES,
    ),
    Fault(
        "database: any lost connection is a success",
        "checkpoints/database.py",
        "error.connection_invalidated and self._is_done(key)",
        "error.connection_invalidated",
        "test_lost_connections.py",
        POSTGRES,
    ),
    Fault(
        "database: jobs see each other",
        "checkpoints/database.py",
        "select(steps.c.step).where(steps.c.job == self.job)",
        "select(steps.c.step)",
        "test_checkpoints.py test_names.py test_model.py",
    ),
    Fault(
        "database: a reset is none",
        "checkpoints/database.py",
        "                connection.execute(delete(table).where(table.c.job == self.job))\n",
        "",
        "test_checkpoints.py test_model.py",
    ),
    Fault(
        "file: mark first",
        "checkpoints/file.py",
        "        with transaction() as connection:\n            yield connection\n        journal.mark(key)",
        "        journal.mark(key)\n        with transaction() as connection:\n            yield connection",
        "test_checkpoints.py test_marks.py",
        FILE,
    ),
    Fault(
        "file: mark before the commit",
        "checkpoints/file.py",
        "            yield connection\n        journal.mark(key)",
        "            yield connection\n            journal.mark(key)",
        "test_marks.py",
        FILE,
    ),
    Fault(
        "file: a torn tail stays",
        "checkpoints/file.py",
        "os.ftruncate(descriptor, self.size)\n        try:",
        "pass\n        try:",
        "test_checkpoints.py",
        FILE,
    ),
    Fault(
        "file: no flush",
        "checkpoints/file.py",
        "            _flush(descriptor)\n",
        "",
        "test_checkpoints.py test_marks.py",
        FILE,
    ),
    Fault(
        "file: no lock",
        "checkpoints/file.py",
        "fcntl.flock(descriptor, fcntl.LOCK_EX)",
        "pass",
        "test_checkpoints.py test_marks.py",
        FILE,
    ),
    Fault(
        "file: one journal for all jobs",
        "checkpoints/file.py",
        'f"{part(job)}.journal"',
        '"all.journal"',
        "test_checkpoints.py test_marks.py test_names.py",
        FILE,
    ),
    Fault(
        "storage: mark before the commit",
        "checkpoints/storage.py",
        "            yield connection\n        marks.write(name,",
        "            yield connection\n            marks.write(name,",
        "test_marks.py",
        STORAGE,
    ),
    Fault(
        "storage: capitals and small letters are one name",
        "checkpoints/storage.py",
        "key.encode()).decode()\n    return name if",
        "key.lower().encode()).decode()\n    return name if",
        "test_checkpoints.py test_names.py test_marks.py",
        STORAGE,
    ),
    Fault(
        "marks: written in place",
        "marks/local.py",
        "        new.replace(path)\n",
        "        path.write_bytes(content)\n        new.unlink()\n",
        "test_checkpoints.py test_marks.py",
        STORAGE,
    ),
    Fault(
        "effects: the payload is not in the key",
        "idempotency.py",
        'f"{json.dumps([job, item])}\\n{text}"',
        'f"{json.dumps([job, item])}"',
        "test_effects.py",
    ),
    Fault(
        "claims: an item that another chunk has claimed is new",
        "claims/sqlite+postgres+duckdb.py",
        "if name in claimed]",
        "if name]",
        "test_claims.py",
    ),
    Fault(
        "claims: each chunk has its own",
        "steps.py",
        "claims.claim(self._connection, self.job, items)",
        "claims.claim(self._connection, self.key, items)",
        "test_claims.py",
    ),
    Fault(
        "claims: items are inserted in the order of each step",
        "claims/sqlite+postgres+duckdb.py",
        "for name in sorted(names)]",
        "for name in names]",
        "test_claims.py",
        POSTGRES,
    ),
    Fault(
        "outbox: a repeat sends again",
        "outbox/sqlite+postgres+duckdb.py",
        '"key": idempotency_key(job, item, payload)',
        '"key": idempotency_key(f"{job}{time.time_ns()}"[:200], item, payload)',
        "test_outbox.py",
    ),
    Fault(
        "outbox: a refused effect does not hold those behind it",
        "outbox/sqlite+postgres+duckdb.py",
        "where(ours, UNDELIVERED, outbox.c.ordering_key.is_not(None))",
        "where(ours, LEFT, outbox.c.ordering_key.is_not(None))",
        "test_outbox.py",
    ),
    Fault(
        "outbox: the payload is kept",
        "outbox/sqlite+postgres+duckdb.py",
        "values(delivered_at=datetime.now(UTC), payload=None)",
        "values(delivered_at=datetime.now(UTC))",
        "test_outbox.py",
    ),
    Fault(
        "delivery: a refusal quotes a header",
        "outbox/shared/delivery.py",
        'said = said.replace(secret, "…")',
        "said = said.strip()",
        "test_outbox.py",
    ),
    Fault(
        "delivery: a receiver that is down is asked for each effect",
        "outbox/shared/delivery.py",
        "self.resting.add(effect.receiver)",
        "self.resting.discard(effect.receiver)",
        "test_outbox.py",
    ),
    Fault(
        "files: a part ends within a quoted field",
        "records.py",
        "width, delimiter, cut=True)",
        "width, delimiter, cut=False)",
        "test_files.py",
    ),
    Fault(
        "files: the header counts as a line of each part",
        "files.py",
        'lines - before.count(b"\\n")',
        "lines",
        "test_files.py",
    ),
    Fault(
        "effects: the key is not sent",
        "effects.py",
        ', headers={"Idempotency-Key": key}',
        "",
        "test_effects.py",
    ),
    # Keys of results.
    Fault(
        "keys: no name of the task",
        "cache_keys/shared/identity.py",
        "[*_place(fn, origin.places), task.version, origin.source]",
        "[task.version, origin.source]",
        "test_cache_keys.py test_caching.py",
    ),
    Fault(
        "keys: no version",
        "cache_keys/shared/identity.py",
        "[*_place(fn, origin.places), task.version, origin.source]",
        "[*_place(fn, origin.places), origin.source]",
        "test_cache_keys.py test_caching.py",
    ),
    Fault(
        "keys: variables around are not in them",
        "cache_keys/shared/identity.py",
        '    key.update(canonical(_around(fn, origin.places), f"{fn.__qualname__}.__closure__"))\n',
        "",
        "test_cache_keys.py test_caching.py",
    ),
    Fault(
        "keys: tasks are sent to workers without their origin",
        "cache_keys/shared/identity.py",
        "        setattr(task.fn, ORIGIN, LocalOrigin(task, source))\n",
        "",
        "test_origins.py",
    ),
    Fault(
        "keys: tasks that have no key are not refused",
        "cache_keys/shared/identity.py",
        "        find_origin(task, source)\n",
        "",
        "test_origins.py",
    ),
    Fault(
        "keys: the path stands for the file",
        "cache_keys/file_content.py",
        "digest(context.task, parameters, read=_content)",
        "digest(context.task, parameters)",
        "test_cache_keys.py test_caching.py",
        {"cache_key": "file_content"},
    ),
    Fault(
        "keys: helpers are not in the source",
        "cache_keys/inputs_and_source.py",
        "for imported in _imports(tree, packages[name]):",
        "for imported in ():",
        "test_cache_keys.py test_caching.py",
        {"cache_key": "inputs_and_source"},
    ),
    # Retries.
    Fault(
        "retries: no jitter",
        "retries/shared/attempts.py",
        "settings.retry_jitter,",
        "0,",
        "test_retries.py test_attempts.py",
    ),
    Fault(
        "retries: for every error",
        "retries/shared/attempts.py",
        '"retry_condition_fn": should_retry',
        '"retry_condition_fn": None',
        "test_attempts.py test_retries.py",
    ),
    Fault(
        "retries: no cap",
        "retries/exponential.py",
        "settings.retry_cap.total_seconds()",
        'float("inf")',
        "test_retries.py",
    ),
    Fault("retries: 429 is final", "retries/shared/transient.py", "429", "428", "test_transient.py"),
    Fault(
        "retries: Retry-After is not read",
        "retries/shared/transient.py",
        '"retry-after": 1.0, ',
        "",
        "test_transient.py test_attempts.py",
    ),
    # The flow and what it says.
    Fault(
        "results: pickle",
        "tasks.py",
        '"result_serializer": "json"',
        '"result_serializer": "pickle"',
        "test_durability.py test_conventions.py",
    ),
    Fault(
        "results: not stored",
        "tasks.py",
        '"persist_result": True',
        '"persist_result": False',
        "test_durability.py test_conventions.py test_results.py",
    ),
    Fault(
        "chunks: the last one is left out with a cursor",
        "chunks.py",
        "[*windows, chunks[end:]]",
        "windows",
        "test_cursors.py",
    ),
    Fault(
        "chunks: one window",
        "chunks.py",
        "range(0, end, WINDOW)",
        "range(0, end, 10**9)",
        "test_chunks.py",
    ),
    Fault(
        "chunks: states of chunks stay until the flow ends",
        "chunks.py",
        "                del links[link]\n",
        "                pass\n",
        "test_chunks.py",
    ),
    Fault(
        "chunks: lost results are no failure",
        "chunks.py",
        "    if lost:\n",
        "    if False:\n",
        "test_results.py test_chunks.py",
        {"checkpoint": "none"},
    ),
    Fault(
        "chunks: failed chunks are no failure",
        "chunks.py",
        "    if first:\n",
        "    if False:\n",
        "test_cli.py test_chunks.py",
    ),
    Fault(
        "chunks: stored results overrule the checkpoint",
        "chunks.py",
        "persist_result=False, cache_policy=NO_CACHE)",
        "result_storage=results.storage())",
        "test_chunks.py test_checkpoints.py",
    ),
    Fault(
        "chunks: results of a database that is gone count",
        "steps.py",
        'f"@{epoch[:8]}" if checkpoints.OUTSIDE and epoch else ""',
        '""',
        "test_chunks.py",
        FILE,
    ),
    Fault(
        "steps: flows share what is done",
        "steps.py",
        'return f"{flow}/{job}"',
        "return job",
        "test_chunks.py test_cli.py",
    ),
    Fault(
        "steps: rejects are forgotten",
        "steps.py",
        "        rejects.set_aside(self.job, self.key, self.label, bad)\n",
        "        pass\n",
        "test_chunks.py",
    ),
    Fault(
        "flows: no run is marked as alive",
        "flows.py",
        "            with alive(flow_run.id, name):\n                yield\n",
        "            yield\n",
        "test_chunks.py",
    ),
    Fault(
        "discovery: flows of one name hide each other",
        "discovery.py",
        "if found.setdefault(value.name, value) is not value:",
        "if found.setdefault(value.name, value) is None:",
        "test_cli.py",
    ),
    Fault(
        "progress: never moves", "progress.py", "            done += 1\n", "            done += 0\n", "test_progress.py"
    ),
    Fault(
        "runs: the living are dead",
        "runs.py",
        "    except Timeout:\n        return True\n",
        "    except Timeout:\n        return False\n",
        "test_cli.py test_chunks.py",
    ),
    # Hooks, and the common files.
    Fault(
        "hook: shared files for none",
        "/hooks/post_gen_project.py",
        'answer in (answers or {answer} - {"none"})',
        "answer in (answers or {answer})",
        "/tests/test_hooks.py",
    ),
    Fault(
        "hook: the example stays",
        "/hooks/post_gen_project.py",
        '    "example": ["example"],\n',
        "",
        "/tests/test_hooks.py",
    ),
    Fault(
        "hook: a file that nobody needs stays",
        "/hooks/post_gen_project.py",
        "if not any(wanted",
        "if False and not any(wanted",
        "/tests/test_hooks.py /tests/test_layout.py",
    ),
    Fault(
        "hook: a keyword is a package",
        "/hooks/pre_gen_project.py",
        '    if keyword.iskeyword(package):\n        return "is a keyword of Python"\n',
        "",
        "/tests/test_hooks.py",
    ),
    Fault(
        "hook: nothing is refused",
        "/hooks/pre_gen_project.py",
        "if combination.items() <= answers.items():",
        "if False:",
        "/tests/test_hooks.py",
    ),
    Fault(
        "prompts: another default",
        "/cookiecutter.json",
        '["sqlite", "postgres",',
        '["postgres", "sqlite",',
        "/tests/test_prompts.py /tests/test_hooks.py",
    ),
    Fault(
        "prompts: an answer without a label",
        "/cookiecutter.json",
        '      "fixed": "fixed: after 30 s each time, with jitter; for quotas that refill steadily",\n',
        "",
        "/tests/test_prompts.py",
    ),
    Fault(
        "settings: a secret in plain text",
        "results/s3.py",
        'results_secret_key: SecretStr = SecretStr("")',
        'results_secret_key: str = ""',
        "test_settings.py test_results.py",
        {"result_storage": "s3"},
    ),
    Fault(
        "cli: status imports the flows",
        "cli.py",
        "        check_names()\n        lines = _progress()\n",
        "        _flows()\n        lines = _progress()\n",
        "test_cli.py",
    ),
    Fault(
        "cli: status passes misspelt variables over",
        "cli.py",
        "        check_names()\n        lines = _progress()\n",
        "        lines = _progress()\n",
        "test_cli.py",
    ),
    Fault(
        "settings: misspelt variables pass",
        "settings.py",
        "if name != variable and name not in known and",
        "if False and",
        "test_settings.py test_cli.py",
    ),
    # Clusters and deployments.
    Fault(
        "sqlite: a deleted file is written on to",
        "upserts/sqlite.py",
        "if record.info[FILE] != _file(engine):",
        "if False:",
        "test_upserts.py",
    ),
    Fault(
        "clusters: a killed process ends the run",
        "runners/shared+dask+ray/clusters.py",
        'return Crashed(message=f"the cluster could not do it: {error}")',
        "raise",
        "test_clusters.py",
        DASK,
    ),
    Fault(
        "clusters: other machines are accepted",
        "runners/shared+dask+ray/clusters.py",
        "        _refuse_what_is_here(address)\n",
        "        pass\n",
        "test_clusters.py",
        RAY,
    ),
    Fault(
        "clusters: bad records may go elsewhere",
        "chunks.py",
        'report["totals"].get("rejected", 0) - report["rejected"]) > 0:',
        'report["totals"].get("rejected", 0) - report["rejected"]) > 99:',
        "test_clusters.py",
        DASK,
    ),
    Fault(
        "dask: threads in place of processes",
        "runners/dask.py",
        '"dashboard_address": None,',
        '"dashboard_address": None,\n            "processes": False,',
        "test_clusters.py test_runners.py",
        DASK,
    ),
    Fault(
        "kubernetes: Kubernetes starts pods again too",
        f"/{PROJECT}/deployment/kubernetes/work-pool.json",
        '"backoffLimit": 0',
        '"backoffLimit": 3',
        "test_deployment.py",
        PODS,
    ),
    Fault(
        "kubernetes: bad records are lost with the pod",
        "rejects.py",
        "if not deployments.DISK_LASTS:",
        "if False:",
        "test_deployment.py",
        PODS,
    ),
    Fault(
        "deployment: heartbeats are not looked for",
        "heartbeats.py",
        'after={"prefect.flow-run.heartbeat"}',
        'after={"prefect.flow-run.nothing"}',
        "test_heartbeats.py",
    ),
    Fault(
        "resume: crashed runs of deployments stay",
        "resume.py",
        "            resumed += [resuming.schedule(flow_run) for flow_run in resuming.crashed()]\n",
        "",
        "test_heartbeats.py test_chunks.py",
    ),
    Fault(
        "resume: tasks of deployed runs stay Running",
        "resume.py",
        '        self._end_tasks(flow_run, ["PENDING", "RUNNING"])\n',
        '        if not flow_run.deployment_id:\n            self._end_tasks(flow_run, ["PENDING", "RUNNING"])\n',
        "test_heartbeats.py",
    ),
    Fault(
        "resume: tasks that the server reads late stay Running",
        "resume.py",
        '        self._end_tasks(flow_run, ["RUNNING"])\n',
        "",
        "test_chunks.py",
    ),
    Fault(
        "resume: tasks of the new attempt are ended",
        "resume.py",
        "if task_run.flow_run_run_count <= killed.run_count:",
        "if True:",
        "test_chunks.py",
    ),
    Fault(
        "resume: tasks that had not begun stay", "resume.py", '["PENDING", "RUNNING"]', '["RUNNING"]', "test_chunks.py"
    ),
    Fault(
        "resume: a run that failed again counts",
        "resume.py",
        "            print(where(flow_run_id), file=sys.stderr)\n            return False",
        "            print(where(flow_run_id), file=sys.stderr)\n            return True",
        "test_chunks.py",
    ),
    Fault(
        "resume: unknown runs stay",
        "resume.py",
        'forgotten.", file=sys.stderr)\n            forget(flow_run_id)\n',
        'forgotten.", file=sys.stderr)\n',
        "test_chunks.py",
    ),
    Fault(
        "resume: runs that a person has ended are resumed",
        "resume.py",
        "state.is_cancelling() or (state.is_final() and not state.is_crashed())",
        "False",
        "test_chunks.py",
    ),
    Fault(
        "resume: any flow takes up a run",
        "resume.py",
        "        if name not in self.known:\n",
        "        name = name if name in self.known else next(iter(self.known))\n        if name not in self.known:\n",
        "test_chunks.py",
    ),
    Fault(
        "resume: a run is scheduled before its worker has reported all of it",
        "resume.py",
        "while flow_run.state and self._has_more_to_come(",
        "while False and flow_run.state and self._has_more_to_come(",
        "test_chunks.py",
    ),
    Fault(
        "resume: a worker that has said that it is done is waited for",
        "resume.py",
        "return not self.client.read_events(done, limit=1).events",
        "return True",
        "test_heartbeats.py",
    ),
    Fault(
        "alerts: runs of other projects too",
        "heartbeats.py",
        '    ResourceSpecification({"prefect.resource.id": f"prefect.tag.{PROJECT}"}),\n',
        "",
        "test_alerts.py",
    ),
    Fault(
        "doctor: services may be off",
        "doctor.py",
        'services.get(name, {}).get("enabled") is False',
        "name not in services",
        "test_doctor.py",
    ),
    Fault(
        "doctor: the right to delete is not looked at",
        "upserts/shared/tables.py",
        "connection.execute(delete(table).where(false()))",
        "pass",
        "test_upserts.py",
        POSTGRES,
    ),
    Fault(
        "doctor: it waits for a lock without end",
        "upserts/postgres.py",
        """            connection.execute(text(f"SET LOCAL lock_timeout = '{PROBE}s'"))\n""",
        "",
        "test_upserts.py",
        POSTGRES,
    ),
    Fault(
        "migrations: a column that is gone is dropped",
        "/{{cookiecutter.project_slug}}/migrations/env.py",
        'elif f"drop={place}" in GIVEN:\n            GIVEN.remove(f"drop={place}")',
        'elif True:\n            GIVEN[:] = [each for each in GIVEN if each != f"drop={place}"]',
        "test_migrations.py",
    ),
    Fault(
        "migrations: another type on SQLite is no change",
        "upserts/sqlite.py",
        "        if _affinity(there) != _affinity(here):\n",
        "        if False:\n",
        "test_migrations.py",
    ),
    Fault(
        "migrations: another type on PostgreSQL is no change",
        "upserts/postgres.py",
        "for (name, there), here in pairs if there != here}",
        "for (name, there), here in pairs if False}",
        "test_migrations.py",
        POSTGRES,
    ),
    Fault(
        "another type on DuckDB is no change",
        "upserts/duckdb.py",
        'elif kind.partition("(")[0] != here.partition("(")[0]:',
        "elif False:",
        "test_upserts.py",
        DUCKDB,
    ),
    Fault(
        "migrations: a column that the code lacks may want a value",
        "upserts/shared+sqlite+postgres/migrations.py",
        'if not (known["nullable"] or known["default"]',
        'if not (True or known["default"]',
        "test_migrations.py",
    ),
    Fault(
        "migrations: a table made anew keeps what was done",
        "/{{cookiecutter.project_slug}}/migrations/env.py",
        "forth[:0] = [*again, DropTableOp",
        "forth[:0] = [DropTableOp",
        "test_migrations.py",
    ),
    Fault(
        "migrations: a database whose table is made anew keeps its id",
        "/{{cookiecutter.project_slug}}/migrations/env.py",
        "        yield update(tables.epochs).values(epoch=text(new))\n",
        "        yield update(tables.epochs).values(epoch=tables.epochs.c.epoch)\n",
        "test_migrations.py",
        FILE,
    ),
    Fault(
        "prefect.yaml: what Prefect refuses passes",
        "prefect_yaml.py",
        "        model.model_validate(content)\n",
        "        pass\n",
        "test_prefect_yaml.py",
    ),
    Fault(
        "migrations: the digits of a renamed column are not looked at",
        "upserts/sqlite.py",
        "there.get(place, max(gone - {new[place]}, default=None))",
        "there.get(place)",
        "test_migrations.py",
    ),
    Fault(
        "alerts: an earlier URL stays", "alerts.py", "            _remove_blocks(client, None)\n", "", "test_alerts.py"
    ),
    Fault(
        "alerts: late runs are not told of",
        "alerts.py",
        '"Crashed", "Late")',
        '"Crashed")',
        "test_heartbeats.py",
    ),
    Fault(
        "alerts: they tell what the error says",
        "flows.py",
        "label_run({REASON: safe_reason(error)})",
        "label_run({REASON: str(error)})",
        "test_alerts.py",
    ),
    Fault(
        "drill: a new process need not find what is done",
        "drill.py",
        'if RESUMES and not report["skipped"]:',
        "if False:",
        "test_doctor.py",
    ),
    Fault(
        "drill: its deployment stays",
        "drill.py",
        "        client.delete_deployment(deployment_id)\n",
        "        pass\n",
        "test_doctor.py",
    ),
    Fault(
        "drill: a run that was never run counts as killed",
        "drill.py",
        "and run.state.is_crashed() and run.run_count):",
        "and run.state.is_crashed()):",
        "test_doctor.py",
    ),
    # What the template's tests look for in the files of all variants.
    Fault(
        "compose: the database is open to the network",
        f"/{PROJECT}/compose.yaml",
        '"127.0.0.1:5432:5432"',
        '"5432:5432"',
        "/tests/test_layout.py",
    ),
    Fault(
        "image: runs as root",
        f"/{PROJECT}/deployment/shared+docker+kubernetes/Dockerfile",
        "USER 10001:10001\n",
        "",
        "/tests/test_layout.py",
    ),
    Fault(
        "make: clean removes what was loaded",
        f"/{PROJECT}/Makefile",
        "rm -rf .venv",
        "rm -rf var .venv",
        "/tests/test_layout.py",
    ),
    Fault(
        "example: another default",
        f"/{PROJECT}/.env.example",
        "RETRY_CAP=PT5M",
        "RETRY_CAP=PT50M",
        "/tests/test_layout.py",
    ),
    Fault(
        "hook: a folder with a project is mixed",
        "/hooks/pre_gen_project.py",
        'if Path("pyproject.toml").exists():',
        "if False:",
        "/tests/test_hooks.py",
    ),
    Fault(
        "rejects: written in place",
        "rejects.py",
        "part.replace(path)",
        "path.write_bytes(part.read_bytes())",
        "test_chunks.py",
    ),
    Fault(
        "clusters: this machine's server for another's",
        "runners/shared+dask+ray/clusters.py",
        "if not HERE.search(url):",
        "if False:",
        "test_clusters.py",
        DASK,
    ),
]


def copied(folder: Path) -> Path:
    """Copy what is in the work tree of the template."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def put_in(fault: Fault, template: Path) -> None:
    path = template / fault.path
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")


def outdated(faults: list[Fault]) -> list[str]:
    """Return what is wrong with faults that the template has moved away from."""
    there = {path.name for path in (ROOT / "tests").glob("test_*.py")}
    of_projects = set()
    for path in (ROOT / PROJECT / "tests").rglob("*"):
        of_projects |= {path.name, f"{path.name}.py"}
    wrong = []
    for fault in faults:
        if fault.old not in (ROOT / fault.path).read_text(encoding="utf-8") or fault.old == fault.new:
            wrong.append(f"{fault.name}: {fault.path} has no {fault.old!r}; say anew what the fault is")
        for test in fault.tests.split():
            if test.removeprefix("/tests/") not in (there if test.startswith("/") else of_projects):
                wrong.append(f"{fault.name}: there is no {test}; say anew what catches it")
    return wrong


def caught(tests: str, answers: dict[str, str], template: Path, folder: Path, environment: dict[str, str]) -> str:
    """Run tests against a template; return what failed first, or nothing where all passed."""
    home = folder / "home"
    home.mkdir()
    environment = {**environment, "HOME": str(home), "USERPROFILE": str(home), "TMPDIR": str(folder)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-rfE",
        "--color=no",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
    ]
    where = template
    if not tests.startswith("/"):
        given = [f"{prompt}={answer}" for prompt, answer in answers.items()]
        bake = [sys.executable, "-m", "cookiecutter", "--no-input", "-o", str(folder / "baked"), str(template), *given]
        done = subprocess.run(bake, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"no project: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
        (where,) = (folder / "baked").iterdir()
        environment["PYTHONPATH"] = str(where / "src")
    names = [str(path) for name in tests.split() for path in (where / "tests").rglob(name.removeprefix("/tests/"))]
    if not names:
        return ""
    # Other tests would resume the crashed runs of its deployments; without this, a test starts a server of its own.
    if "test_deployment" in tests or "test_heartbeats" in tests:
        del environment["PREFECT_API_URL"]
    try:
        done = subprocess.run(
            [*command, *names],
            cwd=where,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {TIMEOUT:.0f} s"
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0] if lines else f"pytest exited with {done.returncode}: {done.stdout[-200:]}"


@contextmanager
def prefect_server(folder: Path) -> Iterator[dict[str, str]]:
    """Yield an environment for tests, with a Prefect server that they share."""
    sys.path.insert(0, str(ROOT / "tests"))
    from conftest import FOREIGN, answers, free_port, stop

    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PREFECT_HOME": str(folder / "prefect")}
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-services", "--no-ui", "--port", str(port)]
    memory = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///:memory:"}
    server = subprocess.Popen(command, env=environment | memory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180
        while not answers(url):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the Prefect server did not start")
            time.sleep(0.2)
        yield environment | {"PREFECT_API_URL": url}
    finally:
        stop(server)


def main(words: list[str]) -> int:
    faults = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    if not faults:
        sys.exit(f"no fault has {' or '.join(words)} in its name")
    if wrong := outdated(faults):
        sys.exit("\n".join(wrong))
    runs = {(fault.tests, *sorted(fault.answers.items())): fault for fault in faults}
    with (
        tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as root,
        prefect_server(Path(root)) as environment,
        ThreadPoolExecutor(2) as pool,
    ):

        def without(number: int, fault: Fault) -> str:
            folder = Path(root) / f"without-{number}"
            return caught(fault.tests, fault.answers, copied(folder / "template"), folder, environment)

        def with_it(number: int, fault: Fault) -> str:
            folder = Path(root) / f"with-{number}"
            put_in(fault, copied(folder / "template"))
            found = caught(fault.tests, fault.answers, folder / "template", folder, environment)
            shutil.rmtree(folder, ignore_errors=True)
            print(f"{'caught' if found else 'MISSED'}  {fault.name}: {found}", flush=True)
            return found

        sound = list(pool.map(without, range(len(runs)), runs.values()))
        for fault, failure in zip(runs.values(), sound, strict=True):
            if failure:
                print(f"without a fault, {fault.tests} fails: {failure}")
        found = list(pool.map(with_it, range(len(faults)), faults))
    score = sum(map(bool, found))
    print(
        f"{score} of {len(faults)} faults were caught; {len(runs)} runs without a fault, {sum(map(bool, sound))} failed"
    )
    return 0 if score == len(faults) and not any(sound) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
