"""What both sides say to each other."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

READY = b"r"  # on the lifeline: the modules are imported
TIED, WATCHED = b"t", b"w"  # a fork that ends with the parent, one whose client has a socket that tells of its end
NUMBER = 8  # bytes of a process or an exit code on that socket
DESCRIPTORS = 3  # that a client may hand to its fork


def encode(target: str, request: Mapping[str, Any]) -> bytes:
    """Return the line that names a fork's function and what it is called with."""
    return json.dumps([target, request]).encode() + b"\n"


def read_line(connection: socket.socket) -> bytes:
    """Return the next line of a connection on which nothing follows until it is answered; b"" at its end."""
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        part = b""
        with suppress(ConnectionError):  # the other side was killed
            part = connection.recv(1 << 16)
        if not part:
            return b""
        parts.append(part)
    return b"".join(parts)
