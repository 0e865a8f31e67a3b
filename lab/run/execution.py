"""What is true of one execution while it is under way and after, shared by the thread that executes and the one that
may stop it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from lab.run.kernel import Process

NOT_RUN = "not_run"  # what a cell may be beside completed and failed


@dataclass
class CellRecord:
    """What became of one cell. seconds: 0 where it did not run. cut: whether its output was too long to keep."""

    state: str = NOT_RUN
    seconds: float = 0.0
    cut: bool = False


@dataclass(eq=False)
class Execution:
    """One execution: what it was asked, and what is true of it so far, whatever papermill's metadata says.

    folder: the kernel's working directory. scratch: for its connection and log. device: whose settings to ask for.
    variables: the kernel's environment. cell_limit: seconds for each cell. on_cell: told the index and the number of
    cells as each starts. cells and records belong together; the cells are those of the executed notebook, the injected
    parameters among them. running: the cell that was last begun. raised: what it raised. finished: whether no cell is
    left to run. died: how the kernel ended before it was asked to. stopped: the status that it was stopped with, if it
    was. overran: whether at a cell's limit. cold: why the kernel was not forked. answer: what it said of itself.
    """

    folder: Path
    scratch: Path
    device: str | None
    variables: dict[str, str] = field(default_factory=dict)
    cell_limit: float | None = None
    on_cell: Callable[[int, int], None] | None = None
    process: Process = field(default_factory=Process)
    wake: Callable[[], None] | None = None
    notebook: NotebookNode = field(default_factory=NotebookNode)
    cells: list[NotebookNode] = field(default_factory=list)
    records: list[CellRecord] = field(default_factory=list)
    running: int | None = None
    raised: CellExecutionError | None = None
    finished: bool = False
    died: str | None = None
    stopped: str | None = None
    overran: bool = False
    cold: str = ""
    answer: dict[str, Any] = field(default_factory=dict)

    def expect(self, notebook: NotebookNode) -> None:
        """Take note of the notebook that is about to be executed, none of whose cells has run."""
        self.notebook, self.cells = notebook, list(notebook.cells)
        self.records = [CellRecord() for _ in self.cells]

    def stop(self, status: str) -> None:
        """End the kernel at once, from any thread; who executes ends soon after. The first status counts."""
        self.stopped = self.stopped or status
        self.process.stop()
        if self.wake is not None:
            self.wake()
