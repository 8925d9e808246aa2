"""The public API of durable flows. Import from here; do not edit this folder: `cruft update` replaces it.

`__init__.pyi` lists the public names. They are imported on first use, because importing Prefect takes seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
