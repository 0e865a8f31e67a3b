"""One chunk verified: every case run twice, compared with its reference and with itself."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor

from lab.compare import FORMATS
from lab.device import check_dtype, device_row
from lab.errors import DeviceUnavailable
from lab.prove.backend import PLAIN, Backend
from lab.prove.case import ROWS, Case, Chunk
from lab.prove.gradient import Placed, differentiate, place_case
from lab.prove.numbers import draw_numbers
from lab.prove.operation import Operation
from lab.prove.reference import Reference
from lab.prove.result import CaseResult, ChunkResult
from lab.prove.rule import Score, Verdict, badness, growth, score_gradients, worst
from lab.prove.truth import find_references


@dataclass(frozen=True)
class Target:
    """What is verified. device: as lab.device names it. backend: how it is run. ieee: in full precision."""

    device: str = "cpu"
    backend: Backend = PLAIN
    ieee: bool = False

    @property
    def torch_device(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    @property
    def with_baseline(self) -> bool:
        """Whether this CPU is an honest witness: not where it is itself the one that is tried."""
        return self.backend.simulated or self.torch_device.type != "cpu"

    def row(self, op: str) -> Operation:
        """Return an operation as the backend runs it."""
        return replace(ROWS[op], function=self.backend.wrap(ROWS[op].function))


@dataclass(frozen=True, eq=False)
class _Run:
    """The gradients of one case, first and second time, by the number of the input. Cases that stopped have none."""

    case: Case
    first: dict[int, Tensor]
    second: dict[int, Tensor]


def verify_chunk(chunk: Chunk, target: Target) -> ChunkResult:
    """Run the cases of a chunk, all of them once and then all of them again, and compare.

    The second time a case comes after one of another size, and after itself: what a kernel left behind shows.
    An exception is a verdict of the case that it ends, never an end of the chunk.
    """
    try:
        check_dtype(target.torch_device, chunk.dtype)
    except DeviceUnavailable as refusal:
        refused = (CaseResult(case.id, Verdict.UNSUPPORTED, note=refusal.happened) for case in chunk.cases)
        return ChunkResult(chunk.op, chunk.sample, chunk.dtype, 0, tuple(refused))
    runs, stopped = _run_twice(chunk, target)
    judged: dict[str, list[CaseResult]] = {case.id: [result] for case, result in stopped.items()}
    for result in _judge_all(chunk, runs, target):
        judged.setdefault(result.case, []).append(result)
    comparisons = sum(len(run.first) for run in runs)
    cases = tuple(max(judged[case.id], key=_badness) for case in chunk.cases)
    return ChunkResult(chunk.op, chunk.sample, chunk.dtype, comparisons, cases)


def _badness(result: CaseResult) -> tuple[int, float]:
    return badness(result.verdict), result.ratio


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of torch's kernels, such as "experimental", off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _run_twice(chunk: Chunk, target: Target) -> tuple[list[_Run], dict[Case, CaseResult]]:
    """Run every case, then every case again, on the device. Returns the gradients, and what stopped a case."""
    device = target.torch_device
    placed: dict[Case, Placed] = {}
    stopped: dict[Case, CaseResult] = {}
    times: list[dict[Case, dict[int, Tensor]]] = [{}, {}]
    # Drawn outside of the backend's context: a simulated device spoils gradients, not the questions.
    numbers = {problem: draw_numbers(problem) for problem in dict.fromkeys(case.problem for case in chunk.cases)}
    with quiet(), target.backend.context():
        row = target.row(chunk.op)
        for case in chunk.cases:
            with _noted(case, stopped):
                placed[case] = place_case(case, numbers[case.problem], device)
        for gradients, case in product(times, list(placed)):
            if case not in stopped:
                with _noted(case, stopped):
                    found = zip(placed[case].leaves, differentiate(row, case, placed[case]), strict=True)
                    gradients[case] = {number: x.cpu() for (number, _), x in found}
        device_row(device).synchronize(device.index or 0)
    first, second = times
    return [_Run(case, first[case], second[case]) for case in chunk.cases if case not in stopped], stopped


@contextmanager
def _noted(case: Case, stopped: dict[Case, CaseResult]) -> Iterator[None]:
    """Make what a kernel raises, laying tensors out or computing, the result of its case."""
    try:
        yield
    except Exception as error:  # whatever it is
        verdict = verdict_of(error)
        ratio = 0.0 if verdict is Verdict.UNSUPPORTED else math.inf
        stopped[case] = CaseResult(case.id, verdict, ratio, note=_told(error))


# How torch says that a device or a dtype is not for this operation, where it raises no NotImplementedError.
_CANNOT = re.compile(
    r"not implemented|not supported|unsupported|doesn't support|does not support|types other than float|float or double"
    r"|expected both inputs to be half|dimensions of float|but got (a tensor of scalar type: )?(bfloat16|half)",
    re.IGNORECASE,
)


def verdict_of(error: Exception) -> Verdict:
    """Tell a device that says it cannot from one that failed."""
    if isinstance(error, NotImplementedError) or _CANNOT.search(str(error)):
        return Verdict.UNSUPPORTED
    return Verdict.CRASH


def _told(error: Exception) -> str:
    """Name an exception by the start of its message: its first line, and the next where that announces one."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    told = lines[:2] if lines and lines[0].rstrip().endswith(":") else lines[:1]
    return f"{type(error).__name__}: {' '.join(line.strip() for line in told)}"[:200]


def _judge_all(chunk: Chunk, runs: list[_Run], target: Target) -> Iterator[CaseResult]:
    """Compare every gradient with its reference and with its repetition, all of one input and size at once."""
    row = ROWS[chunk.op]
    differentiable = [i for i, given in enumerate(row.inputs) if given.differentiable]
    for size in dict.fromkeys(run.case.size for run in runs):
        of_size = [run for run in runs if run.case.size == size]
        for place, number in enumerate(differentiable):
            batch = [run for run in of_size if number in run.first]
            if batch:
                yield from _judge(row, batch, number, place, target)


def _judge(row: Operation, runs: list[_Run], number: int, place: int, target: Target) -> Iterator[CaseResult]:
    """Judge the gradients of one input. place: which of the differentiable inputs it is."""
    first = torch.stack([run.first[number] for run in runs])
    second = torch.stack([run.second[number] for run in runs])
    problems = [run.case.problem for run in runs]
    found = {problem: find_references(problem, with_baseline=target.with_baseline)[place] for problem in set(problems)}
    columns = ("value", "spread", "baseline")
    reference = Reference(*(torch.stack([getattr(found[p], name) for p in problems]) for name in columns))
    terms = row.longest_reduction(problems[0].size)
    rule = partial(
        score_gradients,
        reference=reference,
        form=FORMATS[first.dtype],
        growth=[growth(terms, uniform=problem.uniform) for problem in problems],
        uniform=[problem.uniform for problem in problems],
    )
    scores = rule(first.to(torch.float64))
    differ = _bits_differ(first, second)
    again = rule(second.to(torch.float64)) if any(differ) else scores
    for i, run in enumerate(runs):
        yield _case_result(run.case.id, number, scores[i], again[i], differ=differ[i], excused=_may_differ(row, target))


def _case_result(case: str, number: int, once: Score, again: Score, *, differ: bool, excused: bool) -> CaseResult:
    """Put together what is said of a gradient the first and the second time."""
    verdicts = once.verdict, again.verdict
    verdict, note = worst(verdicts), ""
    if verdicts[0] is not verdicts[1]:
        note = f"{verdicts[0]}, the second time {verdicts[1]}"
    if verdict is Verdict.FORMULA:
        note = f"torch's formula is off by {max(once.formula, again.formula):.3g} times what rounding explains"
    if differ and not verdict.is_failure:
        verdict = Verdict.WARN if excused else Verdict.NONDET
        note = "two runs differ in their bits"
        note += ", which torch documents for this operation" if excused else ""
    ratio, bits = max(once.score, again.score), min(once.bits, again.bits)
    return CaseResult(case, verdict, float(f"{ratio:.4g}"), float(f"{bits:.4g}"), number, note)


def _may_differ(row: Operation, target: Target) -> bool:
    """Say whether torch documents that this operation adds in no fixed order there."""
    return row.unordered and (target.torch_device.type != "cpu" or target.backend.threads > 1)


def _bits_differ(first: Tensor, second: Tensor) -> list[bool]:
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[first.element_size()]
    same = first.reshape(len(first), -1).view(integers) == second.reshape(len(second), -1).view(integers)
    found: list[bool] = (~same.all(1)).tolist()
    return found
