"""Libraries of notebooks, imported without what they import for others.

jsonschema, which nbformat needs, imports a grammar of IRIs where one is installed, which takes a second; papermill
imports pyarrow for notebooks in HDFS. Both go on without, for as long as this process lives: no format of IRIs is
checked here, and no notebook is read from HDFS. Whoever else imports these modules later gets them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_UNNEEDED = ("rfc3987_syntax", "pyarrow", "pyarrow.fs")


@contextmanager
def importing_lean() -> Iterator[None]:
    """Let imports in the block not find what notebooks have no need of, unless it has been imported."""
    hidden = [name for name in _UNNEEDED if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that there is no such module
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


with importing_lean():
    import nbformat
    import nbformat.validator


def import_engine() -> None:
    """Import what executes notebooks."""
    with importing_lean():
        importlib.import_module("lab.run.engine")


__all__ = ["import_engine", "nbformat"]
