from __future__ import annotations

import pytest

from lab.prove.case import ROWS
from lab.prove.operation import Domain, Operation, constant, distinct, index, mask, order, pointwise, tensor


def row(**options: object) -> Operation:
    return Operation("row", lambda x: x, (tensor("n m"),), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("letters", "size", "shape"),
    [
        ("", "small", ()),
        ("n", "small", (4,)),
        ("n 2m", "small", (4, 10)),
        ("b c 3 3", "odd", (3, 5, 3, 3)),
        ("b 1 t 2", "large", (4, 1, 130, 2)),
        ("12q e", "small", (36, 6)),
    ],
)
def test_letters_stand_for_lengths_numbers_for_themselves(letters: str, size: str, shape: tuple[int, ...]) -> None:
    assert row().shape(letters, size) == shape


def test_a_row_s_own_lengths_count_for_their_size_alone() -> None:
    own = row(lengths={"large": {"n": 500}})
    assert [own.length("n", size) for size in ("small", "odd", "large")] == [4, 7, 500]
    assert own.shape("2n m", "large") == (1000, 173)


def test_an_unknown_letter_is_an_error() -> None:
    with pytest.raises(KeyError):
        row().shape("n z", "small")


@pytest.mark.parametrize(
    ("op", "size", "terms"),
    [
        ("relu", "large", 1),  # adds nothing
        ("sum", "large", 191),  # n, beside m = 173
        ("mm", "small", 6),  # k
        ("mm", "large", 193),
        ("layer_norm", "large", 4 * 130),  # the batch and time of a weight's gradient, beside 65 features
        ("conv2d", "large", 4 * 33 * 32),  # all pixels, in a weight's gradient
        ("conv2d", "small", 60),
        ("linear", "odd", 11),
        ("lstm", "large", 62 * 5 * 110),
    ],
)
def test_the_longest_reduction_is_the_largest_product_of_letters(op: str, size: str, terms: int) -> None:
    assert ROWS[op].longest_reduction(size) == terms


def test_only_what_is_continuous_is_differentiated() -> None:
    inputs = (tensor("n"), distinct("n"), constant("n"), index("n", "m"), order("n"), mask("n"))
    assert [given.differentiable for given in inputs] == [True, True, False, False, False, False]
    assert [given.domain for given in inputs] == [
        Domain.REAL, Domain.DISTINCT, Domain.REAL, Domain.INDEX, Domain.ORDER, Domain.MASK
    ]  # fmt: skip


def test_a_pointwise_row_has_an_input_of_one_shape_for_each_domain() -> None:
    made = pointwise("row", lambda x, y: x + y, None, (0.5, 1.0), (-3.0, 3.0))
    assert made.pointwise
    assert [(given.shape, given.low, given.high) for given in made.inputs] == [("n m", 0.5, 1.0), ("n m", -3.0, 3.0)]
