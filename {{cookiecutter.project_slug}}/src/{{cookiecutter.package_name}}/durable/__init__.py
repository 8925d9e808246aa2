"""What makes flows durable. Import from here; `cruft update` replaces this folder, so do not edit it.

`__init__.pyi` names the public verbs. They are imported when they are first used: Prefect takes seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
