"""How far is a gradient from its reference, and is that more than arithmetic allows?

The one comparison of the lab: lesson, judge, verifier, run record and report all read it. It needs nothing
but torch, and answers elementwise, exactly also for zeros, subnormals, infinities and nans.

Error is measured in ulps of the dtype in which the gradient was computed, as |value - reference| / ulp(reference)
(J.-M. Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed., section 2.3.2), so 0.5 is the error of a
correctly rounded result. The reference is kept in float64, finer than every dtype but float64 itself.

Where a reference is beyond the largest power of two of the dtype, an infinite value of its sign stands for every
number from the next power of two on. So the neighbour of the largest finite number is 1 ulp from it, as any other
neighbour, and the infinity that an overflowing reference rounds to is at most 1/2 ulp off. Beside any other
reference an infinity is infinitely wrong.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# How many honest errors an error may be before it is no rounding error. docs/verification.md has the evidence, gathered
# where a measured spread is part of what one honest error is; without one, as here, C is stricter. The lessons' own
# gradients stay below half of it for all parameters and dtypes that tests/test_lesson_forms.py and _06.py try.
C = 16.0


class Verdict(enum.StrEnum):
    """PASS: within half of the tolerance. WARN: within the tolerance. FAIL: beyond it."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Format:
    """A binary floating point format: significand bits (the implicit one counts) and exponent range."""

    precision: int
    min_exponent: int
    max_exponent: int

    @property
    def unit_roundoff(self) -> float:
        """u = 2**-precision, the largest relative error of one rounding."""
        return 2.0**-self.precision

    @property
    def smallest_subnormal(self) -> float:
        """The distance between zero and its neighbour."""
        return 2.0 ** (self.min_exponent - self.precision + 1)


# Exponents as in IEEE 754: the smallest normal number is 2**min_exponent, the largest below 2**(max_exponent + 1).
FORMATS = {
    torch.float64: Format(53, -1022, 1023),
    torch.float32: Format(24, -126, 127),
    torch.bfloat16: Format(8, -126, 127),
    torch.float16: Format(11, -14, 15),
}


@dataclass(frozen=True, eq=False)  # tensors have no equality that is True or False
class Comparison:
    """A value beside its reference.

    value: (...), in the working dtype, on the CPU, a copy. reference, absolute, relative, ulps, tolerance: (...),
    float64, on the CPU. ulps is in units in the last place of the working dtype; absolute and tolerance have
    the unit of the value. Errors are never nan: what cannot be measured is infinite.
    """

    name: str
    value: Tensor
    reference: Tensor
    absolute: Tensor
    relative: Tensor
    ulps: Tensor
    tolerance: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """The working dtype."""
        return self.value.dtype

    @property
    def ratio(self) -> float:
        """The largest error over its tolerance: above 1 is a failure. Empty tensors give 0."""
        if self.value.numel() == 0:
            return 0.0
        return float(torch.where(self.absolute == 0, 0.0, self.absolute / self.tolerance).max())

    @property
    def verdict(self) -> Verdict:
        """PASS, WARN or FAIL."""
        return Verdict.PASS if self.ratio <= 0.5 else Verdict.WARN if self.ratio <= 1 else Verdict.FAIL

    @property
    def max_ulps(self) -> float:
        """The largest error in ulps; 0 for empty tensors."""
        return float(self.ulps.max()) if self.ulps.numel() else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain data; non-finite numbers are the strings nan, inf and -inf."""
        columns = ("value", "reference", "absolute", "relative", "ulps", "tolerance")
        numbers = {name: plain(getattr(self, name).to(torch.float64)) for name in columns}
        dtype = str(self.dtype).removeprefix("torch.")
        return {"name": self.name, "dtype": dtype, **numbers, "verdict": str(self.verdict)}


def compare(
    value: Tensor, reference: Tensor | float, *, name: str = "", scale: Tensor | float | None = None
) -> Comparison:
    """Compare a gradient with its reference, elementwise.

    value: (...), float64, float32, bfloat16 or float16, on any device. reference: (...) or a scalar, taken to
    float64. scale: (...) or a scalar, the magnitude of the terms whose sum the value is, where they cancel; by
    default |reference|. The tolerance is C (u · scale + smallest subnormal), and 0 where the scale is not finite.

    Zeros are equal whatever their signs, nan equals nan, an infinity the same infinity. A finite value is
    infinitely far from an infinite reference. Raises: TypeError for an integer value and for anything complex,
    ValueError for another shape.
    """
    form = FORMATS.get(value.dtype)
    if form is None:
        raise TypeError(f"compare takes {', '.join(map(str, FORMATS))}, not {value.dtype}")
    value = value.detach().to("cpu", copy=True)  # a later zero_() of the gradient does not reach a copy
    got, truth = value.to(torch.float64), _float64(reference, value.shape, "reference")
    magnitude = truth.abs() if scale is None else _float64(scale, value.shape, "scale").abs()
    exponent = ulp_exponent(truth, form)
    ulps = _ulps(got, truth, exponent, form)
    absolute = torch.where(got.isinf(), _scale(ulps, exponent), (got - truth).abs())
    same = (got == truth) | (got.isnan() & truth.isnan())
    errors = (torch.where(same, 0.0, error) for error in (absolute, absolute / truth.abs(), ulps))
    absolute, relative, ulps = (error.nan_to_num(nan=math.inf, posinf=math.inf) for error in errors)
    tolerance = C * form.unit_roundoff * magnitude + C * form.smallest_subnormal
    return Comparison(name, value, truth, absolute, relative, ulps, tolerance.nan_to_num(nan=0.0, posinf=0.0))


def ulp_exponent(reference: Tensor, form: Format) -> Tensor:
    """Return e where 2**e is one unit in the last place of the reference. reference: (...), float64; e: (...)."""
    exponent = torch.frexp(reference).exponent - 1  # frexp's mantissa is in [1/2, 1), IEEE's in [1, 2)
    exponent = torch.where(reference == 0, form.min_exponent, exponent)
    return exponent.clamp(form.min_exponent, form.max_exponent) - (form.precision - 1)


def _ulps(value: Tensor, reference: Tensor, exponent: Tensor, form: Format) -> Tensor:
    """Return |value - reference| / 2**exponent. Both are scaled before they are subtracted: no overflow."""
    scaled, truth = _scale(value, -exponent), _scale(reference, -exponent)
    sign = value.sign()
    near = sign * reference >= 2.0**form.max_exponent
    # Counted in ulps of the largest numbers, those out of range begin at 2**precision.
    overflow = torch.where(near, (2.0**form.precision - sign * truth).clamp(min=0), math.inf)
    return torch.where(value.isinf(), overflow, (scaled - truth).abs())


def _scale(number: Tensor, exponent: Tensor) -> Tensor:
    """Return number · 2**exponent, in two halves: torch 2.10 multiplies by 2**exponent, which alone may overflow."""
    half = exponent.div(2, rounding_mode="floor")
    return torch.ldexp(torch.ldexp(number, half), exponent - half)


def _float64(number: Tensor | float, shape: torch.Size, what: str) -> Tensor:
    """Return a copy in float64, on the CPU, a scalar repeated to the shape."""
    if not isinstance(number, Tensor):
        return torch.full(shape, float(number), dtype=torch.float64, device="cpu")
    if number.is_complex():
        raise TypeError(f"compare takes a real {what}, not {number.dtype}")
    if number.ndim and number.shape != shape:
        raise ValueError(f"value has shape {tuple(shape)}, its {what} {tuple(number.shape)}")
    # Moved before it is widened: not every device has float64.
    return number.detach().cpu().to(torch.float64).expand(shape).clone()


def plain(numbers: Any) -> Any:
    """Return a tensor as nested lists of floats that strict JSON can hold: nan, inf and -inf become strings."""
    if isinstance(numbers, Tensor):
        return plain(numbers.tolist())
    if isinstance(numbers, list):
        return [plain(number) for number in numbers]
    return numbers if math.isfinite(numbers) else str(numbers)
