"""The golden file: references measured once, on one machine, so that a machine is not its own judge.

It holds every small and odd problem of seed 0; large pointwise problems repeat an odd one. Each entry carries the
fingerprint of its numbers: a changed row is noticed, and measured anew where it is needed. `make golden` writes it.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.compare import FORMATS
from lab.errors import StorageError
from lab.prove.case import Problem
from lab.prove.numbers import draw_numbers
from lab.prove.reference import Reference

PATH = Path(__file__).parent / "golden.npz"
SCHEMA = 1
GUARD_BITS = 8  # of a value, beyond the working dtype's precision; the rest of float64 would only be weight
STEPS = 16  # of a distance, in each power of two; rounded up
Arrays = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]  # value, spread and baseline
_ZERO, _INFINITE = -32768, 32767


@dataclass(frozen=True)
class Golden:
    """The file's content. values, spreads, baselines: (elements,), float64, all gradients one after another.

    index: fingerprint, first element and shapes of the gradients, by problem id. formulas: the operation, sample and
    dtype of those whose formula is known to lose more than rounding explains, on the CPU that made the file.
    """

    index: Mapping[str, tuple[str, int, list[list[int]]]]
    values: Tensor
    spreads: Tensor
    baselines: Tensor
    formulas: frozenset[tuple[str, str, str]]
    about: Mapping[str, Any]

    def find(self, problem: Problem) -> tuple[Reference, ...] | None:
        """Return the references of a problem, None where the file has none for these numbers."""
        entry = self.index.get(problem.id)
        if entry is None or entry[0] != draw_numbers(problem).fingerprint:
            return None
        _, start, shapes = entry
        found = []
        for shape in shapes:
            end = start + math.prod(shape)
            found.append(Reference(*(x[start:end].view(shape) for x in (self.values, self.spreads, self.baselines))))
            start = end
        return tuple(found)

    @cached_property
    def problems(self) -> list[Problem]:
        """The problems that the file knows."""
        return [_parse_problem(word) for word in self.index]


def pack_golden(
    measured: Mapping[Problem, list[Arrays]], formulas: set[tuple[str, str, str]], about: Mapping[str, Any]
) -> bytes:
    """Return the file's bytes. The same references give the same bytes."""
    index, start = {}, 0
    values, spreads, baselines = [], [], []
    for problem, references in measured.items():
        index[problem.id] = (
            draw_numbers(problem).fingerprint,
            start,
            [list(value.shape) for value, _, _ in references],
        )
        for value, spread, baseline in references:
            values.append(_shorten(value.ravel(), problem.dtype))
            spreads.append(_encode(spread.ravel()))
            baselines.append(_encode(baseline.ravel()))
            start += value.size
    facts = {"schema": SCHEMA, "about": about, "index": index, "formulas": sorted(formulas)}
    head = json.dumps(facts, sort_keys=True)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        head=np.frombuffer(head.encode(), np.uint8),
        values=_shuffle(np.concatenate(values)),
        spreads=_shuffle(np.concatenate(spreads)),
        baselines=_shuffle(np.concatenate(baselines)),
    )
    return buffer.getvalue()


def load_golden(path: Path = PATH) -> Golden:
    """Read the golden file. Raises: StorageError where it is not there or not whole."""
    try:
        # Opened here: of a file that is no archive, np.load leaves its own handle open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            head = json.loads(file["head"].tobytes())
            if head["schema"] != SCHEMA:
                raise ValueError(f"it has schema {head['schema']}, not {SCHEMA}")
            values = torch.from_numpy(_unshuffle(file["values"], np.float64))
            codes = (_unshuffle(file[name], np.int16) for name in ("spreads", "baselines"))
            spreads, baselines = (torch.from_numpy(_decode(code)) for code in codes)
        formulas = frozenset((op, sample, dtype) for op, sample, dtype in head["formulas"])
        return Golden(head["index"], values, spreads, baselines, formulas, head["about"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StorageError(
            f"The golden file {path} could not be read: {error}.",
            "Expected the references that come with the lab.",
            "Type 'git checkout lab/prove/golden.npz', or 'make golden' to measure them anew.",
        ) from None


def _shorten(values: NDArray[np.float64], dtype: str) -> NDArray[np.float64]:
    """Round to a few bits more than the working dtype has."""
    bits = min(FORMATS[getattr(torch, dtype)].precision + GUARD_BITS, 53)
    mantissa, exponent = np.frexp(values)
    shortened: NDArray[np.float64] = np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)
    return shortened


def _encode(distances: NDArray[np.float64]) -> NDArray[np.int16]:
    with np.errstate(divide="ignore"):
        codes = np.ceil(np.log2(distances) * STEPS)
    return np.where(distances == 0, _ZERO, np.where(np.isinf(distances), _INFINITE, codes)).astype(np.int16)


def _decode(codes: NDArray[np.int16]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        distances = np.exp2(codes.astype(np.float64) / STEPS)
    return np.where(codes == _ZERO, 0.0, np.where(codes == _INFINITE, np.inf, distances))


def _shuffle(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """Put the bytes of one significance side by side, where they resemble each other and compress."""
    return np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, numbers.itemsize).T)


def _unshuffle(planes: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:
    return np.ascontiguousarray(planes.T).reshape(-1).view(dtype)


def _parse_problem(word: str) -> Problem:
    op, sample, dtype, size, repeated, uniform, seed = word.split("/")
    return Problem(op, sample, dtype, size, repeated == "True", uniform == "True", int(seed))
