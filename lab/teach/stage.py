"""Where a lesson's cells show what they found: plain text, the narrated terminal, or a notebook.

A cell calls check_gradient, claim and picture. What they found goes into the stage's record, which the lesson's
results and the notebook's run record are written from, and the stage shows it in its own way.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lab.compare import Comparison, Verdict, compare
from lab.errors import LabError
from lab.finding import FINDING_MIME, Findings

# Digits that tell neighbouring numbers of a dtype apart, fewer for float64, whose seventeen would fill the line.
_DIGITS = {torch.float64: 12, torch.float32: 8, torch.bfloat16: 4, torch.float16: 5}


class Stage:
    """The plain stage: text on standard output. The other stages differ in how they show things."""

    def __init__(self) -> None:
        self.record = Findings()

    def prose(self, markdown: str) -> None:
        """Show a markdown cell."""
        print(f"\n{markdown}\n", flush=True)

    def code(self, source: str) -> None:
        """Show the source of a code cell before it runs. The plain stage shows results only."""

    def line(self, text: str, finding: dict[str, Any], *, verdict: Verdict) -> None:
        """Show one finding as a line of text."""
        print(text)

    def picture(self, name: str, svg: str) -> None:
        """Show a picture. Plain text cannot."""


class NotebookStage(Stage):
    """Inside a Jupyter kernel: findings are displayed with their data, pictures inline."""

    def line(self, text: str, finding: dict[str, Any], *, verdict: Verdict) -> None:
        """Display a finding with its data beside its text."""
        from IPython.display import display

        display({"text/plain": text, FINDING_MIME: finding}, raw=True)

    def picture(self, name: str, svg: str) -> None:
        """Display a picture inline, with its name for a run to file it under."""
        from IPython.display import display

        data = {"text/plain": name, "image/svg+xml": svg, FINDING_MIME: {"picture": name}}
        display(data, raw=True)


_current: Stage | None = None


@contextmanager
def on_stage(stage: Stage) -> Iterator[Stage]:
    """Show what cells find on this stage for the length of the block."""
    global _current
    before, _current = _current, stage
    try:
        yield stage
    finally:
        _current = before


def current_stage() -> Stage:
    """Return the stage in use: the one set by on_stage, or else the notebook's or the plain one."""
    global _current
    if _current is None:
        _current = NotebookStage() if "ipykernel" in sys.modules and _in_kernel() else Stage()
    return _current


def _in_kernel() -> bool:
    from IPython.core.getipython import get_ipython

    return get_ipython() is not None


def check_gradient(
    name: str, gradient: Tensor | None, reference: Tensor | float, *, scale: Tensor | float | None = None
) -> Comparison:
    """Show a gradient beside its closed form, and record it.

    name: what it is and its closed form, such as ``dy/dx = 2x``. gradient: (...). reference: (...) or a number.
    scale: see lab.compare.compare. Raises: LabError where there is no gradient, or it misses its reference.
    """
    if gradient is None:
        raise LabError(f"{name}: there is no gradient.", "Expected a tensor.", "Call backward() on a result first.")
    return check_value(name, gradient, reference, scale=scale, words=("autograd", "exact"))


def check_value(
    name: str,
    value: Tensor,
    reference: Tensor | float,
    *,
    scale: Tensor | float | None = None,
    words: tuple[str, str] = ("found", "exact"),
) -> Comparison:
    """Show a value beside its reference, and record it.

    name: what it is. value: (...). reference: (...) or a number. scale: see lab.compare.compare. words: where the
    value comes from, and where the reference does. Raises: LabError where the value misses its reference.
    """
    comparison = compare(value, reference, name=name, scale=scale)
    stage = current_stage()
    finding = comparison.to_json()
    stage.record.comparisons.append(finding)
    stage.line(comparison_line(comparison, words), {"comparisons": [finding]}, verdict=comparison.verdict)
    if comparison.verdict is Verdict.FAIL:
        raise LabError(
            f"{name} misses its reference by {comparison.max_ulps:.3g} ulp.",
            f"Expected at most {comparison.tolerance.max().item():.3g} between them.",
            "Type 'lab doctor' and report what it prints together with the parameters.",
        )
    return comparison


def claim(sentence: str, holds: bool) -> None:
    """Show a claim of the lesson, checked as it is made, and record it. Raises: LabError where it is false."""
    stage = current_stage()
    finding = {"sentence": sentence, "holds": bool(holds)}
    stage.record.claims.append(finding)
    verdict = Verdict.PASS if holds else Verdict.FAIL
    stage.line(f"  {mark(verdict)} {sentence}", {"claims": [finding]}, verdict=verdict)
    if not holds:
        raise LabError(
            f"This claim is false here: {sentence}",
            "Every claim of a lesson holds for every parameter it accepts.",
            "Type 'lab doctor' and report what it prints together with the parameters.",
        )


def claim_raises(sentence: str, action: Callable[[], object]) -> None:
    """Show what PyTorch answers to an action that it refuses, the first sentence of it, as a claim.

    Raises: LabError where the action is not refused.
    """
    try:
        action()
    except RuntimeError as error:
        claim(sentence, True)
        answer = re.split(r"[.(] ?", str(error), maxsplit=1)[0].strip()
        print(textwrap.fill(f"torch: {answer}", 80, initial_indent="    ", subsequent_indent=" " * 11))
    else:
        claim(sentence, False)


def picture(name: str, svg: str | None) -> None:
    """Show a picture and record it under its name. None stands for one that could not be drawn here."""
    stage = current_stage()
    if svg is None:
        print(f"  (no picture {name!r}: matplotlib is not installed)")
        return
    stage.record.pictures[name] = svg
    stage.picture(name, svg)


def mark(verdict: Verdict) -> str:
    """Return the sign of a verdict."""
    return {Verdict.PASS: "✓", Verdict.WARN: "!", Verdict.FAIL: "✗"}[verdict]


def comparison_line(comparison: Comparison, words: tuple[str, str] = ("autograd", "exact")) -> str:
    """Return a comparison as one line, of at most 80 columns for a scalar whose name has at most 20.

    words: where the value comes from, and where the reference does, of at most 14 letters together.
    """
    digits = _DIGITS[comparison.dtype]
    value, reference = _show(comparison.value, digits), _show(comparison.reference, digits)
    return (
        f"  {mark(comparison.verdict)} {comparison.name:<20} {words[0]} {value:<13} "
        f"{words[1]} {reference:<13} {comparison.max_ulps:.2g} ulp"
    )


def _show(numbers: Tensor, digits: int) -> str:
    """Show a number in at most 13 characters, or a vector's numbers each in a few."""
    if numbers.ndim:
        return "[" + ", ".join(_show(number, min(digits, 4)) for number in numbers) + "]"
    texts = (f"{numbers.item():.{kept}g}" for kept in range(digits, 0, -1))
    return next(text for text in texts if len(text) <= 13)
