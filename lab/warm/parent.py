"""The parent's side: import, then fork."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from lab.warm.protocol import DESCRIPTORS, READY, TIED, read_line

_IDLE_S = 0.3
_SLOW_S = 5.0  # what a client that has connected may take to say what for
_PDEATHSIG, _SUBREAPER = 1, 36  # from <linux/prctl.h>
_CHILDREN = Path("/proc/thread-self/children")


def end_with_parent(wanted: bool = True) -> None:
    """Let the kernel end this process when the thread that forked it ends. Nothing on systems other than Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL if wanted else 0)


def adopt_orphans() -> None:
    """Become the parent of whatever processes that descend from this one lose theirs. Nothing but on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1)


def serve(lifeline: socket.socket, listener: socket.socket, modules: Sequence[str], later: Sequence[str]) -> None:
    """Be the warm parent: import, then fork for every client, until the one that started it closes the lifeline."""
    wakeup, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    end_with_parent()  # while it imports, it would not see that its client has ended; later it has forks to look after
    for name in modules:
        module, _, function = name.partition(":")
        imported = importlib.import_module(module)
        if function:
            getattr(imported, function)()
    end_with_parent(False)
    _share()
    lifeline.send(READY)
    adopt_orphans()
    waiting, watched, forks = list(later), dict[int, socket.socket](), set[int]()
    while True:
        ours = [listener, lifeline, wakeup, *watched.values()]
        asking, _, _ = select.select(ours, [], [], _IDLE_S if waiting else None)
        _end_deserted(watched, None if lifeline in asking else asking)
        if lifeline in asking:
            return
        if wakeup in asking:
            wakeup.recv(1024)
            _bury(watched, forks)
        if listener in asking:
            forks.add(_fork(listener, (lifeline, listener, wakeup, wake), watched))
        if not asking:
            with suppress(Exception):  # a module that another version has not, or not so: who needs it will say so
                importlib.import_module(waiting.pop(0))
            _share()


def _share() -> None:
    """Share what is there with the forks to come: collecting would copy it into each."""
    gc.collect()
    gc.freeze()


def _fork(listener: socket.socket, ours: Sequence[socket.socket], watched: dict[int, socket.socket]) -> int:
    """Fork for the next client, and tell it the process where it watches that. ours: what the fork has no part in.

    Returns the process, or 0 where there is none.
    """
    pid: int | None = None
    with suppress(OSError):  # a client that left, or no room for one more process: it finds its connection at its end
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(_SLOW_S)
            kind, descriptors, *_ = socket.recv_fds(connection, 1, 1)
            status = socket.socket(fileno=descriptors[0]) if descriptors else None
            connection.settimeout(None)
            parent = os.getpid()
            # Python 3.12 warns of any threads. These are a numeric library's pool, which is ready for a fork.
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                pid = os.fork() if kind else None
            if pid == 0:
                for each in (*ours, *watched.values(), *filter(None, [status])):
                    each.close()
                _run_fork(connection, parent, tied=kind == TIED)
        if pid and status:
            watched[pid] = status
            status.send(b"%8d" % pid)
    return pid or 0


def _end_deserted(watched: dict[int, socket.socket], asking: Sequence[socket.socket] | None) -> None:
    """End the forks whose client has ended (all of them where asking is None): stopped, or deaf in a call into C, they
    would not notice by themselves.
    """
    for pid, status in list(watched.items()):
        if asking is None or status in asking:
            watched.pop(pid).close()
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _bury(watched: dict[int, socket.socket], forks: set[int]) -> None:
    """Take note of the forks that have ended, tell who watches them how, and end what they have left behind."""
    with suppress(ChildProcessError):  # there are no more
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            forks.discard(ended[0])
            if status := watched.pop(ended[0], None):
                with status, suppress(OSError):  # its client has ended before it
                    status.send(b"%8d" % os.waitstatus_to_exitcode(ended[1]))
    with suppress(OSError):  # not on Linux
        for pid in {int(word) for word in _CHILDREN.read_text("ascii").split()} - forks:
            os.kill(pid, signal.SIGKILL)


def _run_fork(connection: socket.socket, parent: int, *, tied: bool) -> NoReturn:
    """Run in the fork what its client asks for, then end it without what Python does at an exit."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        if tied:
            end_with_parent()
        if not tied or os.getppid() == parent:  # else it has ended before it could be tied to
            line, descriptors, *_ = socket.recv_fds(connection, 1 << 16, DESCRIPTORS)
            target, request = json.loads(line if line.endswith(b"\n") else line + read_line(connection))
            module, _, function = target.partition(":")
            handed = {"descriptors": descriptors} if descriptors else {}
            with connection:
                getattr(importlib.import_module(module), function)(connection, **request, **handed)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def main() -> None:
    """Be the warm parent that the command line describes."""
    lifeline, listener = (socket.socket(fileno=int(word)) for word in sys.argv[1:3])
    at = sys.argv.index("--")
    with lifeline, listener:
        address = Path(listener.getsockname())
        serve(lifeline, listener, sys.argv[3:at], sys.argv[at + 1 :])
        with suppress(OSError):  # the client was killed, or it would have removed them
            address.unlink()
            address.parent.rmdir()
