"""An attempt tried in a process of its own, which may hang, die, print without end or patch what it likes.

Only what it observed comes back. One function, ``_start``, decides how the process is made: here a new
interpreter; a fork of one that has imported torch, or a sandbox, goes in its place.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import ExecutionError
from lab.practise.exercise import Exercise
from lab.practise.trial import Observation, Trial

LIMIT_S = 10.0  # for the attempt itself, all trials together
START_LIMIT_S = 120.0  # for importing torch, which takes long from a cold disk
OUTPUT_LIMIT = 1_000_000  # bytes kept of what the attempt prints; as much again for its answer
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Reply:
    """What came back. observations: one a trial, or None. failure: why there are none. output: what it printed."""

    observations: list[Observation] | None
    failure: str
    output: str


def observe_in_process(
    exercise: Exercise,
    attempt: Path,
    trials: Callable[[], list[Trial]],
    *,
    limit_s: float = LIMIT_S,
    stop: threading.Event | None = None,
) -> Reply:
    """Try the attempt in a file in a process of its own.

    trials: called while the process starts, so that both may import torch at once. stop: once set, the
    process is ended at once. Nothing of the process group is left when this returns.

    Raises: ExecutionError where the process could not be started, and whatever trials raises.
    """
    stop = stop or threading.Event()
    answer = ""
    with _started(exercise, attempt, limit_s) as channel:
        sent = trials()
        ready = channel.read_line(START_LIMIT_S, stop)
        if ready:
            channel.send(json.dumps([asdict(trial) for trial in sent]))
            answer = channel.read_line(limit_s, stop)
            channel.read_rest()
    if not ready:
        raise ExecutionError(
            f"The process for {exercise.id} did not start: {channel.output[-500:].strip()}",
            "Expected it to import torch and the exercise.",
            "Type 'lab doctor'.",
        )
    observations = _parse(answer, len(sent))
    failure = "" if observations else _describe_failure(answer, channel, limit_s)
    return Reply(observations, failure, channel.output)


class _Channel:
    """Both pipes of an attempt's process, read together so that neither fills up and holds it."""

    def __init__(self, process: subprocess.Popen[bytes], answers: int) -> None:
        assert process.stdout is not None
        self.process = process
        self.ended = False  # it closed its pipe, by ending or otherwise, or wrote too much into it
        self._answers, self._printed = answers, process.stdout.fileno()
        self._buffer, self._output, self._cut = b"", b"", False
        self._selector = selectors.DefaultSelector()
        for descriptor in (self._answers, self._printed):
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ)

    @property
    def output(self) -> str:
        """What the attempt printed, cut at the limit."""
        note = f"\n… cut after {OUTPUT_LIMIT:,} bytes\n" if self._cut else ""
        return self._output.decode("utf-8", "replace") + note

    def send(self, line: str) -> None:
        """Send the only line that the process will read."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.close()

    def read_line(self, limit_s: float, stop: threading.Event) -> str:
        """Return the next line of the pipe, or nothing where the pipe ends before it, or the limit is over."""
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._buffer and not self.ended and not stop.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return ""
            for key, _ in self._selector.select(min(left, 0.1)):
                self._read(key.fd)
        line, newline, self._buffer = self._buffer.partition(b"\n")
        return line.decode("utf-8", "replace") if newline else ""

    def read_rest(self) -> None:
        """Read what is printed and waits to be read."""
        with suppress(KeyError):  # it has closed its standard output
            self._selector.get_key(self._printed)
            self._read(self._printed)

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(descriptor)
            self.ended |= descriptor == self._answers
        elif descriptor == self._answers:
            self._buffer += data
            self.ended |= len(self._buffer) > OUTPUT_LIMIT
        else:
            room = OUTPUT_LIMIT - len(self._output)
            self._output, self._cut = self._output + data[:room], self._cut or len(data) > room

    def close(self) -> None:
        """Close everything on this side."""
        self._selector.close()
        os.close(self._answers)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()


@contextmanager
def _started(exercise: Exercise, attempt: Path, limit_s: float) -> Iterator[_Channel]:
    """Hand out a starting process; end it and its group with the block."""
    process, answers = _start(exercise, attempt, limit_s)
    channel = _Channel(process, answers)
    try:
        yield channel
    finally:
        # Before wait(): until then the group's number cannot belong to anyone else.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        channel.close()


def _start(exercise: Exercise, attempt: Path, limit_s: float) -> tuple[subprocess.Popen[bytes], int]:
    """Start the process of an attempt in a session of its own; return it and the end to read its answers from."""
    reading, writing = os.pipe()
    files = [str(path.resolve()) for path in (exercise.path, attempt)]
    # -P: a file torch.py beside the learner's is not imported. -u: what is printed before a crash is seen.
    command = [sys.executable, "-P", "-u", "-m", "lab.practise.attempt", str(writing), *files, str(limit_s)]
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        )
    except OSError as error:
        os.close(reading)
        raise ExecutionError(
            f"Could not start a process for {exercise.id}: {error.strerror}.",
            "Expected room for one more process.",
            "End some programs, then try again.",
        ) from None
    finally:
        os.close(writing)
    return process, reading


def _parse(answer: str, count: int) -> list[Observation] | None:
    """Return the observations in an answer, or None where it is none."""
    try:
        observations = [Observation.from_json(data) for data in json.loads(answer)]
    except (ValueError, KeyError, TypeError):
        return None
    return observations if len(observations) == count else None


def _describe_failure(answer: str, channel: _Channel, limit_s: float) -> str:
    if answer:
        return "The process answered with something that is no answer. Does your file write to open pipes?"
    if not channel.ended:
        return f"It was still running after {limit_s:g} s. Is there a loop without an end?"
    code = channel.process.returncode
    how = f"with exit code {code}" if code >= 0 else f"by a signal: {signal.strsignal(-code)}"
    return f"The process ended before answering, {how}. Does something in your file end it, such as os._exit?"
