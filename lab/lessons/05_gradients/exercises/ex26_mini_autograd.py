"""Capstone: a mini-autograd.

What PyTorch does in a training step is no more than this, for tensors and
with many more operations: record who made what, then go back from the loss in
the reverse order and add up what arrives. Whoever has written it once knows
what backward() does.
"""

# The classes are short and untyped, as a learner writes them.
# mypy: disable-error-code="no-untyped-call,no-untyped-def"
# A class counts as one function here, that which returns it.
# ruff: noqa: C901

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from functools import cache
from types import CodeType
from typing import Any

from torch import Tensor, inference_mode

from lab.practise import (
    AnswerError,
    Attempt,
    Check,
    Mistake,
    Trial,
    Values,
    describe,
    read_number,
)


def mini_autograd() -> type:
    """Return a class Value: a number that knows its gradient. No torch in it.

    Value(3.0) makes a leaf. Every Value has .data, its number, and .grad,
    which is 0.0 at first. These make a new Value, a result, and leave the old
    ones as they are: a + b, a - b, a * b and a / b, where one of the two may
    be a plain number on either side; -a; a ** n, n being a plain number;
    a.relu(), which is a where a is above 0, and else 0 with the derivative 0.

    z.backward() adds to the .grad of each leaf that z was computed from the
    derivative of z by that leaf, and adds again when it is called again. The
    .grad of results is up to you. A Value may be used any number of times,
    results too: for b = a + a and c = b + b, c.backward() brings 4 to a. The
    work has to grow with the number of operations, not with that of the paths
    between z and its leaves: here two operations and four paths.
    """

    class Value:
        def __init__(self, data, inputs=()):
            self.data = data
            self.grad = 0.0
            self.inputs = inputs  # of a result: (Value, derivative by it)

        def __add__(self, other):
            other = lift(other)
            return Value(self.data + other.data, ((self, 1), (other, 1)))

        def __mul__(self, other):
            other = lift(other)
            pairs = (self, other.data), (other, self.data)
            return Value(self.data * other.data, pairs)

        def __pow__(self, n):
            return Value(self.data**n, ((self, n * self.data ** (n - 1)),))

        def relu(self):
            return Value(max(self.data, 0.0), ((self, self.data > 0),))

        def __neg__(self):
            return self * -1

        def __sub__(self, other):
            return self + -lift(other)

        def __truediv__(self, other):
            return self * lift(other) ** -1

        def __rsub__(self, other):
            return lift(other) - self

        def __rtruediv__(self, other):
            return lift(other) / self

        __radd__, __rmul__ = __add__, __mul__

        def backward(self):
            order = []

            def visit(value, seen):
                if value not in seen:
                    seen.add(value)
                    for argument, _ in value.inputs:
                        visit(argument, seen)
                    order.append(value)  # after all that it was made from

            visit(self, set())
            arrived = dict.fromkeys(order, 0.0)
            arrived[self] = 1.0
            for value in reversed(order):
                if not value.inputs:
                    value.grad += arrived[value]
                for argument, slope in value.inputs:
                    arrived[argument] += slope * arrived[value]

    def lift(number):
        return number if isinstance(number, Value) else Value(number)

    return Value


HINTS = (
    "When may a Value pass on what has arrived at it? What if one of those "
    "that use it has not had its turn yet?",
    "Look up topological order: put every Value behind all that it was made "
    "from, then go through that list from its end. Look up __radd__ for "
    "numbers on the left.",
    "for value in reversed(order): for argument, slope in value.inputs: "
    "arrived[argument] ____ slope * arrived[____]",
)


def overwritten() -> type:
    """For b = a + a and c = b + b you got dc/da = {got[dc/da]} and not
    {want[dc/da]}: what arrives second replaces what arrived first.

    Each use of a Value sends its own share. Add the shares up.
    """
    Value: Any = mini_autograd()

    def backward(self):
        self.grad = 1.0
        for value in reversed(_sorted(self)):
            for argument, slope in value.inputs:
                argument.grad = slope * value.grad

    Value.backward = backward
    return Value  # type: ignore[no-any-return]


def passed_on_twice() -> type:
    """For b = a + a and c = b + b you got dc/da = {got[dc/da]} and not
    {want[dc/da]}: b passed on again what it had passed on before.

    It was visited once for each of its uses, and each time it sent on all of
    its .grad. Let a Value pass on once, when all has arrived.
    """
    Value: Any = mini_autograd()

    def visit(value, arrived):
        value.grad += arrived
        for argument, slope in value.inputs:
            visit(argument, slope * value.grad)

    Value.backward = lambda self: visit(self, 1.0)
    return Value  # type: ignore[no-any-return]


def passed_on_too_soon() -> type:
    """For b = a * a, c = b + 1 and z = b + c * c you got dz/da =
    {got[early and late]} and not {want[early and late]}: b passed on what it
    had before all had arrived.

    b is used twice, and one way from z to it is shorter. When b is reached by
    the short way, what comes by the long way over c is still missing. All
    users of b must have had their turn before it.
    """
    Value: Any = mini_autograd()

    def backward(self):
        queue = [self]
        self.grad = 1.0
        for value in queue:
            for argument, slope in value.inputs:
                argument.grad += slope * value.grad
                if argument not in queue:
                    queue.append(argument)

    Value.backward = backward
    return Value  # type: ignore[no-any-return]


def from_the_wrong_end() -> type:
    """For b = a + a and c = b + b you got dc/da = {got[dc/da]} and not
    {want[dc/da]}: you went through the Values from the leaves on.

    b had its turn before anything had arrived at it. The gradient comes from
    the result: go from there.
    """
    Value: Any = mini_autograd()

    def backward(self):
        self.grad = 1.0
        for value in _sorted(self):
            for argument, slope in value.inputs:
                argument.grad += slope * value.grad

    Value.backward = backward
    return Value  # type: ignore[no-any-return]


def path_by_path() -> type:
    """All gradients are right, but you walk every path from the result to the
    leaves on its own.

    Ten lines such as b = a + a have 2¹⁰ paths, and a deep network has more
    than anyone could walk. Add up what arrives at a Value, and let it pass on
    the sum once.
    """
    Value: Any = mini_autograd()

    def visit(value, arrived):
        if not value.inputs:
            value.grad += arrived
        for argument, slope in value.inputs:
            visit(argument, slope * arrived)

    Value.backward = lambda self: visit(self, 1.0)
    return Value  # type: ignore[no-any-return]


def results_keep_theirs() -> type:
    """The first backward() is right. The second of the same z brings the leaf
    to {got[backward() twice]} and not to {want[backward() twice]}: the
    results still held what had arrived at them the first time.

    Only leaves add up from call to call. Let each call start from nothing for
    everything in between.
    """
    Value: Any = mini_autograd()

    def backward(self):
        self.grad = 1.0
        for value in reversed(_sorted(self)):
            for argument, slope in value.inputs:
                argument.grad += slope * value.grad

    Value.backward = backward
    return Value  # type: ignore[no-any-return]


def cleared_before() -> type:
    """A second backward() leaves the leaf at {got[backward() twice]}, where
    it should have added up to {want[backward() twice]}: what was there
    before is gone.

    As in PyTorch, clearing is the caller's business. A leaf adds what each
    call brings to what it has.
    """
    Value: Any = mini_autograd()
    add_up = Value.backward

    def backward(self):
        for value in _sorted(self):
            value.grad = 0.0
        add_up(self)

    Value.backward = backward
    return Value  # type: ignore[no-any-return]


def no_beginning() -> type:
    """Every gradient is 0: nothing was there to be passed on.

    The derivative of z by itself is 1. That is what the way back begins with.
    """
    Value: Any = mini_autograd()

    def backward(self):
        for value in reversed(_sorted(self)):
            for argument, slope in value.inputs:
                argument.grad += slope * value.grad

    Value.backward = backward
    return Value  # type: ignore[no-any-return]


def own_factor() -> type:
    """The derivative of a * b by a came out as {got[d(a * b)/da]}: that is a.
    It is the other factor, {want[d(a * b)/da]}.

    Nudge a a little, and the product moves b times as far.
    """
    Value: Any = mini_autograd()

    def product(self, other):
        other = other if isinstance(other, Value) else Value(other)
        pairs = (self, self.data), (other, other.data)
        return Value(self.data * other.data, pairs)

    Value.__mul__ = Value.__rmul__ = product
    return Value  # type: ignore[no-any-return]


def minus_as_plus() -> type:
    """The derivative of a - b by b came out as {got[d(a - b)/db]}: when b
    grows, the difference shrinks.
    """
    Value: Any = mini_autograd()

    def difference(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data - other.data, ((self, 1), (other, 1)))

    Value.__sub__ = difference
    return Value  # type: ignore[no-any-return]


def relu_always_passes() -> type:
    """Where relu() cuts a negative number off, its derivative is 0, and you
    have {got[relu below 0]}.

    Nudging a negative number moves nothing: the result stays 0.
    """
    Value: Any = mini_autograd()
    Value.relu = lambda self: Value(max(self.data, 0.0), ((self, 1),))
    return Value  # type: ignore[no-any-return]


def numbers_only_on_the_right() -> type:
    """2 * a raised a TypeError: a number on the left does not know what to do
    with a Value, and yours has no method that Python could ask instead.

    Python tries (2).__mul__(a) first, and then a.__rmul__(2). Of - and / the
    order matters: 1 - a is a.__rsub__(1).
    """
    Value: Any = mini_autograd()
    del Value.__radd__, Value.__rmul__, Value.__rsub__, Value.__rtruediv__
    return Value  # type: ignore[no-any-return]


def by_torch() -> type:
    """It is torch that differentiates here, and the judge has switched its
    recording off: 'element 0 of tensors does not require grad'.

    Record by yourself: a result has to know what it was made from, and how
    fast it moves with each.
    """

    import torch

    class Value:
        def __init__(self, data):
            is_result = isinstance(data, torch.Tensor)
            self.x = (
                data if is_result else torch.tensor(data, requires_grad=True)
            )

        data = property(lambda self: self.x.item())
        grad = property(lambda self: self.x.grad.item())

        def __sub__(self, other):
            return Value(self.x - getattr(other, "x", other))

        def __add__(self, other):
            return Value(self.x + getattr(other, "x", other))

        def __mul__(self, other):
            return Value(self.x * getattr(other, "x", other))

        def __truediv__(self, other):
            return Value(self.x / getattr(other, "x", other))

        def __rsub__(self, other):
            return Value(other - self.x)

        def __rtruediv__(self, other):
            return Value(other / self.x)

        def __pow__(self, n):
            return Value(self.x**n)

        def backward(self):
            self.x.backward()

        __radd__, __rmul__ = __add__, __mul__

    return Value


def _sorted(value: Any) -> list[Any]:
    """Return a Value behind all that it was made from."""
    order: list[Any] = []

    def visit(value):
        if value not in order:
            for argument, _ in value.inputs:
                visit(argument)
            order.append(value)

    visit(value)
    return order


def torch_on_a_reused_result(a: Tensor) -> Tensor:
    """Each of the four paths from c to a brings 1, and they add up: b gets 2
    from its two uses, and passes on 2 for each of the two uses of a.
    """
    b = a + a
    c = b + b
    c.backward()
    return a.grad  # type: ignore[return-value]


def torch_called_twice(a: Tensor) -> Tensor:
    """3 + 3: the leaf adds up what the two calls brought. The result b in
    between has added up nothing: each call began at c with 1.
    """
    b = 3 * a
    c = b + 1
    c.backward(retain_graph=True)
    c.backward()
    return a.grad  # type: ignore[return-value]


# What is tried one after another, as far as all is right: the name of the
# number, the program, and the leaf that z is differentiated by, if it is.
_PROBES = (
    ("numbers on the left", "z = 2 * a + (3 + b) - (1 - a) + 4 / p", ""),
    ("numbers on the right", "z = a / 4 + (b - 1) * 2 + 1", "a"),
    ("values", "z = (a + b) * (a - b) / p - a ** 2 + 0.5", ""),
    ("d(a + b)/da", "z = a + b", "a"),
    ("dc/da", "b = a + a; z = b + b", "a"),
    ("d(a * b)/da", "z = a * b", "a"),
    ("early and late", "b = a * a; c = b + 1; z = b + c * c", "a"),
    ("d(-a)/da", "z = -a", "a"),
    ("d(a - b)/db", "z = a - b", "b"),
    ("d(a ** 3)/da", "z = a ** 3", "a"),
    ("d(a / p)/dp", "z = a / p", "p"),
    ("relu above 0", "z = (a + 4).relu()", "a"),
    ("relu below 0", "z = (a - 4).relu()", "a"),
)
_TWO_CALLS = "b = a * a; z = b * 3"
_DOUBLINGS = 10


def draw(rng: random.Random) -> dict[str, float | str]:
    """Such that a double holds every number on the way exactly."""
    a, b = (rng.choice((-1, 1)) * rng.randrange(1, 8) / 4 for _ in range(2))
    return {
        "a": a,
        "b": b,
        "p": rng.choice((0.5, 2.0, 4.0)),  # what is divided by
        "program": _draw_program(rng),
    }


def _draw_program(rng: random.Random) -> str:
    """Return five lines, each of which uses the one before and another."""
    kinds = [
        "{} + {}",
        "{} - {}",
        "2 * {} + {}",
        "{} * {}",
        "({} - {}).relu()",
        "({} + {}) ** 2",
        "{} / p - {}",
        "1 - {} * {}",
    ]
    names, lines = ["a", "b", "p"], []
    for name, kind in zip("cdefz", rng.sample(kinds, 5), strict=True):
        lines.append(f"{name} = {kind.format(names[-1], rng.choice(names))}")
        names.append(name)
    return "; ".join(lines)


def observe(attempt: Attempt, trial: Trial) -> Values:
    Value = attempt()
    if not isinstance(Value, type):
        raise AnswerError(f"It returned {describe(Value)}. Expected a class.")
    with inference_mode():  # where torch would record nothing
        return dict(_findings(Value, trial))


def _findings(Value: Any, trial: Trial) -> Iterator[tuple[str, Any]]:
    for name, program, by in _PROBES:
        leaves, z = _run(program, Value, trial)
        if by:
            z.backward()
        yield name, read_number(leaves[by].grad if by else z.data)
    leaves, z = _run(str(trial.inputs["program"]), Value, trial)
    yield "z", read_number(z.data)
    z.backward()
    for name, leaf in leaves.items():
        yield f"dz/d{name}", read_number(leaf.grad)
    yield "data of a afterwards", read_number(leaves["a"].data)
    leaves, z = _run(_TWO_CALLS, Value, trial)
    z.backward()
    z.backward()
    yield "backward() twice", read_number(leaves["a"].grad)
    (leaves["a"] * 2).backward()
    yield "and of another result", read_number(leaves["a"].grad)
    calls, gradient = _count_calls(Value)
    yield "doubled ten times", gradient
    yield "path by path", calls > 2**_DOUBLINGS


def _run(
    program: str, number: Any, trial: Trial
) -> tuple[dict[str, Any], Any]:
    """Return the leaves and z, all made by number."""
    leaves = {name: number(trial.inputs[name]) for name in ("a", "b", "p")}
    names = dict(leaves)
    exec(_compiled(program), names)
    return leaves, names["z"]


@cache
def _compiled(program: str) -> CodeType:
    return compile(program, "program", "exec")


def _count_calls(Value: Any) -> tuple[int, Any]:
    """Count the calls of a backward pass over a long way with many paths."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    leaf = result = Value(1.0)
    for _ in range(_DOUBLINGS):
        result = result + result
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        result.backward()
    finally:
        sys.setprofile(before)
    return calls, read_number(leaf.grad)


class _Dual:
    """A number and its derivative by one leaf, computed from the leaf on: the
    other way round than the attempt.
    """

    def __init__(self, data: float, slope: float = 0.0) -> None:
        self.data, self.slope = data, slope

    @classmethod
    def of(cls, number: Any) -> _Dual:
        return number if isinstance(number, cls) else cls(float(number))

    def __add__(self, other: Any) -> _Dual:
        other = self.of(other)
        return _Dual(self.data + other.data, self.slope + other.slope)

    def __mul__(self, other: Any) -> _Dual:
        other = self.of(other)
        slope = self.slope * other.data + self.data * other.slope
        return _Dual(self.data * other.data, slope)

    def __truediv__(self, other: Any) -> _Dual:
        other = self.of(other)
        quotient = self.data / other.data
        slope = (self.slope - quotient * other.slope) / other.data
        return _Dual(quotient, slope)

    def __pow__(self, n: int) -> _Dual:
        result = _Dual(1.0)
        for _ in range(n):
            result = result * self
        return result

    def __neg__(self) -> _Dual:
        return self * -1

    def __sub__(self, other: Any) -> _Dual:
        return self + -self.of(other)

    def __rsub__(self, other: Any) -> _Dual:
        return self.of(other) - self

    def __rtruediv__(self, other: Any) -> _Dual:
        return self.of(other) / self

    def relu(self) -> _Dual:
        return self if self.data > 0 else _Dual(0.0)

    __radd__, __rmul__ = __add__, __mul__


def _slope(program: str, trial: Trial, by: str) -> _Dual:
    """Run a program; z's slope is its derivative by that leaf."""
    numbers = {name: _Dual.of(trial.inputs[name]) for name in ("a", "b", "p")}
    if by:
        numbers[by].slope = 1.0
    names: dict[str, Any] = dict(numbers)
    exec(_compiled(program), names)
    z: _Dual = names["z"]
    return z


def expected(trial: Trial) -> Values:
    program, a = str(trial.inputs["program"]), trial.inputs["a"]
    wanted: dict[str, Any] = {}
    for name, probe, by in _PROBES:
        z = _slope(probe, trial, by)
        wanted[name] = z.slope if by else z.data
    twice = 2 * _slope(_TWO_CALLS, trial, "a").slope
    return {
        **wanted,
        "z": _slope(program, trial, "").data,
        **{f"dz/d{by}": _slope(program, trial, by).slope for by in "abp"},
        "data of a afterwards": a,
        "backward() twice": twice,
        "and of another result": twice + 2,
        "doubled ten times": 2.0**_DOUBLINGS,
        "path by path": False,
    }


CHECK = Check(
    solution=mini_autograd,
    first={
        "a": 1.5,
        "b": -0.5,
        "p": 2.0,
        "program": "c = a + a; d = c + c; e = d * b; z = e - c / p",
    },
    draw=draw,
    observe=observe,
    expected=expected,
    mistakes=(
        Mistake(overwritten, hint=3),
        Mistake(passed_on_twice, hint=1),
        Mistake(passed_on_too_soon, hint=2),
        Mistake(from_the_wrong_end, hint=2),
        Mistake(path_by_path, hint=1),
        Mistake(results_keep_theirs, hint=3),
        Mistake(cleared_before, hint=3),
        Mistake(no_beginning, hint=3),
        Mistake(own_factor, hint=3),
        Mistake(minus_as_plus, hint=3),
        Mistake(relu_always_passes, hint=3),
        Mistake(numbers_only_on_the_right, hint=2),
        Mistake(by_torch, hint=1),
    ),
    predictions=(torch_on_a_reused_result, torch_called_twice),
)
