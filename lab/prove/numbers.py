"""The numbers of a problem: drawn on the CPU from uniform bits, so that every machine has the same ones.

``torch.rand`` gives the same bits on every CPU; ``torch.randn`` does not, its vectorised code depends on the CPU.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

from lab.prove.case import ROWS, Problem
from lab.prove.operation import Domain, Input, Operation, Outputs
from lab.prove.randomness import DrawnOnce


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a problem is made of, on the CPU. inputs: in the working dtype, integers and booleans as they are.

    cotangents: one an output, in the working dtype.
    """

    inputs: tuple[Tensor, ...]
    cotangents: tuple[Tensor, ...]

    @property
    def fingerprint(self) -> str:
        """A digest of every bit, which tells a stale golden file."""
        state = hashlib.sha256()
        for tensor in (*self.inputs, *self.cotangents):
            state.update(str((tensor.dtype, tuple(tensor.shape))).encode())
            state.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return state.hexdigest()[:16]


@lru_cache(maxsize=16)
def draw_numbers(problem: Problem) -> Numbers:
    """Draw a problem's numbers. The same problem has the same numbers, whatever was drawn before."""
    row, dtype = ROWS[problem.op], getattr(torch, problem.dtype)
    if row.pointwise and problem.size == "large":
        return _repeated(draw_numbers(replace(problem, size="odd")), row.shape(row.inputs[0].shape, "large"))
    inputs, source = _draw_inputs(problem)
    shapes = _output_shapes(problem.op, problem.sample, problem.size, problem.seed)
    cotangents = tuple(_draw_cotangent(shape, problem.uniform, source).to(dtype) for shape in shapes)
    return Numbers(inputs, cotangents)


@lru_cache(maxsize=64)
def _output_shapes(op: str, sample: str, size: str, seed: int) -> tuple[torch.Size, ...]:
    """Return the shapes of a row's outputs, which are the same for every dtype."""
    problem = Problem(op, sample, "float64", size, repeated=False, uniform=False, seed=seed)
    return tuple(y.shape for y in evaluate(ROWS[op], sample, _draw_inputs(problem)[0]))


def _draw_inputs(problem: Problem) -> tuple[tuple[Tensor, ...], torch.Generator]:
    """Draw the inputs, and return the generator as they left it."""
    row, dtype = ROWS[problem.op], getattr(torch, problem.dtype)
    # Not of the dtype: each dtype rounds the same numbers.
    source = torch.Generator().manual_seed(_seed(problem.op, problem.sample, problem.size, problem.seed))
    if row.given is not None:
        return tuple(x.to(dtype) if x.is_floating_point() else x for x in row.given), source
    return tuple(_draw(given, row, problem, source).to(_dtype_of(given, dtype)) for given in row.inputs), source


def evaluate(row: Operation, sample: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Call a row's function with a sample's options; always a tuple of outputs."""
    if row.random:
        with DrawnOnce():
            return _tuple(row.function(*inputs, **row.samples[sample]))
    return _tuple(row.function(*inputs, **row.samples[sample]))


def widen(x: Tensor) -> Tensor:
    """Return a floating point tensor in float64, another as it is."""
    return x.to(torch.float64) if x.is_floating_point() else x


def _tuple(outputs: Outputs) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def repeat_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Repeat a tensor's elements over and over until a larger shape is full."""
    return x.flatten().repeat(-(-prod(shape) // x.numel()))[: prod(shape)].reshape(shape)


def _repeated(numbers: Numbers, shape: tuple[int, ...]) -> Numbers:
    """Return a large pointwise problem, made of an odd one: each element's gradient is known from there."""
    inputs, cotangents = ((*(repeat_to(x, shape) for x in xs),) for xs in (numbers.inputs, numbers.cotangents))
    return Numbers(inputs, cotangents)


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:6])


def _dtype_of(given: Input, dtype: torch.dtype) -> torch.dtype:
    kinds = {Domain.INDEX: torch.int64, Domain.ORDER: torch.int64, Domain.MASK: torch.bool}
    return kinds.get(given.domain, dtype)


def _draw(given: Input, row: Operation, problem: Problem, source: torch.Generator) -> Tensor:
    """Draw one input in float64. Multiplied and added one after another: a fused step would round otherwise."""
    shape = row.shape(given.shape, problem.size)
    high = given.high if isinstance(given.high, float | int) else row.length(given.high, problem.size)
    uniform = torch.rand(shape, generator=source, dtype=torch.float64)
    match given.domain:
        case Domain.DISTINCT:
            block = prod(shape[-2:] if len(shape) > 2 else shape[-1:])
            ranks = uniform.reshape(-1, block).argsort(dim=1, stable=True)
            uniform = ranks.to(torch.float64).add(0.5).div(block).reshape(shape)
        case Domain.ORDER:
            return uniform.argsort(dim=-1, stable=True)
        case Domain.MASK:
            return uniform < 0.6
        case Domain.INDEX:
            return uniform.mul(high).floor()
    drawn = uniform.mul(high - given.low).add(given.low)
    # An expanded tensor repeats what stands first; its memory has nothing else.
    return drawn[:1].expand(shape).clone() if problem.repeated and drawn.ndim and given.differentiable else drawn


def _draw_cotangent(shape: torch.Size, uniform: bool, source: torch.Generator) -> Tensor:
    drawn = torch.rand(shape if not uniform else (), generator=source, dtype=torch.float64).mul(2.0).sub(1.0)
    return drawn.expand(shape).clone()
