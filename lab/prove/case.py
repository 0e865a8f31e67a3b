"""What is tried: the axes that real defects hide in, and which of their combinations.

A problem is what several cases have in common: the numbers. Layouts, masks and the shape of a cotangent in memory
must not change a gradient, so one reference serves all cases of a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product

from lab.device import DTYPES
from lab.errors import UsageError, did_you_mean
from lab.prove.operation import LAYOUTS, SIZES, Operation
from lab.prove.operations import OPERATIONS

COTANGENTS = ("dense", "transposed", "stride-0")
AXES: Mapping[str, tuple[str, ...]] = {
    "layout": LAYOUTS,
    "cotangent": COTANGENTS,
    "size": tuple(SIZES),
    "mask": ("all", "others", "0", "1", "2"),
}


@dataclass(frozen=True)
class Problem:
    """Numbers that have one gradient.

    repeated: the inputs are constant along their first dimension, as an expanded one is. uniform: the cotangent is
    one number everywhere, as the backward of ``sum()`` makes it.
    """

    op: str
    sample: str
    dtype: str
    size: str
    repeated: bool
    uniform: bool
    seed: int

    @property
    def id(self) -> str:
        """The problem's key in the golden file."""
        return f"{self.op}/{self.sample}/{self.dtype}/{self.size}/{self.repeated}/{self.uniform}/{self.seed}"


@dataclass(frozen=True)
class Case:
    """One way to compute one gradient.

    layout: of the inputs in memory. cotangent: of the gradient that comes in. mask: which inputs require a gradient:
    ``all``, ``others`` (all but the first: a layer's parameters) or the number of one.
    """

    op: str
    sample: str
    dtype: str
    layout: str
    cotangent: str
    mask: str
    size: str
    seed: int

    @property
    def id(self) -> str:
        """The case in one word, which ``lab verify --case`` takes."""
        ways = f"{self.layout}/{self.cotangent}/{self.mask}/{self.size}/{self.seed}"
        return f"{self.op}/{self.sample}/{self.dtype}/{ways}"

    @property
    def problem(self) -> Problem:
        """The numbers of the case."""
        repeated, uniform = self.layout == "expanded", self.cotangent == "stride-0"
        return Problem(self.op, self.sample, self.dtype, self.size, repeated, uniform, self.seed)


@dataclass(frozen=True)
class Chunk:
    """The cases of one operation, sample and dtype: what a worker takes at a time."""

    op: str
    sample: str
    dtype: str
    cases: tuple[Case, ...]

    @property
    def id(self) -> str:
        """The chunk in one word."""
        return f"{self.op}/{self.sample}/{self.dtype}"


class _Rows(dict[str, Operation]):
    """The rows by name. Those of PyTorch's own database are loaded when one is asked for."""

    def __missing__(self, name: str) -> Operation:
        from lab.prove.deep import PREFIX, deep_rows

        if name.startswith(PREFIX) and name in deep_rows():
            return deep_rows()[name]
        raise KeyError(name)


ROWS: Mapping[str, Operation] = _Rows({row.name: row for row in OPERATIONS})


def parse_case(word: str) -> Case:
    """Return the case of an id. Raises: UsageError."""
    parts = word.split("/")
    with suppress(KeyError):
        if len(parts) == 8 and parts[7].isdecimal():
            op, sample, dtype, layout, cotangent, mask, size, seed = parts
            case = Case(op, sample, dtype, layout, cotangent, mask, size, int(seed))
            if case.id == word and case in set(enumerate_cases(ROWS[case.op], case.sample, case.dtype, seed=case.seed)):
                return case
    raise UsageError(
        f"There is no case {word!r}.",
        "Expected OP/SAMPLE/DTYPE/LAYOUT/COTANGENT/MASK/SIZE/SEED, such as mm//float32/permuted/dense/all/small/0.",
        "Copy one from verify.json or from the report.",
    )


def enumerate_cases(row: Operation, sample: str, dtype: str, *, seed: int) -> Iterator[Case]:
    """Yield the cases of a row, alternating between sizes: a kernel's leftovers of one size meet another.

    Small and odd sizes take every layout with every cotangent, and every mask with every cotangent; large ones one
    change at a time.
    """
    if sample not in row.samples or dtype not in DTYPES:
        return
    if row.given is not None:
        for layout, cotangent in product(row.layouts, COTANGENTS[:2]):
            yield Case(row.name, sample, dtype, layout, cotangent, "all", "small", seed)
        return
    masks = _masks(row)
    full = [(layout, cotangent, "all") for layout, cotangent in product(row.layouts, COTANGENTS)]
    full += [("contiguous", cotangent, mask) for mask in masks[1:] for cotangent in COTANGENTS]
    one = [("contiguous", cotangent, "all") for cotangent in COTANGENTS] + [("permuted", "dense", "all")]
    for way in full:
        for size in SIZES:
            if size != "large" or way in one:
                layout, cotangent, mask = way
                yield Case(row.name, sample, dtype, layout, cotangent, mask, size, seed)


def _masks(row: Operation) -> tuple[str, ...]:
    """Name the subsets of the differentiable inputs that matter: all, all but the first, each of the first three."""
    count = sum(given.differentiable for given in row.inputs)
    if count == 1:
        return ("all",)
    return ("all", *(("others",) if count > 2 else ()), *(str(i) for i in range(min(count, 3))))


def masked(mask: str, count: int) -> tuple[bool, ...]:
    """Return which of the differentiable inputs require a gradient."""
    if mask == "all":
        return (True,) * count
    return tuple(i > 0 if mask == "others" else i == int(mask) for i in range(count))


@dataclass(frozen=True)
class Selection:
    """What is asked for. ops: patterns such as ``conv*``. axes: values by axis, where not all. quick: fewer of them.

    deep: PyTorch's own database of operations as well.
    """

    ops: tuple[str, ...] = ("*",)
    dtypes: tuple[str, ...] = DTYPES
    axes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    quick: bool = False
    seed: int = 0
    deep: bool = False

    def chunks(self) -> list[Chunk]:
        """Return the chunks, in the order of the table. Raises: UsageError where a pattern or an axis leaves none."""
        for pattern in self.ops:
            if not any(fnmatchcase(_bare(row), pattern) for row in self._table()):
                raise UsageError(
                    f"No operation is called {pattern!r}.",
                    f"Expected names or patterns such as 'conv*' among the {len(ROWS)} operations.",
                    did_you_mean(pattern, ROWS) or "Type 'lab verify --list' to see them.",
                )
        rows = [row for row in self._table() if any(fnmatchcase(_bare(row), pattern) for pattern in self.ops)]
        chunks = [self._chunk(row, sample, dtype) for row in rows for sample in row.samples for dtype in self.dtypes]
        if not any(chunk.cases for chunk in chunks):
            raise UsageError(
                "These choices leave no case.",
                "Expected some case of these operations to be of this axis.",
                "Leave '--axis' or '--quick' out.",
            )
        return [chunk for chunk in chunks if chunk.cases]

    def _table(self) -> Sequence[Operation]:
        """Return the operations; with ``deep``, those of PyTorch's own database after them."""
        if not self.deep:
            return OPERATIONS
        from lab.prove.deep import deep_rows

        return [*OPERATIONS, *deep_rows().values()]

    def _chunk(self, row: Operation, sample: str, dtype: str) -> Chunk:
        cases = enumerate_cases(row, sample, dtype, seed=self.seed)
        return Chunk(row.name, sample, dtype, tuple(case for case in cases if self._wants(case)))

    def _wants(self, case: Case) -> bool:
        if self.quick and not _is_quick(case):
            return False
        return all(getattr(case, axis) in values for axis, values in self.axes)


def _bare(row: Operation) -> str:
    """Return an operation's name as it is asked for: ``add`` also for a sample ``deep:add#3`` of the database."""
    return row.name.partition(":")[2].partition("#")[0] or row.name


def _is_quick(case: Case) -> bool:
    """Take small cases that change one axis, and of the large ones the plainest in float32."""
    changed = (case.layout != "contiguous") + (case.cotangent != "dense") + (case.mask != "all")
    if case.size == "large":
        return changed == 0 and case.dtype == "float32"
    return case.size == "small" and changed <= 1 and case.mask in ("all", "others")


def parse_axes(words: Iterable[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the values of each ``axis=value,value``. Raises: UsageError."""
    return tuple(_parse_axis(word) for word in words)


def _parse_axis(word: str) -> tuple[str, tuple[str, ...]]:
    axis, equals, values = word.partition("=")
    chosen = tuple(values.split(","))
    if equals and axis in AXES and set(chosen) <= set(AXES[axis]):
        return axis, chosen
    known = AXES.get(axis)
    raise UsageError(
        f"--axis {word!r} was not understood.",
        f"Expected {axis}={','.join(known)} or some of these." if known else f"Expected one of {', '.join(AXES)}.",
        "Type for instance '--axis layout=permuted,strided'.",
    )


def plainest(case: Case) -> Case:
    """Return the case whose memory is in order throughout: what fails there fails everywhere."""
    return replace(case, layout="contiguous", cotangent="dense", mask="all")
