"""The judge, in the face of attempts that hang, die, print, patch or lie."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import suppress

import psutil
import pytest

from lab.errors import DeviceUnavailable, ExecutionError, LabError, StorageError, UsageError
from lab.lessons import LESSONS
from lab.practise import (
    Conditions,
    Judge,
    Status,
    attempt_path,
    attempts_at,
    check,
    discover_exercises,
    judge_attempts,
    prepare_workspace,
)
from lab.practise.attempt import OUTPUT_LIMIT, lies_below_tmp
from lab.practise.observe import observe_function as observe
from lab.practise.sandbox import Sandbox, find_sandbox

FOLDER = LESSONS / "05_gradients"
TWO_PARTIALS = discover_exercises(FOLDER)[0]
LIMIT_S = 5.0
MARK = f"600.{os.getpid()}"  # of the processes that attempts leave
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
            subprocess.Popen(["sleep", "{MARK}"])
            {RIGHT}
        """,
    "leaves a daemon": f"""
        import subprocess
        def two_partials(x, y):
            subprocess.run(["sh", "-c", "setsid sleep {MARK} &"])
            {RIGHT}
        """,
    "takes all the memory": """
        def two_partials(x, y):
            return bytearray(10**12)
        """,
    "fills a file": """
        def two_partials(x, y):
            with open("/tmp/filled", "wb") as file:
                for _ in range(1000):
                    file.write(bytes(10**6))
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


@pytest.fixture(scope="module", params=["sandboxed", "not isolated"])
def isolation(request):
    """Where attempts are judged: in both ways."""
    if request.param == "not isolated":
        return Sandbox(missing="the test says so")
    return a_sandbox()


def a_sandbox():
    if missing := find_sandbox().missing:
        pytest.skip(f"there is no sandbox: {missing}")
    return find_sandbox()


@pytest.fixture(scope="module")
def judged(tmp_path_factory, isolation):
    """All attempts, judged at once."""
    root = tmp_path_factory.mktemp("attempts")
    paths = {name: write(root / str(i), source) for i, (name, source) in enumerate(ATTEMPTS.items())}
    with Judge(Conditions(limit_s=LIMIT_S), sandbox=isolation) as judge:
        judgements = judge.judge([(TWO_PARTIALS, path) for path in paths.values()])
    return dict(zip(ATTEMPTS, judgements, strict=True))


@pytest.mark.parametrize(
    ("name", "told"),
    {
        "endless loop": "It was still running after 5 s, in line ",  # 2 or 3
        "endless regular expression": "It was still running after 5 s, in line 3.",
        "takes all the memory": "Line 2 of ex01_two_partials.py raised MemoryError",
        "fills a file": "raised OSError: [Errno 27] File too large",
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
    assert judged[name].hint in (TWO_PARTIALS.hints if "is no Python" not in told else ("",))
    assert "Traceback" not in judged[name].diagnosis


@pytest.mark.parametrize(
    "name",
    [
        "prints megabytes",
        "prints a little",
        "closes standard output",
        "leaves a process",
        "leaves a daemon",
        "leaves a thread",
    ],
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
    assert judged["raises NotImplementedError"].output == "begun\n"


def test_what_an_attempt_prints_is_kept_and_cut(judged):
    assert judged["prints a little"].output == "x is 2.0\n"
    assert len(judged["prints megabytes"].output) < OUTPUT_LIMIT + 100
    assert judged["prints megabytes"].output.endswith("… cut after 1,000,000 bytes\n")


def marked():
    """Return what attempts left running."""
    return [process for process in psutil.process_iter(["cmdline"]) if MARK in (process.info["cmdline"] or [])]


def test_no_process_is_left(judged):
    assert judged["leaves a process"].solved
    assert marked() == []
    with subprocess.Popen(["sleep", MARK]):
        (found,) = marked()  # they would have been found
        found.kill()


def judge_all(workspace, conditions, *, solutions=False):
    return judge_attempts(attempts_at(FOLDER, workspace, solutions=solutions), conditions)


def test_the_json_of_a_judgement(judged):
    assert judged["patches what it likes"].to_json() == {
        "id": "ex01_two_partials",
        "title": "Two partials",
        "status": "wrong",
        "diagnosis": "Right nowhere: you return -1, -1 whatever the inputs are. Compute it from them.",
        "mistake": "",
        "hint": TWO_PARTIALS.hints[0],
        "seed": 0,
    }


def test_solutions_are_solved_and_the_seed_is_reported(tmp_path):
    judgements = judge_all(tmp_path, Conditions(seed=7), solutions=True)
    assert [judgement.status for judgement in judgements] == [Status.SOLVED] * len(discover_exercises(FOLDER))
    assert {judgement.seed for judgement in judgements} == {7}
    assert not list(tmp_path.iterdir())


def test_untouched_stubs_are_judged_without_torch(tmp_path):
    prepare_workspace(discover_exercises(FOLDER), tmp_path)
    code = (
        "import sys; from pathlib import Path; from lab.practise import *; "
        f"attempts = attempts_at(Path({str(FOLDER)!r}), Path({str(tmp_path)!r}));"
        "print([str(j.status) for j in judge_attempts(attempts, Conditions())]);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout == f"{['not started'] * len(discover_exercises(FOLDER))}\nFalse\n"


def test_an_absent_file_is_not_started(tmp_path):
    judgement = judge_all(tmp_path, Conditions())[0]
    assert judgement.status is Status.NOT_STARTED
    assert "lab exercises" in judgement.diagnosis


def test_a_file_that_cannot_be_read_is_a_storage_error(tmp_path):
    attempt_path(TWO_PARTIALS, tmp_path).mkdir(parents=True)
    with pytest.raises(StorageError, match="Could not read"):
        judge_all(tmp_path, Conditions())


def test_an_absent_device_is_no_silent_fall_back(tmp_path):
    with pytest.raises(DeviceUnavailable, match="Did you mean 'cuda'"):
        judge_all(tmp_path, Conditions(device="cud"))
    with pytest.raises(DeviceUnavailable, match="Present"):
        judge_all(tmp_path, Conditions(device="cpu:7"), solutions=True)


def test_a_notebook_asks_for_an_exercise_by_id():
    def two_partials(x, y):
        z = x**2 + y**3
        z.backward()
        return x.grad, y.grad

    assert check("ex01_two_partials", two_partials, seed=3).solved
    assert check("05/ex01", two_partials).seed != check("05/ex01", two_partials).seed
    assert str(check("05/ex01", two_partials)).startswith("Two partials: solved. A loss depends")
    with pytest.raises(UsageError, match="Did you mean 'ex01_two_partials'"):
        check("ex01_two_partial", two_partials)
    with pytest.raises(DeviceUnavailable, match="does not compute in float8"):
        check("05/ex01", two_partials, dtype="float8")


def test_a_notebook_can_be_run_with_the_solutions(monkeypatch):
    def begun(x, y):
        raise NotImplementedError

    assert check("05/ex01", begun, solutions=True).solved
    monkeypatch.setattr(
        "lab.practise.notebook.observe_function", lambda content, f, trials: observe(content, begun, trials)
    )
    with pytest.raises(LabError, match="The reference solution of ex01_two_partials is wrong with seed 5"):
        check("05/ex01", begun, solutions=True, seed=5)


def test_a_notebook_is_told_the_line_of_its_cell():
    def two_partials(x, y):
        return x.no_such_attribute

    line = two_partials.__code__.co_firstlineno + 1
    assert f"Line {line} of your cell raised AttributeError" in check("05/ex01", two_partials).diagnosis


def test_a_process_that_cannot_start_is_no_mistake_of_the_learner(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    path = write(tmp_path / "attempt", ATTEMPTS["prints a little"])
    judge = Judge(sandbox=Sandbox(missing="it would clear PYTHONHOME"))
    with judge, pytest.raises(ExecutionError, match="did not start"):
        judge.judge([(TWO_PARTIALS, path)])


@pytest.mark.skipif(lies_below_tmp(), reason="this checkout lies below /tmp, which then cannot be an attempt's own")
def test_what_an_attempt_leaves_in_the_temporary_folder_is_gone_for_the_next_and_limited(tmp_path):
    leaves = "open('/tmp/answer', 'w').write('42')\n"
    fills = "for n in range(9): open(f'/tmp/{n}', 'wb').write(bytes(50_000_000))"
    looks = "import os\nraise LookupError(os.listdir('/tmp'))"
    with Judge(sandbox=a_sandbox()) as judge:
        told = [
            judge.judge([(TWO_PARTIALS, write(tmp_path / str(number), source))])[0].diagnosis
            for number, source in enumerate((leaves, fills, looks))
        ]
    assert "There is no function" in told[0]
    assert "No space left on device" in told[1]
    assert "raised LookupError: []" in told[2]


PRANKS = {
    "kills whatever it can": (
        # Only where the world is the sandbox.
        "import os\nif not os.path.exists('/etc/passwd'):\n    os.kill(-1, 9)",
        "were ended. Does something in your file end other processes",
    ),
    "forks without end": ("import os\nwhile True:\n    os.fork()", "It started more than 64 processes"),
    "deletes the lab": (
        "import pathlib, lab\nfor file in pathlib.Path(lab.__file__).parent.rglob('*.py'):\n    file.unlink()",
        "Read-only file system",
    ),
    "writes beside itself": ("open(__file__, 'w')", "ex01_two_partials.py"),
    "reads other files": (f"open({__file__!r})", "raised FileNotFoundError"),
    "reads the environment": ("import os\nraise LookupError(os.environ.get('LAB_SECRET'))", "raised LookupError: None"),
}


@pytest.mark.parametrize("prank", PRANKS)
def test_a_prank_ends_in_the_sandbox_and_the_next_attempt_is_judged(tmp_path, prank, monkeypatch):
    monkeypatch.setenv("LAB_SECRET", "42")
    source, told = PRANKS[prank]
    before = hash_of(LESSONS.parent)
    with Judge(Conditions(limit_s=LIMIT_S), sandbox=a_sandbox()) as judge:
        assert judge.sandbox.prefix
        (judgement,) = judge.judge([(TWO_PARTIALS, write(tmp_path / "prank", source))])
        (after,) = judge.judge([(TWO_PARTIALS, write(tmp_path / "right", ATTEMPTS["prints a little"]))])
    assert told in judgement.diagnosis
    assert after.solved
    assert hash_of(LESSONS.parent) == before


def hash_of(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return hash(tuple((path, path.read_bytes()) for path in files))


def test_nothing_can_be_reached_over_the_network(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        source = f"import socket\nsocket.create_connection({server.getsockname()!r}, timeout=1)"
        with Judge(sandbox=a_sandbox()) as judge:
            (judgement,) = judge.judge([(TWO_PARTIALS, write(tmp_path / "calls", source))])
        with pytest.raises(TimeoutError):
            server.accept()
    assert "raised ConnectionRefusedError" in judgement.diagnosis


@pytest.mark.parametrize("lost", ["ended", "stopped"])
def test_a_warm_parent_that_is_lost_is_replaced(tmp_path, lost, monkeypatch):
    monkeypatch.setattr("lab.practise.judge.REFEREE_LIMIT_S", 2.0)
    attempt = write(tmp_path / "right", ATTEMPTS["prints a little"])
    with Judge(Conditions(limit_s=2.0), sandbox=Sandbox(missing="the test says so")) as judge:
        assert judge.judge([(TWO_PARTIALS, attempt)])[0].solved
        parent = psutil.Process(judge.start().pid)
        parent.suspend() if lost == "stopped" else parent.kill()
        assert judge.judge([(TWO_PARTIALS, attempt)])[0].solved


def test_an_exercise_that_is_not_judged_in_a_dtype_says_so_and_the_others_are_judged(tmp_path):
    attempts = attempts_at(FOLDER, tmp_path, solutions=True)
    with Judge(Conditions(dtype="float16")) as judge:
        judgements = judge.judge(attempts)
        others = [judgement for judgement in judgements if judgement.status is not Status.SOLVED]
        assert {judgement.status for judgement in others} == {Status.NOT_JUDGED}
        assert 0 < len(others) < len(judgements)
        assert all(re.search(r"is judged in float\d.*, not in float16", judgement.diagnosis) for judgement in others)
        assert judge.judge(attempts[:1])[0].solved  # it goes on


def environment():
    return {**os.environ, "PYTHONPATH": str(LESSONS.parent.parent)}


@pytest.fixture
def endless_judge(tmp_path, isolation):
    """A process that judges an endless attempt, and all that it started."""
    path = write(tmp_path / "attempt", "import re, time\nprint('here')\nre.match(r'(a+)+$', 'a' * 60 + 'b')")
    code = (
        "from pathlib import Path; from lab.practise import *; from lab.lessons import LESSONS; "
        "from lab.practise.sandbox import Sandbox; e = discover_exercises(LESSONS / '05_gradients')[0]; "
        f"Judge(Conditions(limit_s=LIMIT), sandbox={isolation}).judge([(e, Path({str(path)!r}))])"
    )
    judges = []

    def start(limit_s):
        command = [sys.executable, "-c", code.replace("LIMIT", str(limit_s))]
        judges.append(psutil.Popen(command, env=environment(), stderr=subprocess.DEVNULL))
        return judges[0], wait_for(lambda: busy(judges[0]), 60)

    yield start
    for judge in judges:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            judge.kill()
        judge.wait()


def busy(judge):
    """Return all processes of a judge, once one of them is a fork of a fork that computes."""
    processes = judge.children(recursive=True)
    warm = [p for p in processes if any("lab.warm" in word for word in p.cmdline())]
    forks = [p for p in warm if p.parent().parent() in warm]
    return processes if any(p.cpu_times().user > 0.3 for p in forks) else []


def alive(processes):
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return value


def test_an_interrupt_ends_the_judge_and_the_attempt(endless_judge):
    judge, processes = endless_judge(60)
    assert len(alive(processes)) >= 3
    judge.send_signal(signal.SIGINT)
    assert judge.wait(timeout=5) != 0  # and not after 60, the limit of the attempt
    wait_for(lambda: not alive(processes), 1)


def test_an_attempt_does_not_outlive_a_judge_that_was_killed(endless_judge):
    judge, processes = endless_judge(60)
    judge.kill()
    wait_for(lambda: not alive(processes), 5)
