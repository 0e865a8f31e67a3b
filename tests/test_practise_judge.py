"""The judge, in the face of attempts that hang, die, print, patch or lie."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lab.errors import DeviceUnavailable, ExecutionError, LabError, StorageError, UsageError
from lab.lessons import LESSONS
from lab.practise import (
    Conditions,
    Status,
    attempt_path,
    check,
    discover_exercises,
    judge_all,
    judge_attempts,
    prepare_workspace,
)
from lab.practise import process as process_module
from lab.practise.observe import observe_function as observe

FOLDER = LESSONS / "05_gradients"
TWO_PARTIALS = discover_exercises(FOLDER)[0]
LIMIT_S = 5.0
RIGHT = "z = x**2 + y**3; z.backward(); return x.grad, y.grad"
# What a learner may write into the file of the first exercise.
ATTEMPTS = {
    "endless loop": """
        def two_partials(x, y):
            while True:
                pass
        """,
    "endless regular expression": """
        import re
        def two_partials(x, y):
            re.match(r"(a+)+$", "a" * 60 + "b")
        """,
    "os._exit": """
        import os
        def two_partials(x, y):
            os._exit(0)
        """,
    "sys.exit": """
        import sys
        def two_partials(x, y):
            sys.exit(0)
        """,
    "killed": """
        import os, signal
        def two_partials(x, y):
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    "prints megabytes": f"""
        def two_partials(x, y):
            for i in range(30):
                print("x" * 1_000_000)
            {RIGHT}
        """,
    "prints a little": f"""
        def two_partials(x, y):
            print("x is", x.item())
            {RIGHT}
        """,
    "closes standard output": f"""
        import os
        os.close(1); os.close(2)
        def two_partials(x, y):
            {RIGHT}
        """,
    "patches what it likes": """
        import torch, lab.compare, lab.practise.exercise as exercise
        torch.allclose = torch.equal = lambda *a, **k: True
        lab.compare.compare = lambda *a, **k: None
        lab.compare.Comparison.verdict = lab.compare.Verdict.PASS
        def two_partials(x, y):
            return x * 0 - 1, y * 0 - 1
        """,
    "answers for itself": """
        import os
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b'{"status": "solved"}\\n')
            except OSError:
                pass
        """,
    "forges an observation": """
        import os
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b'[' + b', '.join([b'{"values": [], "raised": null}'] * 6) + b']\\n')
            except OSError:
                pass
        """,
    "closes the pipe": """
        import os, time
        os.closerange(3, 64)
        time.sleep(60)
        """,
    "leaves a process": f"""
        import subprocess
        def two_partials(x, y):
            print("pid", subprocess.Popen(["sleep", "600"]).pid)
            {RIGHT}
        """,
    "leaves a thread": f"""
        import threading, time
        threading.Thread(target=time.sleep, args=(600,)).start()
        def two_partials(x, y):
            {RIGHT}
        """,
    "asks": """
        def two_partials(x, y):
            return input("dz/dx? ")
        """,
    "syntax error": "def two_partials(x, y):\n    z = x**2 +\n",
    "return outside": "return 1\n",
    "null byte": "x = 1\0",
    "not UTF-8": b"x = '\xff\xfe'\n",
    "other name": f"""
        def two_partial(x, y):
            {RIGHT}
        """,
    "raises while loading": "import torch\n\ntorch.tensor([1, 2]).no_such_method()\n",
    "raises PyTorch's message": """
        import torch
        def two_partials(x, y):
            with torch.no_grad():
                z = x**2 + y**3
            z.backward()
            return x.grad, y.grad
        """,
    "raises NotImplementedError": """
        def two_partials(x, y):
            print("begun")
            raise NotImplementedError("later")
        """,
}


def write(folder, source):
    path = folder / TWO_PARTIALS.path.name
    path.parent.mkdir(parents=True)
    path.write_bytes(source if isinstance(source, bytes) else textwrap.dedent(source).strip("\n").encode())
    return path


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """All attempts, judged at once."""
    root = tmp_path_factory.mktemp("attempts")
    paths = {name: write(root / str(i), source) for i, (name, source) in enumerate(ATTEMPTS.items())}
    judgements = judge_attempts([(TWO_PARTIALS, path) for path in paths.values()], Conditions(limit_s=LIMIT_S))
    return dict(zip(ATTEMPTS, judgements, strict=True))


@pytest.mark.parametrize(
    ("name", "told"),
    {
        "endless loop": "It was still running after 5 s",
        "endless regular expression": "It was still running after 5 s",
        "os._exit": "The process ended before answering, with exit code 0",
        "sys.exit": "Line 3 of ex01_two_partials.py ended the program",
        "killed": "The process ended before answering, by a signal: Killed",
        "patches what it likes": "you return -1, -1 whatever the inputs are",
        "answers for itself": "The process answered with something that is no answer",
        "forges an observation": "Both are None",
        "closes the pipe": "The process ended before answering, by a signal: Killed",
        "asks": "Line 2 of ex01_two_partials.py raised EOFError: EOF when reading a line. Nobody is there",
        "syntax error": "Line 2 of ex01_two_partials.py is no Python: invalid syntax",
        "return outside": "Line 1 of ex01_two_partials.py is no Python: 'return' outside function",
        "null byte": "is no Python: source code",
        "not UTF-8": "is no Python: (unicode error)",
        "other name": "There is no function 'two_partials' in your file",
        "raises while loading": "Line 3 of ex01_two_partials.py raised AttributeError: 'Tensor' object has",
        "raises PyTorch's message": "Line 5 of ex01_two_partials.py raised RuntimeError: element 0 of tensors does not "
        "require grad and does not have a grad_fn. No tracked tensor leads to this result",
    }.items(),
)
def test_a_wrong_attempt_is_told_what_is_wrong(judged, name, told):
    assert judged[name].status is Status.WRONG
    assert told in judged[name].diagnosis
    assert judged[name].hint in TWO_PARTIALS.hints
    assert "Traceback" not in judged[name].diagnosis


@pytest.mark.parametrize(
    "name",
    ["prints megabytes", "prints a little", "closes standard output", "leaves a process", "leaves a thread"],
)
def test_a_right_attempt_is_solved_whatever_else_it_does(judged, name):
    assert judged[name].status is Status.SOLVED
    assert judged[name].meaning == TWO_PARTIALS.meaning
    assert len(judged[name].comparisons) == 12
    assert {comparison["verdict"] for comparison in judged[name].comparisons} == {"pass"}


def test_every_attempt_is_looked_at(judged):
    told = {name for mark in test_a_wrong_attempt_is_told_what_is_wrong.pytestmark for name, _ in mark.args[1]}
    right = {n for mark in test_a_right_attempt_is_solved_whatever_else_it_does.pytestmark for n in mark.args[1]}
    assert told | right | {"raises NotImplementedError"} == set(judged)


def test_not_implemented_is_not_started(judged):
    assert judged["raises NotImplementedError"].status is Status.NOT_STARTED
    assert judged["raises NotImplementedError"].output == "begun\n" * 6


def test_what_an_attempt_prints_is_kept_and_cut(judged):
    assert judged["prints a little"].output.startswith("x is 2.0\n")
    assert len(judged["prints megabytes"].output) < process_module.OUTPUT_LIMIT + 100
    assert judged["prints megabytes"].output.endswith("… cut after 1,000,000 bytes\n")


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # nobody may be there to reap it


def test_no_process_is_left(judged):
    pids = re.findall(r"pid (\d+)", judged["leaves a process"].output)
    assert len(pids) == 6
    assert not [pid for pid in pids if alive(pid)]


def test_the_json_of_a_judgement(judged):
    assert judged["patches what it likes"].to_json() == {
        "id": "ex01_two_partials",
        "title": "Two partials",
        "status": "wrong",
        "diagnosis": "Right nowhere: you return -1, -1 whatever the inputs are. Compute it from them.",
    }


def test_solutions_are_solved_and_the_seed_is_reported(tmp_path):
    judgements = judge_all(FOLDER, tmp_path, Conditions(seed=7), solutions=True)
    assert [judgement.status for judgement in judgements] == [Status.SOLVED] * len(discover_exercises(FOLDER))
    assert {judgement.seed for judgement in judgements} == {7}
    assert not list(tmp_path.iterdir())


def test_untouched_stubs_are_judged_without_torch(tmp_path):
    prepare_workspace(discover_exercises(FOLDER), tmp_path)
    code = (
        "import sys; from pathlib import Path; from lab.practise import *; "
        f"print([str(j.status) for j in judge_all(Path({str(FOLDER)!r}), Path({str(tmp_path)!r}), Conditions())]);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout == f"{['not started'] * len(discover_exercises(FOLDER))}\nFalse\n"


def test_an_absent_file_is_not_started(tmp_path):
    judgement = judge_all(FOLDER, tmp_path, Conditions())[0]
    assert judgement.status is Status.NOT_STARTED
    assert "lab exercises" in judgement.diagnosis


def test_a_file_that_cannot_be_read_is_a_storage_error(tmp_path):
    attempt_path(TWO_PARTIALS, tmp_path).mkdir(parents=True)
    with pytest.raises(StorageError, match="Could not read"):
        judge_all(FOLDER, tmp_path, Conditions())


def test_an_absent_device_is_no_silent_fall_back(tmp_path):
    with pytest.raises(DeviceUnavailable, match="Did you mean 'cuda'"):
        judge_all(FOLDER, tmp_path, Conditions(device="cud"))
    with pytest.raises(DeviceUnavailable, match="Present"):
        judge_all(FOLDER, tmp_path, Conditions(device="cpu:7"), solutions=True)


def test_a_notebook_asks_for_an_exercise_by_id():
    def two_partials(x, y):
        z = x**2 + y**3
        z.backward()
        return x.grad, y.grad

    assert check("ex01_two_partials", two_partials, seed=3).solved
    assert check("ex01", two_partials).seed != check("ex01", two_partials).seed
    assert str(check("ex01", two_partials)).startswith("Two partials: solved. A loss depends")
    with pytest.raises(UsageError, match="Did you mean 'ex01_two_partials'"):
        check("ex01_two_partial", two_partials)
    with pytest.raises(DeviceUnavailable, match="does not compute in float8"):
        check("ex01", two_partials, dtype="float8")


def test_a_notebook_can_be_run_with_the_solutions(monkeypatch):
    def begun(x, y):
        raise NotImplementedError

    assert check("ex01", begun, solutions=True).solved
    monkeypatch.setattr(
        "lab.practise.judge.observe_function", lambda content, f, trials: observe(content, begun, trials)
    )
    with pytest.raises(LabError, match="The reference solution of ex01_two_partials is wrong with seed 5"):
        check("ex01", begun, solutions=True, seed=5)


def test_a_notebook_is_told_the_line_of_its_cell():
    def two_partials(x, y):
        return x.no_such_attribute

    line = two_partials.__code__.co_firstlineno + 1
    assert f"Line {line} of your cell raised AttributeError" in check("ex01", two_partials).diagnosis


def test_a_process_that_cannot_start_is_no_mistake_of_the_learner(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    path = write(tmp_path / "attempt", ATTEMPTS["prints a little"])
    with pytest.raises(ExecutionError, match="did not start"):
        judge_attempts([(TWO_PARTIALS, path)], Conditions())


def environment():
    return {**os.environ, "PYTHONPATH": str(LESSONS.parent.parent)}


@pytest.fixture
def endless_judge(tmp_path):
    """A process that judges an endless attempt, and the attempt's own."""
    source = f"""
        import os, re
        open({str(tmp_path / "pid")!r}, "w").write(f"{{os.getpid()}}\\n")
        re.match(r"(a+)+$", "a" * 60 + "b")
        """
    path = write(tmp_path / "attempt", source)
    code = (
        "from pathlib import Path; from lab.practise import *; from lab.lessons import LESSONS; "
        "e = discover_exercises(LESSONS / '05_gradients')[0]; "
        f"judge_attempts([(e, Path({str(path)!r}))], Conditions(limit_s=LIMIT))"
    )
    judges = []

    def start(limit_s):
        command = [sys.executable, "-c", code.replace("LIMIT", str(limit_s))]
        judges.append(subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL))
        return judges[0], wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60).strip()

    yield start
    for judge in judges:
        with suppress(ProcessLookupError):
            judge.kill()
        judge.wait()


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return value


def test_an_interrupt_ends_the_judge_and_the_attempt(endless_judge):
    judge, attempt = endless_judge(60)
    assert alive(attempt)
    judge.send_signal(signal.SIGINT)
    assert judge.wait(timeout=30) != 0  # and not 60, the limit of the attempt
    assert not alive(attempt)


def test_an_attempt_does_not_outlive_a_judge_that_was_killed(endless_judge):
    judge, attempt = endless_judge(1)
    judge.kill()
    wait_for(lambda: not alive(attempt), 8)
