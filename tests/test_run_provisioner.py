"""Warm kernels as jupyter_client and nbclient start them: what they share, what they do not, when they are spawned."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from fixtures.kernels import FORKED, environment, execute, jupyter_folders, kernel
from nbformat import NotebookNode

from lab.run.parent import ADDRESS, start_parent
from lab.run.provisioner import _say_once, readable
from lab.warm import Warm

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked on POSIX systems alone")

# What an ordinary kernel shows is what a warm one has to show, cell by cell.
CELLS = {
    "the value": "1 + 1",
    "both streams": "import sys\nprint('out')\nprint('err', file=sys.stderr)",
    "a display": "from IPython.display import HTML, display\ndisplay(HTML('<b>b</b>'), {'a': 1})",
    "a traceback": "def f(x):\n    return x / 0\nf(1)",
    "a traceback out of torch": "import torch\ntorch.ones(2, requires_grad=True).backward()",
    "await at the top": "import asyncio\nawait asyncio.sleep(0, 'slept')",
    "bash": "%%bash\necho from bash; exit 0",
    "a shell command": "!ls -1 *.py",
    "the time": "%timeit -n1 -r1 pass",
    "a figure": "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2]);",
    "input": "input('name? ')",
    "a module beside the notebook": "import beside\nbeside.WHERE",
    "the search path": "import sys\nsys.path, sys.flags, sys.executable, sys.prefix",
    "the environment": "import os\nsorted(os.environ.items())",
    "a warning": "import warnings\nwarnings.warn('look', UserWarning, stacklevel=1)",
    "what torch logs": "import torch, logging\nlogging.getLogger('torch._dynamo').error('logged')",
    "what C code prints": "import ctypes\nctypes.CDLL(None).puts(b'from C')\nctypes.CDLL(None).fflush(None);",
    "settings": (
        "import signal, gc, locale, torch, numpy\n"
        "(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGCHLD), gc.isenabled(), gc.get_threshold(), "
        "locale.setlocale(locale.LC_ALL), torch.get_num_threads(), torch.get_default_dtype(), "
        "torch.is_grad_enabled(), numpy.geterr(), sys.getrecursionlimit(), asyncio.get_running_loop().__class__)"
    ),
    "the names there are": "%who_ls",
    "children": (
        "import subprocess, multiprocessing as mp, beside\n"
        "child = subprocess.run([sys.executable, '-c', 'print(__name__)'], "
        "capture_output=True, text=True)\n"
        "pools = [mp.get_context(method).Pool(1) for method in ('fork', 'spawn')]\n"
        "child.stdout, child.stderr, [pool.map(beside.double, [1, 2]) for pool in pools], "
        "[pool.terminate() or pool.join() for pool in pools]"
    ),
    "threads of torch": (
        "torch.set_num_threads(2)\n"
        "a = torch.ones(400, 400, requires_grad=True)\n"
        "(a @ a).sum().backward()\n"
        "a.grad.sum().item(), torch.get_num_threads()"
    ),
    "a loader": (
        "from torch.utils.data import DataLoader\n"
        "[batch.tolist() for batch in DataLoader(beside.Squares(), batch_size=2, num_workers=2, "
        "multiprocessing_context='fork')]"
    ),
    "compiled": "torch.compile(lambda x: x.sin() * 2, backend='aot_eager')(torch.zeros(3)).tolist()",
}
BESIDE = """\
WHERE = __file__

def double(x):
    return 2 * x

class Squares:
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return i * i
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """The warm parent that this process's kernels are forked from; what Jupyter writes is kept apart."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in jupyter_folders(folder).items():
            patch.setenv(name, value)
        with start_parent(os.environ) as parent:
            patch.setenv(ADDRESS, parent.address)
            yield parent


@pytest.fixture(scope="module")
def shown(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NotebookNode]:
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "beside.py").write_text(BESIDE, encoding="utf-8")
    return {name: execute(name, *CELLS.values(), FORKED, folder=folder) for name in ("python3", "lab-warm")}


def canonical(cell: NotebookNode) -> list[Any]:
    """Return a cell's outputs without times, addresses and process ids; what is printed is joined."""
    text = json.dumps(cell.outputs, sort_keys=True, ensure_ascii=False)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x…", text)
    text = re.sub(r"ipykernel_\d+", "ipykernel_…", text)
    text = re.sub(r"[\d.e+]+ \w+ ± [\d.e+]+ \w+", "… s", text)  # also 1e+03 ns
    return list(json.loads(re.sub(r"\d\d\d\d \d\d:\d\d:\d\d\.\d+ \d+", "…", text)))


@pytest.mark.parametrize("what", CELLS)
def test_a_cell_shows_what_it_shows_in_an_ordinary_kernel(what: str, shown: dict[str, NotebookNode]) -> None:
    number = list(CELLS).index(what)
    ordinary, warm = (canonical(shown[name].cells[number]) for name in ("python3", "lab-warm"))
    assert warm == ordinary
    raised = any(output["output_type"] == "error" for output in ordinary)
    assert raised is (what in ("a traceback", "a traceback out of torch", "input"))


def test_one_of_the_two_was_forked(shown: dict[str, NotebookNode]) -> None:
    answers = {name: notebook.cells[-1].outputs[0].data["text/plain"] for name, notebook in shown.items()}
    assert answers == {"python3": "False", "lab-warm": "True"}


def test_two_kernels_have_nothing_in_common_but_their_parent(warm: Warm, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    draws = "import torch, numpy, random, os, uuid; seed = torch.initial_seed()"
    expression = (
        "[seed, torch.rand(1).item(), numpy.random.rand(), numpy.random.default_rng().random(), random.random(), "
        "str(uuid.uuid4()), os.getpid(), os.getcwd(), os.environ['MINE']]"
    )
    one, two = ({"cwd": str(folder), "env": {**os.environ, "MINE": folder.name}} for folder in folders)
    with kernel(**one) as first, kernel(**two) as second:
        assert first.value("__import__('os').getppid()") == second.value("__import__('os').getppid()") == warm.pid
        assert (first.run(draws + "; x = 1"), second.run(draws)) == ("ok", "ok")
        told = [each.value(expression) for each in (first, second)]
        assert [a for a, b in zip(*told, strict=True) if a == b] == []
        assert [each[-2:] for each in told] == [[str(folder), folder.name] for folder in folders]
        assert first.run("torch.set_default_dtype(torch.float64); torch.nn.functional.relu = None") == "ok"
        assert second.run("x") == "NameError"
        assert second.value("str(torch.get_default_dtype()), torch.nn.functional.relu is None") == (
            "torch.float32",
            False,
        )


def test_a_seed_gives_the_numbers_that_it_gives_elsewhere(warm: Warm) -> None:
    import torch

    with kernel() as forked:
        assert forked.run("import torch; torch.manual_seed(5)") == "ok"
        expected = torch.rand(3, generator=torch.Generator().manual_seed(5)).tolist()
        assert forked.value("torch.rand(3).tolist()") == expected


def test_at_a_shutdown_a_kernel_does_what_python_does_at_its_end(warm: Warm, tmp_path: Path) -> None:
    source = (
        "import threading, time, atexit\n"
        "unclosed = open('unclosed', 'w'); unclosed.write('buffered')\n"
        "def late(): time.sleep(0.5); open('thread', 'w').close()\n"
        "threading.Thread(target=late).start()\n"
        "atexit.register(lambda: open('exit', 'w').close())"
    )
    with kernel(cwd=str(tmp_path)) as forked:
        assert forked.run(source) == "ok"
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == {
        "unclosed": "buffered",
        "thread": "",
        "exit": "",
    }


def test_an_interrupt_reaches_the_cell_and_a_restart_begins_anew(warm: Warm) -> None:
    with kernel() as forked:
        forked.run("x = 1")
        before = forked.manager.provisioner.process.pid
        forked.client.execute("import time; print('begun', flush=True); time.sleep(60)")
        while forked.client.get_iopub_msg(timeout=10)["content"].get("text") != "begun\n":
            pass
        forked.manager.interrupt_kernel()
        assert forked.client.get_shell_msg(timeout=10)["content"]["ename"] == "KeyboardInterrupt"
        forked.manager.restart_kernel()
        forked.client.wait_for_ready(timeout=60)
        assert forked.run("x") == "NameError"
        assert forked.value("__import__('os').getpid()") != before
        assert forked.value(FORKED)


def test_what_a_kernel_started_goes_with_it(warm: Warm) -> None:
    with kernel() as forked:
        forked.run("import subprocess; child = subprocess.Popen(['sleep', '60'])")
        child = psutil.Process(forked.value("child.pid"))
        forked.manager.shutdown_kernel(now=True)
        wait_until(lambda: not alive(child))


@pytest.mark.parametrize("how", ["another count of threads", "no such parent", "another Python"])
def test_where_it_cannot_be_forked_an_ordinary_kernel_is_started_and_it_is_said_once(
    how: str,
    warm: Warm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _say_once.cache_clear()
    expected = {
        "another count of threads": "it differs from its parent in OMP_NUM_THREADS",
        "no such parent": "the warm parent is gone (No such file or directory)",
        "another Python": "it differs from its parent in python",
    }[how]
    python = sys.executable
    if how == "another count of threads":
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
    elif how == "no such parent":
        monkeypatch.setenv(ADDRESS, str(tmp_path / "nothing"))
    else:
        python = str(other_python(tmp_path))
        spec = {"argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "other"}
        spec |= {"language": "python", "metadata": {"kernel_provisioner": {"provisioner_name": "lab-warm"}}}
        write_spec(Path(os.environ["JUPYTER_DATA_DIR"], "kernels", "other"), spec)
    answers = []
    for _ in range(2):
        with kernel("other" if how == "another Python" else "lab-warm") as spawned:
            asked = f"[{FORKED}, __import__('sys').executable, __import__('os').environ.get('OMP_NUM_THREADS')]"
            answers.append(spawned.value(asked))
    assert answers == [[False, python, os.environ.get("OMP_NUM_THREADS")]] * 2
    said = [record.getMessage() for record in caplog.records if "lab-warm:" in record.getMessage()]
    assert said == [f"lab-warm: an ordinary kernel was started, for {expected}."]


def other_python(folder: Path) -> Path:
    """Make a virtual environment that can import what this one can."""
    venv.create(folder / "other", with_pip=False)
    (packages,) = (folder / "other").glob("lib/python*/site-packages")
    ours = [path for path in sys.path if path.endswith("-packages")]
    (packages / "ours.pth").write_text("\n".join(ours), encoding="utf-8")
    return folder / "other" / "bin" / "python"


def write_spec(folder: Path, spec: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


DRIVER = """\
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from fixtures.kernels import FORKED, kernel
from lab.run.parent import own_parent
with kernel() as one, kernel() as two:
    parent = own_parent(os.environ)
    two.run("import subprocess; child = subprocess.Popen(['sleep', '60'])")
    print(parent.address, parent.pid, one.value("__import__('os').getpid()"), two.value("child.pid"), flush=True)
    os.kill(parent.pid, signal.SIGKILL)
    parent.ends_within(5)
    with kernel() as three:
        parent = own_parent(os.environ)
        print(three.value(FORKED), three.value("__import__('os').getppid()") == parent.pid, one.value(FORKED))
        print(parent.address, parent.pid, three.value("__import__('os').getpid()"), flush=True)
        time.sleep(60)
"""


def test_a_killed_parent_is_replaced_and_all_end_with_a_driver_that_was_killed(tmp_path: Path) -> None:
    variables = environment(**jupyter_folders(tmp_path))
    variables.pop(ADDRESS, None)
    words = [sys.executable, "-c", DRIVER, str(Path(__file__).parent)]
    with subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        _, killed, *numbers = process.stdout.readline().split()
        # forked again, from the new parent, while the kernels of the old one live on
        assert process.stdout.readline() == "True True True\n"
        address, *others = process.stdout.readline().split()
        processes = [psutil.Process(int(number)) for number in [*numbers, *others]]
        assert killed not in others
        assert Path(address).exists()
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(map(alive, processes)))
        wait_until(lambda: not Path(address).parent.exists())


def alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until(condition: Any, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.mark.parametrize("steps", range(6))
def test_waiting_for_the_end_of_a_fork_is_cancelled_also_as_it_is_told(steps: int) -> None:
    there, here = socket.socketpair()

    async def scenario() -> None:
        waiting = asyncio.create_task(readable(here, 60))
        await asyncio.sleep(0.01)
        there.send(b"ended")
        for _ in range(steps):
            await asyncio.sleep(0)
        if waiting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await waiting

    with there, here:
        asyncio.run(scenario())
