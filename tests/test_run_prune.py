"""Which runs go, and that what stays is whole, whatever happens meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fixtures.runs import write_run

from lab.run.index import read_runs
from lab.run.prune import Criteria, remove_runs, select_runs, size_of
from lab.store import PARTIAL, StorageError

NOW = datetime(2026, 1, 31, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Five runs of nb, on five days: a, b (failed), a again, c, b again (failed); one of other, which failed."""
    outputs = tmp_path / "outputs"
    for day, key, status in ((1, "a", "completed"), (2, "b", "failed"), (3, "a", "completed"), (4, "c", "completed")):
        write_run(outputs, key=key * 16, day=day, status=status)
    write_run(outputs, key="b" * 16, day=5, status="failed")
    write_run(outputs, "other", key="d" * 16, day=6, status="timeout")
    return outputs


def chosen(outputs: Path, criteria: Criteria) -> set[str]:
    """Return the first letter of each run that goes, with its number."""
    found = select_runs(read_runs(outputs), criteria, now=NOW)
    return {run.path.name[0] + run.path.name[16:] for run in found}


@pytest.mark.parametrize(
    ("criteria", "names"),
    [
        (Criteria(repeated=True), "a b"),
        (Criteria(failed=True), "b d"),  # b-2 is the latest of nb; all of other go
        (Criteria(keep=2), "a b a-2"),
        (Criteria(keep=0), "a b a-2 c b-2 d"),
        (Criteria(keep=9), ""),
        (Criteria(older_than=28), "a b"),
        (Criteria(older_than=0), "a b a-2 c b-2 d"),
        (Criteria(older_than=40), ""),
        (Criteria(failed=True, repeated=True), "b"),
        (Criteria(keep=2, failed=True), "b"),
        (Criteria(keep=3, older_than=28), "a b"),
        (Criteria(keep=4, older_than=28), "a"),
    ],
    ids=repr,
)
def test_each_option_that_is_given_must_hold(outputs: Path, criteria: Criteria, names: str) -> None:
    assert chosen(outputs, criteria) == set(names.split())
    assert criteria.given
    assert not Criteria().given


def test_a_run_that_latest_points_at_stays_though_it_be_old(outputs: Path) -> None:
    (outputs / "nb" / "latest").unlink()
    (outputs / "nb" / "latest").symlink_to("a" * 16)
    assert chosen(outputs, Criteria(older_than=28)) == {"b"}


def test_an_unreadable_run_is_one_that_failed(outputs: Path) -> None:
    (outputs / "nb" / ("c" * 16) / "run.json").write_text("{")
    assert chosen(outputs, Criteria(failed=True)) == {"b", "c", "d"}


def prune(outputs: Path, criteria: Criteria) -> None:
    runs = read_runs(outputs)
    list(remove_runs(select_runs(runs, criteria, now=NOW), among=runs))


def test_what_goes_is_gone_and_what_stays_is_as_it_was(outputs: Path) -> None:
    latest = (outputs / "nb" / "latest").readlink()
    before = {path.name: (path / "run.json").read_bytes() for path in (outputs / "nb").iterdir()}
    prune(outputs, Criteria(keep=2))
    after = {path.name: (path / "run.json").read_bytes() for path in (outputs / "nb").iterdir()}
    assert set(before) - set(after) == {"a" * 16, "a" * 16 + "-2", "b" * 16}
    assert after.items() <= before.items()
    assert (outputs / "nb" / "latest").readlink() == latest
    assert list(outputs.glob(f"{PARTIAL}*")) == []


def test_latest_goes_with_the_last_run_and_the_shelf_stays_for_runs_at_work(outputs: Path) -> None:
    prune(outputs, Criteria(failed=True))
    assert list((outputs / "other").iterdir()) == []


@pytest.mark.parametrize("broken", [True, False])
def test_a_latest_that_leads_nowhere_is_pointed_at_the_newest_that_is_left(outputs: Path, broken: bool) -> None:
    link = outputs / "nb" / "latest"
    link.unlink()
    if broken:
        link.symlink_to("gone")
    prune(outputs, Criteria(repeated=True))
    assert str(link.readlink()) == "b" * 16 + "-2"


def test_what_cannot_be_removed_is_said_and_stays_whole(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = read_runs(outputs)
    gone = next(run for run in runs if run.path.name == "a" * 16)
    (outputs / "nb" / ("a" * 16) / "run.json").unlink()
    (outputs / "nb" / ("a" * 16)).rmdir()
    with pytest.raises(StorageError, match="a" * 16):
        list(remove_runs([gone], among=runs))
    assert len(read_runs(outputs)) == 5


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"12")
    (tmp_path / "c").symlink_to("b")
    assert size_of(tmp_path) == 3 + 2 + 1


KILLED = """\
import sys
from pathlib import Path
from lab.run.index import read_runs
from lab.run.prune import remove_runs
runs = read_runs(Path(sys.argv[1]))
for run in remove_runs(runs[1:], among=runs):
    print(run.name, flush=True)
"""


def test_a_kill_leaves_no_run_that_is_half_there(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    for number in range(60):
        path = write_run(outputs, key=f"{number:016x}", day=1 + number % 28)
        for file in range(30):
            (path / f"{file}.txt").write_text("x")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(outputs)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(10):
            process.stdout.readline()
        time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
    left = [path for path in (outputs / "nb").iterdir() if not path.is_symlink()]
    assert 0 < len(left) <= 50
    assert {len(list(path.iterdir())) for path in left} == {31}
    assert (outputs / "nb" / "latest" / "run.json").is_file()
    assert all(run.status == "completed" for run in read_runs(outputs))
