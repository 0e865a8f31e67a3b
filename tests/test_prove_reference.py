from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lab.compare import FORMATS
from lab.prove.case import Problem
from lab.prove.exact import exact_gradients
from lab.prove.numbers import Numbers, draw_numbers, repeat_to
from lab.prove.reference import Reference, distance, measure_reference
from lab.prove.truth import find_references, golden

MM = Problem("mm", "", "float32", "small", False, False, 1)  # a seed that the golden file does not have


def columns(references: tuple[Reference, ...], name: str) -> list[torch.Tensor]:
    return [getattr(reference, name) for reference in references]


def test_a_reference_is_the_gradient_in_float64_with_what_rounding_may_do() -> None:
    (x, w), (v,) = (tuple(t.to(torch.float64) for t in ts) for ts in vars(draw_numbers(MM)).values())
    dx, dw = measure_reference(MM)
    for reference, expected in ((dx, v @ w.mT), (dw, x.mT @ v)):
        torch.testing.assert_close(reference.value, expected, rtol=1e-14, atol=1e-14)
        largest = float(reference.value.abs().max()) * FORMATS[torch.float32].unit_roundoff
        assert 0.3 * largest < float(reference.spread.max()) < 30 * largest
        assert 0 < float(reference.baseline.max()) < 30 * largest


def test_it_is_the_same_each_time() -> None:
    once, again = measure_reference(MM), measure_reference(MM)
    for name in ("value", "spread", "baseline"):
        assert all(torch.equal(a, b) for a, b in zip(columns(once, name), columns(again, name), strict=True))


@pytest.mark.parametrize("seed", [0, 2**32, 2**63, 2**80])
def test_every_seed_that_can_be_asked_for_has_a_reference(seed: int) -> None:
    assert len(measure_reference(replace(MM, seed=seed))) == 2


def test_without_a_baseline_the_cpu_counts_as_perfect() -> None:
    assert all(not baseline.any() for baseline in columns(measure_reference(MM, with_baseline=False), "baseline"))


def test_a_dtype_without_a_kernel_has_no_baseline() -> None:
    (reference,) = measure_reference(Problem("cholesky", "", "bfloat16", "small", False, False, 1))
    assert not reference.baseline.any()
    assert bool(reference.spread.any())


def test_a_coarser_dtype_has_a_larger_spread() -> None:
    spreads = [
        float(measure_reference(replace(MM, dtype=dtype))[0].spread.max())
        for dtype in ("float64", "float32", "float16", "bfloat16")
    ]
    assert spreads == sorted(spreads)
    assert spreads[3] > 2**14 * spreads[1]


def test_what_overflows_in_some_runs_only_has_an_infinite_spread() -> None:
    got = torch.tensor([1.0, math.inf, math.nan, math.inf, -math.inf, math.nan], dtype=torch.float64)
    value = torch.tensor([1.5, math.inf, math.nan, 1.0, math.inf, 0.0], dtype=torch.float64)
    assert distance(got, value).tolist() == [0.5, 0, 0, math.inf, math.inf, math.inf]


def test_elementwise_references_are_exact_where_float64_autograd_is_not() -> None:
    problem = Problem("digamma", "", "float64", "small", False, False, 1)
    (exact,), (float64,) = measure_reference(problem), measure_reference(problem, exact=False)
    relative = ((exact.value - float64.value) / exact.value).abs()
    assert 1e-13 < float(relative.max()) < 1e-8


def test_an_exact_gradient_is_the_product_with_the_cotangent() -> None:
    x, y, v = (torch.tensor(numbers, dtype=torch.float64) for numbers in ([[2.0, 3.0]], [[3.0, 2.0]], [[1.0, -0.5]]))
    dx, dy = exact_gradients(lambda a, b: a**2 * b, Numbers((x, y), (v,)))
    assert dx.tolist() == [[12.0, -6.0]]
    assert dy.tolist() == [[4.0, -4.5]]


def test_the_golden_file_is_asked_first_and_another_seed_is_measured() -> None:
    known = replace(MM, seed=0)
    stored = golden().find(known)
    assert stored is not None
    found = find_references(known, with_baseline=True)
    assert torch.equal(found[0].spread, stored[0].spread)
    assert torch.equal(find_references(MM, with_baseline=True)[0].spread, measure_reference(MM)[0].spread)


def test_a_large_pointwise_reference_repeats_the_odd_one() -> None:
    large = Problem("exp", "", "float32", "large", False, False, 0)
    (found,) = find_references(large, with_baseline=True)
    (odd,) = find_references(replace(large, size="odd"), with_baseline=True)
    for name in ("value", "spread", "baseline"):
        assert torch.equal(getattr(found, name), repeat_to(getattr(odd, name), tuple(found.value.shape)))


def test_a_formula_that_is_known_to_lose_digits_is_excused_here_too() -> None:
    """Where the device under test is this CPU and the numbers are new, its own error counts only for these."""
    op, sample, dtype = sorted(golden().formulas)[0]
    problem = Problem(op, sample, dtype, "small", False, False, 3)
    excused = find_references(problem, with_baseline=False)
    assert any(bool(reference.baseline.any()) for reference in excused)
    assert not any(bool(reference.baseline.any()) for reference in find_references(MM, with_baseline=False))
