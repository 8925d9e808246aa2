"""File and object names of jobs, and durable folders."""

import hashlib
import os
import re
from pathlib import Path


def part(job: str) -> str:
    """Return a job's folder name: up to 50 readable characters, and 16 hex digits of the name's SHA-256.

    The digits keep jobs apart, also on file systems that ignore case.
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", job)[:50].strip("-") or "job"
    return f"{readable}-{hashlib.sha256(job.encode()).hexdigest()[:16]}"


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk; Windows has no call for it."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
