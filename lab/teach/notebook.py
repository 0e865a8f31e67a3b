"""Notebooks generated from their percent-format sources by jupytext, outputs stripped, the same bytes each time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from lab.teach.cells import HIDDEN

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def notebook_from_percent(source: str) -> str:
    """Return the text of the notebook for a percent-format script, without the cells tagged ``script``."""
    notebook: Any = jupytext.reads(source, fmt="py:percent")
    notebook.cells = [cell for cell in notebook.cells if "script" not in cell.metadata.get("tags", ())]
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        # Ids are random by default. These depend on place and content alone, so that a diff shows real changes.
        if HIDDEN in cell.metadata.get("tags", ()):
            cell.metadata["jupyter"] = {"source_hidden": True}  # JupyterLab folds it
        cell.id = f"{number:02d}-{hashlib.sha256(cell.source.encode()).hexdigest()[:8]}"
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)) + "\n"


def stale_notebooks(notebooks: dict[Path, str]) -> list[Path]:
    """Return the notebooks on disk that differ from what their sources generate."""
    return [path for path, text in notebooks.items() if not path.exists() or path.read_text("utf-8") != text]
