"""Many runs: what is finished is skipped, what another sweep is at is left to it, each result is recorded once."""

from __future__ import annotations

import json
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from lab.claim import held_alone
from lab.errors import ExecutionError
from lab.run.plan import Plan
from lab.run.result import RunResult
from lab.run.status import COMPLETED
from lab.run.workers import Workers

_LOOK_S = 0.2  # between two looks at what is wanted meanwhile


class How(StrEnum):
    """How a run came to its result."""

    RAN = "ran"
    SKIPPED = "skipped"  # it had been finished before
    ELSEWHERE = "elsewhere"  # another sweep finished it meanwhile


@dataclass(frozen=True)
class Outcome:
    """A run of a sweep, published. number: its plan's, counted from 0."""

    number: int
    plan: Plan
    result: RunResult
    how: How


class Wish:
    """What is wanted of a sweep while it runs, said from a signal handler or another thread."""

    def __init__(self) -> None:
        self.begun = False  # whether anything was begun that these are about
        self.finish = False  # begin nothing more
        self.stop = False  # and end what runs


@dataclass
class Sweep:
    """Runs plans with workers into outputs. force: run what is finished too. fail_fast: end after a failure."""

    workers: Workers
    outputs: Path
    force: bool = False
    fail_fast: bool = False
    wish: Wish = field(default_factory=Wish)
    _running: dict[Future[Any], tuple[int, Plan, ExitStack]] = field(default_factory=dict)
    _others: deque[tuple[int, Plan]] = field(default_factory=deque)
    _known: dict[str, defaultdict[str, list[str]]] = field(default_factory=dict)

    def run(self, plans: Iterable[Plan]) -> Iterator[Outcome]:
        """Yield each run as it is published; those that another sweep is at come last.

        Raises: LabError of a worker or the store, ExecutionError where the executor is lost. What runs then is ended,
        what is published stays.
        """
        try:
            for number, plan in enumerate(plans):
                if self.wish.finish:
                    break
                yield from self._begin(number, plan)
                while len(self._running) >= self.workers.capacity():
                    yield from self._ended()
            while self._running or (self._others and not self.wish.finish):
                for _ in range(len(self._others)):
                    if self.wish.finish or len(self._running) >= self.workers.capacity():
                        break
                    yield from self._begin(*self._others.popleft(), found=How.ELSEWHERE)
                yield from self._ended()
        finally:
            self._let_go()

    def _begin(self, number: int, plan: Plan, *, found: How = How.SKIPPED) -> Iterator[Outcome]:
        """Give a plan to the workers, unless it is finished or another sweep is at it. found: what finished means."""
        if not self.force and (result := self._finished(plan)):
            yield Outcome(number, plan, result, found)
            return
        with ExitStack() as claim:
            if not claim.enter_context(held_alone(self.outputs, f"run-{plan.key}")):
                self._others.append((number, plan))
                return
            if not self.force and (result := finished_run(plan, self.outputs)):  # since we looked
                yield Outcome(number, plan, result, How.ELSEWHERE)
                return
            self.wish.begun = True
            try:
                future = self.workers.start(plan)
            except RuntimeError as error:  # an executor whose workers are lost takes no more
                raise _executor_lost(error) from None
            self._running[future] = number, plan, claim.pop_all()

    def _ended(self) -> Iterator[Outcome]:
        """Wait a moment, and yield the runs that have ended."""
        if not self._running:
            time.sleep(_LOOK_S)
            return
        done, _ = wait(self._running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
        if self.wish.finish:
            self.workers.hold()
        if self.wish.stop:
            self._stop()
        for future in done & set(self._running):
            number, plan, claim = self._running.pop(future)
            with claim:
                if future.cancelled():  # before it began
                    continue
                try:
                    result = self.workers.result(future, plan)
                except (BrokenExecutor, CancelledError) as error:
                    raise _executor_lost(error) from error
            if result.failure and self.fail_fast:
                self.wish.finish = True
            yield Outcome(number, plan, result, How.RAN)

    def _stop(self) -> None:
        """End what can be reached, and forget what is out of reach."""
        self.workers.stop()
        for future in list(self._running):
            if future.cancel() or future.cancelled() or not self.workers.reachable:
                self._running.pop(future)[2].close()

    def _let_go(self) -> None:
        """Leave nothing running or claimed."""
        if self._running:
            self._stop()
        for *_, claim in self._running.values():
            claim.close()

    def _finished(self, plan: Plan) -> RunResult | None:
        """Return the run that a plan has come to before; the repetitions of all plans are looked for once."""
        name = plan.notebook.name
        if name not in self._known:
            repeated = self._known.setdefault(name, defaultdict(list))
            with suppress(OSError):
                for path in (self.outputs / name).iterdir():
                    repeated[path.name.partition("-")[0]].append(path.name)
        return finished_run(plan, self.outputs, self._known[name].get(plan.key, ()))


def finished_run(plan: Plan, outputs: Path, repeated: Iterable[str] | None = None) -> RunResult | None:
    """Return a completed run of a plan, where there is one. repeated: names of folders that may hold it; looked for."""
    shelf = outputs / plan.notebook.name
    if repeated is None:
        repeated = sorted(path.name for path in shelf.glob(f"{plan.key}-*"))
    for name in dict.fromkeys([plan.key, *repeated]):
        with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):  # none, or no result
            record = json.loads((shelf / name / "run.json").read_bytes())
            if record["status"] == COMPLETED and record["key"] == plan.key and record["timing"]:
                return RunResult(shelf / name, record)
    return None


def _executor_lost(error: Exception) -> ExecutionError:
    why = " ".join(str(error).split())[:200].rstrip(".")
    return ExecutionError(
        f"The workers are lost: {type(error).__name__}: {why}.",
        "Expected them to live as long as the sweep.",
        "Type the same again, with workers that run: what is finished is kept and will be skipped.",
    )
