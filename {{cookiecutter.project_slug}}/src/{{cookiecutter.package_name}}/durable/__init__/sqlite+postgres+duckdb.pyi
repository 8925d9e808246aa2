from .chunks import Chunk, Counts, RunReport, run_chunks
from .effects import idempotency_key, post
from .errors import InputError
from .fields import PlainDecimal, PlainInt, Timestamp
from .flows import durable_flow
from .rejects import Reject
from .settings import ROOT, ProjectSettings
from .steps import Step
from .tables import UtcDateTime, metadata
from .tasks import durable_task
from .upserts import Connection, ExactNumeric, UpsertReport, database, upsert

__all__ = [
    "ROOT",
    "Chunk",
    "Connection",
    "Counts",
    "ExactNumeric",
    "InputError",
    "PlainDecimal",
    "PlainInt",
    "ProjectSettings",
    "Reject",
    "RunReport",
    "Step",
    "Timestamp",
    "UpsertReport",
    "UtcDateTime",
    "database",
    "durable_flow",
    "durable_task",
    "idempotency_key",
    "metadata",
    "post",
    "run_chunks",
    "upsert",
]
