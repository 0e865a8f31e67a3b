"""Where a reference comes from: the golden file, an odd problem that a large one repeats, or a measurement here."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace
from functools import cache, lru_cache

import torch

from lab.compare import FORMATS
from lab.device import DTYPES, environment
from lab.prove.case import ROWS, Problem, Selection
from lab.prove.golden import Arrays, load_golden, pack_golden
from lab.prove.numbers import repeat_to
from lab.prove.reference import Reference, measure_reference
from lab.prove.rule import growth, is_beyond_rounding

golden = cache(load_golden)


@lru_cache(maxsize=32)
def find_references(problem: Problem, *, with_baseline: bool) -> tuple[Reference, ...]:
    """Return the references of a problem, one a differentiable input.

    with_baseline: whether the CPU's own error may excuse the device's, where that has to be measured here.
    """
    row = ROWS[problem.op]
    if row.pointwise and problem.size == "large":
        references = find_references(replace(problem, size="odd"), with_baseline=with_baseline)
        return tuple(_repeat(x, row.shape(row.inputs[0].shape, "large")) for x in references)
    if found := golden().find(problem):
        return found
    # A formula that is known to lose digits does so on every device, this one included.
    known = (problem.op, problem.sample, problem.dtype) in golden().formulas
    excused = with_baseline or known or row.given is not None
    return measure_reference(problem, with_baseline=excused)


def _repeat(reference: Reference, shape: tuple[int, ...]) -> Reference:
    return Reference(*(repeat_to(x, shape) for x in (reference.value, reference.spread, reference.baseline)))


def golden_problems() -> Iterator[Problem]:
    """Yield the problems that the golden file has to hold, in its order."""
    cases = (case for chunk in Selection(dtypes=DTYPES).chunks() for case in chunk.cases)
    yield from dict.fromkeys(case.problem for case in cases if case.size != "large")


def make_golden(executor: Executor) -> bytes:
    """Measure all that the golden file has to hold and return its bytes."""
    problems = list(golden_problems())
    measured = dict(zip(problems, executor.map(_measure_arrays, problems, chunksize=16), strict=True))
    formulas = {
        (problem.op, problem.sample, problem.dtype)
        for problem, arrays in measured.items()
        if any(_loses_digits(problem, row) for row in arrays)
    }
    facts, told = environment("cpu"), ("torch", "platform", "device_name", "switches")
    return pack_golden(measured, formulas, {name: facts[name] for name in told})


def _measure_arrays(problem: Problem) -> list[Arrays]:
    """Measure in a worker. Arrays travel between processes as they are; tensors would, in shared memory, run it out."""
    references = measure_reference(problem)
    return [(x.value.numpy(), x.spread.numpy(), x.baseline.numpy()) for x in references]


def _loses_digits(problem: Problem, arrays: Arrays) -> bool:
    reference, form = Reference(*map(torch.from_numpy, arrays)), FORMATS[getattr(torch, problem.dtype)]
    limits = growth(ROWS[problem.op].longest_reduction(problem.size), uniform=problem.uniform)
    return is_beyond_rounding(reference, form=form, growth=limits)


def one_thread() -> None:
    """Start a worker: one thread, so that sums are added in one order."""
    torch.set_num_threads(1)
