"""What the parent of warm kernels must not be, each in a process that is forked from one that may be it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.run.preload import check_fit, count_threads
from lab.warm import Warm, read_line

needs_threads = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")

FIT = "fit"


def look(connection: socket.socket, code: str) -> None:
    """Run in a fork: run code, then say whether this process bears a fork itself, or why not."""
    threads = count_threads()
    names: dict[str, object] = {}
    exec(code, names)  # what it makes lives on in names
    try:
        check_fit(threads)
        told = FIT
    except RuntimeError as error:
        told = str(error)
    connection.sendall(json.dumps(told).encode() + b"\n")


@pytest.fixture(scope="module")
def preloaded() -> Iterator[Warm]:
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with Warm("lab.run.preload:preload", environment=variables) as warm:
        yield warm


def told(warm: Warm, code: str) -> str:
    with warm.fork("test_run_preload:look", code=code) as connection:
        line = read_line(connection)
    assert line, warm.complaint
    return str(json.loads(line))


def test_what_is_preloaded_bears_a_fork(preloaded: Warm) -> None:
    assert told(preloaded, "import torch; torch.zeros(3) + 1") == FIT


@pytest.mark.parametrize(
    "code",
    [
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import torch; torch.set_num_threads(2); a = torch.ones(500, 500); a.sin()",
        "import zmq; context = zmq.Context(); s = context.socket(zmq.PUB)",
    ],
    ids=["a thread", "an OpenMP region", "a zmq context"],
)
@needs_threads
def test_a_process_with_threads_is_refused(code: str, preloaded: Warm) -> None:
    assert told(preloaded, code).endswith(" threads, where 1 are expected")


@pytest.mark.skipif(sys.platform != "linux", reason="drivers are looked for in /proc")
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler to make a driver with")
@pytest.mark.parametrize(
    ("answer", "expected"), [(3, FIT), (0, "something has initialised the CUDA driver")], ids=["not yet", "initialised"]
)
def test_a_process_whose_cuda_driver_is_initialised_is_refused(
    answer: int, expected: str, preloaded: Warm, tmp_path: Path
) -> None:
    source, library = tmp_path / "driver.c", tmp_path / "libcuda.so.1"
    source.write_text(f"int cuDeviceGetCount(int *count) {{ *count = 1; return {answer}; }}", encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, source], check=True)
    assert told(preloaded, f"import ctypes; ctypes.CDLL({str(library)!r})") == expected
