"""Warm processes: forked from a parent that imports once, gone with it and with its client."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lab.warm import Warm, read_line


def answer(connection, **request):
    """Run in a fork: say where it is and what it was sent."""
    told = {**request, "pid": os.getpid(), "parent": os.getppid(), "torch": "torch" in sys.modules}
    connection.sendall(json.dumps(told).encode() + b"\n")


def wait_for_the_end(connection):
    connection.sendall(b"%d\n" % os.getpid())
    time.sleep(60)


def fail(connection):
    raise ValueError("out of order")


HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE)}


@pytest.fixture
def warm(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    with Warm("json") as warm:
        yield warm


def ask(warm, target, **request):
    with warm.fork(f"{Path(__file__).stem}:{target}", **request) as connection:
        return read_line(connection)


def test_a_fork_is_sent_what_it_needs_and_answers(warm):
    told = json.loads(ask(warm, "answer", text="∂ " * 100_000))
    assert told["text"] == "∂ " * 100_000
    assert not told["torch"]
    assert told["pid"] not in (told["parent"], os.getpid())


def test_all_forks_have_one_parent(warm):
    told = [json.loads(ask(warm, "answer")) for _ in range(3)]
    assert len({each["pid"] for each in told}) == 3
    assert len({each["parent"] for each in told}) == 1


def test_the_modules_are_imported_before_the_first_fork(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    with Warm("torch") as warm:
        assert json.loads(ask(warm, "answer"))["torch"]
        assert warm.ready


def test_a_fork_that_raises_says_so_where_it_can_be_read_and_the_next_one_runs(warm):
    assert ask(warm, "fail") == b""
    assert json.loads(ask(warm, "answer"))
    assert "ValueError: out of order" in warm.complaint


def test_a_parent_that_cannot_import_is_never_ready():
    with Warm("no_such_module") as warm:
        with warm.fork("json:loads") as connection:
            assert read_line(connection) == b""
        assert not warm.ready
        assert "No module named 'no_such_module'" in warm.complaint
        assert warm.ended


def test_after_the_end_of_the_parent_nothing_comes(warm):
    told = json.loads(ask(warm, "answer"))
    psutil.Process(told["parent"]).kill()  # this process may have children of other tests too
    assert ask(warm, "answer") == b""
    wait_until(lambda: warm.ended)
    assert warm.ready


def test_the_forks_end_with_the_parent(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    with Warm("json") as warm, warm.fork("test_warm:wait_for_the_end") as connection:
        fork = psutil.Process(int(read_line(connection)))
        warm.close()
        wait_until(lambda: not alive(fork))


def test_all_end_with_a_client_that_was_killed():
    code = (
        "from test_warm import *; warm = Warm('json'); fork = warm.fork('test_warm:wait_for_the_end'); "
        "print(int(read_line(fork)), flush=True); time.sleep(60)"
    )
    client = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=ENVIRONMENT)
    with client:
        fork = psutil.Process(int(client.stdout.readline()))
        processes = [fork, fork.parent()]
        client.kill()
    wait_until(lambda: not any(map(alive, processes)))


def alive(process):
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def wait_until(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
