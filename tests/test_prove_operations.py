"""The table of operations: each row is well formed, runs, and has the gradient that it says it has."""

from __future__ import annotations

import ast
import re
from collections import Counter
from math import prod
from pathlib import Path

import pytest
import torch

import lab.prove.operations as pages
from lab.compare import compare
from lab.prove.case import Problem
from lab.prove.exact import exact_gradients
from lab.prove.gradient import backward
from lab.prove.numbers import Numbers, draw_numbers, evaluate
from lab.prove.operation import LAYOUTS, SIZES, Domain, Operation
from lab.prove.operations import OPERATIONS

LAUNCH = 32_768  # elements beyond which kernels change their launch
# The derivative of digamma is only good to float32 in float64's clothes, which is why rows have a third column.
INEXACT = {"digamma"}
ALWAYS_ZERO = {  # gradients that are zero by definition: of a sign, and of what is overwritten throughout
    ("copysign", 1),
    ("index_copy", 0),
    ("scatter", 0),
}

SAMPLES = [(row, sample) for row in OPERATIONS for sample in row.samples]
every_size = pytest.mark.parametrize("size", SIZES)
every_sample = pytest.mark.parametrize(("row", "sample"), SAMPLES, ids=[f"{row.name}-{name}" for row, name in SAMPLES])


def problem(row: Operation, sample: str, size: str = "small") -> Problem:
    return Problem(row.name, sample, "float64", size, False, False, 0)


def differentiate(row: Operation, sample: str, numbers: Numbers) -> tuple[torch.Tensor, ...]:
    pairs = zip(row.inputs, numbers.inputs, strict=True)
    inputs = tuple(x.clone().requires_grad_(given.differentiable) for given, x in pairs)
    outputs = evaluate(row, sample, inputs)
    return tuple(backward(outputs, numbers.cotangents, [x for x in inputs if x.requires_grad]))


def test_names_are_unique_and_fit_into_a_case_s_id() -> None:
    assert [name for name, count in Counter(row.name for row in OPERATIONS).items() if count > 1] == []
    words = [*(row.name for row in OPERATIONS), *(sample for _, sample in SAMPLES)]
    assert [word for word in words if word and not word.isidentifier()] == []


def test_only_torch_s_public_api_is_called() -> None:
    """No name of a module with an underscore, and none of torch.ops."""
    private = []
    for page in sorted(Path(pages.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(page.read_text("utf-8"))):
            names = [node.attr] if isinstance(node, ast.Attribute) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            parts = [part for name in names for part in name.split(".")]
            private += [f"{page.name}: {part}" for part in parts if re.match(r"_[a-z]|ops$", part)]
    assert private == []


@every_size
def test_shapes_can_be_read_at_every_size(size: str) -> None:
    for row in OPERATIONS:
        assert all(n > 0 for given in row.inputs for n in row.shape(given.shape, size)), row.name
        assert all(row.length(given.high, size) > 0 for given in row.inputs if isinstance(given.high, str)), row.name
        assert 1 <= row.longest_reduction(size) <= 1_000_000, row.name


def test_a_large_case_is_beyond_the_launch_of_small_kernels() -> None:
    largest = {row.name: [prod(row.shape(given.shape, "large")) for given in row.inputs] for row in OPERATIONS}
    largest["outer"] = [prod(largest["outer"])]  # its inputs are two vectors; it is the cotangent that is large
    assert [name for name, elements in largest.items() if not LAUNCH < max(elements) < 8 * LAUNCH] == []


def test_something_is_differentiated_and_that_is_continuous() -> None:
    for row in OPERATIONS:
        differentiable = [given.domain for given in row.inputs if given.differentiable]
        assert differentiable, row.name
        assert set(differentiable) <= {Domain.REAL, Domain.DISTINCT}, row.name


def test_layouts_are_known_and_the_plain_one_comes_first() -> None:
    assert [row.name for row in OPERATIONS if row.layouts[0] != "contiguous" or set(row.layouts) - set(LAYOUTS)] == []


def test_own_lengths_are_of_letters_that_the_row_has() -> None:
    unused = []
    for row in OPERATIONS:
        words = [*(f"{given.shape} {given.high}" for given in row.inputs), *row.reductions]
        letters = {word.lstrip("0123456789") for word in " ".join(words).split()}
        unused += [(row.name, size, letter) for size, own in row.lengths.items() for letter in own.keys() - letters]
    assert unused == []


@every_sample
def test_a_row_runs_on_its_small_numbers(row: Operation, sample: str) -> None:
    gradients = differentiate(row, sample, draw_numbers(problem(row, sample)))
    shapes = [row.shape(given.shape, "small") for given in row.inputs if given.differentiable]
    assert [tuple(gradient.shape) for gradient in gradients] == shapes
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    zero = {(row.name, number) for number, gradient in enumerate(gradients) if not gradient.any()}
    assert zero <= ALWAYS_ZERO


@pytest.mark.parametrize("row", [row for row in OPERATIONS if row.exact], ids=lambda row: row.name)
def test_the_third_column_is_the_same_function(row: Operation) -> None:
    assert row.pointwise
    assert dict(row.samples) == {"": {}}  # options that the third column would not know of
    drawn = draw_numbers(problem(row, ""))
    few = Numbers(*(tuple(x.flatten()[:5] for x in xs) for xs in (drawn.inputs, drawn.cotangents)))
    assert row.exact is not None
    ulps = max(
        # Of the largest: where a derivative crosses zero, its terms cancel.
        compare(got, exact, scale=exact.abs().max()).ratio
        for got, exact in zip(differentiate(row, "", few), exact_gradients(row.exact, few), strict=True)
    )
    assert (ulps > 1) is (row.name in INEXACT)


@every_size
def test_no_two_distinct_numbers_of_a_row_or_an_image_are_equal_in_bfloat16(size: str) -> None:
    for row in OPERATIONS:
        if any(given.domain is Domain.DISTINCT for given in row.inputs):
            (x, *_) = draw_numbers(Problem(row.name, next(iter(row.samples)), "bfloat16", size, False, False, 0)).inputs
            for block in x.flatten(0, -3 if x.ndim > 2 else -2).flatten(1):
                assert block.unique().numel() == block.numel(), row.name


# How torch's page on determinism names what some rows call. Those that add in no fixed order on CUDA may differ from
# run to run on a healthy device.
DOCUMENTED = {
    "torch.nn.AdaptiveAvgPool2d": ("adaptive_avg_pool2d",),
    "torch.nn.AdaptiveMaxPool2d": ("adaptive_max_pool2d",),
    "torch.nn.Conv1d": ("conv1d",),
    "torch.nn.Conv2d": ("conv2d", "conv2d_depthwise"),
    "torch.nn.Conv3d": ("conv3d",),
    "torch.nn.ConvTranspose2d": ("conv_transpose2d",),
    "torch.nn.CTCLoss": ("ctc_loss",),
    "torch.nn.ReflectionPad2d": ("pad",),
    "torch.Tensor.scatter_add_": ("scatter_add",),
    "torch.cumsum": ("cumsum",),
    "torch.gather": ("gather", "take_along_dim"),
    "torch.index_add": ("index_add",),
    "torch.index_select": ("index_select",),
    "torch.nn.functional.grid_sample": ("grid_sample",),
    "torch.nn.functional.interpolate": ("interpolate",),
    "torch.repeat_interleave": ("repeat_interleave",),
}


def test_what_torch_documents_to_add_in_no_fixed_order_is_marked() -> None:
    page = str(torch.use_deterministic_algorithms.__doc__)
    assert [documented for documented in DOCUMENTED if f"`{documented}`" not in page] == []
    marked = {row.name for row in OPERATIONS if row.unordered}
    assert [name for names in DOCUMENTED.values() for name in names if name not in marked] == []
