"""The scale of a heat map: how a ratio is written and coloured, and what stands for each verdict.

A ratio is an error over what arithmetic allows. Its log2 is shown: 0 is the limit, +1 is twice too far off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lab.prove.rule import Verdict


@dataclass(frozen=True)
class Step:
    """One colour. name: of its CSS class. upto: the largest log2 that has it. label: in the legend."""

    name: str
    upto: float
    label: str


# Blue within what is allowed, yellow just within it, orange to dark red beyond it: told apart also without red or
# without green, and by lightness alone.
STEPS = (
    Step("exact", -math.inf, "exact"),
    Step("in3", -5, "to −5"),
    Step("in2", -3, "−5 to −3"),
    Step("in1", -1, "−3 to −1"),
    Step("edge", 0, "−1 to 0"),
    Step("out1", 2, "0 to 2"),
    Step("out2", 5, "2 to 5"),
    Step("out3", 10, "5 to 10"),
    Step("out4", 1100, "from 10"),  # no float64 has a larger log2
    Step("infinite", math.inf, "∞"),
)


@dataclass(frozen=True)
class Mark:
    """What stands for a verdict. shade: the CSS class where it is not its ratio's."""

    sign: str
    meaning: str
    shade: str = ""


MARKS = {
    Verdict.PASS: Mark("✓", "within half of what arithmetic allows"),
    Verdict.WARN: Mark("~", "beyond half of what arithmetic allows, or other bits as torch documents"),
    Verdict.UNSUPPORTED: Mark("–", "the device says it cannot", "unsupported"),
    Verdict.ILLPOSED: Mark("?", "no answer is right: honest runs disagree about what is finite", "illposed"),
    Verdict.FORMULA: Mark("ƒ", "wrong in the same way on the CPU: torch’s formula loses digits"),
    Verdict.NONDET: Mark("≠", "two runs differ in their bits", "nondet"),
    Verdict.FAIL: Mark("✗", "beyond what arithmetic allows"),
    Verdict.CRASH: Mark("!", "the process died, hung or raised", "crash"),
}


def parse_ratio(ratio: float | str) -> float:
    """Return a ratio as strict JSON holds it; infinity is a word there."""
    return float(ratio)


def log2(ratio: float) -> float:
    """Return log2 of a ratio, which may be 0 or infinite."""
    if ratio <= 0:
        return -math.inf
    return math.log2(ratio) if math.isfinite(ratio) else math.inf


def find_step(ratio: float) -> Step:
    """Return the colour of a ratio."""
    return next(step for step in STEPS if log2(ratio) <= step.upto)


def write_log2(ratio: float) -> str:
    """Write log2 of a ratio with its sign, an error of nothing as a word."""
    if ratio <= 0:
        return "exact"
    return f"{log2(ratio):+.1f}".replace("-", "−").replace("+inf", "∞")


def write_times(ratio: float) -> str:
    """Write how large an error is, in words."""
    return "not finite" if math.isinf(ratio) else f"{ratio:.3g} × what arithmetic allows"
