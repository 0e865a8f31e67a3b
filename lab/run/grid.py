"""A grid of runs: the product of what ``-p`` and ``--grid`` ask for, checked whole and counted before any is built."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ParameterError, UsageError
from lab.parameters import Parameter, Value, check_names, split_assignments
from lab.run.axis import Axis, read_axis
from lab.run.points import Points, read_points

_WRITTEN = 10**30  # Python refuses to write an integer of thousands of digits, and nobody reads one


@dataclass(frozen=True)
class Grid:
    """Every combination of its axes, the first of which varies slowest. Without axes: one point, with no names."""

    axes: tuple[Axis | Points, ...]

    @property
    def count(self) -> int:
        """How many points there are; len() would end at sys.maxsize."""
        return math.prod(axis.count for axis in self.axes)

    @property
    def varied(self) -> tuple[str, ...]:
        """The names that take more than one value, in order."""
        return tuple(name for axis in self.axes for name in axis.varied)

    def __iter__(self) -> Iterator[dict[str, Value]]:
        """Return the points one by one: the given names, each with its value."""
        points: Iterator[dict[str, Value]] = iter([{}])
        for axis in self.axes:
            points = _multiplied(points, axis)
        return points


def _multiplied(points: Iterator[dict[str, Value]], axis: Axis | Points) -> Iterator[dict[str, Value]]:
    for point in points:
        for values in axis:
            yield {**point, **dict(zip(axis.names, values, strict=True))}


def read_grid(
    notebook_parameters: Mapping[str, Parameter], assignments: Sequence[str], files: Sequence[Path], *, where: str
) -> Grid:
    """Read the grid of a notebook; once it is there, each of its points is one that the notebook accepts.

    assignments: ``x=-2:2:0.5``, an axis each. files: the rows of each are one axis. where: the notebook, for errors.

    Raises: ParameterError (any other UsageError for a malformed file), DeviceUnavailable, StorageError.
    """
    texts = split_assignments(assignments)
    check_names(notebook_parameters, texts, where=where)
    axes = [read_axis(notebook_parameters[name], text) for name, text in texts.items()]
    points = [read_points(path, notebook_parameters, where=where) for path in files]
    given = Counter([*texts, *(name for found in points for name in found.names)])
    for path, found in zip(files, points, strict=True):
        for name in found.names:
            if given[name] > 1:
                raise ParameterError(
                    f"Parameter {name} is in {path} and was given elsewhere too.",
                    "Expected each name in one file, or after one -p.",
                    f"Leave out one of them: the column {name}, or what else gives it.",
                )
    return Grid((*axes, *points))


def check_count(count: int, *, limit: int, yes: bool) -> None:
    """Refuse more runs than the limit that nobody has said yes to. Raises: UsageError."""
    if yes or count <= limit:
        return
    runs = f"{count:,}" if count < _WRITTEN else f"more than {_WRITTEN:,}"
    raise UsageError(
        f"This grid is {runs} runs.",
        f"Expected at most {limit:,} unless it is meant.",
        "Type it again with --yes to run them all, or choose a coarser grid.",
    )
