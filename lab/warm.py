"""Processes forked from a parent that has imported torch: a start costs milliseconds in place of seconds.

::

    client ── Warm ──▶ the warm parent: imports, then waits; runs nothing
                          ├── fork: one function with one connection to the client
                          └── fork: …

The parent never runs an operation, asks for a device or starts a thread of its own: each would break in its forks. A
fork ends when its function returns, and with the parent; the parent ends with its client, also where that was killed.
Nothing is pickled: a fork reads one line of JSON that names its function, and what else it was sent.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

ROOT = Path(__file__).resolve().parents[1]  # what `import lab` needs on the path
_READY = b"r"
_IDLE_S = 0.3
_PDEATHSIG = 1  # from <linux/prctl.h>


class Warm:
    """A warm parent, seen from its client. It starts at once and ends with close() or with the client.

    modules: what it imports before the first fork. later: what it imports while nobody asks, where it can be imported.
    prefix: a command that runs another in a sandbox.

    Raises: OSError where no process can be started.
    """

    def __init__(
        self,
        *modules: str,
        later: Sequence[str] = (),
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._control, its = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self._lock, self._ready, self._closed = threading.Lock(), False, threading.Event()
        # -P: no torch.py of the current folder is imported. -u: what is printed before a crash is seen.
        python = [sys.executable, "-P", "-u", "-m", "lab.warm", str(its.fileno()), *modules, "--", *later]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**(os.environ if environment is None else environment), "PYTHONPATH": path}
        started: Future[subprocess.Popen[bytes]] = Future()
        start = partial(self._live, started, [*prefix, *python], environment, its.fileno())
        threading.Thread(target=start, daemon=True).start()
        try:
            self._process = started.result()
        except BaseException:
            self._closed.set()
            self._control.close()
            self._errors.close()
            raise
        finally:
            its.close()

    def _live(
        self, started: Future[subprocess.Popen[bytes]], command: list[str], environment: Mapping[str, str], its: int
    ) -> None:
        """Start the parent in a thread that lives as long as it: a sandbox may end with the thread that started it."""
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=[its],
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
        ours, its = socket.socketpair()
        with its:
            try:
                with self._lock:
                    socket.send_fds(self._control, [b"f"], [its.fileno()])
                ours.sendall(json.dumps([target, request]).encode() + b"\n")
            except OSError:  # the parent has ended
                pass
        return ours

    @property
    def ready(self) -> bool:
        """Whether the parent has imported its modules, also where it has ended since."""
        with suppress(OSError):
            self._ready = self._ready or self._control.recv(1, socket.MSG_DONTWAIT) == _READY
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
        """End the parent and all its forks."""
        self._control.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def end_with_parent() -> None:
    """Let the kernel end this process when the thread that forked it ends. Nothing on systems other than Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def serve(control: socket.socket, modules: Sequence[str], later: Sequence[str]) -> None:
    """Be the warm parent: import, then fork for every byte with a descriptor, until the client closes its end."""
    # What is multi-threaded is the pool of a numeric library, which is ready for a fork; Python 3.12 warns of any.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    for module in modules:
        importlib.import_module(module)
    _share()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the forks
    control.send(_READY)
    waiting = list(later)
    while True:
        if waiting and not select.select([control], [], [], _IDLE_S)[0]:
            with suppress(Exception):  # a module that another version has not, or not so: who needs it will say so
                importlib.import_module(waiting.pop(0))
            _share()
            continue
        byte, descriptors, *_ = socket.recv_fds(control, 1, 1)
        if not byte:
            return
        parent = os.getpid()
        with suppress(OSError):  # no room for one more process: the client finds its connection at its end
            if os.fork() == 0:
                control.close()
                _run_fork(descriptors[0], parent)
        os.close(descriptors[0])


def _share() -> None:
    """Share what is there with the forks to come: collecting would copy it into each."""
    gc.collect()
    gc.freeze()


def _run_fork(descriptor: int, parent: int) -> NoReturn:
    """Run in the fork what its client asks for, then end it without what Python does at an exit."""
    code = 1
    try:
        end_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        if os.getppid() == parent:  # else it has ended before it could be tied to
            with socket.socket(fileno=descriptor) as connection:
                target, request = json.loads(read_line(connection))
                module, _, function = target.partition(":")
                getattr(importlib.import_module(module), function)(connection, **request)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


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


if __name__ == "__main__":
    _at = sys.argv.index("--")
    with socket.socket(fileno=int(sys.argv[1])) as _control:
        serve(_control, sys.argv[2:_at], sys.argv[_at + 1 :])
