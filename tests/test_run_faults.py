"""Every fault that a sweep must survive, for real: signals, dying kernels, full disks, other processes in its store.

The rows of the table are in the order of what goes wrong: what is asked for, the kernel, the cells, the disk, signals.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from conftest import Mount
from fixtures.command import Driver, Lab, left_over, records, wait_until, warm_parents
from fixtures.notebooks import write_notebook

from lab.store import ORPHAN_AGE, PARTIAL

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are counted and disks mounted as on Linux")

SECONDS = 12  # that a loop of signals may take: about fifteen of them on two busy cores
DEVICE = 'device: str = "auto"  # where it is computed'
X = "x: int = 0  # any number"
HOW = "how: str = ''  # what happens"
WAIT = "import time; open('begun', 'w').close(); time.sleep(%s)"


@pytest.fixture(scope="module")
def parents() -> Iterator[tuple[str, str, str]]:
    with warm_parents() as addresses:
        yield addresses


@pytest.fixture
def lab(parents: tuple[str, str, str], tmp_path: Path) -> Iterator[Lab]:
    """Start drivers in tmp_path; whatever a test leaves of them is ended."""
    with closing(Lab(*parents, tmp_path)) as lab:
        yield lab


def statuses(outputs: Path) -> Counter[str]:
    return Counter(record["status"] for record in records(outputs).values())


def printed(folder: Path) -> str:
    notebook = nbformat.read(next(folder.glob("*.ipynb")), as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def begun(outputs: Path) -> int:
    """Return how many runs are amidst the cell that says so."""
    return len(list(outputs.glob(f"{PARTIAL}*/files/begun")))


def wait_until_begun(driver: Driver, runs: int = 1) -> None:
    def ready() -> bool:
        assert driver.process.poll() is None, driver.end().err
        return begun(driver.folder / "outputs") >= runs

    wait_until(ready, seconds=60)


# What is asked for


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lable=1", "Did you mean 'label'?"),
        ("x=abc", "x = 'abc'"),
        ("x=nan", "x = 'nan'"),
        ("x=-inf", "x = '-inf'"),
        ("x=1,nan", "x = 'nan'"),
        ("x;open('PWNED','w')=1", "Expected name=value"),
        ("../x=1", "Expected name=value"),
        ("__class__=1", "has no parameter '__class__'"),
        ("x=1:1e9:1", "1,000,000,000 runs"),
        ("device=tpu", "auto, cuda, xpu, mps, cpu"),
    ],
)
def test_what_a_notebook_does_not_accept_is_refused_before_anything_is_written(
    lab: Lab, tmp_path: Path, word: str, message: str
) -> None:
    cell = f"x: float = 1.0  # any number\nlabel: str = 'a'  # any text\n{DEVICE}"
    path = write_notebook(tmp_path / "nb.ipynb", "print(x)", parameters=cell)
    answer = lab("run", path, "-p", word)
    assert answer.code == (3 if "device" in word else 2)
    assert answer.seconds < 1
    assert message in answer.err
    assert (answer.err[:5], answer.err.count("\n"), answer.out) == ("lab: ", 3, "")
    assert [file.name for file in tmp_path.iterdir()] == ["nb.ipynb"]


def test_a_value_for_a_notebook_without_parameters_is_refused(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "x = 1")
    answer = lab("run", "nb.ipynb", "-p", "x=1")
    assert answer.code == 2
    assert "It has no parameters cell." in answer.err
    assert [file.name for file in tmp_path.iterdir()] == ["nb.ipynb"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"cells": [{"cell_type": "code", "sou', id="truncated"),
        pytest.param(b'{"cells": [], "metadata": {}, "nbformat": 3, "nbformat_minor": 0}', id="format 3"),
        pytest.param(b'{"cells": [], "metadata": {}, "nbformat": 5, "nbformat_minor": 0}', id="format 5"),
        pytest.param(b'{"cells": [], "metadata": {"x": NaN}, "nbformat": 4, "nbformat_minor": 5}', id="nan"),
        pytest.param(
            b'{"cells": [{"cell_type": "code"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', id="cell"
        ),
        pytest.param(b'{"cells": [\xff]}', id="no UTF-8"),
    ],
)
def test_a_malformed_notebook_is_named_and_nothing_runs(lab: Lab, tmp_path: Path, content: bytes) -> None:
    """Not the sound one either that comes before it."""
    write_notebook(tmp_path / "good.ipynb", "1")
    (tmp_path / "bad.ipynb").write_bytes(content)
    answer = lab("run", "good.ipynb", "bad.ipynb")
    assert answer.code == 2
    assert answer.err.splitlines()[-3].startswith("lab: 'bad.ipynb' cannot be run: ")
    assert answer.out == ""
    assert not (tmp_path / "outputs").exists()


def test_text_arrives_in_the_kernel_as_it_was_given(lab: Lab, tmp_path: Path) -> None:
    texts = [
        "<script>alert(1)</script>",
        "{{ 7 * 7 }} {% raw %} {x} %s",
        "'\"\"\"\\'; open('PWNED', 'w') #",
        "two\nlines\r\n\tand a null \x00",
        "../../x",
        "ü 空 \N{GRINNING FACE} \u202e",
    ]
    (tmp_path / "points.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    write_notebook(tmp_path / "nb.ipynb", "print(ascii(text))", parameters="text: str = ''  # any")
    answer = lab("run", "nb.ipynb", "--grid", "points.jsonl")
    assert answer.code == 0, answer.err
    runs = records(tmp_path / "outputs")
    arrived = {record["parameters"]["text"]: printed(tmp_path / "outputs" / name) for name, record in runs.items()}
    assert arrived == {text: f"{text!a}\n" for text in texts}
    assert list(tmp_path.rglob("PWNED")) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["nb.ipynb", "outputs", "points.jsonl"]


def test_spaces_and_unicode_in_paths_are_no_obstacle(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "ü 空 {x}"
    write_notebook(folder / "nb ∂.ipynb", "open('left ü.txt', 'w').write('1')")
    answer = lab("run", "nb ∂.ipynb", "--outputs", "out ü {y}", cwd=folder)
    assert answer.code == 0, answer.err
    assert (folder / "out ü {y}" / "nb ∂" / "latest" / "files" / "left ü.txt").read_text() == "1"


def test_an_absent_device_is_an_error_and_never_the_cpu(lab: Lab, tmp_path: Path) -> None:
    """Also where it is the last of the sweep: none begins."""
    write_notebook(tmp_path / "nb.ipynb", "open('ran', 'w')", parameters=DEVICE)
    answer = lab("run", "nb.ipynb", "-p", "device=cpu,cuda", own_parent=True, CUDA_VISIBLE_DEVICES="")
    assert answer.code == 3
    assert "cuda" in answer.err
    assert "Present: cpu" in answer.err
    assert answer.out == ""
    assert records(tmp_path / "outputs") == {}


def typed(*words: str | Path, cwd: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run ``lab`` as it is typed, its imports included; return the seconds of processor time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run([sys.executable, "-m", "lab", *words], cwd=cwd, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return answer, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_vast_grid_is_counted_but_not_built(tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "print(x)", parameters=X)
    refused, seconds = typed("run", "nb.ipynb", "-p", "x=1:1000000000:1", cwd=tmp_path)
    assert refused.returncode == 2
    assert "This grid is 1,000,000,000 runs." in refused.stderr
    assert "--yes" in refused.stderr
    assert seconds < 1
    assert not (tmp_path / "outputs").exists()


def test_a_vast_grid_begins_at_once_when_it_is_meant(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "print(x)", parameters=X)
    words = "run", "nb.ipynb", "-p", "x=1:1000000000:1"
    planned = lab(*words, "--dry-run")
    assert (planned.code, planned.out.count("would run"), planned.seconds < 5) == (0, 20, True)
    assert "1,000,000,000 runs" in planned.err
    assert not (tmp_path / "outputs").exists()

    driver = lab.start(*words, "--yes", "--timeout", "60")
    wait_until(lambda: list(tmp_path.glob("outputs/nb/*/run.json")), seconds=10)
    first = psutil.Process(driver.pid).memory_info().rss
    wait_until(lambda: len(list(tmp_path.glob("outputs/nb/*/run.json"))) > 5, seconds=30)
    assert psutil.Process(driver.pid).memory_info().rss - first < 20_000_000
    driver.send(signal.SIGTERM)
    answer = driver.end(5)
    assert answer.code == 143
    assert "of 1,000,000,000 runs" in answer.err
    assert lab.processes() == []
    assert left_over(tmp_path / "outputs") == []


# What cells and kernels do

END = """\
import ctypes, os, re, signal, subprocess, time
print('before', os.getpid(), subprocess.Popen(['sleep', '1000']).pid, flush=True)
print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid, flush=True)  # out of the kernel's group
time.sleep(0.3)
if how == 'kill': os.kill(os.getpid(), signal.SIGKILL)
if how == 'exit': os._exit(0)
if how == 'crash': ctypes.string_at(0)
if how == 'stop': os.kill(os.getpid(), signal.SIGSTOP)
while how == 'loop': pass
if how == 'regex': re.match('(a+)+$', 'a' * 40 + 'b')"""


def pids(outputs: Path) -> list[int]:
    words = " ".join(printed(outputs / name) for name in records(outputs)).split()
    return [int(word) for word in words if word.isdecimal()]


def alive(numbers: list[int]) -> list[int]:
    found = []
    for process in psutil.process_iter(["status"]):
        if process.pid in numbers and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found


def by_how(outputs: Path) -> dict[str, dict[str, Any]]:
    return {record["parameters"]["how"]: record for record in records(outputs).values()}


def test_a_kernel_that_dies_is_noticed_and_the_sweep_goes_on(lab: Lab, tmp_path: Path) -> None:
    """With what it started, be it a daemon with a session of its own."""
    write_notebook(tmp_path / "nb.ipynb", END, "print('after')", parameters=HOW)
    answer = lab("run", "nb.ipynb", "-p", "how=kill,exit,crash,none")
    assert answer.code == 4
    assert answer.words == ["completed", "kernel_died", "kernel_died", "kernel_died"]
    assert "2 more did not complete" in answer.err
    runs = by_how(tmp_path / "outputs")
    causes = {"kill": "SIGKILL", "exit": "exit code 0", "crash": "SIGSEGV"}
    for how, cause in causes.items():
        assert runs[how]["status"] == "kernel_died"
        assert runs[how]["error"] == {"cell": 1, "name": "KernelDied", "message": f"Kernel died ({cause})"}
        assert [cell["state"] for cell in runs[how]["cells"]] == ["completed", "failed", "not_run"]
        assert runs[how]["timing"]["cells"][1] < 3
    assert runs["none"]["status"] == "completed"
    assert {run["timing"]["kernel"] for run in runs.values()} == {"forked"}
    assert len(pids(tmp_path / "outputs")) == 12
    wait_until(lambda: alive(pids(tmp_path / "outputs")) == [], seconds=5)


def test_a_cell_is_stopped_at_its_limit_whatever_it_does(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", END, "print('after')", parameters=HOW)
    answer = lab("run", "nb.ipynb", "-p", "how=loop,regex,stop,none", "--cell-timeout", "2", "--timeout", "60")
    assert answer.code == 124
    assert answer.words == ["completed", "timeout", "timeout", "timeout"]
    assert "stopped at the cell's limit of 2 s" in answer.err
    runs = by_how(tmp_path / "outputs")
    for how in ("loop", "regex", "stop"):
        assert runs[how]["error"] == {"cell": 1, "name": "TimeLimit", "message": "stopped at the cell's limit of 2 s"}
        assert [cell["state"] for cell in runs[how]["cells"]] == ["completed", "failed", "not_run"]
        assert 1.9 < runs[how]["timing"]["cells"][1] < 5
    assert len(pids(tmp_path / "outputs")) == 12
    wait_until(lambda: alive(pids(tmp_path / "outputs")) == [], seconds=5)


def test_a_run_is_stopped_at_its_limit_whatever_it_does(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", END, "print('after')", parameters=HOW)
    answer = lab("run", "nb.ipynb", "-p", "how=loop,stop", "--timeout", "3", "--cell-timeout", "60")
    assert answer.code == 124
    runs = by_how(tmp_path / "outputs")
    for how in ("loop", "stop"):
        assert runs[how]["status"] == "timeout"
        assert "the run's limit of 3" in runs[how]["error"]["message"]
        assert 2.9 < runs[how]["timing"]["seconds"] < 6
    assert alive(pids(tmp_path / "outputs")) == []


def test_processes_that_cells_leave_end_with_their_kernel(lab: Lab, tmp_path: Path) -> None:
    """As many as a small fork bomb makes, in three generations. They are in the kernel's group, as whatever does not
    leave it on purpose: a daemon with a session of its own could only be held by a sandbox.
    """
    bomb = """\
import os, time
for _ in range(4):
    if os.fork() == 0:
        for _ in range(2):
            os.fork()
        os.close(1), os.close(2)
        time.sleep(1000)
        os._exit(0)
time.sleep(0.5)"""
    write_notebook(tmp_path / "nb.ipynb", bomb, "print(1)")
    answer = lab("run", "nb.ipynb")
    assert answer.code == 0, answer.err
    assert lab.processes() == []


def test_what_an_error_means_for_the_machine_is_told(lab: Lab, tmp_path: Path) -> None:
    """Injected; the next run is in a process of its own."""
    cells = "import os; print(os.getpid()); import torch", "if how != 'none': raise eval(how)", "print('after')"
    write_notebook(tmp_path / "nb.ipynb", *cells, parameters=HOW)
    raised = {
        "MemoryError()": "oom",
        "torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')": "oom",
        "RuntimeError('[enforce fail] DefaultCPUAllocator: can\\'t allocate memory: you tried 1 bytes')": "oom",
        "RuntimeError('CUDA error: an illegal memory access was encountered')": "device_lost",
        "RuntimeError('CUDA error: device-side assert triggered')": "device_lost",
        "RuntimeError('shapes cannot be multiplied')": "failed",
        "none": "completed",
    }
    (tmp_path / "points.jsonl").write_text("".join(json.dumps({"how": how}) + "\n" for how in raised))
    answer = lab("run", "nb.ipynb", "--grid", "points.jsonl")
    assert answer.code == 4
    runs = by_how(tmp_path / "outputs")
    assert {how: run["status"] for how, run in runs.items()} == raised
    for how, run in runs.items():
        last = ["completed", "completed"] if how == "none" else ["failed", "not_run"]
        assert [cell["state"] for cell in run["cells"]] == ["completed", "completed", *last]
    assert len(set(pids(tmp_path / "outputs"))) == len(raised)


def test_memory_that_is_really_not_there_is_told(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "import torch; torch.empty(1 << 50)", parameters=X)
    answer = lab("run", "nb.ipynb")
    assert (answer.code, answer.words) == (4, ["oom"])


def test_what_a_cell_prints_by_the_gigabyte_is_cut(lab: Lab, tmp_path: Path) -> None:
    """200 MB."""
    write_notebook(tmp_path / "nb.ipynb", "for _ in range(200): print('x' * 999_999)", "print('on')")
    answer = lab("run", "nb.ipynb")
    assert answer.code == 0, answer.err
    folder = tmp_path / "outputs" / "nb" / "latest"
    assert [cell["output_cut"] for cell in json.loads((folder / "run.json").read_text())["cells"]] == [True, False]
    assert printed(folder).endswith("[cut here: a cell may print 1,000,000 characters]\non\n")
    assert (folder / "nb.ipynb").stat().st_size < 1_100_000


# The disk, and who else writes there


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder, file by file, also through the link to the newest."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*/*")}


@pytest.mark.parametrize(
    "source",
    ["open('large', 'wb').write(bytes(9_000_000))", "print('x' * 990_000)"],
    ids=["by a cell", "by the result"],
)
def test_a_disk_that_fills_up_keeps_what_was_there(lab: Lab, tmp_path: Path, mount: Mount, source: str) -> None:
    outputs = mount("size=700k")
    write_notebook(tmp_path / "nb.ipynb", f"if x: {source}", parameters=X)
    assert lab("run", "nb.ipynb", "--outputs", outputs).code == 0
    old = contents(outputs)
    assert len(old) == 4  # run.json and the notebook, under two names
    answer = lab("run", "nb.ipynb", "-p", "x=1", "--outputs", outputs)
    assert answer.code == 5
    assert f"as user {os.getuid()}: No space left on device." in answer.err
    assert "Free some space" in answer.err
    assert contents(outputs) == old
    assert left_over(outputs) == []
    assert lab.processes() == []


def test_a_read_only_store_is_refused_before_the_work(tmp_path: Path, mount: Mount) -> None:
    outputs = mount("size=1m,ro")
    write_notebook(tmp_path / "nb.ipynb", f"open({str(tmp_path / 'ran')!r}, 'w')")
    answer, seconds = typed("run", "nb.ipynb", "--outputs", outputs, cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (5, "")
    assert f"as user {os.getuid()}: " in answer.stderr
    assert "chown" in answer.stderr
    assert not (tmp_path / "ran").exists()
    assert seconds < 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_store_of_another_user_is_refused_before_the_work(lab: Lab) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="lab-other-") as name:  # where the other user may enter
        folder = Path(name)
        folder.chmod(0o755)
        write_notebook(folder / "nb.ipynb", "open('ran', 'w')")
        (folder / "outputs").mkdir()
        answer = lab("run", "nb.ipynb", "--outputs", folder / "outputs", cwd=folder, user=65534)
        assert (answer.code, answer.out) == (5, ""), answer.err
        assert answer.seconds < 1
        assert "as user 65534: " in answer.err
        assert "chown" in answer.err
        assert list((folder / "outputs").iterdir()) == []


def test_two_sweeps_of_one_grid_share_its_work(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "import time; time.sleep(0.3)", parameters=X)
    drivers = [lab.start("run", "nb.ipynb", "-p", "x=1:8:1") for _ in range(2)]
    answers = [driver.end() for driver in drivers]
    assert [answer.code for answer in answers] == [0, 0], [answer.err for answer in answers]
    runs = records(tmp_path / "outputs")
    assert sorted(record["parameters"]["x"] for record in runs.values()) == list(range(1, 9))
    assert sorted(runs) == sorted(f"nb/{record['key']}" for record in runs.values())
    words = Counter(word for answer in answers for word in answer.words)
    assert words == {"completed": 8, "finished": 8}  # each sweep tells of each run; which made it differs
    assert left_over(tmp_path / "outputs") == []


def test_eight_at_once_with_the_same_run_leave_eight_whole_results(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "print(x)", parameters=X)
    drivers = [lab.start("run", "nb.ipynb", "--force") for _ in range(8)]
    answers = [driver.end() for driver in drivers]
    assert [answer.code for answer in answers] == [0] * 8, [answer.err for answer in answers]
    runs = records(tmp_path / "outputs")
    key = next(iter(runs.values()))["key"]
    assert sorted(runs) == sorted([f"nb/{key}", *(f"nb/{key}-{number}" for number in range(2, 9))])
    assert statuses(tmp_path / "outputs") == {"completed": 8}
    assert all(printed(tmp_path / "outputs" / name) == "0\n" for name in runs)
    assert (tmp_path / "outputs" / "nb" / "latest" / "run.json").is_file()
    assert left_over(tmp_path / "outputs") == []


def test_failures_are_run_again_and_results_are_not(lab: Lab, tmp_path: Path) -> None:
    switch, source = tmp_path / "switch", "import pathlib\nif x == 2 and not pathlib.Path({!r}).exists(): 1 / 0"
    write_notebook(tmp_path / "nb.ipynb", source.format(str(switch)), parameters=X)
    words = "run", "nb.ipynb", "-p", "x=1,2,3"
    first = lab(*words)
    assert (first.code, first.words) == (4, ["completed", "completed", "failed"])
    switch.touch()
    damaged = next(name for name, record in records(tmp_path / "outputs").items() if record["parameters"]["x"] == 3)
    record = tmp_path / "outputs" / damaged / "run.json"
    record.write_text(record.read_text()[:100])
    assert lab(*words, "--dry-run").words == ["finished", "would", "would"]
    again = lab(*words)
    assert (again.code, again.words) == (0, ["completed", "completed", "finished"])
    assert len(list((tmp_path / "outputs" / "nb").glob("*-2"))) == 2
    third = lab(*words)
    assert (third.code, third.words) == (0, ["finished"] * 3)
    forced = lab(*words, "--force")
    assert (forced.code, forced.words) == (0, ["completed"] * 3)
    assert sorted(path.name[16:] for path in (tmp_path / "outputs" / "nb").iterdir()) == [
        *("", "", "", ""),  # three results, and latest
        *("-2", "-2", "-2", "-3", "-3"),
    ]


def test_a_sweep_ends_at_a_failure_only_when_asked_to(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "if x == 1: 1 / 0", parameters=X)
    words = "run", "nb.ipynb", "-p", "x=1:4:1", "--workers", "1"
    fast = lab(*words, "--fail-fast")
    assert (fast.code, fast.words) == (4, ["failed"])
    assert "1 of 4 runs" in fast.err
    slow = lab(*words)
    assert (slow.code, slow.words) == (4, ["completed"] * 3 + ["failed"])
    assert "ZeroDivisionError" in slow.err


# Signals


def test_an_interrupt_lets_what_runs_finish_and_the_same_command_goes_on(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", WAIT % 1, "print(x)", parameters=X)
    words = "run", "nb.ipynb", "-p", "x=1:6:1", "--workers", "2"
    driver = lab.start(*words)
    wait_until_begun(driver, 2)
    driver.send(signal.SIGINT)
    answer = driver.end(10)
    assert (answer.code, answer.words) == (130, ["completed", "completed"])
    assert "finishing the runs that are under way; Ctrl-C again ends them" in answer.err
    assert "2 of 6 runs" in answer.err
    assert answer.err.endswith("lab: interrupted\n")
    assert statuses(tmp_path / "outputs") == {"completed": 2}
    assert left_over(tmp_path / "outputs") == []
    assert lab.processes() == []
    again = lab(*words)
    assert (again.code, again.words) == (0, ["completed"] * 4 + ["finished"] * 2)
    assert statuses(tmp_path / "outputs") == {"completed": 6}


@pytest.mark.parametrize(
    ("sent", "code", "seconds"), [((signal.SIGINT, signal.SIGINT), 130, 2), ((signal.SIGTERM,), 143, 5)]
)
def test_a_second_interrupt_and_a_terminate_end_all(
    lab: Lab, tmp_path: Path, sent: tuple[signal.Signals, ...], code: int, seconds: float
) -> None:
    source = f"import subprocess; subprocess.Popen(['sleep', '1000'])\n{WAIT % 0}\nwhile True: pass"
    write_notebook(tmp_path / "nb.ipynb", source, "print(x)", parameters=X)
    words = "run", "nb.ipynb", "-p", "x=1:6:1", "--workers", "2"
    driver = lab.start(*words)
    wait_until_begun(driver, 2)
    for number in sent:
        driver.send(number)
        time.sleep(0.2)
    answer = driver.end(seconds)
    assert (answer.code, answer.words) == (code, ["interrupted", "interrupted"])
    assert lab.processes() == []
    runs = records(tmp_path / "outputs")
    assert statuses(tmp_path / "outputs") == {"interrupted": 2}
    for run in runs.values():
        assert run["error"] == {"cell": 1, "name": "Interrupted", "message": "the run was stopped from outside"}
        assert [cell["state"] for cell in run["cells"]] == ["completed", "failed", "not_run"]
    assert left_over(tmp_path / "outputs") == []
    assert lab(*words, "--dry-run").words == ["would"] * 6  # what was interrupted is not finished


def test_signals_amidst_a_cell_always_end_all_in_time(lab: Lab, tmp_path: Path) -> None:
    """As often as the seconds allow, at any moment; a loop of hours would only do the same more often."""
    write_notebook(tmp_path / "nb.ipynb", f"{WAIT % 0}\nwhile True: pass")
    moments, ends, count = random.Random(1), time.monotonic() + SECONDS, 0
    while time.monotonic() < ends:
        number, code, seconds = [(signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 5)][count % 2]
        driver = lab.start("run", "nb.ipynb")
        wait_until_begun(driver)
        time.sleep(moments.uniform(0, 0.1))
        driver.send(number)
        answer = driver.end(seconds)
        count += 1
        assert (answer.code, answer.words) == (code, ["interrupted"]), answer.err
        assert lab.processes() == []
        assert left_over(tmp_path / "outputs") == []
    assert statuses(tmp_path / "outputs") == {"interrupted": count}
    assert count >= 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_at_any_moment_of_a_run_leave_nothing(lab: Lab, tmp_path: Path, number: signal.Signals) -> None:
    """Before its kernel is there, while it starts, while the result is written."""
    write_notebook(tmp_path / "nb.ipynb", "print(1)")
    moments, count, codes = random.Random(2), 0, set()
    ends = time.monotonic() + SECONDS / 4
    while time.monotonic() < ends:
        driver = lab.start("run", "nb.ipynb", "--force")
        time.sleep(moments.uniform(0.03, 0.6))
        driver.send(number)
        answer = driver.end(5)
        codes.add(answer.code)
        count += 1
        assert "Traceback" not in answer.err, answer.err
        assert lab.processes() == []
        assert left_over(tmp_path / "outputs") == []
    assert codes <= {0, 128 + number}
    assert 128 + number in codes
    assert set(statuses(tmp_path / "outputs")) <= {"completed", "interrupted"}


@pytest.mark.parametrize(
    "sources",
    [
        pytest.param(("time.sleep(1000)", "while True: pass"), id="asleep, busy"),
        # Neither can do anything of its own accord: one holds Python's lock for ever, the other is stopped.
        pytest.param(
            ("re.match('(a+)+$', 'a' * 40 + 'b')", "os.kill(os.getpid(), signal.SIGSTOP)"), id="in C, stopped"
        ),
    ],
)
def test_a_driver_that_is_killed_takes_all_along_and_the_next_sweep_goes_on(
    lab: Lab, tmp_path: Path, sources: tuple[str, str]
) -> None:
    """With a warm parent of its own. What it was writing is removed by the next sweep, once it is old."""
    outputs, done = tmp_path / "outputs", tmp_path / "done"
    wait = f"if x > 2 and not os.path.exists({str(done)!r}):\n    open('begun', 'w').close()\n"
    cell = f"    subprocess.Popen(['sleep', '1000'])\n    if x == 3: {sources[0]}\n    {sources[1]}"
    write_notebook(tmp_path / "nb.ipynb", f"import os, re, signal, subprocess, time\n{wait}{cell}", parameters=X)
    words = "run", "nb.ipynb", "-p", "x=1:6:1", "--workers", "2"
    driver = lab.start(*words, own_parent=True)
    wait_until_begun(driver, 2)
    driver.send(signal.SIGKILL)
    assert driver.end(5).code == -signal.SIGKILL
    wait_until(lambda: not lab.processes(), seconds=5)
    assert statuses(outputs) == {"completed": 2}
    partial = list(outputs.glob(f"{PARTIAL}*"))
    assert len(partial) == 4  # two folders and their locks

    for path in partial:
        os.utime(path, (0, time.time() - ORPHAN_AGE - 1))
    done.touch()
    again = lab(*words)
    assert (again.code, again.words) == (0, ["completed"] * 4 + ["finished"] * 2)
    assert statuses(outputs) == {"completed": 6}
    assert left_over(outputs) == []


def test_a_warm_parent_that_is_killed_costs_nothing_but_time(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", WAIT % 1, "print(x)", parameters=X)
    driver = lab.start("run", "nb.ipynb", "-p", "x=1:2:1", "--workers", "1", own_parent=True)
    wait_until_begun(driver)
    (parent,) = psutil.Process(driver.pid).children()
    parent.kill()
    answer = driver.end(60)
    assert (answer.code, answer.words) == (0, ["completed"] * 2), answer.err
    assert left_over(tmp_path / "outputs") == []
    assert lab.processes() == []


def test_results_are_whole_or_absent_whenever_their_writer_is_killed(lab: Lab, tmp_path: Path) -> None:
    """As often as the seconds allow, two at a time, while others read."""
    write_notebook(tmp_path / "nb.ipynb", "open('file', 'wb').write(bytes(100_000)); print('whole')")
    outputs, moments, kills = tmp_path / "outputs", random.Random(3), 0
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        drivers = [lab.start("run", "nb.ipynb", "--force") for _ in range(2)]
        time.sleep(moments.uniform(0.1, 1.2))
        for driver in drivers:
            driver.send(signal.SIGKILL)
            kills += driver.end(5).code == -signal.SIGKILL
        for name, record in records(outputs).items():
            assert record["status"] == "completed"
            assert printed(outputs / name) == "whole\n"
            assert (outputs / name / "files" / "file").stat().st_size == 100_000
        if (latest := outputs / "nb" / "latest").is_symlink():
            assert (latest / "run.json").is_file()
    wait_until(lambda: not lab.processes(), seconds=5)
    assert kills >= 5
    assert records(outputs)


def test_a_kernel_of_another_s_warm_parent_works_where_its_driver_does(lab: Lab, tmp_path: Path) -> None:
    """The folder that a driver names may be relative to its own."""
    folder = tmp_path / "elsewhere"
    write_notebook(folder / "nb.ipynb", "open('file', 'w')")
    answer = lab("run", "nb.ipynb", "--outputs", "outputs", cwd=folder)
    assert answer.code == 0, answer.err
    (record,) = records(folder / "outputs").values()
    assert record["timing"]["kernel"] == "forked"


@contextmanager
def false_parent(lab: Lab, tmp_path: Path) -> Iterator[tuple[Driver, socket.socket]]:
    """Start ``lab run`` with a warm parent that does nothing by itself; hand out its connection to that."""
    write_notebook(tmp_path / "nb.ipynb", "1")
    address = str(tmp_path / "false")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        driver = lab.start("run", "nb.ipynb", LAB_WARM=address)
        listener.settimeout(30)
        connection, _ = listener.accept()
        with connection:
            yield driver, connection


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_start_that_takes_for_ever_is_given_up(lab: Lab, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """As with a warm parent that imports from a disk that is slow, or that was stopped."""
    with false_parent(lab, tmp_path) as (driver, _):
        began = time.monotonic()
        driver.send(number)
        assert driver.end(30).code == code
        assert time.monotonic() - began < 5
    assert {record["status"] for record in records(tmp_path / "outputs").values()} == {"interrupted"}


def test_an_answer_that_makes_no_sense_is_no_obstacle(lab: Lab, tmp_path: Path) -> None:
    with false_parent(lab, tmp_path) as (driver, connection):
        _, (status,), *_ = socket.recv_fds(connection, 1, 1)
        os.write(status, b"nonsense")
        os.close(status)
        assert driver.end(60).code == 0
    (record,) = records(tmp_path / "outputs").values()
    assert record["timing"]["kernel"].startswith("spawned: the warm parent does not fork")


def test_a_terminal_that_is_closed_ends_all(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "open('began', 'w'); import time; time.sleep(100)")
    driver = lab.start("run", "nb.ipynb")
    wait_until(lambda: list(tmp_path.glob("outputs/.partial-*/files/began")), seconds=30)
    driver.send(signal.SIGHUP)
    assert driver.end(10).code == 143
    assert {record["status"] for record in records(tmp_path / "outputs").values()} == {"interrupted"}


def test_a_folder_for_temporary_files_too_long_for_a_socket_is_no_obstacle(lab: Lab, tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "1")
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    answer = lab("run", "nb.ipynb", own_parent=True, TMPDIR=str(deep))
    assert (answer.code, answer.words) == (0, ["completed"])


def test_a_reader_that_has_seen_enough_does_not_stop_the_runs(tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "1", parameters="x: int = 0  # any")
    command = f"{sys.executable} -m lab run nb.ipynb -p x=1:4:1 --workers 1 | head -1"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("completed ")
    assert len(records(tmp_path / "outputs")) == 4
