"""How far rounding alone can move a gradient: the float64 program, rounded at random to a coarser grid.

Monte Carlo arithmetic: D. S. Parker, Monte Carlo Arithmetic: exploiting randomness in floating-point arithmetic,
UCLA CSD-970002, 1997. Conditioning is measured on the program that runs, not guessed from its name.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lab.compare import Format

_EXPONENT_BITS = 0x7FF0_0000_0000_0000  # of a float64: without its mantissa a number is a power of two
# Errors of decompositions, solvers and transforms are small beside the largest element of what they are given, not
# beside each: N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002, chapters 9, 10, 19 and 24.
# So are those of a sampler, which turns coordinates near 0 into pixel numbers far from it.
_NORMWISE = ("linalg_", "_linalg_", "_fft_", "cholesky", "ormqr", "geqrf", "matrix_exp", "grid_sampler")
_ENOUGH = 64  # numbers of a result that are looked for among the arguments


class StochasticRounding(TorchDispatchMode):
    """Round every inexact float64 result to one of its two neighbours on the grid of a format, at random.

    The inputs of an inexact operation that is not pointwise (a sum, a product, a convolution) move by up to one ulp
    first: inside it are roundings that no dispatcher sees. An operation whose result is on the grid was exact, or
    moved numbers about, and is left alone. source: where the randomness comes from.
    """

    def __init__(self, form: Format, source: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._form, self._source = form, source

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run one aten operation, then round what it returns."""
        kwargs = kwargs or {}
        if func is torch.ops.aten._efficientzerotensor.default:
            return torch.zeros(*args, **kwargs)  # in a mode torch would read the memory that it does not have
        result = func(*args, **kwargs)
        if func.is_view or self._is_exact(result, args):
            return result
        normwise = func._schema.name.partition("::")[2].startswith(_NORMWISE)
        if torch.Tag.pointwise not in func.tags and not func._schema.is_mutable:
            nudge = partial(self._nudge, normwise=normwise)
            with suppress(RuntimeError):  # an input at the edge of its domain may have left it
                result = func(*tree_map(nudge, args), **tree_map(nudge, kwargs))
            if normwise:
                result = tree_map(nudge, result)
        return tree_map(self._round, result)

    def _is_exact(self, result: Any, args: tuple[Any, ...]) -> bool:
        wide = [_real(x) for x in tree_leaves(result) if _is_wide(x)]
        if self._form.precision == 53:
            return all(_is_of(x, args) for x in wide)
        return all(_on_grid(x, self._form) for x in wide)

    def _nudge(self, x: Any, *, normwise: bool) -> Any:
        if not _is_wide(x):
            return x
        real = _real(x)
        steps = torch.randint(-1, 2, real.shape, generator=self._source, dtype=torch.int8).to(torch.float64)
        ulp = _ulp(real.abs().amax() if normwise else real, self._form)
        nudged = torch.where(real.isfinite(), real + steps * ulp, real)
        return torch.view_as_complex(nudged) if x.is_complex() else nudged

    def _round(self, x: Any) -> Any:
        """Round a result; in place, for it may be a tensor that the operation wrote into."""
        if _is_wide(x):
            real = _real(x)
            real.copy_(round_stochastically(real, self._form, self._source))
        return x


def round_stochastically(x: Tensor, form: Format, source: torch.Generator) -> Tensor:
    """Return a neighbour of each number on the grid of a format: the nearer, the likelier. x: (...), float64.

    Beyond the largest number it is an infinity; an infinity or a nan stays what it is. On float64's own grid a number
    moves by -1, 0 or 1 ulp: whether it was exact cannot be seen.
    """
    noise = torch.rand(x.shape, generator=source, dtype=torch.float64)
    ulp = _ulp(x, form)
    if form.precision == 53:
        return torch.where(x.isfinite(), x + ulp * noise.mul(2).sub(1).round(), x)
    rounded = x.div(ulp).add(noise).floor().mul(ulp)
    rounded = torch.where(rounded.abs() < 2.0 ** (form.max_exponent + 1), rounded, rounded.sign() * torch.inf)
    return torch.where(x.isfinite(), rounded, x)


def _ulp(x: Tensor, form: Format) -> Tensor:
    """Return one unit in the last place of each number, infinite or nan where the number is."""
    power = x.contiguous().view(torch.int64).bitwise_and(_EXPONENT_BITS).view(torch.float64)
    return power.clamp(min=2.0**form.min_exponent).mul(2.0 ** (1 - form.precision))


def _on_grid(x: Tensor, form: Format) -> bool:
    """Say whether every number is on the grid of a format coarser than float64."""
    scaled = x.div(_ulp(x, form))
    return bool((scaled == scaled.floor()).logical_or(~x.isfinite()).all())


def _is_of(x: Tensor, args: tuple[Any, ...]) -> bool:
    """Say whether every number has few bits or is one of the arguments' own, which then were only moved about."""
    unknown = x[x != x.to(torch.float32)][:_ENOUGH]
    if not unknown.numel():
        return True
    given = [_real(y).flatten() for y in tree_leaves(args) if _is_wide(y)]
    return bool(given) and bool(torch.isin(unknown, torch.cat(given)).all())


def _is_wide(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype in (torch.float64, torch.complex128) and x.numel() > 0


def _real(x: Tensor) -> Tensor:
    """Return the numbers of a complex tensor as real ones. x: (...); result: (..., 2), or x where it is real."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
