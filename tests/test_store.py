from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Mount

from lab.errors import StorageError
from lab.store import (
    ORPHAN_AGE,
    PARTIAL,
    check_replaceable,
    digest,
    point_latest,
    publishing,
    remove_result,
    replace_file,
    replace_files,
    write_json,
)


def partial(outputs: Path) -> list[str]:
    return [str(path.relative_to(outputs)) for path in outputs.rglob(f"{PARTIAL}*")]


def publish(outputs: Path, key: str = "key", text: str = "text") -> Path:
    with publishing(outputs, "subject", key) as publication:
        publication.write("a.txt", text)
    assert publication.path is not None
    return publication.path


def test_a_result_appears_whole_and_latest_names_it(tmp_path: Path) -> None:
    path = publish(tmp_path)
    assert path == tmp_path / "subject" / "key"
    assert (tmp_path / "subject" / "latest").readlink() == Path("key")
    assert [file.name for file in path.iterdir()] == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o755
    assert partial(tmp_path) == []


def test_a_repetition_gets_a_number_and_leaves_the_first_alone(tmp_path: Path) -> None:
    paths = [publish(tmp_path, text=str(i)) for i in range(3)]
    assert [path.name for path in paths] == ["key", "key-2", "key-3"]
    assert [(path / "a.txt").read_text() for path in paths] == ["0", "1", "2"]
    assert (tmp_path / "subject" / "latest" / "a.txt").read_text() == "2"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def stopped() -> None:
        with publishing(tmp_path, "subject", "key") as publication:
            publication.write("a.txt", "text")
            raise error

    with pytest.raises(error):
        stopped()
    assert list((tmp_path / "subject").iterdir()) == []
    assert partial(tmp_path) == []


def test_links_and_pipes_in_a_result_do_not_stop_it(tmp_path: Path) -> None:
    with publishing(tmp_path, "subject", "key") as publication:
        (publication.folder / "dangling").symlink_to("nowhere")
        os.mkfifo(publication.folder / "pipe")
        publication.write("a.txt", "text")
    assert (tmp_path / "subject" / "key" / "dangling").is_symlink()


def test_text_that_utf8_cannot_hold_is_escaped_as_json_would(tmp_path: Path) -> None:
    with publishing(tmp_path, "subject", "key") as publication:
        publication.write("a.json", write_json({"name": "\udcff ü"}))
    text = (tmp_path / "subject" / "key" / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "\udcff ü"}
    assert len(digest({"name": "\udcff"})) == 16


def test_json_is_strict() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"x": float("nan")})


def test_a_full_disk_keeps_the_old_result_and_leaves_nothing(mount: Mount) -> None:
    outputs = mount("size=1m")
    old = publish(outputs, text="old")
    with pytest.raises(StorageError, match="No space left"):
        publish(outputs, text="new" * 1_000_000)
    assert (old / "a.txt").read_bytes() == b"old"
    assert (outputs / "subject" / "latest" / "a.txt").read_text() == "old"
    assert sorted(path.name for path in (outputs / "subject").iterdir()) == ["key", "latest"]
    assert partial(outputs) == []


def test_a_disk_without_room_for_the_link_takes_the_result_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(link: Path, target: str) -> None:
        raise OSError(28, "No space left on device", str(link))

    publish(tmp_path, text="old")
    monkeypatch.setattr("lab.store._swap_link", full)
    with pytest.raises(StorageError, match="No space left"):
        publish(tmp_path, text="new")
    assert sorted(path.name for path in (tmp_path / "subject").iterdir()) == ["key", "latest"]
    assert partial(tmp_path) == []


def test_a_read_only_store_is_refused_before_the_work(mount: Mount) -> None:
    outputs = mount("size=1m,ro")
    with pytest.raises(StorageError, match=f"as user {os.getuid()}"), publishing(outputs, "subject", "key"):
        pytest.fail("the work has begun")


def test_a_store_of_another_user_is_refused_before_the_work(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from lab.errors import StorageError
from lab.store import publishing
os.setuid(65534)
try:
    with publishing(Path(sys.argv[1]), "subject", "key"):
        sys.exit("the work has begun")
except StorageError as error:
    sys.exit("65534" not in str(error))
"""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    outputs = Path("/tmp") / f"lab-store-{os.getpid()}"  # where the other user may enter, unlike pytest's own folder
    publish(outputs)
    try:
        done = subprocess.run([sys.executable, "-c", program, str(outputs)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        subprocess.run(["rm", "-r", str(outputs)], check=True)


def test_a_file_in_the_store_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("")
    with pytest.raises(StorageError), publishing(tmp_path / "outputs", "subject", "key"):
        pytest.fail("the work has begun")


def test_orphans_are_removed_once_they_are_old_and_nobody_holds_them(tmp_path: Path) -> None:
    old = time.time() - ORPHAN_AGE - 1
    for name in ("old", "lock only", "young"):
        (tmp_path / f"{PARTIAL}{name}.lock").touch()
        if name != "lock only":
            (tmp_path / f"{PARTIAL}{name}").mkdir()
            (tmp_path / f"{PARTIAL}{name}" / "half").touch()
    with publishing(tmp_path, "subject", "held") as publication:
        for path in tmp_path.glob(f"{PARTIAL}*"):
            if "young" not in path.name:
                os.utime(path, (old, old))
        publish(tmp_path)
        kept = {path.removesuffix(".lock") for path in partial(tmp_path)}
        assert kept == {f"{PARTIAL}young", publication.folder.name}
        publication.write("a.txt", "text")
    assert (tmp_path / "subject" / "held" / "a.txt").read_text() == "text"


def test_files_are_replaced_together(tmp_path: Path) -> None:
    for texts in ({"a.txt": "old", "b.txt": "old"}, {"a.txt": "new", "b.txt": "\udcff"}):
        replace_files(tmp_path, texts)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "new", "b.txt": "\\udcff"}


def test_a_full_disk_keeps_all_the_old_files(mount: Mount) -> None:
    outputs = mount("size=1m")
    replace_files(outputs, {"a.txt": "old", "b.txt": "old"})
    with pytest.raises(StorageError, match="No space left"):
        replace_files(outputs, {"a.txt": "new", "b.txt": "new" * 1_000_000})
    assert {path.name: path.read_text() for path in outputs.iterdir()} == {"a.txt": "old", "b.txt": "old"}


def test_a_folder_in_a_file_s_place_is_refused_before_the_work(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "outputs", ["a.txt"])
    (tmp_path / "outputs" / "a.txt").mkdir()
    with pytest.raises(StorageError, match="it is a folder"):
        check_replaceable(tmp_path / "outputs", ["b.txt", "a.txt"])
    with pytest.raises(StorageError):
        replace_files(tmp_path / "outputs", {"a.txt": "new"})


REPLACER = """
import os, sys
from pathlib import Path
from lab.store import replace_files
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    text = os.urandom(50_000).hex()
    replace_files(Path(sys.argv[1]), dict.fromkeys("abc", text))
"""


def test_those_who_replace_at_once_leave_the_files_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", REPLACER, str(tmp_path), "20"]
    replacers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [replacer.wait(60) for replacer in replacers] == [0] * 4
    assert len({(tmp_path / name).read_text() for name in "abc"}) == 1


def test_those_who_are_killed_while_they_replace_leave_each_file_whole(tmp_path: Path) -> None:
    for number in range(10):
        command = [sys.executable, "-c", REPLACER, str(tmp_path), "1000000"]
        replacer = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert replacer.stdout is not None
        replacer.stdout.readline()
        while not (tmp_path / "c").exists():
            time.sleep(0.001)
        time.sleep(0.013 * number)
        replacer.kill()
        replacer.communicate()
        assert [len((tmp_path / name).read_text()) for name in "abc"] == [100_000] * 3


PUBLISHER = """
import hashlib, os, sys
from pathlib import Path
from lab.store import publishing
print("ready", flush=True)
for number in range(1_000_000):
    with publishing(Path(sys.argv[1]), "subject", f"key{number % 3}") as publication:
        text = os.urandom(50_000).hex()
        for name in "abc":
            publication.write(name, text)
        publication.write("sum", hashlib.sha256(text.encode()).hexdigest())
"""


def test_killed_publishers_leave_whole_results_or_none(tmp_path: Path) -> None:
    """Thirty kills in three rounds of ten publishers that work side by side in one store."""
    for _ in range(3):
        publishers = [
            subprocess.Popen([sys.executable, "-c", PUBLISHER, str(tmp_path)], stdout=subprocess.PIPE)
            for _ in range(10)
        ]
        for publisher in publishers:
            assert publisher.stdout is not None
            publisher.stdout.readline()
        for publisher in publishers:
            time.sleep(0.037)
            publisher.kill()
            publisher.communicate()
        results = [path for path in (tmp_path / "subject").iterdir() if not path.is_symlink()]
        assert results
        for result in results:
            texts = {(result / name).read_text() for name in "abc"}
            assert len(texts) == 1
            assert hashlib.sha256(texts.pop().encode()).hexdigest() == (result / "sum").read_text()
        assert (tmp_path / "subject" / "latest" / "sum").is_file()


def published(outputs: Path, key: str) -> Path:
    with publishing(outputs, "subject", key) as publication:
        publication.write("a", key)
    assert publication.path is not None
    return publication.path


def test_a_result_that_is_removed_leaves_nothing_and_the_others_alone(tmp_path: Path) -> None:
    first, second = published(tmp_path, "first"), published(tmp_path, "second")
    remove_result(first)
    assert {path.name for path in tmp_path.rglob("*")} == {"subject", "second", "latest", "a"}
    assert (second / "a").read_text() == "second"


def test_a_result_that_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    published(tmp_path, "first")
    with pytest.raises(StorageError, match="second"):
        remove_result(tmp_path / "subject" / "second")
    assert list(tmp_path.glob(f"{PARTIAL}*")) == []


def test_latest_is_pointed_at_another_result_or_at_none(tmp_path: Path) -> None:
    shelf = published(tmp_path, "first").parent
    published(tmp_path, "second")
    for _ in range(2):
        point_latest(shelf, "first")
        assert (shelf / "latest" / "a").read_text() == "first"
    for _ in range(2):
        point_latest(shelf, None)
        assert not (shelf / "latest").is_symlink()
    assert list(tmp_path.glob(f"{PARTIAL}*")) == []


@pytest.mark.parametrize(("held", "raw"), [("\xe9\udcff", b"\xc3\xa9\\udcff"), (b"\xff\x00", b"\xff\x00")])
def test_a_file_is_replaced_by_text_or_bytes(tmp_path: Path, held: str | bytes, raw: bytes) -> None:
    (tmp_path / "a").write_text("old")
    replace_file(tmp_path / "a", held)
    assert (tmp_path / "a").read_bytes() == raw
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
