from .backfills import Backfill, Window
from .chunks import Chunk, Counts, RunReport, run_chunks
from .cursors import Cursor
from .effects import post
from .errors import InputError
from .fields import BLANK, DIGITS, PlainDate, PlainDecimal, PlainInt, Timestamp
from .files import FilePart, line_parts
from .flows import durable_flow
from .idempotency import idempotency_key
from .limits import RateLimit
from .records import CsvPart, CsvRecord, csv_header, csv_parts, csv_records, csv_text
from .rejects import Reject
from .settings import ROOT, ProjectSettings
from .steps import Step
from .tasks import durable_task

__all__ = [
    "BLANK",
    "DIGITS",
    "ROOT",
    "Backfill",
    "Chunk",
    "Counts",
    "CsvPart",
    "CsvRecord",
    "Cursor",
    "FilePart",
    "InputError",
    "PlainDate",
    "PlainDecimal",
    "PlainInt",
    "ProjectSettings",
    "RateLimit",
    "Reject",
    "RunReport",
    "Step",
    "Timestamp",
    "Window",
    "csv_header",
    "csv_parts",
    "csv_records",
    "csv_text",
    "durable_flow",
    "durable_task",
    "idempotency_key",
    "line_parts",
    "post",
    "run_chunks",
]
