from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from fixtures.notebooks import PARAMETERS, write_notebook

from lab.errors import ExecutionError, StorageError, TimeLimit, UsageError
from lab.run.execute import execute_plan, run_notebook, status_of
from lab.run.execution import Execution
from lab.run.plan import plan_run
from lab.run.result import RunResult
from lab.store import PARTIAL

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are counted in /proc")

FINDINGS = """\
import torch
from lab.teach.show import check_gradient, claim, picture
leaf = torch.tensor(x, requires_grad=True, device=device)
(leaf**2).backward()
check_gradient("dy/dx = 2x", leaf.grad, 2 * x)
claim("a leaf keeps its gradient", leaf.grad is not None)
picture("graph", "<svg/>")"""


def read_json(path: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise ValueError(name)

    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return data


def states(result: RunResult) -> list[str]:
    return [cell["state"] for cell in result.record["cells"]]


def printed(result: RunResult) -> str:
    notebook = nbformat.read(next(result.path.glob("*.ipynb")), as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def assert_nothing_is_left(outputs: Path) -> None:
    assert list(outputs.rglob(f"{PARTIAL}*")) == []


def test_a_run_is_published_with_what_it_found(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", "# prose", "print(f'{x=}')", FINDINGS, parameters=PARAMETERS)
    seen: list[tuple[int, int]] = []
    outputs = tmp_path / "outputs"
    result = run_notebook(path, {"x": "3"}, outputs=outputs, on_cell=lambda *at: seen.append(at))
    record = read_json(result.path / "run.json")
    assert record == result.record
    assert (result.status, result.failure, record["error"]) == ("completed", None, None)
    assert [cell["index"] for cell in record["cells"]] == [0, 2, 3]
    assert states(result) == ["completed"] * 3
    assert record["parameters"] == {"x": 3.0, "device": "cpu"}
    assert [(c["value"], c["reference"], c["verdict"]) for c in record["comparisons"]] == [(6.0, 6.0, "pass")]
    assert record["claims"] == [{"sentence": "a leaf keeps its gradient", "holds": True}]
    assert record["environment"]["device"] == "cpu"
    assert record["environment"]["threads"] >= 1  # which only the kernel knows
    assert seen == [(index, 5) for index in range(5)]
    names = sorted(file.name for file in result.path.iterdir())
    assert names == ["graph.svg", "nb.ipynb", "run.json"]
    assert (outputs / "nb" / "latest").resolve() == result.path
    assert_nothing_is_left(outputs)

    notebook = nbformat.read(result.path / "nb.ipynb", as_version=4)
    assert notebook.metadata.papermill.parameters == {"x": 3.0, "device": "cpu"}
    assert notebook.metadata.papermill.input_path == str(path)
    assert [cell.metadata.papermill.status for cell in notebook.cells] == ["completed"] * 5
    assert notebook.cells[1].metadata.tags == ["injected-parameters"]
    assert printed(result).startswith("x=3.0\n")


def test_a_repetition_gives_the_same_run_json_but_for_its_timing(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", FINDINGS, parameters=PARAMETERS)
    plan = plan_run(path, {})
    results = [execute_plan(plan, outputs=tmp_path / "outputs") for _ in range(2)]
    assert results[1].path.name == f"{results[0].path.name}-2"
    records = [read_json(result.path / "run.json") for result in results]
    assert all(record.pop("timing")["seconds"] > 0 for record in records)
    assert json.dumps(records[0]) == json.dumps(records[1])


def test_a_cell_that_raises_fails_the_run_and_ends_it(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", "print(1)", "# prose", "raise ValueError('a\\udcff' * 5000)", "1")
    result = run_notebook(path, {}, outputs=tmp_path / "outputs")
    assert (result.status, states(result)) == ("failed", ["completed", "failed", "not_run"])
    error = result.record["error"]
    assert (error["cell"], error["name"], error["message"][0]) == (2, "ValueError", "a")
    assert len(error["message"]) <= 2000
    assert isinstance(result.failure, ExecutionError)
    assert result.failure.exit_code == 4
    assert "nb.ipynb, cell 3 of 4: ValueError" in str(result.failure)
    notebook = nbformat.read(result.path / "nb.ipynb", as_version=4)
    assert "An Exception was encountered" in notebook.cells[0].source  # papermill's own note
    assert notebook.cells[-1].metadata.papermill.status == "pending"


def test_an_error_that_a_tag_allows_is_none(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", "1 / 0", "print('on')", "2")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata.tags = ["raises-exception"]
    notebook.cells[2].metadata.tags = ["skip-execution"]
    nbformat.write(notebook, path)
    result = run_notebook(path, {}, outputs=tmp_path / "outputs")
    assert (result.status, states(result)) == ("completed", ["completed", "completed", "not_run"])
    assert len(nbformat.read(result.path / "nb.ipynb", as_version=4).cells) == 3


@pytest.mark.parametrize(
    ("death", "how"),
    [
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
        ("os._exit(0)", "exit code 0"),
        ("ctypes.string_at(0)", "SIGSEGV"),
    ],
)
def test_a_kernel_that_dies_is_told_from_one_that_ends(tmp_path: Path, death: str, how: str) -> None:
    die = f"import ctypes, os, time; print('before'); time.sleep(0.3); died = {death}"
    path = write_notebook(tmp_path / "nb.ipynb", "print(1)", die, "print(2)")
    result = run_notebook(path, {}, outputs=tmp_path / "outputs")
    assert (result.status, states(result)) == ("kernel_died", ["completed", "failed", "not_run"])
    assert result.record["error"] == {"cell": 1, "name": "KernelDied", "message": f"Kernel died ({how})"}
    assert result.failure is not None
    assert result.failure.exit_code == 4
    assert printed(result) == "1\nbefore\n"


def test_a_kernel_that_cannot_start_is_a_dead_one_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit('no kernel today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = run_notebook(write_notebook(tmp_path / "nb.ipynb", "1"), {}, outputs=tmp_path / "outputs")
    assert (result.status, states(result), result.record["error"]["cell"]) == ("kernel_died", ["not_run"], None)
    assert "no kernel today" in (result.path / "kernel.log").read_text()


def test_a_run_is_stopped_at_its_limit(tmp_path: Path) -> None:
    loop = "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')"  # in C, and deaf to an interrupt
    path = write_notebook(tmp_path / "nb.ipynb", "print(1)", loop, "print(2)")
    result = run_notebook(path, {}, outputs=tmp_path / "outputs", limit=4)
    assert (result.status, states(result)) == ("timeout", ["completed", "failed", "not_run"])
    assert isinstance(result.failure, TimeLimit)
    assert result.failure.exit_code == 124
    assert "limit of 4 s" in str(result.failure)


@pytest.mark.parametrize(
    ("stopped", "finished", "died", "status"),
    [
        ("timeout", False, "Kernel died", "timeout"),
        ("interrupted", False, None, "interrupted"),
        ("timeout", True, "Kernel died", "completed"),  # while a slow kernel was ending, its cells all done
        (None, False, "Kernel died", "kernel_died"),
        (None, True, "Kernel died", "completed"),  # as exit() has it do, after all it was asked
        (None, True, None, "completed"),
    ],
)
def test_the_status_tells_what_was_stopped_from_what_was_done(
    tmp_path: Path, stopped: str | None, finished: bool, died: str | None, status: str
) -> None:
    execution = Execution(tmp_path, tmp_path, None, finished=finished, died=died, stopped=stopped)
    assert status_of(execution) == status


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, limit: float) -> None:
    plan = plan_run(write_notebook(tmp_path / "nb.ipynb", "1"), {})
    with pytest.raises(UsageError, match="seconds above 0"):
        execute_plan(plan, outputs=tmp_path / "outputs", limit=limit)
    assert not (tmp_path / "outputs").exists()


def test_what_a_cell_prints_is_cut(tmp_path: Path) -> None:
    flood = "for _ in range(300): print('x' * 99_999)"
    path = write_notebook(tmp_path / "nb.ipynb", flood, "print('y' * 30_000_000)", "print('z')")
    result = run_notebook(path, {}, outputs=tmp_path / "outputs")
    assert result.status == "completed"
    assert [cell["output_cut"] for cell in result.record["cells"]] == [True, True, False]
    assert printed(result).count("[cut here: a cell may print 1,000,000 characters]") == 2
    assert printed(result).endswith("z\n")
    assert (result.path / "nb.ipynb").stat().st_size < 2_100_000


def test_what_a_cell_displays_is_cut_and_its_error_is_not(tmp_path: Path) -> None:
    big = "from IPython.display import display\nfor _ in range(9): display({'text/plain': 'x' * 9_000_000}, raw=True)"
    path = write_notebook(tmp_path / "nb.ipynb", f"{big}\nraise ValueError('kept')")
    result = run_notebook(path, {}, outputs=tmp_path / "outputs")
    notebook = nbformat.read(result.path / "nb.ipynb", as_version=4)
    kinds = [output.output_type for output in notebook.cells[-1].outputs]
    assert kinds == ["display_data", "stream", "error"]
    assert result.record["cells"][0]["output_cut"]
    assert result.record["error"]["message"] == "kept"


def test_prints_stay_in_order_with_what_is_displayed(tmp_path: Path) -> None:
    source = "from IPython.display import display, clear_output\nprint('gone'); clear_output(wait=True)\n"
    source += "print(1); print(2, flush=True); display('between'); print(3)"
    result = run_notebook(write_notebook(tmp_path / "nb.ipynb", source), {}, outputs=tmp_path / "outputs")
    outputs = nbformat.read(result.path / "nb.ipynb", as_version=4).cells[0].outputs
    texts = [output.get("text") or output.data["text/plain"] for output in outputs]
    assert texts == ["1\n2\n", "'between'", "3\n"]


def test_files_that_cells_write_are_kept_with_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_notebook(
        tmp_path / "a b" / "ü 空.ipynb", "open('written.txt', 'w').write(label)", parameters="label: str = ''  # any"
    )
    label = "'\"\\ ü空\n{x} <script>"
    result = run_notebook(Path("a b/ü 空.ipynb"), {"label": label}, outputs=Path("out {x} ü"))
    assert result.path.parent == Path("out {x} ü/ü 空")
    assert (result.path / "files" / "written.txt").read_text(encoding="utf-8") == label
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a b", "out {x} ü"]


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    result = run_notebook(write_notebook(tmp_path / "nb.ipynb", "1"), {}, outputs=tmp_path / "outputs")
    assert result.status == "completed"


@needs_proc
def test_a_process_that_a_cell_leaves_behind_ends_with_its_kernel(tmp_path: Path) -> None:
    source = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid)"
    result = run_notebook(write_notebook(tmp_path / "nb.ipynb", source), {}, outputs=tmp_path / "outputs")
    assert result.status == "completed"
    wait_until_gone([int(printed(result))], seconds=10)


def test_an_unwritable_store_is_refused_before_a_kernel_starts(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file in its place")
    path = write_notebook(tmp_path / "nb.ipynb", "1")
    with pytest.raises(StorageError):
        run_notebook(path, {}, outputs=tmp_path / "outputs")


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_runs_at_once_in_any_executor_are_published_each_for_itself(tmp_path: Path, kind: str) -> None:
    executor: Executor
    if kind == "processes":
        executor = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
    else:
        executor = ThreadPoolExecutor(2)
    path = write_notebook(tmp_path / "nb.ipynb", "import time; time.sleep(0.5)", parameters=PARAMETERS)
    plan = plan_run(path, {})
    with executor:
        futures = [executor.submit(execute_plan, plan, outputs=tmp_path / "outputs") for _ in range(2)]
        results = [future.result() for future in futures]
    assert sorted(result.path.name for result in results) == [plan.key, f"{plan.key}-2"]
    assert [result.status for result in results] == ["completed"] * 2
    latest = read_json(tmp_path / "outputs" / "nb" / "latest" / "run.json")
    assert latest in [result.record for result in results]
    assert pickle.loads(pickle.dumps(results)) == results
    assert_nothing_is_left(tmp_path / "outputs")


DRIVER = """
import signal, sys
from pathlib import Path
from lab.run.execute import run_notebook

def terminate(number, frame):
    raise SystemExit(143)

signal.signal(signal.SIGTERM, terminate)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
try:
    print("ready", flush=True)
    run_notebook(Path(sys.argv[1]), {}, outputs=Path(sys.argv[2]))
except KeyboardInterrupt as interrupt:
    print(*getattr(interrupt, "__notes__", ()), file=sys.stderr)  # none before there is anything to publish
    sys.exit(130)
"""


@contextmanager
def start_driver(path: Path, outputs: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", DRIVER, str(path), str(outputs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "ready\n"
            yield driver
        finally:
            driver.kill()


def wait_until_gone(pids: list[int], *, seconds: float) -> None:
    def alive(pid: int) -> bool:
        try:
            # One that is dead but not yet waited for by its parent, here perhaps a slow init, is gone as well.
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, f"still alive: {left}"
        time.sleep(0.02)


@needs_proc
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_amidst_a_cell_ends_all_and_publishes_the_truth(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    busy = f"""\
import os, pathlib, subprocess
child = subprocess.Popen(['sleep', '1000'])
written = pathlib.Path({str(tmp_path / "pids")!r})
written.with_suffix('.new').write_text(f'{{os.getpid()}} {{child.pid}}')
written.with_suffix('.new').rename(written)
while True: pass"""
    path = write_notebook(tmp_path / "nb.ipynb", "print(1)", busy, "print(2)")
    outputs = tmp_path / "outputs"
    with start_driver(path, outputs) as driver:
        while not (tmp_path / "pids").exists():
            assert driver.poll() is None
            time.sleep(0.02)
        driver.send_signal(number)
        _, errors = driver.communicate(timeout=30)
    assert driver.returncode == code, errors
    wait_until_gone([int(pid) for pid in (tmp_path / "pids").read_text().split()], seconds=10)
    record = read_json(outputs / "nb" / "latest" / "run.json")
    assert record["status"] == "interrupted"
    assert record["error"] == {"cell": 1, "name": "Interrupted", "message": "the run was stopped from outside"}
    assert [cell["state"] for cell in record["cells"]] == ["completed", "failed", "not_run"]
    if number == signal.SIGINT:
        assert errors == f"The run as far as it came: {outputs / 'nb' / record['key']}\n"
    assert_nothing_is_left(outputs)


@needs_proc
@pytest.mark.parametrize("delay", [0.0, 0.3, 0.6])
def test_an_interrupt_while_the_kernel_starts_ends_it(tmp_path: Path, delay: float) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", "while True: pass")
    with start_driver(path, tmp_path / "outputs") as driver:
        time.sleep(delay)
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=30)
    assert driver.returncode == 130, errors
    assert_nothing_is_left(tmp_path / "outputs")
    wait_until_gone(kernels_of(tmp_path), seconds=10)


@needs_proc
def test_a_driver_that_is_killed_takes_its_kernel_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the killed one leaves its connection
    path = write_notebook(tmp_path / "nb.ipynb", "import time; time.sleep(1000)")
    with start_driver(path, tmp_path / "outputs") as driver:
        while not (kernels := kernels_of(tmp_path)):
            time.sleep(0.05)
        time.sleep(1)
        driver.kill()
    wait_until_gone(kernels, seconds=30)


def kernels_of(folder: Path) -> list[int]:
    """Return the processes whose working directory lies in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = str((process / "cwd").readlink()).startswith(str(folder))
        except OSError:
            continue
        if inside and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


@pytest.mark.parametrize(
    "shown",
    [
        "display({'text/plain': 5}, raw=True)",
        "display({'text/html': None}, raw=True)",
        "display({'text/plain': 'x', 'text/html': [1]}, raw=True)",
    ],
)
def test_what_no_notebook_can_hold_fails_its_run_alone(tmp_path: Path, shown: str) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", f"from IPython.display import display\n{shown}", "print('next')")
    result = run_notebook(path, {}, outputs=tmp_path / "outputs")
    assert (result.status, states(result)) == ("failed", ["failed", "not_run"])
    assert "NotebookValidationError" in str(result.failure)
    nbformat.read(result.path / "nb.ipynb", as_version=4)


def test_what_changes_a_display_counts_as_what_is_displayed(tmp_path: Path) -> None:
    source = "handle = display('a', display_id=True)\nhandle.update('x' * 17_000_000)"
    result = run_notebook(write_notebook(tmp_path / "nb.ipynb", source), {}, outputs=tmp_path / "outputs")
    assert result.record["cells"][0]["output_cut"]
    assert (result.path / "nb.ipynb").stat().st_size < 100_000


def test_a_cell_is_stopped_at_a_fraction_of_a_second(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", "print(1)", "while True: pass")
    result = run_notebook(path, {}, outputs=tmp_path / "outputs", cell_limit=0.5)
    assert (result.status, states(result)) == ("timeout", ["completed", "failed"])
    assert "the cell's limit of 0.5 s" in str(result.failure)


@pytest.mark.parametrize("place", ["os.mkfifo('../NAME')", "os.symlink('/dev/null', '../NAME')", "os.mkdir('../NAME')"])
@pytest.mark.parametrize("name", ["nb.ipynb", "run.json"])
def test_what_a_cell_puts_in_the_place_of_a_result_gives_way(tmp_path: Path, place: str, name: str) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", f"import os\n{place.replace('NAME', name)}")
    result = run_notebook(path, {}, outputs=tmp_path / "outputs")
    assert read_json(result.path / "run.json")["status"] == "completed"
    assert (result.path / "nb.ipynb").is_file()
    assert not (result.path / name).is_symlink()


def test_folders_too_deep_to_remove_cost_their_run_alone(tmp_path: Path) -> None:
    deep = "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')"
    with pytest.raises(StorageError, match=r"deep|recursion"):
        run_notebook(write_notebook(tmp_path / "deep.ipynb", deep), {}, outputs=tmp_path / "outputs")
    for left in (tmp_path / "outputs").glob(f"{PARTIAL}*"):
        os.utime(left, (0, 0))
    result = run_notebook(write_notebook(tmp_path / "nb.ipynb", "1"), {}, outputs=tmp_path / "outputs")
    assert result.status == "completed"
    subprocess.run(["rm", "-rf", str(tmp_path / "outputs")], check=True)  # pytest could not
