"""`lab verify` as it is typed: what it refuses, what it prints, its exit codes, and that nothing is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from junitparser import JUnitXml

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
LAB = [sys.executable, "-m", "lab"]
SMALL = ["--dtype", "float32", "--axis", "size=small", "--workers", "1"]


def lab(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAB, *words], capture_output=True, text=True, check=False, timeout=110, env=plain_environment(), cwd=cwd
    )


def plain_environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": root, "COLUMNS": "80", "NO_COLOR": "1"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--dtype", "float3"], 2, "Did you mean 'float32'?"),
        (["--ops", "con2d"], 2, "Did you mean 'conv2d'?"),
        (["--axis", "layout=diagonal"], 2, "layout=contiguous,permuted,strided,expanded"),
        (["--axis", "colour=red"], 2, "Expected one of layout, cotangent, size, mask"),
        (["--ops", "exp", "--axis", "mask=others"], 2, "leave no case"),
        (["--backend", "mkldnn"], 2, "mkldnn-off"),
        (["--backend", "tf32"], 2, "--simulate tf32"),
        (["--backend", "threads", "--simulate", "tf32"], 2, "Leave one of them out"),
        (["--simulate", "threads"], 2, "--backend threads"),
        (["--case", "mm/float32"], 2, "OP/SAMPLE/DTYPE"),
        (["--device", "tpu"], 3, "There is no device 'tpu'"),
        (["--soak", "-1"], 2, "--soak"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_word_is_refused_at_once_with_what_to_type(
    words: list[str], code: int, said: str, tmp_path: Path
) -> None:
    done = lab("verify", *words, "--outputs", str(tmp_path / "outputs"))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_the_list_names_operations_and_backends() -> None:
    done = lab("verify", "--list")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("190 operations", "conv2d", "mkldnn-off", "stride-blind"))


def test_a_healthy_run_exits_with_0_and_publishes_three_files(tmp_path: Path) -> None:
    done = lab("verify", "--ops", "mul,sum", *SMALL, "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    folder = (tmp_path / "verify" / "latest").resolve()
    assert {path.name for path in folder.iterdir()} == {"verify.json", "junit.xml", "index.html"}
    assert [path.name for path in tmp_path.iterdir()] == ["verify"]  # the journal is gone
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80  # the last line is a path


def test_the_environment_is_that_of_the_workers(tmp_path: Path) -> None:
    done = lab("verify", "--ops", "mul", *SMALL, "--backend", "capability", "--json", "--outputs", str(tmp_path))
    environment = json.loads(done.stdout)["environment"]
    assert environment["threads"] == 1
    assert environment["switches"]["torch.backends.cpu.get_cpu_capability"] == "DEFAULT"


def test_a_faulty_device_exits_with_1_and_every_form_says_why(tmp_path: Path) -> None:
    done = lab("verify", "--ops", "mul,mm", *SMALL, "--simulate", "tf32", "--json", "--outputs", str(tmp_path))
    assert done.returncode == 1
    result = json.loads(done.stdout)
    by_op = {row["op"]: row for row in result["operations"]}
    assert (by_op["mul"]["verdict"], by_op["mm"]["verdict"]) == ("pass", "fail")
    assert by_op["mm"]["cause"]["label"] == "product-precision"
    (shown,) = re.findall(r"^```\n(product-precision.*?)```", README, re.MULTILINE | re.DOTALL)
    assert shown in done.stderr
    xml = JUnitXml.fromfile(str(tmp_path / "verify" / "latest" / "junit.xml"))
    assert xml.failures == 1 + sum(not probe["passed"] for probe in result["probes"])
    again = lab(*by_op["mm"]["cause"]["reproduce"].split()[1:], "--json")
    assert again.returncode == 1
    told = json.loads(again.stdout)
    assert (told["verdict"], told["cause"]["label"]) == ("fail", "product-precision")


def test_the_same_run_gives_the_same_result(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        lab("verify", "--ops", "layer_norm", *SMALL, "--outputs", str(tmp_path / name))
        result = json.loads((tmp_path / name / "verify" / "latest" / "verify.json").read_text())
        del result["timing"]
        texts.append(result)
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_goes_on_where_it_stopped(how: signal.Signals, code: int, tmp_path: Path) -> None:
    words = [*LAB, "verify", "--dtype", "float32", "--axis", "size=small,odd", "--workers", "1"]
    words += ["--outputs", str(tmp_path)]
    with subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=plain_environment(),
        start_new_session=True,
    ) as running:
        wait_for_lines(tmp_path, 5)
        running.send_signal(how)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, "Traceback" in said) == (code, False)
    assert alive(running.pid) == []
    (journal,) = tmp_path.glob(".verify-*.jsonl")
    done = sum(map(bool, journal.read_text().splitlines()))
    again = lab(*words[len(LAB) :], "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert f"{done} of" in again.stderr
    assert not list(tmp_path.glob(".verify-*"))


def wait_for_lines(outputs: Path, count: int) -> None:
    """Wait until a run has finished some chunks."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for journal in outputs.glob(".verify-*.jsonl"):
            if len(journal.read_text().split("\n\n")) >= count:
                return
        time.sleep(0.05)
    raise TimeoutError


def alive(session: int) -> list[str]:
    """Return the processes of a session, a moment after its leader has ended."""
    time.sleep(1)
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(status.parent.name)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody may write, as root neither")
def test_outputs_that_cannot_be_written_are_refused_before_the_work(tmp_path: Path) -> None:
    done = lab("verify", "--ops", "mul", *SMALL, "--outputs", "/proc/nowhere")
    assert done.returncode == 5
    assert "Could not write" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_at_once_each_publish_their_own(tmp_path: Path) -> None:
    words = [*LAB, "verify", "--ops", "mul", *SMALL, "--outputs", str(tmp_path)]
    runs = [subprocess.Popen(words, env=plain_environment(), stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [run.wait(timeout=100) for run in runs] == [0, 0]
    results = [path for path in (tmp_path / "verify").iterdir() if path.name != "latest"]
    assert len(results) == 2
    assert len({json.loads((path / "verify.json").read_text())["comparisons"] for path in results}) == 1


def test_a_soak_says_how_much_it_checked(tmp_path: Path) -> None:
    words = ["--ops", "mul", *SMALL, "--soak", "0.001", "--outputs", str(tmp_path)]
    healthy, flaky = lab("verify", *words), lab("verify", *words, "--simulate", "flaky")
    assert "0 cases changed a bit" in healthy.stdout
    assert healthy.returncode == 0
    result = json.loads((tmp_path / "verify" / "latest" / "verify.json").read_text())
    assert result["soak"]["runs"] >= 2 * result["soak"]["cases"] > 0
    assert result["soak"]["differing"]
    assert flaky.returncode == 1
