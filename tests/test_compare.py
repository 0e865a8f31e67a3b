"""lab.compare, held against mpmath: every dtype, every bit pattern, in range and out of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import mpmath  # type: ignore[import-untyped]
import pytest
import torch
from conftest import Place
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lab.compare import FORMATS, C, Comparison, Format, Verdict, compare

BITS = {torch.float64: torch.int64, torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
NUMBERS = ("absolute", "relative", "ulps", "tolerance")
# Differences of float64 numbers are exact in mpmath from 2**1024 to 2**-1074, hence so many bits.
PRECISION = 2300

every_dtype = pytest.mark.parametrize("dtype", FORMATS, ids=lambda dtype: str(dtype).removeprefix("torch."))


def from_bits(pattern: int, dtype: torch.dtype) -> Tensor:
    """Return the number with this bit pattern. pattern: from 0 on."""
    width = dtype.itemsize * 8
    signed = pattern - (1 << width) if pattern >> (width - 1) else pattern
    return torch.tensor(signed, dtype=BITS[dtype]).view(dtype)


def neighbour(number: Tensor, direction: int) -> Tensor:
    """Return the next number of the dtype, away from zero (+1) or towards it (-1). number: not zero."""
    return (number.view(BITS[number.dtype]) + direction).view(number.dtype)


def bit_patterns(dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """Draw any number of the dtype, more often than by chance zeros, subnormals, infinities, nans, powers of two."""
    width, mantissa = dtype.itemsize * 8, FORMATS[dtype].precision - 1
    exponents = st.integers(0, (1 << (width - mantissa)) - 1).map(lambda e: e << mantissa)
    near = st.tuples(exponents, st.integers(-2, 2)).map(lambda pair: (pair[0] + pair[1]) % (1 << width))
    return (st.integers(0, (1 << width) - 1) | near | exponents).map(lambda pattern: from_bits(pattern, dtype))


@st.composite
def pairs(draw: st.DrawFn, dtype: torch.dtype) -> tuple[Tensor, float]:
    """Draw a value in the dtype and a reference in float64, which are often close."""
    value = draw(bit_patterns(dtype))
    form, near = FORMATS[dtype], value.item()
    largest = math.ldexp(2 - 2 * form.unit_roundoff, form.max_exponent)
    half_ulp = math.ldexp(1.0, math.frexp(near)[1] - form.precision - 1) if math.isfinite(near) else 0.0
    offsets = st.integers(-40, 40).map(lambda k: near + k * half_ulp)
    edge = st.floats(0.9, 1.1).map(lambda factor: math.copysign(min(largest * factor, 1.7e308), near))
    nudged = (offsets | edge).flatmap(lambda r: st.sampled_from([r, math.nextafter(r, 0), math.nextafter(r, math.inf)]))
    anything = bit_patterns(torch.float64).map(Tensor.item)
    return value, draw(st.just(near) | nudged | anything | bit_patterns(dtype).map(Tensor.item))


def ulp(reference: Any, form: Format) -> Any:
    """Return one unit in the last place from its definition: 2^(max(floor(log2 |r|), emin) - (p - 1)), r finite."""
    exponent = form.min_exponent if reference == 0 else int(mpmath.frexp(abs(reference))[1]) - 1
    return mpmath.ldexp(1, min(max(exponent, form.min_exponent), form.max_exponent) - (form.precision - 1))


def largest_power(form: Format) -> Any:
    return mpmath.ldexp(1, form.max_exponent)


def truth(value: float, reference: float, form: Format) -> dict[str, Any]:
    """Return the four numbers of a comparison, exact in mpmath. Infinite: cannot be measured."""
    v, r = mpmath.mpf(value), mpmath.mpf(reference)
    equal = value == reference or (math.isnan(value) and math.isnan(reference))
    scale = abs(r) if math.isfinite(reference) else None
    if equal:
        error = relative = ulps = mpmath.mpf(0)
    elif (
        scale is None
        or math.isnan(value)
        or (math.isinf(value) and not math.copysign(1, value) * r >= largest_power(form))
    ):
        error = relative = ulps = mpmath.inf
    else:
        if math.isinf(value):  # stands for all numbers out of range
            first = 2 * largest_power(form)
            v = max(first, r) if value > 0 else min(-first, r)
        error = abs(v - r)
        relative = error / scale if scale else mpmath.inf
        ulps = error / ulp(r, form)
    smallest = mpmath.ldexp(1, form.min_exponent - form.precision + 1)
    tolerance = mpmath.mpf(0) if scale is None else C * (scale * mpmath.ldexp(1, -form.precision) + smallest)
    return {"absolute": error, "relative": relative, "ulps": ulps, "tolerance": tolerance}


def nearest_float(number: Any) -> float:
    """Round to float64, to nearest and ties to even, subnormals and overflow included."""
    if mpmath.isinf(number):
        return math.inf
    man, exp = number.man_exp
    try:
        return float(Fraction(int(man)) * Fraction(2) ** int(exp))
    except OverflowError:
        return math.inf


def columns(comparison: Comparison) -> Iterator[dict[str, float]]:
    """Return the numbers of each element."""
    for row in zip(*(getattr(comparison, name).flatten().tolist() for name in NUMBERS), strict=True):
        yield dict(zip(NUMBERS, row, strict=True))


@every_dtype
@settings(max_examples=200)
@given(data=st.data())
def test_every_number_is_the_exact_one_within_the_rounding_of_float64(dtype: torch.dtype, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(pairs(dtype), min_size=1, max_size=8))
    values, references = torch.stack([v for v, _ in drawn]), torch.tensor([r for _, r in drawn], dtype=torch.float64)
    with mpmath.workprec(PRECISION):
        for (value, reference), got in zip(drawn, columns(compare(values, references)), strict=True):
            exact = {k: nearest_float(v) for k, v in truth(value.item(), reference, FORMATS[dtype]).items()}
            # One subtraction of exact numbers, scaled by powers of two: correctly rounded.
            assert got["ulps"] == exact["ulps"]
            assert got["absolute"] == exact["absolute"]
            # A second rounding, that of the quotient or the sum: 2 · 2**-53, and half a subnormal where it ends there.
            assert got["relative"] == pytest.approx(exact["relative"], rel=2.0**-52, abs=2.0**-1074)
            assert got["tolerance"] == pytest.approx(exact["tolerance"], rel=2.0**-52, abs=2.0**-1074)


@every_dtype
@given(data=st.data())
def test_a_scale_replaces_the_reference_in_the_tolerance_alone(dtype: torch.dtype, data: st.DataObject) -> None:
    value, reference = data.draw(pairs(dtype))
    scale = data.draw(bit_patterns(torch.float64))
    plain, scaled = (compare(value, reference, scale=s) for s in (None, scale))
    form = FORMATS[dtype]
    for name in NUMBERS[:3]:
        assert torch.equal(getattr(plain, name), getattr(scaled, name))
    with mpmath.workprec(PRECISION):
        exact = nearest_float(truth(0.0, scale.item(), form)["tolerance"])
    assert scaled.tolerance.item() == pytest.approx(exact, rel=2.0**-52, abs=2.0**-1074)


@every_dtype
@settings(max_examples=40)
@given(data=st.data())
def test_many_at_once_give_what_each_alone_gives(dtype: torch.dtype, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(pairs(dtype), min_size=2, max_size=30))
    values, references = torch.stack([v for v, _ in drawn]), torch.tensor([r for _, r in drawn], dtype=torch.float64)
    together = columns(compare(values, references))
    alone = (next(columns(compare(value, reference))) for value, reference in drawn)
    assert list(together) == list(alone)


@every_dtype
@given(data=st.data())
def test_a_correctly_rounded_value_is_within_half_an_ulp_and_passes(dtype: torch.dtype, data: st.DataObject) -> None:
    _, reference = data.draw(pairs(dtype))
    comparison = compare(round_to(reference, FORMATS[dtype], dtype), reference)
    assert comparison.max_ulps <= 0.5
    assert comparison.verdict is Verdict.PASS


def round_to(number: float, form: Format, dtype: torch.dtype) -> Tensor:
    """Round a float64 to a dtype once, to nearest and ties to even. torch itself goes through float32: twice."""
    if not math.isfinite(number):
        return torch.tensor(number, dtype=dtype)
    exponent = math.frexp(number)[1] - 1 if number else form.min_exponent
    step = Fraction(2) ** (max(exponent, form.min_exponent) - form.precision + 1)
    rounded = round(Fraction(number) / step) * step
    if abs(rounded) >= Fraction(2) ** (form.max_exponent + 1):
        return torch.tensor(math.copysign(math.inf, number), dtype=dtype)
    return torch.tensor(float(rounded), dtype=torch.float64).to(dtype)


@every_dtype
@given(data=st.data())
def test_neighbours_are_one_ulp_apart(dtype: torch.dtype, data: st.DataObject) -> None:
    number = data.draw(bit_patterns(dtype).filter(lambda t: bool(t.isfinite()) and t != 0))
    mantissa, exponent = math.frexp(abs(number.item()))
    assert compare(neighbour(number, +1), number.to(torch.float64)).max_ulps == 1
    # Below a power of two the grid is twice as fine, but among the subnormals and just above them it is not.
    finer = mantissa == 0.5 and exponent - 1 > FORMATS[dtype].min_exponent
    assert compare(neighbour(number, -1), number.to(torch.float64)).max_ulps == (0.5 if finer else 1)


@every_dtype
def test_formats_agree_with_torch(dtype: torch.dtype) -> None:
    form, info = FORMATS[dtype], torch.finfo(dtype)
    assert 2 * form.unit_roundoff == info.eps
    assert 2.0**form.min_exponent == info.smallest_normal
    assert form.smallest_subnormal == from_bits(1, dtype).item()
    assert math.ldexp(2 - info.eps, form.max_exponent) == info.max


@every_dtype
def test_zeros_are_equal_whatever_their_signs(dtype: torch.dtype) -> None:
    comparison = compare(torch.tensor([0.0, -0.0], dtype=dtype), torch.tensor([-0.0, 0.0]))
    assert comparison.ulps.tolist() == comparison.absolute.tolist() == comparison.relative.tolist() == [0, 0]
    assert comparison.verdict is Verdict.PASS


@every_dtype
def test_what_should_be_zero_is_measured_in_subnormals(dtype: torch.dtype) -> None:
    comparison = compare(from_bits(3, dtype), 0.0)
    assert comparison.max_ulps == 3
    assert comparison.relative.item() == math.inf


@every_dtype
@pytest.mark.parametrize(
    ("multiple", "verdict"),
    [(0, Verdict.PASS), (8, Verdict.PASS), (9, Verdict.WARN), (16, Verdict.WARN), (17, Verdict.FAIL)],
)
def test_verdicts_turn_just_beyond_half_the_tolerance_and_the_whole(
    dtype: torch.dtype, multiple: int, verdict: Verdict
) -> None:
    # Beside a reference of 0 the tolerance is C = 16 of the smallest subnormal, and this value so many of it.
    comparison = compare(from_bits(multiple, dtype), 0.0)
    assert comparison.ratio == multiple / 16
    assert comparison.verdict is verdict


@every_dtype
def test_one_bad_element_decides_the_verdict(dtype: torch.dtype) -> None:
    value = torch.ones(5, dtype=dtype)
    value[3] = 2
    comparison = compare(value, 1.0)
    assert comparison.verdict is Verdict.FAIL
    assert comparison.max_ulps == 2 ** (FORMATS[dtype].precision - 1)


@every_dtype
@pytest.mark.parametrize(
    ("value", "reference", "passes"),
    [
        ("nan", "nan", True),
        ("inf", "inf", True),
        ("-inf", "-inf", True),
        ("nan", "1", False),
        ("1", "nan", False),
        ("nan", "inf", False),
        ("inf", "nan", False),
        ("inf", "-inf", False),
        ("inf", "1", False),
        ("1", "inf", False),
        ("0", "inf", False),
    ],
)
def test_what_is_not_finite_equals_itself_and_nothing_else(
    dtype: torch.dtype, value: str, reference: str, passes: bool
) -> None:
    comparison = compare(torch.tensor(float(value), dtype=dtype), float(reference))
    expected = 0.0 if passes else math.inf
    assert comparison.ratio == comparison.relative.item() == expected
    assert comparison.verdict is (Verdict.PASS if passes else Verdict.FAIL)


@pytest.mark.parametrize(
    ("value", "reference", "ulps", "verdict"),
    [
        (65504, 65504, 0, Verdict.PASS),  # the largest float16; one ulp there is 32
        (65504, 65520 - 2.0**-30, 0.5 - 2.0**-35, Verdict.PASS),  # what this rounds to
        (math.inf, 65520 - 2.0**-30, 0.5 + 2.0**-35, Verdict.PASS),  # torch rounds it to inf, by way of float32
        (math.inf, 65520, 0.5, Verdict.PASS),  # the least that rounds to inf
        (65504, 65520, 0.5, Verdict.PASS),  # the tie is even above, but as near below
        (math.inf, 65504, 1, Verdict.PASS),  # the neighbour
        (65504, 65536, 1, Verdict.PASS),  # a reference just beyond the range
        (math.inf, 65535, 1 / 32, Verdict.PASS),
        (math.inf, 65536, 0, Verdict.PASS),
        (math.inf, 1e6, 0, Verdict.PASS),  # what this rounds to
        (math.inf, 65536 - 32 * 8, 8, Verdict.WARN),
        (math.inf, 65536 - 32 * 16, 16, Verdict.FAIL),  # as far as a finite value may not be either
        (65536 - 32 * 16, 65504, 15, Verdict.WARN),
        (65504, 1e6, (1e6 - 65504) / 32, Verdict.FAIL),  # clipped instead of overflown
        (math.inf, 32768, 1024, Verdict.FAIL),
        (math.inf, 32767, math.inf, Verdict.FAIL),  # infinitely wrong
        (-math.inf, 65504, math.inf, Verdict.FAIL),
        (-math.inf, 1e6, math.inf, Verdict.FAIL),
        (-math.inf, -65504, 1, Verdict.PASS),
        (math.inf, math.inf, 0, Verdict.PASS),
        (65504, math.inf, math.inf, Verdict.FAIL),
    ],
)
def test_an_overflow_stands_for_the_numbers_out_of_range(
    value: float, reference: float, ulps: float, verdict: Verdict
) -> None:
    comparison = compare(torch.tensor(value, dtype=torch.float16), reference)
    assert comparison.max_ulps == ulps
    assert comparison.absolute.item() == ulps * 32
    assert comparison.verdict is verdict


def test_the_largest_float64_and_infinity_are_neighbours_too() -> None:
    largest = torch.finfo(torch.float64).max
    comparison = compare(torch.tensor(math.inf, dtype=torch.float64), largest)
    assert comparison.max_ulps == 1
    assert comparison.absolute.item() == 2.0**971


def test_a_difference_beyond_float64_is_infinite() -> None:
    largest = torch.finfo(torch.float64).max
    comparison = compare(torch.tensor(-largest, dtype=torch.float64), largest)
    assert comparison.absolute.item() == comparison.ratio == math.inf
    assert comparison.max_ulps == 2 * (2.0**53 - 1)
    assert comparison.verdict is Verdict.FAIL


def test_terms_that_cancel_are_forgiven_only_where_their_scale_is_told() -> None:
    terms = torch.tensor([1e6, -1e6, 0.1], dtype=torch.float32)
    value = (terms[0] + terms[2]) + terms[1]  # 0.125: the third term was rounded to the ulp of 1e6
    reference = terms.to(torch.float64).sum()
    assert compare(value, reference).verdict is Verdict.FAIL
    assert compare(value, reference, scale=terms.abs().sum()).verdict is Verdict.PASS


@pytest.mark.parametrize("scale", [math.inf, math.nan])
def test_a_scale_that_is_not_finite_allows_no_error(scale: float) -> None:
    one = torch.tensor(1.0)
    assert compare(one, 1.0, scale=scale).verdict is Verdict.PASS
    assert compare(neighbour(one, 1), 1.0, scale=scale).verdict is Verdict.FAIL


def test_a_python_reference_keeps_its_float64_digits() -> None:
    assert compare(torch.tensor(0.1, dtype=torch.float64), 0.1).max_ulps == 0
    assert compare(torch.tensor(2.0**60, dtype=torch.float64), 2**60 + 256).max_ulps == 1


def test_a_scalar_stands_beside_every_element() -> None:
    value = torch.tensor([[1.0, 1.5], [2.0, 1.0]])
    for reference in (1.0, 1, torch.tensor(1.0), torch.tensor(1)):
        comparison = compare(value, reference, scale=2)
        assert comparison.absolute.tolist() == [[0.0, 0.5], [1.0, 0.0]]
        assert comparison.reference.shape == comparison.tolerance.shape == value.shape


@pytest.mark.parametrize("shape", [(3,), (2, 1), (1,), (1, 2), (0,), (2, 2, 1)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    value = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"value has shape \(2, 2\), its reference"):
        compare(value, torch.zeros(shape))
    with pytest.raises(ValueError, match=r"value has shape \(2, 2\), its scale"):
        compare(value, value, scale=torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64, torch.complex128])
def test_another_dtype_is_refused_by_name(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"float64.*float32.*bfloat16.*float16.*not {dtype}"):
        compare(torch.ones(2, dtype=dtype), torch.ones(2))


def test_a_complex_reference_or_scale_is_refused() -> None:
    value, imaginary = torch.ones(2), torch.ones(2, dtype=torch.complex64)
    with pytest.raises(TypeError, match=r"real reference, not torch\.complex64"):
        compare(value, imaginary)
    with pytest.raises(TypeError, match=r"real scale, not torch\.complex64"):
        compare(value, value, scale=imaginary)


@every_dtype
@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_nothing_agrees_with_nothing(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    comparison = compare(torch.empty(shape, dtype=dtype), torch.empty(shape))
    assert (comparison.ratio, comparison.max_ulps, comparison.verdict) == (0, 0, Verdict.PASS)
    assert comparison.ulps.shape == shape
    assert compare(torch.empty(shape, dtype=dtype), 1.0).verdict is Verdict.PASS


def test_tracked_tensors_are_compared_without_being_recorded() -> None:
    value, reference, scale = (torch.ones(2, requires_grad=True) for _ in range(3))
    comparison = compare(value * 1, reference * 1, scale=scale * 1)
    for tensor in (comparison.value, comparison.reference, *(getattr(comparison, name) for name in NUMBERS)):
        assert not tensor.requires_grad


def test_a_comparison_outlives_its_gradient() -> None:
    gradient, reference = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.0], dtype=torch.float64)
    comparison = compare(gradient, reference)
    before = comparison.to_json()
    gradient.zero_()
    reference.zero_()
    assert comparison.to_json() == before
    assert comparison.value.tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    "layout",
    [
        lambda t: t.t().contiguous().t(),
        lambda t: torch.stack([t, t], dim=-1)[..., 0],
        lambda t: t.repeat_interleave(2, dim=1)[:, ::2],
        lambda t: t.flip(0).flip(0),
        lambda t: t[:, :1].expand(3, 4),
        lambda t: t[0, 0].expand(3, 4),
    ],
    ids=["transposed", "strided", "sliced", "flipped", "expanded", "one-element"],
)
def test_the_layout_of_the_tensors_does_not_matter(layout: Any) -> None:
    value = layout(torch.rand(3, 4, generator=torch.Generator().manual_seed(0)))
    reference = layout(torch.rand(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    dense = compare(value.contiguous(), reference.contiguous())
    laid_out = compare(value, reference, scale=reference)
    for name in ("value", "reference", *NUMBERS):
        assert torch.equal(getattr(laid_out, name), getattr(dense, name))


@every_dtype
@settings(max_examples=40)
@given(data=st.data())
def test_json_is_strict_and_reads_back_to_the_same_numbers(dtype: torch.dtype, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(pairs(dtype), max_size=6))
    values = torch.stack([v for v, _ in drawn]) if drawn else torch.empty(0, dtype=dtype)
    comparison = compare(values, torch.tensor([r for _, r in drawn], dtype=torch.float64), name="dy/dx = 2x")
    text = json.dumps(comparison.to_json(), allow_nan=False)
    read = json.loads(text, parse_constant=pytest.fail)
    assert read == comparison.to_json()
    assert (read["name"], read["verdict"]) == ("dy/dx = 2x", str(comparison.verdict))
    assert getattr(torch, read["dtype"]) == dtype
    for name in ("value", "reference", *NUMBERS):
        again = torch.tensor([float(number) for number in read[name]], dtype=torch.float64)
        assert same_bits_but_nan(again, getattr(comparison, name).to(torch.float64))


def same_bits_but_nan(a: Tensor, b: Tensor) -> bool:
    """Are they the same numbers, the sign of zero included? Nans have no payload in JSON."""
    both_nan = a.isnan() & b.isnan()
    return bool((both_nan | (a.view(torch.int64) == b.view(torch.int64))).all())


def test_json_of_a_scalar_and_of_a_matrix_has_their_shapes() -> None:
    assert compare(torch.tensor(1.0), math.inf).to_json()["reference"] == "inf"
    assert compare(torch.tensor([[1.0, math.nan]]), 1.0).to_json()["value"] == [[1.0, "nan"]]


@example("float16", "cpu")
@given(st.sampled_from(["float16", "float64"]), st.sampled_from(["cpu", "meta"]))
def test_the_defaults_for_new_tensors_do_not_matter(dtype: str, device: str) -> None:
    value, reference = torch.tensor([1 / 3, 65504.0]), torch.tensor([1 / 3, 65505.0], dtype=torch.float64)
    expected = compare(value, 1 / 3, scale=0.1).to_json(), compare(value, reference).to_json()
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            assert (compare(value, 1 / 3, scale=0.1).to_json(), compare(value, reference).to_json()) == expected
    finally:
        torch.set_default_dtype(before)


def test_gradients_compare_on_every_device_and_in_every_dtype(place: Place) -> None:
    x = torch.tensor([0.5, -3.0, 0.0], device=place.device, dtype=place.dtype, requires_grad=True)
    (x**2).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    comparison = compare(x.grad, 2 * x)
    assert comparison.max_ulps == 0
    assert comparison.dtype == place.dtype
    assert comparison.value.device == comparison.ulps.device == torch.device("cpu")
    assert compare(x.grad + 1, 2 * x).verdict is Verdict.FAIL
