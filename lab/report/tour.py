"""A tour under outputs/tour/: tour.json, what each part of it came to on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.device import environment
from lab.provenance import code, lock
from lab.store import digest, publishing, write_json

SCHEMA = 1


@dataclass(frozen=True)
class Command:
    """One command of a part. words: what follows ``lab``."""

    words: tuple[str, ...]
    exit_code: int


@dataclass(frozen=True)
class PartResult:
    """What a part came to. results: the folders that it published, from outputs."""

    name: str
    commands: tuple[Command, ...]
    results: tuple[str, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """That of the first command that failed, or 0."""
        return next((command.exit_code for command in self.commands if command.exit_code), 0)

    @property
    def verdict(self) -> str:
        """``pass`` or ``fail``."""
        return "fail" if self.exit_code else "pass"

    def to_json(self) -> dict[str, Any]:
        """Return what tour.json holds of it."""
        commands = [{"words": list(command.words), "exit_code": command.exit_code} for command in self.commands]
        return {"name": self.name, "verdict": self.verdict, "commands": commands, "results": list(self.results)}


def tour_result(parts: Sequence[PartResult], device: str, *, quick: bool, started: str) -> dict[str, Any]:
    """Return what tour.json holds. device: the one that was resolved. started: in ISO 8601, UTC."""
    facts, pins = environment(device), lock()
    return {
        "schema": SCHEMA,
        "key": digest([[part.name for part in parts], device, quick, facts, pins["digest"], code()]),
        "verdict": "pass" if all(part.verdict == "pass" for part in parts) else "fail",
        "device": device,
        "quick": quick,
        "parts": [part.to_json() for part in parts],
        "lock": pins,
        "environment": facts,
        "timing": {
            "started": started,
            "seconds": round(sum(part.seconds for part in parts), 3),
            "parts": [round(part.seconds, 3) for part in parts],
        },
    }


def publish_tour(result: dict[str, Any], outputs: Path) -> Path:
    """Publish tour.json in one rename. Returns where it lies. Raises: StorageError."""
    with publishing(outputs, "tour", result["key"]) as publication:
        publication.write("tour.json", write_json(result))
    assert publication.path is not None
    return publication.path / "tour.json"
