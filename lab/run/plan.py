"""What is about to run, settled before a kernel starts: the parameters' values, the device, the result's key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.parameters import Value, settle_device, validate_parameters
from lab.provenance import code, lock
from lab.run.grid import Grid
from lab.run.notebook import Notebook, check_notebook, read_notebook
from lab.store import digest

Settle = Callable[[dict[str, Value]], str | None]


@dataclass(frozen=True)
class Plan:
    """One notebook with every value it will run with. It pickles, so that any executor can run it elsewhere.

    device: the one that the parameter of that name came to (``auto`` is resolved), or None where the notebook has
    no such parameter. threads: how many each numeric library may use, on which last bits depend. lock, code: digests
    of the pinned versions and of the lab's sources. key: the digest of all of these, and of the notebook.
    """

    notebook: Notebook
    parameters: dict[str, Value]
    device: str | None
    threads: int
    lock: dict[str, str]
    code: str
    key: str


def plan_run(path: Path, given: Mapping[str, object], *, threads: int = 1) -> Plan:
    """Read a notebook and validate the parameters given for it; nothing is written and no kernel starts.

    Raises: UsageError (a ParameterError for a parameter), DeviceUnavailable, StorageError.
    """
    notebook = read_notebook(path)
    parameters = validate_parameters(notebook.parameters, given, where=str(path))
    device = settle_device(parameters)
    return _plan(check_notebook(notebook), parameters, device, threads, lock())


def plan_grid(notebook: Notebook, grid: Grid, *, threads: int = 1, settle: Settle = settle_device) -> Iterator[Plan]:
    """Yield the plans of a grid that was read for this notebook. settle: see settle_device.

    Raises: UsageError for a malformed notebook, DeviceUnavailable.
    """
    checked, pins = check_notebook(notebook), lock()
    defaults = {name: parameter.default for name, parameter in notebook.parameters.items()}
    for point in grid:
        parameters = {**defaults, **point}
        device = settle(parameters)
        yield _plan(checked, parameters, device, threads, pins)


def _plan(
    notebook: Notebook, parameters: dict[str, Value], device: str | None, threads: int, pins: dict[str, str]
) -> Plan:
    key = digest([notebook.digest, parameters, pins["digest"], code(), device, threads])
    return Plan(notebook, parameters, device, threads, pins, code(), key)
