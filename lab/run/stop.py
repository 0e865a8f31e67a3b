"""Runs that are under way, to be stopped from another thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.run.status import INTERRUPTED

if TYPE_CHECKING:
    from lab.run.execution import Execution


class Stop:
    """Stops all runs that were started with it, and those that are started later."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Execution] = set()
        self.wanted = False

    def now(self) -> None:
        """Stop them, from any thread; their results are published as interrupted."""
        with self._lock:
            self.wanted = True
            running = list(self._running)
        for execution in running:
            execution.stop(INTERRUPTED)

    @contextmanager
    def watching(self, execution: Execution) -> Iterator[None]:
        """Let an execution be stopped as long as the block runs."""
        with self._lock:
            self._running.add(execution)
        try:
            if self.wanted:
                execution.stop(INTERRUPTED)
            yield
        finally:
            with self._lock:
                self._running.discard(execution)
