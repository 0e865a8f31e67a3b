"""The command line as a person or a machine meets it: real processes, their exit codes, what stands on which stream."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.device import present_devices
from lab.teach.notebook import notebook_from_percent

ROOT = Path(__file__).resolve().parents[1]
LAB = [sys.executable, "-m", "lab"]


def lab(*words: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAB, *words], cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["lesson", "-p", "x=abc"], 2, "x = 'abc'"),
        (["lesson", "-p", "x=nan"], 2, "x = 'nan'"),
        (["lesson", "-p", "x=1e9"], 2, "[-100, 100]"),
        (["lesson", "-p", "X=1"], 2, "Its parameters: x, y, device, dtype, seed"),
        (["lesson", "-p", "dtpe=float64"], 2, "Did you mean 'dtype'?"),
        (["lesson", "-p", "x"], 2, "Expected name=value"),
        (["lesson", "--dtype", "float8"], 2, "bfloat16"),
        (["lesson", "--seed", "one"], 2, "--seed"),
        (["lesson", "99"], 2, "05_gradients"),
        (["lesson", "--devise", "cpu"], 2, "--device"),
        (["lesso"], 2, "Did you mean"),
        (["lesson", "--device", "tpu"], 3, "auto, cuda, xpu, mps, cpu"),
        (["doctor", "--device", "cpu:7"], 3, "Present:"),
        (["exercises", "--dtype", "float8"], 2, "bfloat16"),
        (["exercises", "--device", "cpu:7"], 3, "Present:"),
        (["exercises", "hint", "ex99"], 2, "ex01_two_partials"),
        (["exercises", "hint", "ex01", "5"], 2, "step"),
        (["exercises", "check", "ex01_two_partial"], 2, "Did you mean 'ex01_two_partials'?"),
        (["exercises", "--lesson", "99"], 2, "05_gradients"),
        (["exercises", "--seed", "1", "check"], 2, "Expected them after it"),
        (["exercises", "wacth"], 2, "Did you mean 'watch'?"),
        (["exercises", "solution", "ex01"], 2, "is not solved yet"),
        (["exercises", "predict", "ex99"], 2, "ex01_two_partials"),
        (["exercises", "merge", "nowhere"], 2, "There is no folder nowhere"),
        (["errors", "nonsense"], 2, "There is no exhibit 'nonsense'"),
        (["errors", "secnd-backward"], 2, "Did you mean 'second-backward'?"),
        (["run", "nowhere.ipynb"], 2, "There is no notebook"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_message_and_its_exit_code(
    words: list[str], code: int, message: str, tmp_path: Path
) -> None:
    answer = lab(*words, cwd=tmp_path)
    assert answer.returncode == code
    assert answer.stderr.startswith("lab: ")
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(answer.stderr.splitlines()) <= 3
    assert answer.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("cuda" in {name.partition(":")[0] for name in present_devices()}, reason="this machine has CUDA")
def test_an_absent_device_is_an_error_and_never_the_cpu(tmp_path: Path) -> None:
    answer = lab("lesson", "--device", "cuda", cwd=tmp_path)
    assert answer.returncode == 3
    assert "Present: " in answer.stderr
    assert "✓" not in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_lists_every_command(tmp_path: Path) -> None:
    answer = lab("--help", cwd=tmp_path)
    assert answer.returncode == 0
    assert all(command in answer.stdout for command in ("lesson", "exercises", "errors", "run", "generate", "doctor"))


def test_the_first_line_of_a_lesson_comes_before_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')", encoding="utf-8")
    answer = lab("lesson", "-p", "x=3", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert answer.stdout.startswith("lab lesson 05_gradients\nx = 3.0, y = 3.0, device = auto")
    assert "torch was imported" in answer.stderr


def test_a_piped_lesson_is_plain_text_of_80_columns(tmp_path: Path) -> None:
    answer = lab("lesson", cwd=tmp_path, env={"COLUMNS": "80"})
    assert answer.returncode == 0
    assert "\x1b" not in answer.stdout
    assert answer.stderr == ""
    wide = [line for line in answer.stdout.splitlines() if len(line.rstrip()) > 80]
    assert [line for line in wide if "Pictures and lesson.json" not in line] == []


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    answer = lab("lesson", "-p", "x=-1.5", "--dtype", "float64", "--json", cwd=tmp_path)
    result = json.loads(answer.stdout)
    assert result["parameters"]["x"] == -1.5
    assert {c["verdict"] for c in result["comparisons"]} == {"pass"}
    assert "✓" in answer.stderr


def test_doctor_names_what_results_depend_on(tmp_path: Path) -> None:
    report = json.loads(lab("doctor", "--json", cwd=tmp_path).stdout)
    assert [facts["device"] for facts in report["devices"]] == present_devices()
    cpu = report["devices"][-1]
    assert {"torch", "python", "device_name", "driver", "threads", "switches"} <= set(cpu)
    assert cpu["switches"]["torch.backends.cpu.get_cpu_capability"]
    assert re.search(rf"^cpu: {re.escape(cpu['device_name'])}$", lab("doctor", cwd=tmp_path).stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("sent", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_stopped_lesson_leaves_nothing_half(sent: signal.Signals, code: int, word: str, tmp_path: Path) -> None:
    with subprocess.Popen([*LAB, "lesson"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        outputs = tmp_path / "outputs"
        while process.poll() is None and not list(outputs.glob(".partial-*/")):
            time.sleep(0.01)
        process.send_signal(sent)
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == code
    assert complaint.decode().startswith(f"lab: {word}")
    assert "Traceback" not in complaint.decode()
    assert [path for path in outputs.rglob("*") if path.is_file()] == []


def test_a_terminal_without_unicode_still_gets_its_lesson(tmp_path: Path) -> None:
    answer = lab("lesson", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert answer.returncode == 0
    assert "? dy/dx = 2x" in answer.stdout


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_where_the_part_that_is_done_lies(sent: signal.Signals, code: int, tmp_path: Path) -> None:
    source = "# %%\nfrom pathlib import Path\nimport time\nPath('started').touch()\ntime.sleep(60)\n"
    (tmp_path / "slow.ipynb").write_text(notebook_from_percent(source), encoding="utf-8")
    command = [*LAB, "run", "slow.ipynb"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(tmp_path.glob("outputs/.partial-*/files/started")):
            time.sleep(0.01)
        process.send_signal(sent)
        told, complaint = process.communicate(timeout=30)
    assert process.returncode == code
    assert complaint.startswith("lab: ")
    record = tmp_path / told.splitlines()[-1].partition(" → ")[2] / "run.json"
    assert json.loads(record.read_text("utf-8"))["status"] == "interrupted"


def test_run_reports_each_notebook_and_the_first_failure(tmp_path: Path) -> None:
    (tmp_path / "good.ipynb").write_text(notebook_from_percent("# %%\n1 + 1\n"), encoding="utf-8")
    (tmp_path / "bad.ipynb").write_text(notebook_from_percent("# %%\n1 / 0\n"), encoding="utf-8")
    answer = lab("run", "bad.ipynb", "good.ipynb", "--json", cwd=tmp_path)
    assert answer.returncode == 4
    assert [record["status"] for record in json.loads(answer.stdout)["runs"]] == ["failed", "completed"]
    assert "ZeroDivisionError" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_notebooks_are_checked_against_their_sources(tmp_path: Path) -> None:
    assert lab("generate", "--check", cwd=tmp_path).returncode == 1
    assert lab("generate", cwd=tmp_path).returncode == 0
    assert lab("generate", "--check", cwd=tmp_path).returncode == 0
    assert (tmp_path / "docs" / "errors.md").read_text("utf-8").startswith("# The error museum\n")
    written = {path.name: path.read_text("utf-8") for path in (tmp_path / "notebooks").iterdir()}
    assert written == {path.name: path.read_text("utf-8") for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_a_learner_s_notebooks_are_kept(tmp_path: Path) -> None:
    lab("generate", "--keep", cwd=tmp_path)
    mine = tmp_path / "notebooks" / "05_exercises.ipynb"
    mine.write_text("my answers", encoding="utf-8")
    assert lab("generate", "--keep", cwd=tmp_path).returncode == 0
    assert mine.read_text("utf-8") == "my answers"
    assert not (tmp_path / "docs").exists()
