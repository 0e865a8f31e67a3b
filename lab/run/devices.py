"""What a device is called here, asked of a fork: neither this process nor the warm parent needs to import torch."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

from lab.errors import DeviceUnavailable, LabError
from lab.parameters import Value, settle_device
from lab.warm import Warm, read_line


def settle_in_fork(parent: Callable[[], Warm]) -> Callable[[dict[str, Value]], str | None]:
    """Return what does as settle_device does, and asks for each device and dtype once. parent: called if need be."""
    answers: dict[tuple[Value, Value | None], list[str]] = {}

    def settle(parameters: dict[str, Value]) -> str | None:
        if parameters.get("device", "cpu") == "cpu":
            return settle_device(parameters)
        asked = parameters["device"], parameters.get("dtype")
        if asked not in answers:
            with parent().fork("lab.run.devices:answer", parameters=parameters) as connection:
                _meanwhile()  # while the parent imports torch
                line = read_line(connection)
            if not line:  # it has ended: this process has to know
                return settle_device(parameters)
            answers[asked] = json.loads(line)
        if len(answers[asked]) > 1:
            raise DeviceUnavailable(*answers[asked])
        parameters["device"] = answers[asked][0]
        return str(parameters["device"])

    return settle


def _meanwhile() -> None:
    from lab.run.lean import import_engine

    import_engine()


def answer(connection: socket.socket, parameters: dict[str, Value]) -> None:
    """Say in a fork what the device is called, or the three sentences that say why there is none."""
    try:
        told = [str(settle_device(parameters))]
    except LabError as error:
        told = [error.happened, error.expected, error.next_step]
    connection.sendall(json.dumps(told).encode() + b"\n")
