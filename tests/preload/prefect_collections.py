"""What Prefect imports at the first block, in this environment for all stores: once for all forks of a test run."""

import gc

from prefect.plugins import load_prefect_collections

load_prefect_collections()
gc.collect()
gc.freeze()
