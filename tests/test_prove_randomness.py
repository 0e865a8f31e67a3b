from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lab.prove.case import ROWS, Problem
from lab.prove.numbers import draw_numbers, evaluate
from lab.prove.operations import OPERATIONS
from lab.prove.randomness import DrawnOnce

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def kept(dtype: torch.dtype, *, p: float = 0.4, requires_grad: bool = False) -> torch.Tensor:
    """Return which elements dropout keeps."""
    x = torch.ones(40, 50, dtype=dtype, requires_grad=requires_grad)
    with DrawnOnce():
        return F.dropout(x, p, training=True) != 0


@pytest.mark.parametrize("requires_grad", [False, True])
def test_the_same_elements_are_kept_in_every_dtype_and_each_time(requires_grad: bool) -> None:
    masks = [kept(dtype, requires_grad=requires_grad) for dtype in (*DTYPES, torch.float32)]
    assert all(torch.equal(mask, masks[0]) for mask in masks)
    assert 0.55 < float(masks[0].double().mean()) < 0.65


def test_the_second_mask_is_another() -> None:
    x = torch.ones(100)
    with DrawnOnce():
        once, again = F.dropout(x, 0.5), F.dropout(x, 0.5)
    assert not torch.equal(once, again)


def test_torch_s_own_generator_is_neither_read_nor_moved() -> None:
    state = torch.random.get_rng_state()
    first = kept(torch.float32)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(kept(torch.float32), first)


def test_what_is_kept_is_scaled_and_so_is_its_gradient() -> None:
    x = torch.full((30,), 2.0, requires_grad=True)
    with DrawnOnce():
        y = F.dropout(x, 0.5)
        (gradient,) = torch.autograd.grad(y.sum(), x)
    assert set(y.tolist()) == {0.0, 4.0}
    assert torch.equal(gradient, y.detach() / 2)


def test_the_fused_kernel_draws_the_same_way() -> None:
    x = torch.ones(1000)
    with DrawnOnce():
        y, mask = torch.native_dropout(x, 0.25, True)
    assert torch.equal(y != 0, mask)
    torch.testing.assert_close(y[mask], torch.full_like(y[mask], 4 / 3))
    assert 0.7 < float(mask.double().mean()) < 0.8


def test_only_rows_that_say_so_are_random() -> None:
    """Such a row gives the same output twice all the same, and another where the draws are left to torch."""
    for row in OPERATIONS:
        sample = next(iter(row.samples))
        inputs = draw_numbers(Problem(row.name, sample, "float64", "small", False, False, 0)).inputs
        one, other = evaluate(row, sample, inputs), evaluate(row, sample, inputs)
        assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True)), row.name
    assert {row.name for row in OPERATIONS if row.random} == {"dropout", "lstm_dropout"}
    x = torch.ones(50)
    assert not torch.equal(ROWS["dropout"].function(x), ROWS["dropout"].function(x))
