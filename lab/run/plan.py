"""What is about to run, settled before a kernel starts: the parameters' values, the device, the result's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.parameters import Value, settle_device, validate_parameters
from lab.provenance import code, lock
from lab.run.notebook import Notebook, check_notebook, read_notebook
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
    device = settle_device(parameters)
    notebook = check_notebook(notebook)
    pins = lock()
    key = digest([notebook.digest, parameters, pins["digest"], code(), device])
    return Plan(notebook, parameters, device, pins, key)
