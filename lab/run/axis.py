"""One axis of a grid: the values that one ``-p name=…`` asks for, none of them built before it is needed.

::

    x=-2:2:0.5             start:stop:step, with the stop where it is hit
    steps=0,1,5:10:1       numbers and ranges, in the order given
    dtype=float32,float64  words
    label="a,b",c          a word that holds a comma is quoted, as in CSV
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from itertools import chain, pairwise
from typing import Any

from lab.errors import ParameterError
from lab.parameters import Parameter, Value, shortened

LISTED = 100_000  # values of an axis that are held against each other one by one
# A number of a range has at most so many characters and lies within 10^±400, beyond which no float is: whatever is
# computed from three of them has fewer than 1,000 digits, so this arithmetic is exact and takes no time.
_LONGEST, _LARGEST = 100, 400
_EXACT = Context(prec=2_000)


@dataclass(frozen=True)
class Range:
    """start, start + step, …, computed in decimals: 0:1:0.1 holds 0.3. count: how many. type: of its values."""

    start: Decimal
    step: Decimal
    count: int
    type: type[Value]

    def value(self, index: int) -> Value:
        """Return the value of an index, start + index · step rounded once."""
        return self.type(_EXACT.fma(self.step, index, self.start))

    @property
    def ends(self) -> tuple[Any, Any]:
        """The first value and the last, between which all others are."""
        return self.value(0), self.value(self.count - 1)

    def __iter__(self) -> Iterator[Value]:
        return map(self.value, range(self.count))


@dataclass(frozen=True)
class Single:
    """One value, as a part of an axis."""

    one: Value
    count: int = 1

    @property
    def ends(self) -> tuple[Any, Any]:
        """The value, twice."""
        return self.one, self.one

    def __iter__(self) -> Iterator[Value]:
        return iter((self.one,))


@dataclass(frozen=True)
class Axis:
    """The values of one parameter, part by part."""

    name: str
    parts: tuple[Range | Single, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The one name."""
        return (self.name,)

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(part.count for part in self.parts)

    @property
    def varied(self) -> tuple[str, ...]:
        """The name, where there is more than one value."""
        return self.names if self.count > 1 else ()

    def __iter__(self) -> Iterator[tuple[Value]]:
        return ((value,) for value in chain.from_iterable(self.parts))


def read_axis(parameter: Parameter, text: str) -> Axis:
    """Read the values that a text asks for; each is one that the parameter may take, and is there once.

    Raises: ParameterError, or DeviceUnavailable for a device.
    """
    if parameter.type in (int, float):
        members = [member.strip() for member in text.split(",")]
        if len(members) > 1 and "" in members:
            raise _refusal(parameter, text, "between its commas a value is missing")
        axis = Axis(parameter.name, tuple(_numbers(parameter, member) for member in members))
    else:
        axis = Axis(parameter.name, tuple(Single(parameter.validate(word)) for word in _words(parameter, text)))
    _check_distinct(parameter, axis)
    if parameter.choices:  # both ends of a range are known to be sound; here what is between them is not
        for (value,) in axis:  # at most one more than the choices, for no value is there twice
            parameter.validate(value)
    return axis


def _words(parameter: Parameter, text: str) -> list[str]:
    if "," not in text and not text.startswith('"'):
        return [text]  # also where it is empty or has several lines
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise _refusal(parameter, text, f"it is no list of words with commas ({error})") from None


def _numbers(parameter: Parameter, member: str) -> Range | Single:
    if ":" not in member:
        return Single(parameter.validate(member))
    words = member.split(":")
    if len(words) != 3:
        raise _refusal(parameter, member, f"it has {len(words)} parts, not three")
    start, stop, step = (_number(parameter, member, word) for word in words)
    if not step:
        raise _refusal(parameter, member, "its step is 0")
    if stop != start and (stop > start) != (step > 0):
        raise _refusal(parameter, member, "its step leads away from its stop")
    steps = int(_EXACT.divide_int(_EXACT.subtract(stop, start), step))  # whole ones: the last may fall short of stop
    found = Range(start, step, steps + 1, parameter.type)
    for end in found.ends:
        parameter.validate(end)
    return found


def _number(parameter: Parameter, member: str, word: str) -> Decimal:
    word = word.strip()
    try:
        number = _EXACT.create_decimal(word if len(word) <= _LONGEST else "")
    except (ArithmeticError, ValueError):
        number = Decimal("nan")
    if not number.is_finite() or abs(number.adjusted()) > _LARGEST:
        raise _refusal(parameter, member, f"{shortened(word)} is no number, or one far too long or too large")
    if parameter.type is int and number != number.to_integral_value():
        raise _refusal(parameter, member, f"{shortened(word)} is no whole number")
    return number


def _check_distinct(parameter: Parameter, axis: Axis) -> None:
    """Refuse a value that is there twice: it would be run twice, or one of the two dropped in silence."""
    if axis.count > LISTED and any(isinstance(part, Range) for part in axis.parts):
        _check_apart(parameter, axis.parts)
        return
    seen = set()
    for (value,) in axis:
        if repr(value) in seen:  # not the value: -0.0 equals 0.0, but has another gradient in 1/x
            raise _refusal(parameter, value, "it is there twice")
        seen.add(repr(value))


def _check_apart(parameter: Parameter, parts: Iterable[Range | Single]) -> None:
    """Refuse long ranges that could have a value twice, by their ends and steps alone."""
    spans = sorted((min(part.ends), max(part.ends)) for part in parts)
    for (_, high), (low, _) in pairwise(spans):
        if high >= low:
            raise _refusal(parameter, low, f"more than {LISTED:,} values whose parts overlap there")
    for part in parts:
        if isinstance(part, Range) and part.type is float and abs(part.step) < math.ulp(max(map(abs, part.ends))):
            raise _refusal(parameter, str(part.step), "as a step it is so small that a float would come twice")


def _refusal(parameter: Parameter, value: object, why: str) -> ParameterError:
    ranges = ", or start:stop:step, where the step is not 0 and leads from start to stop"
    example = {int: "0:10:2", float: "-2:2:0.5", bool: "true,false"}.get(parameter.type, 'a,"b, c"')
    return ParameterError(
        f"Parameter {parameter.name} = {shortened(value)} was refused: {why}.",
        f"Expected values with commas between them, each once{ranges if parameter.type in (int, float) else ''}.",
        f"Type for instance '-p {parameter.name}={example}'.",
    )
