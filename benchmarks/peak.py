"""The peak of memory of this process. In a module without other imports, which would count."""

import resource
import sys


def peak() -> float:
    """Return it in MiB."""
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
