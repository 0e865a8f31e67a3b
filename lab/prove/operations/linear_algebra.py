"""Matrix decompositions, systems and Fourier transforms. Each makes a well-conditioned matrix of what it is given."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lab.prove.operation import Operation, tensor

L = torch.linalg
_MATRIX = (tensor("b k k", -1.0, 1.0),)
_LENGTHS = {"large": {"b": 5, "k": 82}}
_EVEN = {"large": {"n": 190, "m": 180}}  # of small factors: a large prime takes another algorithm
_NOT_EXPANDED = ("contiguous", "permuted", "strided")  # equal rows: singular values that coincide have no gradient
_TERMS = ("k",)


def _dominant(a: Tensor) -> Tensor:
    """Return a + a multiple of the identity that outweighs it, far from singular."""
    return a + a.shape[-1] * torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)


def _spread(a: Tensor) -> Tensor:
    """Return a + diag(1, 3, 5, …), whose eigenvalues and singular values stay apart."""
    return a / 4 + torch.diag(2 * torch.arange(a.shape[-1], dtype=a.dtype, device=a.device) + 1)


def _symmetric(a: Tensor) -> Tensor:
    return a + a.mT


def _svd(a: Tensor) -> tuple[Tensor, Tensor]:
    u, s, vh = L.svd(_spread(a))
    return (u * s.unsqueeze(-2)) @ vh, s  # the signs of u and v are free


def _qr(a: Tensor) -> tuple[Tensor, Tensor]:
    q, r = L.qr(_dominant(a))
    sign = r.detach().diagonal(dim1=-2, dim2=-1).sign()
    return q * sign.unsqueeze(-2), r * sign.unsqueeze(-1)


def _eigh(a: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = L.eigh(_symmetric(_spread(a)))
    return values, vectors.square()  # the sign of an eigenvector is free


def _slogdet(a: Tensor) -> Tensor:
    logabsdet: Tensor = L.slogdet(_dominant(a)).logabsdet
    return logabsdet


def _triangular(a: Tensor, b: Tensor) -> Tensor:
    solution: Tensor = L.solve_triangular(_dominant(a).triu(), b, upper=True)
    return solution


def _fft(transform: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def transformed(x: Tensor) -> Tensor:
        return torch.view_as_real(transform(x))

    return transformed


def _irfft(x: Tensor) -> Tensor:
    transformed: Tensor = torch.fft.irfft(torch.complex(x[..., 0], x[..., 1]))
    return transformed


LINEAR_ALGEBRA: tuple[Operation, ...] = (
    Operation("cholesky", lambda a: L.cholesky(_dominant(_symmetric(a))), _MATRIX, reductions=_TERMS, lengths=_LENGTHS),
    Operation("det", lambda a: L.det(_dominant(a) / a.shape[-1]), _MATRIX, reductions=_TERMS, lengths=_LENGTHS),
    Operation("eigh", _eigh, _MATRIX, reductions=_TERMS, lengths=_LENGTHS, layouts=_NOT_EXPANDED),
    Operation("inv", lambda a: L.inv(_dominant(a)), _MATRIX, reductions=_TERMS, lengths=_LENGTHS),
    Operation("matrix_exp", lambda a: L.matrix_exp(a / 4), _MATRIX, reductions=("k k",),
              lengths={"large": {"b": 37, "k": 30}}),
    Operation("qr", _qr, _MATRIX, reductions=_TERMS, lengths=_LENGTHS),
    Operation("slogdet", _slogdet, _MATRIX, reductions=_TERMS, lengths=_LENGTHS),
    Operation("solve", lambda a, b: L.solve(_dominant(a), b), (*_MATRIX, tensor("b k m")), reductions=_TERMS,
              lengths={"large": {"b": 5, "k": 82, "m": 7}}),
    Operation("solve_triangular", _triangular, (*_MATRIX, tensor("b k m")), reductions=_TERMS,
              lengths={"large": {"b": 5, "k": 82, "m": 7}}),
    Operation("svd", _svd, _MATRIX, reductions=_TERMS, lengths=_LENGTHS, layouts=_NOT_EXPANDED),
    Operation("svdvals", lambda a: L.svdvals(_spread(a)), _MATRIX, reductions=_TERMS, lengths=_LENGTHS,
              layouts=_NOT_EXPANDED),
    Operation("fft2", _fft(torch.fft.fft2), (tensor("n m"),), reductions=("n m",), lengths=_EVEN),
    Operation("irfft", _irfft, (tensor("n m 2"),), reductions=("m",), lengths={"large": {"n": 190, "m": 97}}),
    Operation("rfft", _fft(torch.fft.rfft), (tensor("n m"),), reductions=("m",), lengths=_EVEN),
)  # fmt: skip
