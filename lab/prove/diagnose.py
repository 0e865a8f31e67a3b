"""Why a gradient is wrong: what the pattern of failures, the probes and the replay have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lab.compare import FORMATS, C
from lab.prove.blame import Blame, find_blame, record_calls
from lab.prove.case import Case, parse_case, plainest
from lab.prove.gradient import differentiate, place_case
from lab.prove.known import known_about
from lab.prove.numbers import Numbers, draw_numbers
from lab.prove.operation import SIZES
from lab.prove.probes import Probe
from lab.prove.result import CaseResult, Cause
from lab.prove.rule import Verdict
from lab.prove.switches import cured_by
from lab.prove.verify import Target, quiet

RUNS = 6  # of a case whose bits differ
MANY = 1024  # elements: a kernel that is wrong only beyond so many has a size that it cannot count to
FAR_OFF = 1e-3  # of the largest element

# What each label says. The simulated devices of faults.py name the one that has to be found for them.
LABELS = {
    "product-precision": "products keep fewer bits than the dtype has",
    "accumulation": "sums are added up in fewer bits than the dtype has",
    "kernel": "one kernel is wrong",
    "tail": "the last elements are wrong",
    "non-finite": "a kernel writes nan or infinity where a number belongs",
    "subnormals": "numbers below the smallest normal one become zero",
    "strides": "a kernel ignores how its inputs lie in memory",
    "history": "a kernel uses what an earlier run left behind",
    "flaky": "the same numbers give other bits now and then",
    "mask": "the backward forgets the dropout mask",
    "size": "only tensors above a size are wrong",
    "crash": "the process died, hung or raised",
    "unknown": "no single kernel leaves its replay",
}


@dataclass(frozen=True)
class Failure:
    """What is known of a failing operation and dtype: the cases that fail."""

    failing: tuple[CaseResult, ...]

    @property
    def cases(self) -> list[Case]:
        """The failing cases, the smallest and plainest first: what is told of them is easiest to see there."""
        return sorted((parse_case(result.case) for result in self.failing), key=_complexity)


def _complexity(case: Case) -> tuple[int, int]:
    plain = plainest(case)
    changed = sum(a != b for a, b in zip(vars(case).values(), vars(plain).values(), strict=True))
    return list(SIZES).index(case.size), changed


def diagnose(failure: Failure, probes: Sequence[Probe], target: Target) -> Cause:
    """Return why an operation fails, with what shows it and the plainest case that does."""
    found = _diagnose(failure, probes, target)
    known = [] if target.backend.simulated else known_about(parse_case(found.case), target.torch_device.type)
    return replace(found, evidence=(*found.evidence, *known))


def _diagnose(failure: Failure, probes: Sequence[Probe], target: Target) -> Cause:
    if unsteady := [result for result in failure.failing if result.verdict is Verdict.NONDET]:
        return _flaky(min((parse_case(result.case) for result in unsteady), key=_complexity), target)
    case = failure.cases[0]
    calls = record_calls(case, target)
    blame, unknown = find_blame(calls, case, target)
    if blame is None:  # right in a fresh process, as far as it got; and when it ran before?
        calls = record_calls(case, target, runs=2)
        blame, _ = find_blame(calls, case, target)
    of_dtype = [probe for probe in probes if probe.dtype == case.dtype]
    label, evidence = _pattern(failure, of_dtype, blame, unknown, target)
    if blame:
        place = f"{blame.kernel}, call {blame.position + 1} of {len(calls)}"
        evidence.append(f"{place}, is the first to leave its float64 replay: {_ratio(blame.score)}")
    if not target.backend.simulated:  # which has no switches
        evidence += cured_by(case, target)
    return _cause(label, evidence, case)


def _cause(label: str, evidence: Iterable[str], case: Case) -> Cause:
    return Cause(label, LABELS[label], tuple(evidence), case.id)


def _ratio(score: float) -> str:
    return f"{score:.3g} times what arithmetic allows"


def _pattern(
    failure: Failure, probes: Sequence[Probe], blame: Blame | None, unknown: tuple[str, ...], target: Target
) -> tuple[str, list[str]]:
    """Return the label of a steady failure, and what shows it, from the surest sign to the last resort."""
    if blame is None:
        return _without_blame(failure, probes, unknown)
    if not bool(blame.got.isfinite().all()) and bool(blame.expected.isfinite().all()):
        return "non-finite", [f"{int((~blame.got.isfinite()).sum())} of {blame.got.numel()} elements are not finite"]
    if mask := _ignored_mask(blame):
        return "mask", [mask]
    first, *later = blame.repeat(target, times=3)
    if first <= 1 < max(later):
        return "history", [f"called alone it is right the first time, and off by {_ratio(max(later))} after that"]
    if not blame.call.in_order and blame.repeat(target, in_order=True)[0] <= 1:
        return "strides", ["with the same inputs in the order of memory it is right"]
    if tail := _tail(blame):
        return "tail", [tail]
    if late := _beyond(blame):
        return "size", [late]
    return _reduced(probes, blame.kernel) or ("kernel", [_factor(blame)])


def _without_blame(failure: Failure, probes: Sequence[Probe], unknown: tuple[str, ...]) -> tuple[str, list[str]]:
    crashed = [result.note for result in failure.failing if result.verdict is Verdict.CRASH]
    if crashed:
        return "crash", crashed[:1]
    suspects = [f"{name} has no replay; every other kernel agrees with its own" for name in unknown]
    reduced = next((found for name in unknown if (found := _reduced(probes, name))), None)
    if reduced:
        return reduced[0], [*reduced[1], *suspects]
    return "unknown", suspects or ["every kernel agrees with its replay, from its own inputs"]


def _flaky(case: Case, target: Target) -> Cause:
    """Run a case again and again and count how often its bits change."""
    numbers = draw_numbers(case.problem)
    with quiet(), target.backend.context():
        runs = [_run(case, numbers, target) for _ in range(RUNS)]
    changed = sum(not _same(runs[0], run) for run in runs[1:])
    return _cause("flaky", [f"{changed} of {RUNS - 1} repetitions differ from the first run in their bits"], case)


def _run(case: Case, numbers: Numbers, target: Target) -> list[Tensor]:
    placed = place_case(case, numbers, target.torch_device)
    return [gradient.cpu() for gradient in differentiate(target.row(case.op), case, placed)]


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(_bits(x), _bits(y)) for x, y in zip(one, other, strict=True))


def _bits(x: Tensor) -> Tensor:
    return x.contiguous().flatten().view(torch.uint8)


def _beyond(blame: Blame) -> str:
    """Say that all elements from some number on are wrong and none before, or return nothing."""
    wrong, size = _wrong_places(blame), blame.expected.abs().flatten()
    if wrong and wrong[0] >= MANY and len(wrong) > 0.9 * int((size[wrong[0] :] > size.max() * _far_off(blame)).sum()):
        return f"of {size.numel():,} elements those from number {wrong[0]:,} on are wrong, and none before"
    return ""


def _far_off(blame: Blame) -> float:
    """Return which part of the largest element is no rounding error any more."""
    return max(FAR_OFF, C * FORMATS[blame.got.dtype].unit_roundoff)


def _wrong_places(blame: Blame) -> list[int]:
    """Return the numbers of the elements that are far off."""
    off = (blame.got.to(torch.float64) - blame.expected).abs().flatten()
    places: list[int] = (off > blame.expected.abs().max() * _far_off(blame)).nonzero().flatten().tolist()
    return places


def _tail(blame: Blame) -> str:
    """Say that only the last element is wrong, or return nothing."""
    wrong, count = _wrong_places(blame), blame.got.numel()
    last = float(blame.got.flatten()[-1])
    if wrong == [count - 1] and (count > 1 or last == 0):
        return f"of {count} elements only the last is wrong: {last:.4g}"
    return ""


def _ignored_mask(blame: Blame) -> str:
    """Say that a product returned one factor though the other is a dropout mask, or return nothing."""
    tensors = [x for x in blame.call.args if isinstance(x, Tensor) and x.is_floating_point()]
    if len(tensors) == 2 and "mul" in blame.kernel:
        for kept, mask in (tensors, tensors[::-1]):
            values = mask.unique()
            if values.numel() == 2 and float(values[0]) == 0 and torch.equal(blame.got, kept.expand_as(blame.got)):
                return f"the mask drops {int((mask == 0).sum())} of {mask.numel()} elements, and none was dropped"
    return ""


_MULTIPLIES = ("mm", "mv", "dot", "conv", "linear", "attention", "rnn", "lstm", "gru")


def _reduced(probes: Sequence[Probe], kernel: str) -> tuple[str, list[str]] | None:
    """Return the label of a loss of precision that the probes have seen and that this kernel can have."""
    # A probe that finds no right bit at all has met a wrong kernel, not a coarse one.
    coarse = [probe for probe in probes if 0 < probe.measured < probe.expected]
    lost = {kind: [probe for probe in coarse if probe.kind == kind] for kind in ("accumulator", "product")}
    adds = any(word in kernel for word in (*_MULTIPLIES, "sum", "mean", "norm", "softmax"))
    for kind, label in (("accumulator", "accumulation"), ("product", "product-precision")):
        if lost[kind] and adds and (kind == "accumulator" or any(word in kernel for word in _MULTIPLIES)):
            least = min(lost[kind], key=lambda probe: probe.measured)
            kept = f"{kind} probe, {least.name}: {least.measured} of {least.expected} {least.unit}"
            like = {10: ", as TF32 keeps", 7: ", as bfloat16 keeps"}.get(least.measured, "")
            return label, [kept + like]
    return None


def _factor(blame: Blame) -> str:
    """Say by which factor the elements are off, where it is one."""
    known = (blame.expected != 0) & blame.expected.isfinite()
    quotient = blame.got.to(torch.float64)[known] / blame.expected[known]
    if not quotient.numel():
        return "it is not zero where it should be"
    middle, spread = float(quotient.median()), float((quotient - quotient.median()).abs().median())
    if abs(middle - 1) > 4 * spread:
        return f"its results are {middle:.7g} times what they should be"
    wrong = _wrong_places(blame)
    return f"{len(wrong)} of {blame.got.numel()} elements are far off" if wrong else "its results are off by a little"
