"""An attempt tried in a forked process, which may hang, die, print without end, fork or patch what it likes.

Only what it observed comes back. What it left running is ended, daemons too.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import NoReturn

import psutil

from lab.practise.attempt import OUTPUT_LIMIT, Observe, live
from lab.practise.trial import Observation, Reply, Trial

PROCESS_LIMIT = 64
BY_SIGNAL = "ended before answering, by a signal"
CLEANING_S = 10.0  # to end what an attempt left running
_POLL_S = 0.05
_SUBREAPER, _DUMPABLE = 36, 4  # from <linux/prctl.h>


class Abandoned(Exception):
    """Nobody waits any more for what is being judged."""


def become_referee() -> None:
    """Make this process the parent of whatever an attempt leaves behind, and closed to its curiosity. Linux only."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_DUMPABLE, 0, 0, 0, 0)


def observe_in_fork(
    observe: Observe,
    trials: Callable[[], list[Trial]],
    *,
    file: str,
    limit_s: float,
    on_cpu: bool,
    isolated: bool,
    client: socket.socket,
) -> Reply:
    """Run observe(trials) in a fork.

    trials: called once the fork is there, so that it may run torch, which no fork would survive. file: the path that
    the attempt's code was compiled under. isolated: whether a sandbox is around all of this. client: once it closes
    its end, the fork is ended.

    Raises: Abandoned, and whatever trials raises.
    """
    with _forked(partial(live, observe, limit_s=limit_s, on_cpu=on_cpu, isolated=isolated)) as channel:
        sent = trials()
        channel.send(json.dumps([asdict(trial) for trial in sent]))
        answer = channel.read_line(limit_s, client)
        channel.read_rest()
    observations = _parse(answer, len(sent))
    return Reply(observations, "" if observations else _describe(answer, channel, limit_s, file), channel.output)


class _Channel:
    """What comes from an attempt's process, read together so that nothing fills up and holds it."""

    def __init__(self, pid: int, answers: socket.socket, printed: int, trace: int) -> None:
        self.pid, self.status = pid, 0
        self.ended = False  # it closed its socket, by ending or otherwise
        self.flood = False  # it wrote too much into it
        self.crowd = False  # it started too many processes
        self.trace = b""
        self._answers, self._printed, self._trace = answers, printed, trace
        self._buffer, self._output, self._cut = b"", b"", False
        self._selector = selectors.DefaultSelector()
        for descriptor in (answers.fileno(), printed, trace):
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ)

    @property
    def output(self) -> str:
        """What the attempt printed, cut at the limit."""
        note = f"\n… cut after {OUTPUT_LIMIT:,} bytes\n" if self._cut else ""
        return self._output.decode("utf-8", "replace") + note

    def send(self, line: str) -> None:
        """Send the only line that the process will read."""
        self._answers.setblocking(True)
        with suppress(OSError):
            self._answers.sendall(line.encode() + b"\n")
        self._answers.setblocking(False)

    def read_line(self, limit_s: float, client: socket.socket) -> str:
        """Return the line that is answered, or nothing where there is none before the limit, and a bit, is over."""
        deadline = time.monotonic() + limit_s + 0.2  # in which the line is told at which the time was up
        self._selector.register(client, selectors.EVENT_READ)
        while b"\n" not in self._buffer and not (self.ended or self.flood or self.crowd):
            left = deadline - time.monotonic()
            if left <= 0:
                return ""
            for key, _ in self._selector.select(min(left, _POLL_S)):
                if key.fileobj is client:
                    raise Abandoned
                self._read(key.fd)
            self.crowd = len(_descendants()) > PROCESS_LIMIT
        line, newline, self._buffer = self._buffer.partition(b"\n")
        return line.decode("utf-8", "replace") if newline else ""

    def read_rest(self) -> None:
        """Read what is printed and waits to be read."""
        for descriptor in (self._printed, self._trace):
            with suppress(KeyError):  # it has closed that
                self._selector.get_key(descriptor)
                self._read(descriptor)

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(descriptor)
            self.ended |= descriptor == self._answers.fileno()
        elif descriptor == self._answers.fileno():
            self._buffer += data
            self.flood = len(self._buffer) > OUTPUT_LIMIT
        elif descriptor == self._trace:
            self.trace = (self.trace + data)[:10_000]
        else:
            room = OUTPUT_LIMIT - len(self._output)
            self._output, self._cut = self._output + data[:room], self._cut or len(data) > room

    def close(self) -> None:
        """Close everything on this side."""
        self._selector.close()
        self._answers.close()
        os.close(self._printed)
        os.close(self._trace)


@contextmanager
def _forked(live: Callable[[socket.socket, int, int], NoReturn]) -> Iterator[_Channel]:
    """Hand out the channel to a new fork; end it, and all that it started, with the block."""
    ours, its = socket.socketpair()
    (printed, printing), (trace, tracing) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        live(its, printing, tracing)
    its.close()
    os.close(printing)
    os.close(tracing)
    channel = _Channel(pid, ours, printed, trace)
    try:
        yield channel
    finally:
        # Before it is buried: until then the group's number cannot belong to anyone else.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # where it had no time to become a group
        channel.status = os.waitpid(pid, 0)[1]
        channel.close()
        _end_all()


def _descendants() -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(psutil.Process().children(recursive=True))
    return []


def _end_all() -> None:
    """End what an attempt started and left: first all are stopped, so that none starts another, then killed.

    What is still there after CLEANING_S ends with the sandbox, or stays where there is none.
    """
    deadline = time.monotonic() + CLEANING_S
    while (left := _descendants()) and time.monotonic() < deadline:
        for send in (psutil.Process.suspend, psutil.Process.kill):
            for process in left:
                with suppress(psutil.Error):
                    send(process)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _parse(answer: str, count: int) -> list[Observation] | None:
    """Return the observations in an answer, or None where it is none."""
    try:
        observations = [Observation.from_json(data) for data in json.loads(answer)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return observations if len(observations) == count else None


def _describe(answer: str, channel: _Channel, limit_s: float, file: str) -> str:
    """Say why an attempt has no answer."""
    if answer:
        return "The process answered with something that is no answer. Does your file write to open pipes?"
    if channel.flood:
        return f"It answered with more than {OUTPUT_LIMIT:,} bytes. Does it return what was asked for?"
    if channel.crowd:
        return f"It started more than {PROCESS_LIMIT} processes, and was ended. Is there a fork in a loop?"
    if not channel.ended:
        lines = re.findall(rf'File "{re.escape(file)}", line (\d+)', channel.trace.decode("utf-8", "replace"))
        where = f", in line {lines[0]}" if lines else ""
        return f"It was still running after {limit_s:g} s{where}. Is there a loop without an end?"
    code = os.waitstatus_to_exitcode(channel.status)
    how = f"ended before answering, with exit code {code}" if code >= 0 else f"{BY_SIGNAL}: {signal.strsignal(-code)}"
    return f"The process {how}. Does something in your file end it, such as os._exit?"
