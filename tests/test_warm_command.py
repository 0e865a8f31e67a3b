"""Warm kernels in tools that know nothing of them: under `lab warm`, and in a real Jupyter server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import nbformat
import psutil
import pytest
from fixtures.kernels import FORKED, environment, jupyter_folders, printed
from fixtures.notebooks import write_notebook

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked on POSIX systems alone")

LAB_WARM = [sys.executable, "-m", "lab", "warm"]
ROOT = Path(__file__).resolve().parents[1]

# The folder that holds papermill and jupyter is not on the search path here: `lab warm` puts it there.
TOOLS = """\
papermill --no-progress-bar nb.ipynb papermill.ipynb
papermill --no-progress-bar -k lab-warm nb.ipynb named.ipynb
jupyter nbconvert --execute --to notebook --output nbconvert nb.ipynb
jupyter execute nb.ipynb --output=execute
python -m pytest -q -p no:cacheprovider test_nb.py
python -m lab run nb.ipynb
"""
# As nbmake does: nbclient in a test of pytest.
TEST = """\
import nbclient, nbformat, os

def test_notebook():
    nb = nbformat.read("nb.ipynb", as_version=4)
    assert "PYTEST_CURRENT_TEST" in os.environ
    nbclient.NotebookClient(nb, kernel_name="python3").execute()
    nbformat.write(nb, "pytest.ipynb")
"""


def variables(folder: Path) -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return environment(**jupyter_folders(folder), PYTHONPATH=os.pathsep.join(filter(None, paths)), PATH=os.defpath)


def lab_warm(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [*LAB_WARM, "--", *command]
    return subprocess.run(words, cwd=folder, env=variables(folder), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """All the tools under one `lab warm`, and the folder that they worked in."""
    folder = tmp_path_factory.mktemp("tools")
    write_notebook(
        folder / "nb.ipynb", f"import os; print({FORKED}, os.getppid(), 'torch' in __import__('sys').modules)"
    )
    (folder / "test_nb.py").write_text(TEST, encoding="utf-8")
    return folder, lab_warm("sh", "-e", "-c", TOOLS, folder=folder)


@pytest.mark.parametrize("tool", ["papermill", "named", "nbconvert", "execute", "pytest"])
def test_a_tool_s_kernel_is_forked(tool: str, tools: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, answer = tools
    assert answer.returncode == 0, answer.stderr
    assert "an ordinary kernel was started" not in answer.stderr
    forked, parent, torch = printed(folder / f"{tool}.ipynb").split()
    assert (forked, torch) == ("True", "True")
    assert parent == printed(folder / "papermill.ipynb").split()[1]  # all have one
    assert not psutil.pid_exists(int(parent))


def test_the_lab_s_own_kernels_are_forked_in_an_environment_of_their_own(
    tools: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = tools
    assert printed(folder / "outputs" / "nb" / "latest" / "nb.ipynb").startswith("True ")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_it_exits_as_the_command_does(script: str, code: int, tmp_path: Path) -> None:
    answer = lab_warm("sh", "-c", f"echo $LAB_WARM; {script}", folder=tmp_path)
    assert answer.returncode == code
    assert not Path(answer.stdout.strip()).parent.exists()
    assert answer.stdout.startswith("/")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["no-such-command", "--option"], "'no-such-command' was not found"),
        (["./no-program"], "'./no-program' cannot be started: Exec format error"),
    ],
)
def test_a_command_that_is_none_is_one_clear_error(command: list[str], why: str, tmp_path: Path) -> None:
    (tmp_path / "no-program").write_text("neither a binary nor a script", encoding="utf-8")
    (tmp_path / "no-program").chmod(0o755)
    answer = lab_warm(*command, folder=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"lab: The command {why}.")
    assert len(answer.stderr.splitlines()) == 3


COUNT = """\
import os, signal, sys, time
got = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: got.append(number))
print("ready", os.environ["LAB_WARM"], flush=True)
deadline = time.monotonic() + 10
while not got and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.3)  # for a second one
print(*got, flush=True)
sys.exit(10 + len(got))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_the_command_s_to_handle(number: signal.Signals, tmp_path: Path) -> None:
    words = [*LAB_WARM, sys.executable, "-c", COUNT]
    with subprocess.Popen(
        words, env=variables(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        _, address = process.stdout.readline().split()
        process.send_signal(number)
        assert process.stdout.read() == f"{int(number)}\n"
    assert process.returncode == 11
    assert not Path(address).exists()


def test_an_interrupt_that_is_typed_comes_once(tmp_path: Path) -> None:
    controlling = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    words = [sys.executable, "-c", controlling, *LAB_WARM, sys.executable, "-c", COUNT]
    ours, terminal = os.openpty()
    try:
        with subprocess.Popen(
            words,
            env=variables(tmp_path),
            cwd=tmp_path,
            stdin=terminal,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            os.write(ours, b"\x03")
            assert process.stdout.read() == "2\n"
        assert process.returncode == 11
    finally:
        os.close(ours)
        os.close(terminal)


TOKEN = "a-token"


class Server:
    """A Jupyter server, as a browser talks to it."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.process, self.address = process, address

    def ask(self, method: str, path: str, **body: Any) -> Any:
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if method == "POST" else None
        with urlopen(Request(self.address + path, data, headers, method=method), timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def listens(self) -> bool:
        """Whether it takes requests already: it says where it will be before it is there."""
        with suppress(URLError):
            return bool(self.ask("GET", "api/status"))
        return False

    def channels(self, kernel: str) -> Any:
        from websocket import create_connection

        address = f"{self.address.replace('http', 'ws')}api/kernels/{kernel}/channels?token={TOKEN}"
        return closing(create_connection(address, timeout=60))


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    words = [sys.executable, "-m", "jupyter_server", "--ip=127.0.0.1", "--port=8888", "--ServerApp.port_retries=500"]
    words += ["--no-browser", "--allow-root", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=variables(folder), stdout=log, stderr=log)
    runtime = Path(jupyter_folders(folder)["JUPYTER_RUNTIME_DIR"])
    try:
        file = runtime / f"jpserver-{process.pid}.json"
        wait_until(lambda: process.poll() is not None or file.exists(), 60)
        assert process.poll() is None, (folder / "server.log").read_text("utf-8")
        server = Server(process, json.loads(file.read_text("utf-8"))["url"])
        wait_until(server.listens, 60)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def send(channels: Any, source: str) -> str:
    """Send a cell, and return the number of the message."""
    message = nbformat.v4.new_code_cell().id
    header = {"msg_id": message, "msg_type": "execute_request", "session": "s", "username": "", "version": "5.3"}
    content = {"code": source, "silent": False, "stop_on_error": False}
    told = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    channels.send(json.dumps(told))
    return str(message)


def receive(channels: Any, kind: str, message: str | None = None, **content: Any) -> dict[str, Any]:
    """Wait for a message of a kind, or for the answer of that kind to one, with that in its content."""
    while True:
        told = json.loads(channels.recv())
        mine = message is None or told["parent_header"].get("msg_id") == message
        if mine and told["msg_type"] == kind and content.items() <= told["content"].items():
            return dict(told["content"])


def run(channels: Any, source: str) -> str:
    """Run a cell, and return what it printed, or the name of what it raised."""
    message = send(channels, source)
    told: list[str] = []
    while True:
        each = json.loads(channels.recv())
        if each["parent_header"].get("msg_id") != message:
            continue
        match each["msg_type"], each["content"]:
            case "stream", content:
                told.append(content["text"])
            case "error", content:
                told.append(content["ename"])
            case "status", {"execution_state": "idle"}:
                return "".join(told).strip()


def test_a_jupyter_server_starts_interrupts_restarts_revives_and_ends_warm_kernels(tmp_path: Path) -> None:
    pytest.importorskip("jupyter_server", reason="the jupyter extra is not installed")
    who = f"import os; print({FORKED}, os.getpid(), os.getppid())"
    with serving(tmp_path) as server:
        kernel = server.ask("POST", "api/kernels", name="lab-warm")["id"]
        with server.channels(kernel) as channels:
            forked, first, parent = run(channels, who).split()
            assert forked == "True"
            assert run(channels, "x = 1; import torch; print(torch.ones(2, requires_grad=True).sum().item())") == "2.0"
            assert run(channels, "input()") == "StdinNotImplementedError"

            message = send(channels, "import time; print('begun', flush=True); time.sleep(60)")
            receive(channels, "stream", message)
            server.ask("POST", f"api/kernels/{kernel}/interrupt")
            assert receive(channels, "error", message)["ename"] == "KeyboardInterrupt"
            assert run(channels, "print(x)") == "1"

            server.ask("POST", f"api/kernels/{kernel}/restart")
        with server.channels(kernel) as channels:
            assert run(channels, "x") == "NameError"
            forked, second, same = run(channels, who).split()
            assert (forked, same) == ("True", parent)
            assert second != first

            send(channels, "os._exit(3)")
            receive(channels, "status", execution_state="restarting")
        with server.channels(kernel) as channels:
            forked, third, same = run(channels, who).split()
            assert (forked, same) == ("True", parent)
            assert third not in (first, second)
        left = server.ask("POST", "api/kernels", name="lab-warm")["id"]
        with server.channels(left) as channels:
            fourth = run(channels, who).split()[1]
        server.ask("DELETE", f"api/kernels/{kernel}")
        wait_until(lambda: not alive(int(third)))
        assert alive(int(fourth))
    wait_until(lambda: not any(alive(int(pid)) for pid in (first, second, third, fourth, parent)))
    assert server.process.returncode == 0
    assert "an ordinary kernel was started" not in (tmp_path / "server.log").read_text("utf-8")


def alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until(condition: Any, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
