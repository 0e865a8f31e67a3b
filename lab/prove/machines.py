"""Backends by name: the real ones and the simulated ones."""

from __future__ import annotations

from lab.errors import UsageError, did_you_mean
from lab.prove.backend import Backend
from lab.prove.backends import BACKENDS
from lab.prove.faults import FAULTS


def find_backend(name: str) -> Backend:
    """Return the real or simulated backend of that name. Raises: UsageError."""
    known = {**BACKENDS, **FAULTS}
    if name in known:
        return known[name]
    raise UsageError(
        f"There is no backend {name!r}.",
        f"Real ones, for --backend: {', '.join(BACKENDS)}. Simulated ones, for --simulate: {', '.join(FAULTS)}.",
        did_you_mean(name, known) or "Type 'lab verify --list' to see what each is.",
    )
