from __future__ import annotations

import pytest
import torch

from lab.prove.case import ROWS, Case, parse_case
from lab.prove.gradient import JUNK, backward, differentiate, lay_out, place_case
from lab.prove.numbers import draw_numbers

CPU = torch.device("cpu")


def case(way: str, op: str = "linear") -> Case:
    return parse_case(f"{op}//float64/{way}/small/0")


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3), (5,), ()])
@pytest.mark.parametrize("layout", ["contiguous", "permuted", "strided"])
def test_a_layout_holds_the_same_numbers(layout: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    laid = lay_out(x, layout)
    assert torch.equal(laid, x)
    assert laid.is_contiguous() is (layout == "contiguous" or not shape)


def test_permuted_memory_is_in_the_reverse_order_and_of_a_vector_strided() -> None:
    assert lay_out(torch.zeros(2, 3, 4), "permuted").stride() == (1, 2, 6)
    assert lay_out(torch.zeros(5), "permuted").stride() == (2,)


def test_between_the_elements_of_a_strided_tensor_stands_what_would_show() -> None:
    laid = lay_out(torch.zeros(2, 3), "strided")
    assert laid.stride() == (6, 2)
    assert laid.untyped_storage().nbytes() == 12 * 4
    assert torch.as_strided(laid, (11,), (1,)).tolist() == [0, JUNK] * 5 + [0]


@pytest.mark.parametrize(("layout", "strides"), [("expanded", (0, 1)), ("broadcast", (0, 0))])
def test_repeated_numbers_have_a_stride_of_zero(layout: str, strides: tuple[int, int]) -> None:
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]) if layout == "expanded" else torch.full((3, 2), 4.0)
    laid = lay_out(x, layout)
    assert torch.equal(laid, x)
    assert laid.stride() == strides


@pytest.mark.parametrize("cotangent", ["dense", "transposed", "stride-0"])
@pytest.mark.parametrize("layout", ["contiguous", "permuted", "strided", "expanded"])
def test_every_case_of_a_problem_has_its_numbers(layout: str, cotangent: str) -> None:
    one = case(f"{layout}/{cotangent}/all")
    numbers = draw_numbers(one.problem)
    placed = place_case(one, numbers, CPU)
    for x, y in zip((*placed.inputs, *placed.cotangents), (*numbers.inputs, *numbers.cotangents), strict=True):
        assert torch.equal(x, y)
    assert all(x.stride() == y.stride() for x, y in zip(placed.inputs, placed.inputs, strict=True))
    assert placed.cotangents[0].stride() == {"dense": (5, 1), "transposed": (1, 4), "stride-0": (0, 0)}[cotangent]


@pytest.mark.parametrize(("mask", "leaves"), [("all", [0, 1, 2]), ("others", [1, 2]), ("1", [1])])
def test_a_mask_chooses_the_leaves(mask: str, leaves: list[int]) -> None:
    placed = place_case(case(f"contiguous/dense/{mask}"), draw_numbers(case("contiguous/dense/all").problem), CPU)
    assert [number for number, _ in placed.leaves] == leaves
    assert [i for i, x in enumerate(placed.inputs) if x.requires_grad] == leaves


def test_an_index_is_no_leaf_and_the_leaves_keep_their_input_s_number() -> None:
    one = case("permuted/dense/all", "index_add")  # of x, an index and y
    placed = place_case(one, draw_numbers(one.problem), CPU)
    assert [number for number, _ in placed.leaves] == [0, 2]
    assert all(leaf.is_leaf for _, leaf in placed.leaves)


@pytest.mark.parametrize("way", ["contiguous/dense/all", "permuted/transposed/all", "strided/dense/all"])
def test_a_case_has_the_gradient_of_its_formula(way: str) -> None:
    one = case(way)
    numbers = draw_numbers(one.problem)
    (x, w, _), (v,) = numbers.inputs, numbers.cotangents
    found = differentiate(ROWS["linear"], one, place_case(one, numbers, CPU))
    for got, expected in zip(found, (v @ w, v.mT @ x, v.sum(0)), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-14, atol=1e-14)


def test_a_leaf_that_is_not_used_and_an_output_that_is_not_tracked_are_no_error() -> None:
    x, unused = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    gradients = backward((x * 2, torch.ones(4)), (torch.ones(2), torch.ones(4)), (x, unused))
    assert [gradient.tolist() for gradient in gradients] == [[2, 2], [0, 0, 0]]
