"""Which kernel is it? Every aten call of a case, from the device's own inputs, replayed in float64 on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lab.compare import FORMATS, Format
from lab.prove.case import ROWS, Case
from lab.prove.gradient import differentiate, place_case
from lab.prove.numbers import draw_numbers
from lab.prove.reference import Reference, distance
from lab.prove.rounding import StochasticRounding
from lab.prove.rule import Score, growth, score_gradients
from lab.prove.verify import Target, quiet

# Calls without a value of their own: uninitialised memory, random numbers, and what writes into given memory.
_SKIPPED = (
    *("_efficientzerotensor", "empty", "new_empty", "bernoulli", "rand", "normal_", "uniform_"),
    *("set_", "resize", "lift", "_to_copy"),
)
_RUNS = 4


@dataclass(frozen=True, eq=False)
class Call:
    """One aten call as the device made it. args, kwargs: as they were before; everything is a copy on the CPU.

    in_order: whether every tensor among them lay in the order of memory.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[Tensor]
    in_order: bool

    @property
    def name(self) -> str:
        """The kernel, such as ``aten.mul.Tensor``."""
        return str(self.func)


@dataclass(frozen=True, eq=False)
class Blame:
    """The first call that leaves its replay. position: which it was. number: of the result that does.

    score: of the rule, which is kept for repetitions. got, expected: that result, and its replay in float64.
    """

    call: Call
    position: int
    number: int
    score: float
    got: Tensor
    reference: Reference
    rule: Callable[..., list[Score]]

    @property
    def kernel(self) -> str:
        """The kernel that is blamed."""
        return self.call.name

    @property
    def expected(self) -> Tensor:
        """What it should have returned."""
        return self.reference.value

    def repeat(self, target: Target, *, times: int = 1, in_order: bool = False) -> list[float]:
        """Make the call alone, on the device, several times; return the score of each.

        in_order: with all inputs in the order of memory. A call that cannot be made there alone scores nan.
        """

        def moved(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            return (x.contiguous() if in_order else x.clone()).to(target.torch_device)

        try:
            with quiet(), target.backend.context():
                results = [
                    _results(self.call.func(*tree_map(moved, self.call.args), **tree_map(moved, self.call.kwargs)))
                    for _ in range(times)
                ]
        except Exception:  # whatever a kernel raises that was not made for this
            return [math.nan] * times
        found = [result[self.number].cpu().to(torch.float64) for result in results]
        return [score.score for score in self.rule(torch.stack(found), self.reference)]


class Recorder(TorchDispatchMode):
    """Keeps a copy of every aten call, forward and backward."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Record a call, then let it through to the device."""
        kwargs = kwargs or {}
        given, options = tree_map(_copy, args), tree_map(_copy, kwargs)
        result = func(*args, **kwargs)
        if not func.is_view and not _name(func).startswith(_SKIPPED):
            in_order = all(x.is_contiguous() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor))
            self.calls.append(Call(func, given, options, [_copy(x) for x in _results(result)], in_order))
        return result


def _name(func: Any) -> str:
    return str(func._schema.name.partition("::")[2])


def _copy(x: Any) -> Any:
    return x.detach().to("cpu", copy=True) if isinstance(x, Tensor) else x


def record_calls(case: Case, target: Target, *, runs: int = 1) -> list[Call]:
    """Run one case on a device and return its aten calls in order; what lays its tensors out is none of them.

    runs: how often it is run; the calls are those of the last. Where a kernel raises, they are those made before.
    """
    numbers, recorder = draw_numbers(case.problem), Recorder()
    with quiet(), target.backend.context():
        row = target.row(case.op)
        for _ in range(runs):
            placed, recorder = place_case(case, numbers, target.torch_device), Recorder()
            with suppress(Exception), recorder:
                differentiate(row, case, placed)
    return recorder.calls


def find_blame(calls: Sequence[Call], case: Case, target: Target) -> tuple[Blame | None, tuple[str, ...]]:
    """Return the first kernel that is further from its replay than arithmetic allows, None where none is.

    Beside it the kernels that could not be replayed: those without a float64 form on the CPU.
    """
    form = FORMATS[getattr(torch, case.dtype)]
    uniform = case.problem.uniform
    limits = growth(ROWS[case.op].longest_reduction(case.size), uniform=uniform)
    rule = partial(score_gradients, form=form, growth=limits, uniform=uniform)
    unknown: dict[str, None] = {}
    with quiet():
        for position, call in enumerate(calls):
            try:
                references = list(_replay(call, form, with_baseline=target.with_baseline))
            except Exception:  # whatever a kernel raises that was not made for this
                unknown[call.name] = None
                continue
            if blame := _judge(position, call, references, rule):
                return blame, tuple(unknown)
    return None, tuple(unknown)


def _judge(
    position: int, call: Call, references: list[tuple[int, Tensor, Reference]], rule: Callable[..., list[Score]]
) -> Blame | None:
    """Compare what a call returned with its replay, in the results that are of the working dtype."""
    for number, got, reference in references:
        (found,) = rule(got.to(torch.float64)[None], reference)
        if found.score > 1:
            return Blame(call, position, number, found.score, got, reference, rule)
    return None


def _replay(call: Call, form: Format, *, with_baseline: bool) -> Iterator[tuple[int, Tensor, Reference]]:
    """Yield the number of each floating point result, it, and its reference, measured as that of a gradient."""
    baselines = _results(_call(call, widen=False)) if with_baseline else None
    try:
        values, spreads = _measure(call, form)
    except Exception:
        if baselines is None:
            raise
        # No float64 form, but one on this CPU: rounding errors are small beside the largest element.
        values = [x.to(torch.float64) if x.is_floating_point() else x for x in baselines]
        spreads = [torch.full_like(x, 4 * form.unit_roundoff * float(x.abs().max())) for x in values if x.numel()]
        baselines = None
    for i, (got, value) in enumerate(zip(call.results, values, strict=True)):
        if FORMATS.get(got.dtype) is form and got.numel():
            baseline = distance(baselines[i].to(torch.float64), value) if baselines else torch.zeros_like(value)
            yield i, got, Reference(value, spreads[i], baseline)


def _measure(call: Call, form: Format) -> tuple[list[Tensor], list[Tensor]]:
    """Return the results of a call in float64, and their spreads."""
    values = _results(_call(call, widen=True))
    source, runs = torch.Generator().manual_seed(0), []
    for _ in range(_RUNS):
        with StochasticRounding(form, source):
            runs.append(_results(_call(call, widen=True)))
    spreads = [
        torch.stack([distance(run[i], value) for run in runs]).amax(0) if value.is_floating_point() else value
        for i, value in enumerate(values)  # what is true or false has no distance, and is not judged
    ]
    return values, spreads


def _call(call: Call, *, widen: bool) -> Any:
    """Repeat a call on the CPU, in float64 or as it was."""
    change: Callable[[Any], Any] = _widened if widen else _copied
    kwargs = {name: change(value) for name, value in call.kwargs.items()}
    if "device" in kwargs:
        kwargs["device"] = torch.device("cpu")
    return call.func(*tree_map(change, call.args), **tree_map(change, kwargs))


def _widened(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.to(torch.float64, copy=True) if x.is_floating_point() else x.clone()
    return torch.float64 if x in FORMATS else torch.device("cpu") if isinstance(x, torch.device) else x


def _copied(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else torch.device("cpu") if isinstance(x, torch.device) else x


def _results(result: Any) -> list[Tensor]:
    return [x for x in tree_leaves(result) if isinstance(x, Tensor)]
