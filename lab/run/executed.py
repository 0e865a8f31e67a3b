"""The executed notebook of a run, as papermill left it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.validator import NotebookValidationError

from lab.errors import StorageError


def executed_path(path: Path, record: Mapping[str, Any]) -> Path:
    """Return where the executed notebook of a run lies. path: the run's folder. record: what its run.json holds."""
    return path / Path(record["notebook"]["name"]).name


def read_executed(path: Path, record: Mapping[str, Any]) -> NotebookNode:
    """Return the executed notebook of a run. Raises: StorageError where it is gone or no notebook."""
    file = executed_path(path, record)
    try:
        notebook = nbformat.from_dict(nbformat.v4.reads(file.read_text("utf-8")))
        nbformat.validate(notebook)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, NotebookValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:100]
        raise StorageError(
            f"{file} cannot be read: {why}.",
            "Expected the notebook that the run has executed.",
            "Run it again: 'lab run NOTEBOOK'.",
        ) from None
    return notebook  # type: ignore[no-any-return]
