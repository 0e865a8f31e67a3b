from __future__ import annotations

import re
from collections import Counter
from itertools import product

import pytest

from lab.device import DTYPES
from lab.errors import UsageError
from lab.prove.case import (
    AXES,
    COTANGENTS,
    ROWS,
    Case,
    Chunk,
    Selection,
    enumerate_cases,
    masked,
    parse_axes,
    parse_case,
    plainest,
)
from lab.prove.operation import LAYOUTS
from lab.prove.operations import OPERATIONS

MM = "mm//float32/permuted/dense/all/small/0"


def cases(op: str, sample: str = "", dtype: str = "float32") -> list[Case]:
    return list(enumerate_cases(ROWS[op], sample, dtype, seed=0))


def ways(op: str, size: str) -> Counter[tuple[str, str, str]]:
    """Count the layout, cotangent and mask of an operation's cases of one size."""
    return Counter((case.layout, case.cotangent, case.mask) for case in cases(op) if case.size == size)


def once(*all_ways: tuple[str, str, str]) -> Counter[tuple[str, str, str]]:
    return Counter(all_ways)


@pytest.mark.parametrize("size", ["small", "odd"])
@pytest.mark.parametrize(
    ("op", "layouts", "masks"),
    [
        ("exp", LAYOUTS, ()),
        ("mm", LAYOUTS, ("0", "1")),
        ("linear", LAYOUTS, ("others", "0", "1", "2")),
        ("lstm", LAYOUTS, ("others", "0", "1", "2")),  # of five inputs
        ("embedding", LAYOUTS, ()),  # an index is not differentiated
        ("dropout", ("contiguous", "permuted", "strided"), ()),
    ],
)
def test_small_and_odd_cases_take_every_layout_and_every_mask_with_every_cotangent(
    op: str, layouts: tuple[str, ...], masks: tuple[str, ...], size: str
) -> None:
    expected = [(layout, cotangent, "all") for layout, cotangent in product(layouts, COTANGENTS)]
    expected += [("contiguous", cotangent, mask) for cotangent, mask in product(COTANGENTS, masks)]
    assert ways(op, size) == once(*expected)


@pytest.mark.parametrize("op", ["exp", "linear"])
def test_large_cases_change_one_thing_at_a_time(op: str) -> None:
    contiguous = [("contiguous", cotangent, "all") for cotangent in COTANGENTS]
    assert ways(op, "large") == once(*contiguous, ("permuted", "dense", "all"))


def test_neighbours_differ_in_size() -> None:
    """So a second run of a case follows one of another size."""
    for row in OPERATIONS:
        sizes = [case.size for case in cases(row.name, next(iter(row.samples)))]
        assert all(one != other for one, other in zip(sizes, [*sizes[1:], sizes[0]], strict=True)), row.name


def test_an_unknown_sample_or_dtype_has_no_case() -> None:
    assert cases("mm", "no") == cases("mm", "", "float8") == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_id_is_read_back(dtype: str) -> None:
    every = [case for chunk in Selection(dtypes=(dtype,), seed=7).chunks() for case in chunk.cases]
    some = every[::11]
    assert [parse_case(case.id) for case in some] == some
    assert len({case.id for case in every}) == len(every)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "mm",
        MM + "/0",
        MM.replace("mm", "nm"),
        MM.replace("//", "/first/"),
        MM.replace("float32", "float8"),
        MM.replace("permuted", "twisted"),
        MM.replace("dense", "stride-1"),
        MM.replace("all", "others"),  # of two inputs
        MM.replace("all", "2"),
        MM.replace("small", "tiny"),
        MM.replace("/dense/all/small", "/transposed/all/large"),  # two changes at once
        MM[:-1] + "-1",
        MM[:-1] + "x",
        MM[:-1],
        "dropout//float32/expanded/dense/all/small/0",
    ],
)
def test_what_is_no_case_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(UsageError, match="no case") as refusal:
        parse_case(word)
    assert parse_case(refusal.value.expected.split()[-1].rstrip(".")) == parse_case(MM)


@pytest.mark.parametrize("seed", ["007", "٣"])  # the last is 3 in Arabic digits, which int() reads
def test_a_case_has_one_spelling(seed: str) -> None:
    with pytest.raises(UsageError):
        parse_case(MM[:-1] + seed)


@pytest.mark.parametrize(
    ("mask", "wanted"),
    [
        ("all", (True, True, True)),
        ("others", (False, True, True)),
        ("0", (True, False, False)),
        ("2", (False, False, True)),
    ],
)
def test_a_mask_names_the_inputs_that_require_a_gradient(mask: str, wanted: tuple[bool, ...]) -> None:
    assert masked(mask, 3) == wanted


def test_one_reference_serves_all_cases_with_the_same_numbers() -> None:
    problems = {case.problem for case in cases("linear")}
    assert len(problems) == 2 * 2 * 2 + 2  # small and odd: repeated, uniform; large: uniform
    assert parse_case(MM).problem == plainest(parse_case(MM)).problem
    assert parse_case(MM.replace("permuted", "expanded")).problem.repeated
    assert parse_case(MM.replace("dense", "stride-0")).problem.uniform


def test_the_plainest_case_is_one() -> None:
    for case in cases("linear"):
        assert parse_case(plainest(case).id) == Case(
            "linear", "", "float32", "contiguous", "dense", "all", case.size, 0
        )


def chosen(*ops: str) -> list[str]:
    return list(dict.fromkeys(chunk.op for chunk in Selection(ops).chunks()))


def test_patterns_choose_operations_in_the_order_of_the_table() -> None:
    assert chosen("mm", "abs") == ["abs", "mm"]
    assert chosen("conv?d", "conv1*") == ["conv1d", "conv2d", "conv3d"]
    assert chosen("*") == [row.name for row in OPERATIONS]


def test_a_chunk_holds_all_cases_of_an_operation_a_sample_and_a_dtype() -> None:
    chunks = Selection(("softmax",), ("float32", "float16"), seed=3).chunks()
    assert [chunk.id for chunk in chunks] == [
        "softmax//float32", "softmax//float16", "softmax/first/float32", "softmax/first/float16"
    ]  # fmt: skip
    expected = enumerate_cases(ROWS["softmax"], "first", "float16", seed=3)
    assert chunks[-1] == Chunk("softmax", "first", "float16", tuple(expected))


@pytest.mark.parametrize(("typo", "step"), [("sofmax", "'softmax'"), ("conv2", "'conv2d'"), ("xyz*", "--list")])
def test_an_unknown_operation_is_refused_with_the_nearest(typo: str, step: str) -> None:
    with pytest.raises(UsageError, match=f"No operation is called '{re.escape(typo)}'") as refusal:
        Selection(("mm", typo)).chunks()
    assert step in refusal.value.next_step


@pytest.mark.parametrize(("axis", "values"), AXES.items(), ids=AXES)
def test_an_axis_filters_cases(axis: str, values: tuple[str, ...]) -> None:
    every = cases("linear")
    for value in values:
        selection = Selection(("linear",), ("float32",), axes=((axis, (value,)),))
        assert [case for chunk in selection.chunks() for case in chunk.cases] == [
            case for case in every if getattr(case, axis) == value
        ]


def test_axes_narrow_each_other_down() -> None:
    axes = parse_axes(["layout=permuted,strided", "size=small", "cotangent=dense"])
    found = [case for chunk in Selection(("mm",), ("float32",), axes).chunks() for case in chunk.cases]
    assert [(case.layout, case.size, case.cotangent) for case in found] == [
        ("permuted", "small", "dense"), ("strided", "small", "dense")
    ]  # fmt: skip


def test_a_choice_that_leaves_no_case_is_refused() -> None:
    with pytest.raises(UsageError, match="leave no case"):
        Selection(("exp",), axes=(("mask", ("others",)),)).chunks()


@pytest.mark.parametrize("word", ["layout", "layout=", "layout=permuted,twisted", "layout:permuted", "shape=small", ""])
def test_an_axis_that_is_none_is_refused_with_what_there_is(word: str) -> None:
    with pytest.raises(UsageError, match="not understood") as refusal:
        parse_axes([word])
    assert ", ".join(AXES) in str(refusal.value) or ",".join(LAYOUTS) in str(refusal.value)


def test_quick_cases_are_small_and_change_one_thing_and_one_is_large() -> None:
    found = [case for chunk in Selection(("linear",), quick=True).chunks() for case in chunk.cases]
    changes = Counter(
        (case.layout != "contiguous", case.cotangent != "dense", case.mask != "all", case.size) for case in found
    )
    assert changes == {
        (False, False, False, "small"): 4,  # a dtype each
        (True, False, False, "small"): 3 * 4,
        (False, True, False, "small"): 2 * 4,
        (False, False, True, "small"): 4,
        (False, False, False, "large"): 1,
    }
    assert {case.mask for case in found} == {"all", "others"}
    assert {case.dtype for case in found if case.size == "large"} == {"float32"}


def test_every_operation_has_a_quick_case() -> None:
    assert {chunk.op for chunk in Selection(quick=True).chunks()} == set(ROWS)
