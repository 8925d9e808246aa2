"""The name of a job as part of the name of a file or of an object."""

import hashlib
import re


def part(job: str) -> str:
    """Return up to 50 readable characters of the job's name, and 16 hex digits of its SHA-256, which tell jobs apart.

    They also do so where a file system makes no difference between upper and lower case.
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", job)[:50].strip("-") or "job"
    return f"{readable}-{hashlib.sha256(job.encode()).hexdigest()[:16]}"
