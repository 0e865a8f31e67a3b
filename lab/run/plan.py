"""What is about to run, settled before a kernel starts: the parameters' values, the device, the result's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.parameters import Value, validate_parameters
from lab.provenance import code, lock
from lab.run.notebook import Notebook, read_notebook
from lab.store import digest


@dataclass(frozen=True)
class Plan:
    """One notebook with every value it will run with. It pickles, so that any executor can run it elsewhere.

    device: the one that the parameter of that name came to (``auto`` is resolved), or None where the notebook has
    no such parameter. key: the digest of notebook, parameters, lock, the lab's code and device.
    """

    notebook: Notebook
    parameters: dict[str, Value]
    device: str | None
    lock: dict[str, str]
    key: str


def plan_run(path: Path, given: Mapping[str, object]) -> Plan:
    """Read a notebook and validate the parameters given for it; nothing is written and no kernel starts.

    Raises: UsageError (a ParameterError for a parameter), DeviceUnavailable, StorageError.
    """
    notebook = read_notebook(path)
    parameters = validate_parameters(notebook.parameters, given, where=str(path))
    device = None
    if "device" in parameters:
        device = parameters["device"] = _resolved(str(parameters["device"]), parameters.get("dtype"))
    pins = lock()
    key = digest([notebook.digest, parameters, pins["digest"], code(), device])
    return Plan(notebook, parameters, device, pins, key)


def _resolved(device: str, dtype: object) -> str:
    """Return the device's name once it is known to be there, and to compute in the dtype."""
    if device == "cpu":
        return device  # always there, and known without importing torch, which takes seconds
    from lab.device import check_dtype, resolve_device

    found = resolve_device(device)
    if isinstance(dtype, str):
        check_dtype(found, dtype)
    return str(found)
