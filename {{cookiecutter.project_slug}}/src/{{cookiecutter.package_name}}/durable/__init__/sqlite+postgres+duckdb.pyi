from .backfills import Backfill, Window
from .bounds import bounded
from .chunks import Chunk, Counts, RunReport, run_chunks
from .cursors import Cursor
from .delivery import delivery_headers
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
from .tables import UtcDateTime, metadata
from .tasks import durable_task
from .upserts import Connection, ExactNumeric, UpsertReport, database, upsert

__all__ = [
    "BLANK",
    "DIGITS",
    "ROOT",
    "Backfill",
    "Chunk",
    "Connection",
    "Counts",
    "CsvPart",
    "CsvRecord",
    "Cursor",
    "ExactNumeric",
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
    "UpsertReport",
    "UtcDateTime",
    "Window",
    "bounded",
    "csv_header",
    "csv_parts",
    "csv_records",
    "csv_text",
    "database",
    "delivery_headers",
    "durable_flow",
    "durable_task",
    "idempotency_key",
    "line_parts",
    "metadata",
    "post",
    "run_chunks",
    "upsert",
]
