"""What a sweep shows: a line for each run that has ended, and in a terminal what each worker does meanwhile."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lab.console import make_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lab.run.plan import Plan
    from lab.run.sweep import Outcome

PLANNED = 20  # runs that a plan names


class Show:
    """Shows a sweep of count runs. varied: the parameters that tell them apart. lines: where a finished one is told."""

    def __init__(self, count: int, varied: Iterable[str], *, machine: bool) -> None:
        self.count, self.varied = count, tuple(varied)
        self._console = make_console(stderr=True)
        self._lines = sys.stderr if machine else sys.stdout
        self._progress: Progress | None = None
        self._total: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self.counted: Counter[str] = Counter()
        self._cold = ""
        self._started = time.monotonic()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show what goes on while the block runs, where there is a terminal to show it in."""
        if not self._console.is_terminal:
            yield
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, Remaining(), console=self._console, transient=True) as self._progress:
            self._total = self._progress.add_task("runs", total=self.count)
            yield
        self._progress = None

    def cell(self, plan: Plan, cell: int, cells: int) -> None:
        """Take note of a cell that starts, from any thread."""
        if self._progress is None:
            return
        with self._lock:
            if plan.key not in self._tasks:
                self._tasks[plan.key] = self._progress.add_task(self._short(plan, 30), total=cells)
            self._progress.update(self._tasks[plan.key], completed=cell)

    def ended(self, outcome: Outcome) -> None:
        """Tell of a run that has a result."""
        plan, result = outcome.plan, outcome.result
        word = result.status if outcome.how == "ran" else "finished"  # before this sweep, or by another
        self.counted[word] += 1
        if result.record["timing"].get("kernel", "forked") not in ("forked", self._cold):
            self._cold = result.record["timing"]["kernel"]
            self.say(f"a kernel was not forked, which takes seconds more ({self._cold})")
        text = f"{word:<11} {self._label(plan)} → {result.path}"
        if self._progress is None:
            self._print(text)
            return
        with self._lock:
            if plan.key in self._tasks:
                self._progress.remove_task(self._tasks.pop(plan.key))
            if self._total is not None:
                self._progress.advance(self._total)
        if self._lines.isatty():
            self._progress.console.print(text, markup=False, soft_wrap=True)
        else:
            self._print(text)

    def _print(self, text: str) -> None:
        try:
            print(text, file=self._lines, flush=True)
        except BrokenPipeError:  # the reader, such as head, has seen enough; the runs go on
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._lines.fileno())

    def say(self, text: str) -> None:
        """Tell a person something."""
        if self._progress is None:
            print(text, file=sys.stderr)
        else:
            self._progress.console.print(text, markup=False)

    def plan(self, plans: Iterable[Plan], outputs: Path, *, force: bool) -> None:
        """Tell what would run, and what of it is finished."""
        from lab.run import finished_run

        for plan in islice(plans, PLANNED):
            finished = not force and finished_run(plan, outputs)
            print(f"{'finished' if finished else 'would run':<11} {self._label(plan)}", file=self._lines)
        if self.count > PLANNED:
            print(f"… and {self.count - PLANNED:,} more", file=self._lines)
        print(f"{self.count:,} runs", file=sys.stderr)

    def summarise(self) -> None:
        """Tell how many runs there were, of which kind, where there were many."""
        if self.count > 1 and self.counted:
            done = self.counted.total()
            of = f" of {self.count:,}" if done < self.count else ""
            kinds = ", ".join(f"{number:,} {word}" for word, number in self.counted.most_common())
            seconds = time.monotonic() - self._started
            print(f"{done:,}{of} runs in {seconds:.1f} s: {kinds or 'none'}", file=sys.stderr)

    def _label(self, plan: Plan) -> str:
        return " ".join([str(plan.notebook.path), *self._values(plan)])

    def _short(self, plan: Plan, width: int) -> str:
        text = " ".join(self._values(plan)) or plan.notebook.name
        return text if len(text) <= width else f"{text[: width - 1]}…"

    def _values(self, plan: Plan) -> list[str]:
        return [f"{name}={plan.parameters[name]}" for name in self.varied if name in plan.parameters]
