"""One chunk verified: every case run twice, compared with its reference and with itself."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lab.compare import FORMATS
from lab.device import check_dtype, device_row
from lab.errors import DeviceUnavailable
from lab.prove.backend import PLAIN, Backend
from lab.prove.case import ROWS, Case, Chunk, Problem
from lab.prove.gradient import differentiate, place_case
from lab.prove.numbers import Numbers, draw_numbers
from lab.prove.operation import Operation
from lab.prove.result import CaseResult, ChunkResult
from lab.prove.rule import Verdict, growth, score_gradients, worst
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


@dataclass
class _Runs:
    """The gradients of one input over the cases of one problem, first and second time."""

    cases: list[Case] = field(default_factory=list)
    first: list[Tensor] = field(default_factory=list)
    second: list[Tensor] = field(default_factory=list)


def verify_chunk(chunk: Chunk, target: Target) -> ChunkResult:
    """Run the cases of a chunk, all of them once and then all of them again, and compare.

    The second time a case comes after one of another size, and after itself: what a kernel left behind shows.
    An exception is a verdict of the cases that it ends, never an end of the chunk.
    """
    stopped: dict[Case, CaseResult] = {}
    runs: dict[tuple[Problem, int], _Runs] = {}
    try:
        check_dtype(target.torch_device, chunk.dtype)
    except DeviceUnavailable as refusal:
        stopped = {case: CaseResult(case.id, Verdict.UNSUPPORTED, note=refusal.happened) for case in chunk.cases}
    row = target.row(chunk.op)
    # Drawn outside of the backend's context: a simulated device spoils gradients, not the questions.
    numbers = {problem: draw_numbers(problem) for problem in dict.fromkeys(case.problem for case in chunk.cases)}
    with quiet(), target.backend.context():
        for again in (False, True):
            for case in chunk.cases:
                if case not in stopped:
                    found = _run(case, numbers[case.problem], row, target, runs, again=again)
                    stopped.update({case: found} if found else {})
        device_row(target.torch_device).synchronize(target.torch_device.index or 0)
    results = {case.id: result for case, result in stopped.items()}
    comparisons = 0
    for (problem, number), of_input in runs.items():
        kept = [i for i, case in enumerate(of_input.cases) if case not in stopped]
        for result in _judge(problem, number, of_input, kept, target):
            comparisons += 1
            results[result.case] = _worse(results.get(result.case), result)
    return ChunkResult(
        chunk.op, chunk.sample, chunk.dtype, comparisons, tuple(results[case.id] for case in chunk.cases)
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of torch's kernels, such as "experimental", off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _run(
    case: Case,
    numbers: Numbers,
    row: Operation,
    target: Target,
    runs: dict[tuple[Problem, int], _Runs],
    *,
    again: bool,
) -> CaseResult | None:
    """Run one case and keep its gradients on the CPU. Returns what stopped it."""
    try:
        placed = place_case(case, numbers, target.torch_device)
        gradients = differentiate(row, case, placed)
        for (number, _), gradient in zip(placed.leaves, gradients, strict=True):
            of_input = runs.setdefault((case.problem, number), _Runs())
            kept = gradient.cpu()
            if again:
                of_input.second.append(kept)
            else:
                of_input.cases.append(case)
                of_input.first.append(kept)
    except Exception as error:  # whatever a kernel raises is a result
        return CaseResult(case.id, _verdict_of(error), math.inf, note=_first_line(error))
    return None


# How torch says that a device or a dtype is not for this operation, where it raises no NotImplementedError.
_CANNOT = (
    "not implemented",
    "not supported",
    "unsupported",
    "does not support",
    "doesn't support",
    "expected both inputs to be half",
)


def _verdict_of(error: Exception) -> Verdict:
    """Tell a device that says it cannot from one that failed."""
    said = str(error).lower()
    if isinstance(error, NotImplementedError) or any(words in said for words in _CANNOT):
        return Verdict.UNSUPPORTED
    return Verdict.CRASH


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:200]


def _judge(problem: Problem, number: int, runs: _Runs, kept: list[int], target: Target) -> Iterator[CaseResult]:
    """Compare the gradients of one input of a problem with their reference, and each with its repetition."""
    if not kept:
        return
    row = ROWS[problem.op]
    references = find_references(problem, with_baseline=target.with_baseline)
    reference = references[[i for i, given in enumerate(row.inputs) if given.differentiable].index(number)]
    form = FORMATS[getattr(torch, problem.dtype)]
    limits = growth(row.longest_reduction(problem.size), uniform=problem.uniform)
    first, second = (torch.stack([gradients[i] for i in kept]) for gradients in (runs.first, runs.second))
    scores = score_gradients(first.to(torch.float64), reference, form=form, growth=limits)
    again = score_gradients(second.to(torch.float64), reference, form=form, growth=limits)
    differ = _bits_differ(first, second)
    for i, index in enumerate(kept):
        verdicts = [scores.verdict(i), again.verdict(i)]
        verdict, note = worst(verdicts), ""
        if verdicts[0] is not verdicts[1]:
            note = f"{verdicts[0]}, the second time {verdicts[1]}"
        if differ[i] and not verdict.is_failure:
            verdict = Verdict.WARN if _may_differ(row, target) else Verdict.NONDET
            note = "two runs differ in their bits"
            note += ", which torch documents for this operation" if verdict is Verdict.WARN else ""
        ratio = max(float(scores.score[i]), float(again.score[i]))
        bits = min(float(scores.bits[i]), float(again.bits[i]))
        yield CaseResult(runs.cases[index].id, verdict, _round(ratio), _round(bits), number, note)


def _may_differ(row: Operation, target: Target) -> bool:
    """Say whether torch documents that this operation adds in no fixed order there."""
    return row.unordered and (target.torch_device.type != "cpu" or target.backend.threads > 1)


def _bits_differ(first: Tensor, second: Tensor) -> list[bool]:
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[first.element_size()]
    same = first.reshape(len(first), -1).view(integers) == second.reshape(len(second), -1).view(integers)
    found: list[bool] = (~same.all(1)).tolist()
    return found


def _worse(one: CaseResult | None, other: CaseResult) -> CaseResult:
    if one is None:
        return other
    order = list(Verdict)
    return max(one, other, key=lambda result: (order.index(result.verdict), result.ratio))


def _round(number: float) -> float:
    return float(f"{number:.4g}")
