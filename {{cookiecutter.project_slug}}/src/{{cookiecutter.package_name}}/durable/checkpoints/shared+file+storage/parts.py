"""Files and objects beside the database: their names, and folders whose names are on the disk."""

import hashlib
import os
import re
from pathlib import Path


def part(job: str) -> str:
    """Return up to 50 readable characters of the job's name, and 16 hex digits of its SHA-256, which tell jobs apart.

    They also do so where a file system makes no difference between upper and lower case.
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", job)[:50].strip("-") or "job"
    return f"{readable}-{hashlib.sha256(job.encode()).hexdigest()[:16]}"


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk; Windows has no way to ask for that."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
