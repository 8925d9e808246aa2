from .chunks import Chunk, Counts, RunReport, run_chunks
from .effects import idempotency_key, post
from .errors import InputError
from .fields import PlainDecimal, PlainInt, Timestamp
from .flows import durable_flow
from .rejects import Reject
from .settings import ROOT, ProjectSettings
from .steps import Step
from .tasks import durable_task

__all__ = [
    "ROOT",
    "Chunk",
    "Counts",
    "InputError",
    "PlainDecimal",
    "PlainInt",
    "ProjectSettings",
    "Reject",
    "RunReport",
    "Step",
    "Timestamp",
    "durable_flow",
    "durable_task",
    "idempotency_key",
    "post",
    "run_chunks",
]
