from __future__ import annotations

from pathlib import Path

from lab.claim import claimed, held_alone


def test_a_name_is_claimed_by_one_at_a_time(tmp_path: Path) -> None:
    with claimed(tmp_path, "x") as first:
        with claimed(tmp_path, "x") as second:
            assert (first.name, second.name) == ("x-1.jsonl", "x-2.jsonl")
        with claimed(tmp_path, "y") as other:
            assert other.name == "y-1.jsonl"
    with claimed(tmp_path, "x") as again:
        assert again == first
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_held_by_one_at_a_time_and_leaves_nothing(tmp_path: Path) -> None:
    with held_alone(tmp_path, "x") as first, held_alone(tmp_path, "x") as second, held_alone(tmp_path, "y") as other:
        assert (first, second, other) == (True, False, True)
    with held_alone(tmp_path, "x") as again:
        assert again
    assert list(tmp_path.iterdir()) == []
