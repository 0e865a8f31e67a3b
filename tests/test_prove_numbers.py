from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lab.device import DTYPES
from lab.prove.case import ROWS, Problem, Selection
from lab.prove.numbers import Numbers, draw_numbers, repeat_to
from lab.prove.operation import Domain
from lab.prove.operations import OPERATIONS

EVERY = list(dict.fromkeys(case.problem for chunk in Selection().chunks() for case in chunk.cases))
SAMPLES = [(row, sample) for row in OPERATIONS for sample in row.samples]


def median(x: Tensor, dim: int) -> Tensor:
    return x.median(dim).values


def problem(op: str, sample: str = "", dtype: str = "float64", size: str = "small", seed: int = 0) -> Problem:
    return Problem(op, sample, dtype, size, False, False, seed)


def equal(one: Numbers, other: Numbers) -> bool:
    pairs = zip((*one.inputs, *one.cotangents), (*other.inputs, *other.cotangents), strict=True)
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)


def test_the_same_problem_has_the_same_numbers_whatever_was_drawn_before() -> None:
    some = EVERY[::97]
    before = [draw_numbers(one).fingerprint for one in some]
    torch.rand(7)
    draw_numbers.cache_clear()
    after = [draw_numbers(one).fingerprint for one in reversed(some)]
    assert after[::-1] == before


def test_drawing_leaves_torch_s_own_generator_alone() -> None:
    draw_numbers.cache_clear()
    state = torch.random.get_rng_state()
    draw_numbers(problem("dropout"))
    assert torch.equal(torch.random.get_rng_state(), state)


PROGRAM = """
import json, sys
import torch
from lab.prove.case import Problem
from lab.prove.numbers import draw_numbers
problems = [Problem(*fields) for fields in json.load(sys.stdin)]
print(json.dumps([torch.backends.cpu.get_cpu_capability(), [draw_numbers(one).fingerprint for one in problems]]))
"""


def test_another_process_without_vector_instructions_draws_the_same_bits() -> None:
    some = EVERY[::11]
    asked = json.dumps([list(vars(one).values()) for one in some])
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=asked, capture_output=True, text=True, check=True, env=environment
    )
    capability, fingerprints = json.loads(done.stdout)
    assert capability == "DEFAULT"
    assert fingerprints == [draw_numbers(one).fingerprint for one in some]


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"size": "odd"}, {"uniform": True}, {"repeated": True}, {"op": "asin"}]
)
def test_another_problem_has_other_numbers(change: dict[str, object]) -> None:
    one = problem("sin")
    assert draw_numbers(one).fingerprint != draw_numbers(replace(one, **change)).fingerprint  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_each_dtype_rounds_the_same_numbers(dtype: str) -> None:
    working = getattr(torch, dtype)
    for row, sample in SAMPLES:
        exact, rounded = (draw_numbers(problem(row.name, sample, name)) for name in ("float64", dtype))
        inputs, cotangents = (
            tuple(x.to(working) if x.is_floating_point() else x for x in xs) for xs in (exact.inputs, exact.cotangents)
        )
        assert equal(rounded, Numbers(inputs, cotangents)), row.name


@pytest.mark.parametrize("size", ["small", "odd"])
def test_numbers_are_of_their_domain(size: str) -> None:
    for row, sample in SAMPLES:
        drawn = draw_numbers(problem(row.name, sample, size=size))
        for given, x in zip(row.inputs, drawn.inputs, strict=True):
            assert tuple(x.shape) == row.shape(given.shape, size)
            high = given.high if isinstance(given.high, float | int) else row.length(given.high, size)
            match given.domain:
                case Domain.MASK:
                    assert x.dtype is torch.bool
                case Domain.ORDER:
                    assert torch.equal(x.sort(-1).values, torch.arange(x.shape[-1]).expand(x.shape))
                case Domain.INDEX:
                    assert x.dtype is torch.int64
                    assert int(x.min()) >= 0
                    assert int(x.max()) < high
                case Domain.REAL | Domain.DISTINCT:
                    assert float(x.min()) >= given.low
                    assert float(x.max()) < high
        assert all(bool((v.abs() <= 1).all()) for v in drawn.cotangents)


def test_repeated_numbers_are_constant_along_the_first_dimension() -> None:
    for row, sample in SAMPLES:
        plain = problem(row.name, sample)
        once, repeated = draw_numbers(plain), draw_numbers(replace(plain, repeated=True))
        for given, x, y in zip(row.inputs, once.inputs, repeated.inputs, strict=True):
            expected = x[:1].expand(x.shape) if x.ndim and given.differentiable else x
            assert torch.equal(y, expected), row.name


def test_uniform_cotangents_are_one_number_everywhere() -> None:
    for row, sample in SAMPLES:
        plain = problem(row.name, sample)
        drawn = draw_numbers(replace(plain, uniform=True))
        assert all(v.unique().numel() == 1 for v in drawn.cotangents), row.name
        assert all(torch.equal(x, y) for x, y in zip(drawn.inputs, draw_numbers(plain).inputs, strict=True))


@pytest.mark.parametrize(("repeated", "uniform"), [(False, False), (False, True)])
def test_a_large_pointwise_problem_repeats_an_odd_one(repeated: bool, uniform: bool) -> None:
    large = Problem("atan2", "", "float32", "large", repeated, uniform, 0)
    odd = draw_numbers(replace(large, size="odd"))
    drawn = draw_numbers(large)
    for x, y in zip((*drawn.inputs, *drawn.cotangents), (*odd.inputs, *odd.cotangents), strict=True):
        assert tuple(x.shape) == ROWS["atan2"].shape("n m", "large")
        assert torch.equal(x.flatten()[: 5 * y.numel()], y.flatten().repeat(5))


def test_repeating_cuts_what_does_not_fit() -> None:
    assert repeat_to(torch.arange(4).reshape(2, 2), (2, 3)).tolist() == [[0, 1, 2], [3, 0, 1]]


def test_a_fingerprint_tells_every_bit_every_shape_and_every_dtype() -> None:
    one = Numbers((torch.zeros(2, 3),), (torch.ones(6),))
    others = [
        Numbers((torch.zeros(2, 3).neg(),), (torch.ones(6),)),
        Numbers((torch.zeros(3, 2),), (torch.ones(6),)),
        Numbers((torch.zeros(2, 3, dtype=torch.int32),), (torch.ones(6),)),
        Numbers((torch.zeros(2, 3),), (torch.tensor([1, 1, 1, 1, 1, 1 + 2.0**-23]),)),
    ]
    assert len({numbers.fingerprint for numbers in (one, *others)}) == 5
    transposed = Numbers((torch.zeros(3, 2).mT,), one.cotangents)
    assert transposed.fingerprint == one.fingerprint  # the numbers count, not how they lie


def rows_of(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def windows_of(x: Tensor) -> Tensor:
    """Return the 2 × 2 windows of images. x: (b, c, h, w); result: (windows, 4)."""
    return F.unfold(x.flatten(0, 1)[:, None], 2, stride=2).mT.flatten(0, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("op", "groups", "pick"),
    [("max", rows_of, Tensor.amax), ("max_pool2d", windows_of, Tensor.amax), ("median", rows_of, median)],
    ids=["max", "max_pool2d", "median"],
)
def test_order_is_never_a_tie(
    op: str, groups: Callable[[Tensor], Tensor], pick: Callable[..., Tensor], dtype: str
) -> None:
    """Which of two equal numbers has the gradient is the device's own choice."""
    for size in ("small", "odd", "large"):
        group = groups(draw_numbers(problem(op, dtype=dtype, size=size)).inputs[0].to(torch.float64))
        chosen = (group == pick(group, 1)[:, None]).sum(1)
        assert int((chosen > 1).sum()) == 0, size
