from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lab.compare import FORMATS, Format
from lab.prove.rounding import StochasticRounding, round_stochastically

COARSE = {dtype: form for dtype, form in FORMATS.items() if dtype is not torch.float64}
every_dtype = pytest.mark.parametrize("dtype", COARSE, ids=lambda dtype: str(dtype).removeprefix("torch."))
in_every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: f"{form.precision} bits")


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rounded(x: Tensor, form: Format, seed: int = 0) -> Tensor:
    return round_stochastically(x, form, source(seed))


def rounding(form: Format, seed: int = 0) -> StochasticRounding:
    return StochasticRounding(form, source(seed))


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Draw numbers with all 53 bits, which no coarser format has."""
    return torch.rand(shape, generator=source(seed), dtype=torch.float64) + 0.5


def neighbours(number: float, dtype: torch.dtype) -> set[float]:
    """Return the number itself where the dtype has it, else the two numbers of the dtype around it."""
    near = torch.tensor(number, dtype=torch.float64).to(dtype)
    if float(near) == number:
        return {number}
    towards = torch.tensor(math.copysign(math.inf, number - float(near)), dtype=dtype)
    return {float(near), float(near.nextafter(towards))}


@every_dtype
@given(number=st.floats(-70000, 70000, allow_subnormal=True) | st.floats(-1e-7, 1e-7), seed=st.integers(0, 1000))
def test_a_number_becomes_one_of_its_two_neighbours(dtype: torch.dtype, number: float, seed: int) -> None:
    assert float(rounded(torch.tensor(number, dtype=torch.float64), COARSE[dtype], seed)) in neighbours(number, dtype)


@every_dtype
def test_results_are_on_the_grid(dtype: torch.dtype) -> None:
    x = (uniform(5000) - 1) * torch.exp2(torch.randint(-30, 15, (5000,), generator=source()))
    result = rounded(x, COARSE[dtype])
    assert torch.equal(result.to(dtype).to(torch.float64), result)
    assert not torch.equal(result, x)


@every_dtype
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.75])
def test_the_nearer_neighbour_is_the_likelier_so_that_the_mean_is_the_number(
    dtype: torch.dtype, fraction: float
) -> None:
    form, draws = COARSE[dtype], 20_000
    step = 2 * form.unit_roundoff
    result = rounded(torch.full((draws,), 1 + fraction * step, dtype=torch.float64), form)
    assert set(result.tolist()) == {1.0, 1 + step}
    deviation = math.sqrt(fraction * (1 - fraction) / draws)
    assert float((result - 1).mean() / step) == pytest.approx(fraction, abs=5 * deviation)


def test_on_float64_s_own_grid_a_number_moves_by_an_ulp_either_way_and_on_average_not_at_all() -> None:
    form = FORMATS[torch.float64]
    moves = (rounded(torch.full((20_000,), 1.5, dtype=torch.float64), form) - 1.5) / 2.0**-52
    assert set(moves.tolist()) == {-1.0, 0.0, 1.0}
    assert abs(float(moves.mean())) < 5 * 0.71 / math.sqrt(20_000)


@every_dtype
def test_beyond_the_largest_number_is_infinity(dtype: torch.dtype) -> None:
    form, largest = COARSE[dtype], torch.finfo(dtype).max
    step = math.ldexp(2.0, form.max_exponent - form.precision)
    edge = torch.full((2000,), largest + step / 2, dtype=torch.float64)
    assert set(rounded(edge, form).tolist()) == {largest, math.inf}
    assert set(rounded(-edge, form).tolist()) == {-largest, -math.inf}
    far = torch.tensor([largest + step, -1e300], dtype=torch.float64)
    assert rounded(far, form).tolist() == [math.inf, -math.inf]


@in_every_format
def test_what_is_not_finite_stays_what_it_is(form: Format) -> None:
    result = rounded(torch.tensor([math.inf, -math.inf, math.nan], dtype=torch.float64), form)
    assert result[:2].tolist() == [math.inf, -math.inf]
    assert result[2].isnan()


@every_dtype
def test_subnormal_numbers_keep_their_fixed_grid(dtype: torch.dtype) -> None:
    smallest = COARSE[dtype].smallest_subnormal
    result = rounded(torch.full((1000,), 2.5 * smallest, dtype=torch.float64), COARSE[dtype])
    assert set(result.tolist()) == {2 * smallest, 3 * smallest}
    assert set(rounded(torch.full((1000,), smallest / 2, dtype=torch.float64), COARSE[dtype]).tolist()) == {0, smallest}


@every_dtype
def test_the_mode_rounds_what_an_operation_returns(dtype: torch.dtype) -> None:
    x = uniform(200)
    with rounding(COARSE[dtype]):
        product = x * x
    assert torch.equal(product.to(dtype).to(torch.float64), product)
    assert not torch.equal(product, x * x)


@every_dtype
def test_an_exact_result_is_left_alone(dtype: torch.dtype) -> None:
    x = torch.arange(-8, 8, dtype=torch.float64)
    with rounding(COARSE[dtype]):
        results = [x * 2, x + 1, x.sum(), x.reshape(4, 4) @ torch.eye(4, dtype=torch.float64)]
    expected = [x * 2, x + 1, x.sum(), x.reshape(4, 4)]
    assert all(torch.equal(got, right) for got, right in zip(results, expected, strict=True))


@in_every_format
@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.gather(1, torch.tensor([[3, 1], [0, 0], [2, 2]])),
        lambda x: x.flip(0, 1),
        lambda x: x.amax(1),
        lambda x: x.sort(1).values,
        lambda x: torch.cat((x, x)),
        lambda x: x.mT.contiguous(),
        lambda x: x.roll(1, 0),
        lambda x: torch.where(x > 1, x, 0.0),
        lambda x: x.relu(),
    ],
    ids=["gather", "flip", "amax", "sort", "cat", "transpose", "roll", "where", "relu"],
)
def test_what_only_moves_numbers_changes_none(form: Format, move: object) -> None:
    assert callable(move)
    x = uniform(3, 4) if form.precision == 53 else uniform(3, 4).to(torch.float16).to(torch.float64)
    if form.precision == 8:
        x = x.to(torch.bfloat16).to(torch.float64)
    with rounding(form):
        moved = move(x)
    assert torch.equal(moved, move(x))


def test_in_float64_what_is_computed_does_change() -> None:
    x = uniform(100)
    with rounding(FORMATS[torch.float64]):
        results = x * x, x.reshape(10, 10) @ x.reshape(10, 10), x.exp()
    expected = x * x, x.reshape(10, 10) @ x.reshape(10, 10), x.exp()
    for got, right in zip(results, expected, strict=True):
        assert not torch.equal(got, right)
        torch.testing.assert_close(got, right, rtol=2.0**-48, atol=0)


@every_dtype
def test_in_place_operations_round_the_tensor_that_they_write_into(dtype: torch.dtype) -> None:
    x, written = uniform(50), uniform(50, seed=1)
    view, product = written[:50], written * x
    with rounding(COARSE[dtype]):
        returned = written.mul_(x)
    assert returned.data_ptr() == view.data_ptr()
    assert torch.equal(view, returned)
    assert torch.equal(view.to(dtype).to(torch.float64), view)
    assert not torch.equal(view, product)


@every_dtype
def test_out_arguments_are_rounded_too(dtype: torch.dtype) -> None:
    x, out = uniform(50), torch.empty(50, dtype=torch.float64)
    with rounding(COARSE[dtype]):
        torch.mul(x, x, out=out)
    assert torch.equal(out.to(dtype).to(torch.float64), out)


@every_dtype
def test_it_is_active_in_the_backward(dtype: torch.dtype) -> None:
    x = uniform(40).requires_grad_()
    with rounding(COARSE[dtype]):
        (gradient,) = torch.autograd.grad(x.exp().sum(), x, torch.tensor(0.75, dtype=torch.float64))
    assert torch.equal(gradient.to(dtype).to(torch.float64), gradient)
    assert not torch.equal(gradient, 0.75 * x.detach().exp())


def test_the_inside_of_a_sum_is_moved_too() -> None:
    """Terms of 1 that cancel to 0.1: the rounding of the sum alone would leave two neighbours of it."""
    x, form, runs = uniform(50), COARSE[torch.bfloat16], []
    terms = torch.cat((x, 0.002 - x.flip(0)))
    for seed in range(20):
        with rounding(form, seed):
            runs.append(float(terms.sum()))
    assert len(set(runs)) > 10
    assert max(runs) - min(runs) > 2 * form.unit_roundoff


def test_complex_results_are_rounded_in_both_parts() -> None:
    x = torch.complex(uniform(30), uniform(30, seed=1))
    with rounding(COARSE[torch.float32]):
        product = x * x
    parts = torch.view_as_real(product)
    assert torch.equal(parts.to(torch.float32).to(torch.float64), parts)
    torch.testing.assert_close(product, x * x, rtol=1e-6, atol=1e-6)


def test_integers_and_float32_pass_untouched() -> None:
    x, wide = torch.arange(5), torch.rand(5, generator=source())
    with rounding(COARSE[torch.bfloat16]):
        assert torch.equal(x * 3, torch.tensor([0, 3, 6, 9, 12]))
        product = wide * wide
    assert torch.equal(product, wide * wide)


def test_the_same_source_gives_the_same_run() -> None:
    x, runs = uniform(100), []
    for seed in (3, 3, 4):
        with rounding(COARSE[torch.float16], seed):
            runs.append(x.exp())
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("solver", [torch.linalg.inv, lambda a: torch.linalg.qr(a).R], ids=["inv", "qr"])
def test_solvers_scatter_by_an_ulp_of_the_largest_element(solver: object) -> None:
    assert callable(solver)
    a = torch.diag(torch.tensor([1.0, 2.0**-20], dtype=torch.float64)) + 2.0**-30
    form, runs = COARSE[torch.float32], []
    for seed in range(8):
        with rounding(form, seed):
            runs.append(solver(a))
    scatter = torch.stack(runs).std(0)
    assert float(scatter.min()) > 0.05 * form.unit_roundoff * float(solver(a).abs().max()) * float(a.abs().min())
