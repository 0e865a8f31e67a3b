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
C(n) is at least n/2, as e of n u |r| is (N. J. Higham, Accuracy and Stability, 2nd ed., section 4.2), R grows alike,
and no bias is looked for: all elements may err alike. docs/verification.md has the evidence for the constants.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from lab.compare import C, Format
from lab.prove.reference import Reference

# The limits of many elements; what is added to them for few lets one element be as far off as C alone would, and a
# mean of random errors shrink as slowly as 1/sqrt(N). docs/verification.md has the scores of healthy variants.
RMS_LIMIT = 4.0
BIAS_LIMIT = 0.75
MEAN_SPREAD = 5.0
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


_BADNESS = {verdict: rank for rank, verdict in enumerate(Verdict)}


def badness(verdict: Verdict) -> int:
    """Return where a verdict stands in the order from best to worst."""
    return _BADNESS[verdict]


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of several verdicts."""
    return max(verdicts, key=badness, default=Verdict.PASS)


@dataclass(frozen=True)
class Score:
    """What the rule says of one gradient.

    score: over everything that is known, above 1 a failure. formula: the same had the baseline been perfect: above 1
    while score is not, the formula is to blame. bits: the median over the elements of -log2 of the relative error, at
    most the dtype's precision. illposed: whether no answer is right.
    """

    score: float
    formula: float
    bits: float
    illposed: bool

    @property
    def verdict(self) -> Verdict:
        """The verdict on the gradient."""
        if self.score > 1:
            return Verdict.FAIL
        if self.illposed:
            return Verdict.ILLPOSED
        if self.formula > 1:
            return Verdict.FORMULA
        return Verdict.WARN if self.score > 0.5 else Verdict.PASS


def is_beyond_rounding(reference: Reference, *, form: Format, growth: float) -> bool:
    """Say whether the baseline itself is further off than rounding explains: then torch's formula loses digits."""
    allowed = _arithmetic(reference.value.reshape(1, -1), reference.spread.reshape(1, -1), form)
    return bool((reference.baseline.reshape(1, -1) > C * growth * allowed).any())


def growth(terms: int, *, uniform: bool) -> float:
    """Return how many times 16 the limit C is for a reduction of so many terms."""
    return max(1.0, math.sqrt(terms / REDUCTION), terms / (2 * C) if uniform else 0.0)


def bias_limit(elements: int) -> float:
    """Return B(N), how far the mean of N signed errors may be from zero."""
    return BIAS_LIMIT + MEAN_SPREAD / math.sqrt(elements) + (C - BIAS_LIMIT - MEAN_SPREAD) / elements


def score_gradients(
    gradients: Tensor,
    reference: Reference,
    *,
    form: Format,
    growth: float | Sequence[float],
    uniform: bool | Sequence[bool] = False,
) -> list[Score]:
    """Apply the rule to several gradients. gradients: (cases, ...), float64.

    reference: of one gradient, shape (...), for all cases; or of each, shape (cases, ...). growth: of the limits, and
    uniform: whether the cotangent was one number, so that all elements may err alike and a bias says nothing; for all
    cases or for each.
    """
    cases = len(gradients)
    got = gradients.reshape(cases, -1)
    shared = reference.value.shape == gradients.shape[1:]
    value, spread, baseline = (
        x.reshape(1 if shared else cases, -1) for x in (reference.value, reference.spread, reference.baseline)
    )
    grown = torch.tensor(growth, dtype=torch.float64)
    arithmetic = _arithmetic(value, spread, form)
    excused = baseline > arithmetic  # by the CPU's own error
    loose = spread == torch.inf  # honest runs disagree whether there is a number
    lost = baseline == torch.inf  # the CPU has no number: whatever is there, it is torch's formula
    known = ~(loose | lost | (got == value) | (got.isnan() & value.isnan()))
    error = torch.where(known, (got - value).nan_to_num(nan=torch.inf), 0.0)
    biased = ~torch.tensor(uniform) & (form.precision < 24)
    score = _score(error / torch.maximum(arithmetic, baseline), value, growth=grown, biased=biased)
    formula = score
    if bool(excused.any()):
        formula = _score(error / arithmetic, value, growth=grown, biased=biased)
        formula = torch.where(lost.any(1), torch.inf, formula)
    rows = (score, formula, _bits(error, value, form), loose.any(1).expand(cases))
    return [Score(*row) for row in zip(*(x.tolist() for x in rows), strict=True)]


def _arithmetic(value: Tensor, spread: Tensor, form: Format) -> Tensor:
    """Return what rounding explains, for each row. value, spread and result: (rows, elements)."""
    finite = torch.where(spread == torch.inf, 0.0, spread)
    floor = finite.square().mean(1, keepdim=True).sqrt()
    size = value.abs().nan_to_num(nan=0.0, posinf=0.0)
    return torch.maximum(finite, floor).add_(form.smallest_subnormal).add_(size, alpha=form.unit_roundoff)


def _score(error: Tensor, value: Tensor, *, growth: Tensor, biased: Tensor) -> Tensor:
    """Return the largest of the three statistics over its limit. error: (cases, elements), signed, in units of T."""
    cases, elements = error.shape
    if not elements:
        return torch.zeros(cases, dtype=torch.float64)
    few = 1 / math.sqrt(elements)
    score = torch.maximum(error.abs().amax(1) / C, error.square().mean(1).sqrt() / (RMS_LIMIT + (C - RMS_LIMIT) * few))
    if bool(biased.any()):
        bias = (error * value.sign().nan_to_num()).mean(1).abs().nan_to_num(nan=torch.inf)  # infinities of both signs
        score = torch.maximum(score, torch.where(biased, bias / bias_limit(elements), 0.0))
    return score / growth


def _bits(error: Tensor, value: Tensor, form: Format) -> Tensor:
    """Return the median of the right bits of the elements that are not zero."""
    relative = (error / value).abs().nanmedian(1).values if error.shape[1] else error.new_zeros(len(error))
    return (-relative.nan_to_num(nan=0.0).log2()).clamp(0.0, float(form.precision))
