"""What differs between two runs: what went in, what came out, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.run.index import FAIL, read_record
from lab.run.record import numbers
from lab.run.volatile import mask_volatile

Pair = tuple[Any, Any]
_INPUTS = ("notebook", "parameters", "lock", "environment")
_RESULTS = ("status", "error", "cells", "claims", "pictures", "canonical")


@dataclass(frozen=True)
class Difference:
    """What differs between runs a and b, as pairs by name; None stands for what one of them does not have.

    inputs: notebook, parameters, lock and environment. results: status, error, cells, claims, pictures and the
    canonical notebook. comparisons: each gradient that differs: its name, and what each run has of it. ratios: b over
    a, of seconds and of memory, which are no result.
    """

    inputs: dict[str, Pair]
    results: dict[str, Pair]
    comparisons: list[dict[str, Any]]
    ratios: dict[str, float]

    @property
    def same(self) -> bool:
        """Whether both came to the same results, whatever went in and whatever it cost."""
        return not (self.results or self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"same": self.same, **asdict(self)}


def compare_records(a: Mapping[str, Any], b: Mapping[str, Any]) -> Difference:
    """Return what differs between what two run.json hold."""
    return Difference(
        inputs=_differing(a, b, _INPUTS),
        results=_differing(a, b, _RESULTS),
        comparisons=list(_differing_comparisons(a["comparisons"], b["comparisons"])),
        ratios=_ratios(a["timing"], b["timing"]),
    )


def read_result(path: Path) -> dict[str, Any]:
    """Return the record of a run, with the digest of its canonical notebook also where it was written without.

    Raises: StorageError.
    """
    record = read_record(path)
    if "canonical" not in record:
        from lab.run.canonical import canonical_digest
        from lab.run.executed import read_executed

        record["canonical"] = canonical_digest(read_executed(path, record))
    return record


def worst_ulps(comparison: Mapping[str, Any]) -> float:
    """Return the largest error of a comparison in ulps, 0 for empty tensors. comparison: as run.json has it."""
    return max(numbers(comparison["ulps"]), default=0.0)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Pair]:
    ours, theirs = (dict(_leaves({key: record.get(key) for key in keys})) for record in (a, b))
    names = dict.fromkeys([*ours, *theirs])
    pairs = {name: (ours.get(name), theirs.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _leaves(data: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is no container with its place, such as ('environment.torch', '2.13.0')."""
    if isinstance(data, dict | list) and data:
        for key, part in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, mask_volatile(data)  # an error's message may name an address


def _differing_comparisons(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the gradients that differ; those of one name are matched in their order."""
    ours, theirs = _numbered(a), _numbered(b)
    for name in dict.fromkeys([*ours, *theirs]):
        left, right = ours.get(name), theirs.get(name)
        if left != right:
            yield {"name": name[0], "a": _brief(left), "b": _brief(right)}


def _numbered(rows: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    found: dict[tuple[str, int], dict[str, Any]] = {}
    counts: dict[str, int] = {}
    for row in rows:
        name = str(row.get("name"))
        counts[name] = counts.get(name, -1) + 1
        found[name, counts[name]] = row
    return found


def _brief(row: dict[str, Any] | None) -> dict[str, Any] | None:
    return row and {key: row.get(key) for key in ("dtype", "value", "reference", "ulps", "verdict")}


def _ratios(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, float]:
    ours, theirs = ({"seconds": timing["seconds"], **_memory(timing)} for timing in (a, b))
    return {name: round(theirs[name] / ours[name], 3) for name in ours if ours[name] and theirs.get(name)}


def _memory(timing: Mapping[str, Any]) -> dict[str, float]:
    memory = timing.get("memory")
    found = memory.items() if isinstance(memory, dict) else ()
    return {f"memory.{key}": size for key, size in found if isinstance(size, int | float)}


def worst_comparisons(record: Mapping[str, Any], count: int) -> list[tuple[float, dict[str, Any]]]:
    """Return the comparisons with the largest errors, those that fail first, each with its error in ulps."""
    found = [(worst_ulps(row), row) for row in record["comparisons"]]
    return sorted(found, key=lambda one: (one[1]["verdict"] != FAIL, -one[0]))[:count]
