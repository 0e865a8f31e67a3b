"""The client's side: a warm parent, and the forks that it is asked for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.warm.protocol import NUMBER, READY, TIED, WATCHED, encode

ROOT = Path(__file__).resolve().parents[2]
# No torch.py of the current folder is imported. Python's own way to that, -P, would leave its flag in every fork, and
# the lab's folder its place in the search path: a notebook would not find what lies beside it, or find something else.
_CALL = (
    f"import sys; sys.path[: not sys.flags.safe_path] = [{str(ROOT)!r}]; "
    "from lab.warm.parent import main; del sys.path[0]; main()"
)


_SHORT = 70  # bytes; with what is added, a socket's path may have 103 on macOS, 107 on Linux


class Warm:
    """A warm parent, seen from its client. It starts at once and ends with close() or with the client.

    modules: what it imports before the first fork; of ``module:function`` it calls the function too. later: what it
    imports while nobody asks, where it can be imported.
    prefix: a command that runs another in a sandbox. address: the path of its socket.

    Raises: OSError where no process can be started.
    """

    def __init__(
        self,
        *modules: str,
        later: Sequence[str] = (),
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lab-warm-", dir=_place(), ignore_cleanup_errors=True)
        self.address = str(Path(self._folder.name, "s"))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self._lifeline, its = socket.socketpair()
        self._ready, self._closed = False, threading.Event()
        started: Future[subprocess.Popen[bytes]] = Future()
        with its, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(1024)
            descriptors = [its.fileno(), listener.fileno()]
            # -u: what is printed before a crash is seen.
            python = [sys.executable, "-u", "-c", _CALL, *map(str, descriptors), *modules, "--", *later]
            start = partial(self._live, started, [*prefix, *python], environment, descriptors)
            threading.Thread(target=start, daemon=True).start()
            try:
                self._process = started.result()
            except BaseException:
                self._release()
                raise

    def _live(
        self,
        started: Future[subprocess.Popen[bytes]],
        command: list[str],
        environment: Mapping[str, str] | None,
        descriptors: Sequence[int],
    ) -> None:
        """Start the parent in a thread that lives as long as it: a sandbox may end with the thread that started it."""
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=descriptors,
                start_new_session=True,  # an interrupt of the client's is for the client to handle
                env=environment,
            )
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(process)
            self._closed.wait()

    def fork(self, target: str, **request: Any) -> socket.socket:
        """Let ``module:function`` run in a fork, as function(connection, **request); return our end of the connection.

        It may be called before the parent is ready, and from any thread. Where the parent has ended, the connection
        is at its end: nothing will come.
        """
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self.address)
            connection.sendall(TIED + encode(target, request))
        except OSError:  # the parent has ended
            connection.close()
            connection, its = socket.socketpair()
            its.close()
        return connection

    @property
    def ready(self) -> bool:
        """Whether the parent has imported its modules, also where it has ended since."""
        with suppress(OSError):
            self._ready = self._ready or self._lifeline.recv(1, socket.MSG_DONTWAIT) == READY
        return self._ready

    @property
    def pid(self) -> int:
        """The parent's process; with a prefix, that command's."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the parent has ended."""
        return self._process.poll() is not None

    def ends_within(self, seconds: float) -> bool:
        """Say whether the parent ends before that many seconds are over; it takes a moment where it was killed."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.ended

    @property
    def complaint(self) -> str:
        """The end of what the parent wrote to its standard error, once it has ended or a second is over."""
        self.ends_within(1)
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace").strip()[-500:]

    def close(self) -> None:
        """End the parent and all its forks but those that were started to outlive it."""
        self._process.kill()
        self._process.wait()
        self._release()

    def _release(self) -> None:
        self._lifeline.close()
        self._errors.close()
        self._folder.cleanup()
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Fork:
    """A fork that outlives its warm parent, as subprocess.Popen has a process. connection: our end of the one to it.

    address: of the warm parent. descriptors: up to three that its function is called with, as ``descriptors``.
    It leads a session of its own, so its id is its group's. It is there once begin has returned.

    Raises: OSError where there is no such parent. Then nothing runs.
    """

    UNKNOWN = 255  # the return code of one that ended after its parent, which would have known

    def __init__(self, address: str, target: str, *, descriptors: Sequence[int] = (), **request: Any) -> None:
        self.returncode: int | None = None
        self.stdin = self.stdout = self.stderr = None  # no pipes, as Popen has it
        self.pid = 0
        self.connection = socket.socket(socket.AF_UNIX)
        self._status, its = socket.socketpair()
        try:
            with its:
                self.connection.connect(address)
                socket.send_fds(self.connection, [WATCHED], [its.fileno()])
                line = encode(target, request)
                sent = socket.send_fds(self.connection, [line], descriptors)
                self.connection.sendall(line[sent:])
        except BaseException:
            self.close()
            raise

    def begin(self, seconds: float | None = None) -> None:
        """Wait until it runs. Raises: OSError where its parent ends before or takes longer, or abort was called."""
        try:
            self._status.settimeout(seconds)
            number = self._status.recv(NUMBER)
            if not number:
                raise ConnectionError("the warm parent has ended")
            self._status.settimeout(None)
            self.pid = int(number)
        except BaseException:
            self.close()  # which its parent takes for our end, and ends it
            raise

    def abort(self) -> None:
        """End it, and whoever waits for a word of it, from another thread."""
        for each in (self._status, self.connection):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def fileno(self) -> int:
        """A descriptor that can be read once the fork, or its parent, has ended."""
        return self._status.fileno()

    def poll(self) -> int | None:
        """Return the exit code, the negative number of a signal, or None while it runs."""
        if self.returncode is None:
            with suppress(BlockingIOError):
                open_still = self._status.fileno() >= 0
                line = self._status.recv(NUMBER, socket.MSG_DONTWAIT) if open_still else b""
                if line:
                    self.returncode = int(line)
                elif not _runs(self.pid):
                    self.returncode = self.UNKNOWN
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises: subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it is known to have ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the connections; the fork sees the end of its own."""
        self.connection.close()
        self._status.close()


def _place() -> str:
    """Return where temporary files lie, or another such folder where the path of a socket would be too long."""
    place = tempfile.gettempdir()
    return place if len(os.fsencode(place)) < _SHORT else "/tmp"


def _runs(pid: int) -> bool:
    import psutil  # for the rare case of a lost parent alone

    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False
