"""Commands of the lab as child processes, one at a time, none of which outlives whoever started it (but for a kill)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil

GRACE = 3.0  # seconds that a command has to end by itself once it was asked to; a kill and our own end take some more
_HEARD = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Children:
    """Runs ``lab`` with other words, and passes interrupts and terminates on to it. Made by listening()."""

    def __init__(self) -> None:
        self._received: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = float("inf")

    def run(self, words: Sequence[str], *, stdout: Any = None) -> int:
        """Run a command to its end; return its exit code, 128 + N where signal N has ended it.

        stdout: where what it prints goes; where ours does without. Once a signal was received, nothing is returned:
        the block of listening() ends.
        """
        if self._received:
            raise _Stopped
        command = [sys.executable, "-m", "lab", *words]
        # In a session of its own, so that Ctrl-C reaches it once, through us, and not from the terminal as well.
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, start_new_session=True) as process:
            self._process = process
            for number in self._received:  # while there was no process to tell
                process.send_signal(number)
            code = self._wait(process)
        self._process = None
        if self._received:
            raise _Stopped
        return code if code >= 0 else 128 - code

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(0.2)
            if time.monotonic() > self._deadline:
                _kill_tree(process.pid)

    def hear(self, number: int, frame: Any) -> None:
        """Take note of a signal, and pass it on."""
        self._received.append(number)
        self._deadline = min(self._deadline, time.monotonic() + GRACE)
        if self._process is not None:
            self._process.send_signal(number)

    @property
    def received(self) -> int | None:
        """The newest signal, or None."""
        return self._received[-1] if self._received else None


@contextmanager
def listening() -> Iterator[Children]:
    """Hand out what runs commands; once a signal has ended one, let that signal do what it always does."""
    children = Children()
    before: dict[int, Any] = {number: signal.getsignal(number) for number in _HEARD}
    for number in [number for number, handler in before.items() if callable(handler)]:  # what is ignored stays so
        signal.signal(number, children.hear)
    try:
        with suppress(_Stopped):
            yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if children.received is not None:
        signal.raise_signal(children.received)


class _Stopped(Exception):
    """A signal was received, and the command has ended."""


def _kill_tree(pid: int) -> None:
    """Kill a process and all that it started."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in [*process.children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
