"""The tolerance rule: is a gradient further from its reference than arithmetic allows?

For element i of a gradient g, with r the reference, S the spread of the stochastic runs, b the baseline, u the
unit round-off and η the smallest subnormal number::

    T_i = max( max(S_i, rms(S)) + u |r_i| + η , |b_i - r_i| )        what one honest error may look like
    e_i = |g_i - r_i| / T_i

Three statistics of e, each over its own limit; the largest quotient is the score, above 1 a failure::

    max e / C(n)            C(n) = 16 max(1, sqrt(n/256)), n the longest reduction: one wrong element
    rms e / R(N)            N the number of elements: many elements wrong by a little
    |mean of signed e| / B  in bfloat16 and float16: all elements too large, or all too small

Where the cotangent is one number everywhere, a sum adds it up n times and every rounding may go the same way: there
C(n) is at least n/2, as e of n u |r| is (N. J. Higham, Accuracy and Stability, 2nd ed., section 4.2), and R and B
grow alike. docs/verification.md has the evidence for the constants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from lab.compare import C, Format
from lab.prove.reference import Reference

# Over the healthy CPU variants of `make bench-verify` the largest rms of e was RMS_SEEN in large gradients; the second
# term lets one element of a small gradient be as far off as C alone would.
RMS_LIMIT = 4.0
BIAS_LIMIT = 1.25
REDUCTION = 256  # terms up to which C does not grow


class Verdict(StrEnum):
    """What is said of a gradient, from best to worst.

    PASS: within half of what arithmetic allows. WARN: within it. UNSUPPORTED: the device says it cannot. ILLPOSED:
    no answer is right: honest runs disagree about what is finite. FORMULA: wrong in the same way on the CPU: torch's
    formula loses digits, the device does not. NONDET: two runs differ in their bits. FAIL: beyond it. CRASH: the
    process died, hung or raised.
    """

    PASS = "pass"
    WARN = "warn"
    UNSUPPORTED = "unsupported"
    ILLPOSED = "illposed"
    FORMULA = "formula"
    NONDET = "nondet"
    FAIL = "fail"
    CRASH = "crash"

    @property
    def is_failure(self) -> bool:
        """Whether the machine is to blame: the command then exits with 1."""
        return self in (Verdict.NONDET, Verdict.FAIL, Verdict.CRASH)


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the worst of several verdicts."""
    order = list(Verdict)
    return max(verdicts, key=order.index, default=Verdict.PASS)


@dataclass(frozen=True, eq=False)
class Scores:
    """What the rule says of several gradients of one reference. All of shape (cases,), float64.

    score: over everything that is known. formula: the same had the baseline been perfect: above 1 while score is not,
    the formula is to blame. peak, rms, bias: the three quotients behind score. bits: the median over the elements of
    -log2 of the relative error, at most the dtype's precision. illposed: whether no answer is right.
    """

    score: Tensor
    formula: Tensor
    peak: Tensor
    rms: Tensor
    bias: Tensor
    bits: Tensor
    illposed: bool

    def verdict(self, case: int) -> Verdict:
        """Return the verdict on one of the gradients."""
        score, formula = float(self.score[case]), float(self.formula[case])
        if score > 1:
            return Verdict.FAIL
        if self.illposed:
            return Verdict.ILLPOSED
        if formula > 1:
            return Verdict.FORMULA
        return Verdict.WARN if score > 0.5 else Verdict.PASS


def is_beyond_rounding(reference: Reference, form: Format) -> bool:
    """Say whether the baseline itself is further off than rounding explains: then torch's formula loses digits."""
    baseline = reference.baseline.flatten()
    allowed = _arithmetic(reference.value.flatten(), reference.spread.flatten(), form)
    return bool((baseline > C * allowed).any())


def growth(terms: int, *, uniform: bool) -> float:
    """Return how many times 16 the limit C is for a reduction of so many terms."""
    return max(1.0, math.sqrt(terms / REDUCTION), terms / (2 * C) if uniform else 0.0)


def score_gradients(gradients: Tensor, reference: Reference, *, form: Format, growth: float) -> Scores:
    """Apply the rule to gradients of one problem. gradients: (cases, ...), float64. growth: of its limits."""
    got, value = gradients.reshape(len(gradients), -1), reference.value.flatten()
    spread, baseline = reference.spread.flatten(), reference.baseline.flatten()
    loose = spread.isinf() | baseline.isinf()  # honest runs disagree whether there is a number
    arithmetic = _arithmetic(value, spread, form)
    allowed = torch.maximum(arithmetic, baseline)
    difference = got - value
    same = (got == value) | (got.isnan() & value.isnan()) | loose
    error = torch.where(same, 0.0, difference.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf))
    biased = form.precision < 24
    peak, rms, bias = _quotients(error / allowed, value, growth=growth, biased=biased)
    score = torch.stack((peak, rms, bias)).amax(0)
    honest = torch.stack(_quotients(error / arithmetic, value, growth=growth, biased=biased)).amax(0)
    return Scores(score, honest, peak, rms, bias, _bits(error, value, form), bool(loose.any()))


def _arithmetic(value: Tensor, spread: Tensor, form: Format) -> Tensor:
    finite = torch.where(spread.isinf(), 0.0, spread)
    floor = finite.square().mean().sqrt() if spread.numel() else 0.0
    size = torch.where(value.isfinite(), value.abs(), 0.0)
    return torch.clamp(finite, min=floor) + form.unit_roundoff * size + form.smallest_subnormal


def _quotients(error: Tensor, value: Tensor, *, growth: float, biased: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three statistics over their limits. error: (cases, elements), signed, in units of T."""
    cases, elements = error.shape
    if not elements:
        return (torch.zeros(cases, dtype=torch.float64),) * 3
    peak = error.abs().amax(1) / (C * growth)
    rms = error.square().mean(1).sqrt() / ((RMS_LIMIT + (C - RMS_LIMIT) / math.sqrt(elements)) * growth)
    bias = (error * value.sign().nan_to_num()).mean(1).abs().nan_to_num(nan=math.inf)  # infinities of both signs
    limit = (BIAS_LIMIT + (C - BIAS_LIMIT) / math.sqrt(elements)) * growth
    return peak, rms, bias / limit if biased else torch.zeros_like(peak)


def _bits(error: Tensor, value: Tensor, form: Format) -> Tensor:
    counted = (value != 0) & value.isfinite()
    if not bool(counted.any()):
        return torch.full((error.shape[0],), float(form.precision), dtype=torch.float64)
    relative = (error[:, counted] / value[counted]).abs()
    return (-relative.median(1).values.log2()).clamp(0.0, float(form.precision))
