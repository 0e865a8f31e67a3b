"""A lesson performed: its cells in order, prose shown, code run, parameters put in where a notebook puts them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.teach.cells import HIDDEN, Cell, read_cells
from lab.teach.stage import Stage, on_stage


def perform(cells: Sequence[Cell], stage: Stage, *, path: Path, parameters: Mapping[str, Any]) -> None:
    """Run the cells in one namespace on a stage, setting the parameters after the parameters cell.

    path: the file that the cells came from, for tracebacks. Raises: whatever a cell raises.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with on_stage(stage):
        for cell in cells:
            if cell.markdown:
                stage.prose(cell.source)
            elif "script" not in cell.tags:
                if HIDDEN not in cell.tags:
                    stage.code(cell.source)
                # Empty lines before the source give tracebacks and debuggers the file's own line numbers.
                exec(compile("\n" * (cell.line - 1) + cell.source, str(path), "exec"), namespace)
                if "parameters" in cell.tags and parameters:
                    # papermill shows the values given in a cell of their own, after the defaults.
                    stage.code("\n".join(f"{name} = {value!r}" for name, value in parameters.items()))
                    namespace.update(parameters)


def run_as_script(path: str) -> None:
    """Perform a lesson as plain text with its default parameters, then exit: ``python lesson.py``."""
    try:
        perform(read_cells(Path(path)), Stage(), path=Path(path), parameters={})
        sys.stdout.flush()
    except LabError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
