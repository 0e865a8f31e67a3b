"""What an attempt got wrong, told from the values that it produced.

Every known mistake is run on the same trials as the attempt, as long as it does the same. The one that does in all
of them is the diagnosis; what matches none of them is described as it is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch

from lab.compare import Comparison, Verdict, compare
from lab.practise.exercise import Check, Mistake
from lab.practise.explain import explain
from lab.practise.observe import observe_function
from lab.practise.trial import AnswerError, Observation, Raised, Trial, Value, Values, numbers_in, shape_of, show

# Enough of an exception's message to know it by; what follows may name shapes and versions.
_KNOWN_BY = 40
_TOLD = 3  # values that an unknown answer is told of


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong. hint: the step, 1 to 3, to start at. mistake: the name of the known one, or nothing."""

    text: str
    hint: int = 1
    mistake: str = ""


def diagnose(check: Check, trials: Sequence[Trial], observations: Sequence[Observation], file: str) -> Diagnosis:
    """Name the mistake in a wrong attempt. file: what to call the attempt's file."""
    case = _Case(check, trials, observations)
    return (
        case.known() or case.raised(file) or case.nearly_known() or case.literal() or case.no_number() or case.unknown()
    )


def compare_observations(
    check: Check, trials: Sequence[Trial], observations: Sequence[Observation]
) -> tuple[dict[str, Any], ...]:
    """Return the comparison of every number that was observed, as plain data."""
    return tuple(
        _compare(got, want, trial, f"{name} at {trial}, factor {show(trial.factor)}").to_json()
        for trial, observation in zip(trials, observations, strict=True)
        for name, want in _numbers(check.expected(trial)).items()
        if shape_of(got := observation.values.get(name)) == shape_of(want)
    )


def is_right(check: Check, trials: Sequence[Trial], observations: Sequence[Observation]) -> bool:
    """Say whether an attempt did in every trial what is expected there."""
    return not any(
        o.raised or _wrong_names(o.values, check.expected(trial), trial)
        for o, trial in zip(observations, trials, strict=True)
    )


def _compare(got: Value, want: Value, trial: Trial, name: str = "") -> Comparison:
    """Compare a number or a tensor of them, rounded to the trial's dtype, with its reference."""
    reference = torch.tensor(want, dtype=torch.float64)
    return compare(torch.tensor(got, dtype=getattr(torch, trial.dtype)), reference, name=name)


def _wrong_names(got: Values, want: Values, trial: Trial) -> list[str]:
    """Return the names of the values that are not as wanted: numbers within tolerance, all else equal."""
    return [name for name in want if not _agrees(got.get(name), want[name], trial)]


def _agrees(got: Value, want: Value, trial: Trial) -> bool:
    if _same(got, want):
        return True
    if shape_of(want) is not None:
        return shape_of(got) == shape_of(want) and _compare(got, want, trial).verdict is not Verdict.FAIL
    if isinstance(got, list) and isinstance(want, list):
        return len(got) == len(want) and all(map(partial(_agrees, trial=trial), got, want))
    return False


def _same(got: Value, want: Value) -> bool:
    """Say whether two values are equal, true being no 1."""
    if isinstance(got, list) and isinstance(want, list):
        return len(got) == len(want) and all(map(_same, got, want))
    return type(got) is type(want) and got == want


def _near(got: Value, want: Value, within: float) -> bool:
    if shape_of(want) is None or shape_of(got) != shape_of(want):
        return got == want
    pairs = zip(numbers_in(got), numbers_in(want), strict=True)
    return all(abs(one - other) <= within * abs(other) for one, other in pairs)


def _same_exception(one: Raised | None, other: Raised | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.type == other.type and one.message[:_KNOWN_BY] == other.message[:_KNOWN_BY]


def _numbers(values: Values) -> Values:
    """Return those of the values that are a number or a tensor of numbers."""
    return {name: value for name, value in values.items() if shape_of(value) is not None}


def _like(number: Value) -> str:
    shape = shape_of(number)
    return f"a tensor of shape {shape}, such as {show(number)}" if shape else f"a single number, such as {show(number)}"


@dataclass(frozen=True)
class _Case:
    """A wrong attempt: its trials and what was observed in each."""

    check: Check
    trials: Sequence[Trial]
    observations: Sequence[Observation]

    @cached_property
    def wanted(self) -> list[Values]:
        return [self.check.expected(trial) for trial in self.trials]

    def mistaken(self, mistake: Mistake) -> Iterator[tuple[Observation, Observation, Trial]]:
        """Yield, a trial after the other, what the attempt did and what a known mistake does there."""
        for trial, observation in zip(self.trials, self.observations, strict=True):
            with warnings.catch_warnings(action="ignore"):  # a mistake may be one that PyTorch warns of
                (seen,) = observe_function(self.check, mistake.function, [trial])
            yield observation, seen, trial

    @cached_property
    def shown(self) -> int:
        """The first trial that went wrong; the lesson's own point, if it did there."""
        rows = zip(self.trials, self.observations, self.wanted, strict=True)
        return next(i for i, (trial, o, want) in enumerate(rows) if o.raised or _wrong_names(o.values, want, trial))

    def known(self) -> Diagnosis | None:
        """A mistake that does the same in every trial."""
        for mistake in self.check.mistakes:
            if all(
                _same_exception(o.raised, s.raised) and not _wrong_names(o.values, s.values, trial)
                for o, s, trial in self.mistaken(mistake)
            ):
                return self._tell(mistake)
        return None

    def nearly_known(self) -> Diagnosis | None:
        """A mistake whose numbers depend on a choice, such as the step of a finite difference."""
        for mistake in self.check.mistakes:
            if mistake.within and all(
                not (o.raised or s.raised) and _near(o.values.get(name), s.values[name], mistake.within)
                for o, s, _ in self.mistaken(mistake)
                for name in s.values
            ):
                return self._tell(mistake)
        return None

    def _tell(self, mistake: Mistake) -> Diagnosis:
        trial, got, want = self.trials[self.shown], self.observations[self.shown].values, self.wanted[self.shown]
        fields = {
            "got": {name: show(value) for name, value in got.items()},
            "want": {name: show(value) for name, value in want.items()},
            "factor": show(trial.factor),
            **{name: show(number) for name, number in trial.inputs.items()},
        }
        return Diagnosis(mistake.diagnosis.format(**fields), mistake.hint, mistake.function.__name__)

    def raised(self, file: str) -> Diagnosis | None:
        """An exception, in PyTorch's or Python's words and in ours."""
        raised = self.observations[self.shown].raised
        if raised is None:
            return None
        return Diagnosis(raised.message if raised.type == AnswerError.__name__ else explain(raised, file))

    def literal(self) -> Diagnosis | None:
        """The same numbers whatever the inputs."""
        numbers = [_numbers(o.values) for o in self.observations]
        typed_in = [n for value in numbers[0].values() for n in numbers_in(value)]
        if not typed_in or not all(map(math.isfinite, typed_in)) or any(row != numbers[0] for row in numbers):
            return None
        typed = ", ".join(show(number) for number in numbers[0].values())
        missed = _wrong_names(numbers[0], _numbers(self.wanted[0]), self.trials[0])
        where = "Right nowhere" if missed else f"Right at {self.trials[0]} and nowhere else"
        return Diagnosis(f"{where}: you return {typed} whatever the inputs are. Compute it from them.")

    def no_number(self) -> Diagnosis | None:
        """None, or a tensor of another shape, where a number is wanted."""
        got, want = self.observations[self.shown].values, self.wanted[self.shown]
        for name, number in _numbers(want).items():
            if got.get(name) is None:
                filled = "A .grad is None until a backward() has filled it, and that of a result stays None."
                return Diagnosis(f"{name} is None. {filled}")
            if shape_of(got[name]) != shape_of(number):
                return Diagnosis(f"{name} is {show(got[name])}. Expected {_like(number)}.")
        return None

    def unknown(self) -> Diagnosis:
        """The values as they are."""
        trial, got, want = self.trials[self.shown], self.observations[self.shown].values, self.wanted[self.shown]
        wrong = [f"{n}: {show(got.get(n))}, expected {show(want[n])}" for n in _wrong_names(got, want, trial)]
        secret = f" (where gradients reach the inputs multiplied by a secret {show(trial.factor)})"
        more = f"; and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        told = f"At {trial}{secret if trial.factor != 1 else ''}: {'; '.join(wrong[:_TOLD])}{more}."
        return Diagnosis(f"{told} This is none of the mistakes that the exercise knows.")
