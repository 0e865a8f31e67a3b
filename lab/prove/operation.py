"""One row of the operations table: what is called, on which inputs, and how its gradient can be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from math import prod
from types import MappingProxyType
from typing import Any

from torch import Tensor

Outputs = Tensor | tuple[Tensor, ...]

# How long each letter of a shape is, by size. A large case has more than 32,768 elements in an input or output, where
# kernels change their launch: pytorch #177116. The odd sizes are no multiple of a vector register.
SIZES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "small": {"b": 2, "c": 4, "d": 3, "h": 5, "w": 6, "n": 4, "m": 5, "k": 6, "t": 4, "e": 6, "q": 3, "v": 10},
        "odd": {"b": 3, "c": 5, "d": 7, "h": 7, "w": 9, "n": 7, "m": 9, "k": 11, "t": 7, "e": 9, "q": 5, "v": 13},
        "large": {
            "b": 4, "c": 8, "d": 6, "h": 33, "w": 32, "n": 191, "m": 173, "k": 193, "t": 130, "e": 65, "q": 7, "v": 51
        },
    }
)  # fmt: skip
LAYOUTS = ("contiguous", "permuted", "strided", "expanded")


class Domain(StrEnum):
    """What an input is drawn from.

    REAL: uniform in [low, high). DISTINCT: evenly spaced over it and shuffled in each row, or in each image where
    there are more than two dimensions, so that order is no tie in any dtype, up to some 300 numbers.
    INDEX: integers in it. ORDER: a permutation of 0, 1, … along the last dimension. MASK: true or false.
    """

    REAL = "real"
    DISTINCT = "distinct"
    INDEX = "index"
    ORDER = "order"
    MASK = "mask"


@dataclass(frozen=True)
class Input:
    """One input. shape: letters of SIZES or numbers, such as ``b c 3``; empty for a scalar. high: or a letter."""

    shape: str
    low: float = -2.0
    high: float | str = 2.0
    domain: Domain = Domain.REAL
    differentiable: bool = True


@dataclass(frozen=True)
class Operation:
    """One row.

    function: takes a tensor for each input and the options of a sample. exact: the same on mpmath numbers, for a
    smooth pointwise operation. reductions: the sums in forward and backward as products of letters, such as
    ``("k", "n", "m")``. lengths: letters that are not as in SIZES. layouts: those that make sense. pointwise: every
    output element depends on the input elements in its place alone. random: it draws random numbers, which are to be
    drawn once. unordered: torch documents that it adds in no fixed order on a device with several threads
    (https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html). given: the tensors
    themselves, float64, where they are not to be drawn.
    """

    name: str
    function: Callable[..., Outputs]
    inputs: tuple[Input, ...]
    exact: Callable[..., Any] | None = None
    reductions: tuple[str, ...] = ()
    samples: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": {}})
    lengths: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    layouts: tuple[str, ...] = LAYOUTS
    pointwise: bool = False
    random: bool = False
    unordered: bool = False
    given: tuple[Tensor, ...] | None = None

    def shape(self, letters: str, size: str) -> tuple[int, ...]:
        """Return the shape that the letters stand for."""
        return tuple(self.length(letter, size) for letter in letters.split())

    def length(self, letter: str, size: str) -> int:
        """Return how long a letter is; a number is itself, and ``2h`` twice h."""
        if letter.isdigit():
            return int(letter)
        factor = letter.rstrip("abcdefghijklmnopqrstuvwxyz")
        name = letter[len(factor) :]
        length = self.lengths.get(size, {}).get(name) or SIZES[size][name]
        return int(Fraction(factor or 1) * length)

    def longest_reduction(self, size: str) -> int:
        """Return n of the tolerance rule: the number of terms of the longest sum, 1 where nothing is added."""
        if self.given is not None:  # unknown, and no longer than what there is to add up
            return max(x.numel() for x in self.given)
        return max((prod(self.shape(letters, size)) for letters in self.reductions), default=1)


def tensor(shape: str, low: float = -2.0, high: float = 2.0) -> Input:
    """Return an input of uniform numbers."""
    return Input(shape, low, high)


def constant(shape: str, low: float = -2.0, high: float = 2.0) -> Input:
    """Return the same, not differentiated."""
    return Input(shape, low, high, differentiable=False)


def distinct(shape: str, low: float = -2.0, high: float = 2.0) -> Input:
    """Return an input in none of whose rows or images two elements are equal."""
    return Input(shape, low, high, Domain.DISTINCT)


def index(shape: str, below: str) -> Input:
    """Return integers from 0 to below the length of a letter; they repeat."""
    return Input(shape, 0, below, Domain.INDEX, differentiable=False)


def order(shape: str) -> Input:
    """Return a permutation of the last dimension's indices."""
    return Input(shape, domain=Domain.ORDER, differentiable=False)


def mask(shape: str) -> Input:
    """Return booleans."""
    return Input(shape, domain=Domain.MASK, differentiable=False)


def pointwise(
    name: str,
    function: Callable[..., Outputs],
    exact: Callable[..., Any] | None,
    *domains: tuple[float, float],
    **options: Any,
) -> Operation:
    """Return the row of an elementwise operation of as many inputs as it has domains."""
    inputs = tuple(tensor("n m", *domain) for domain in domains)
    return Operation(name, function, inputs, exact, pointwise=True, **options)
