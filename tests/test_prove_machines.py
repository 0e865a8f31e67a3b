from __future__ import annotations

import pickle

import pytest

from lab.errors import UsageError
from lab.prove.backend import PLAIN
from lab.prove.backends import BACKENDS
from lab.prove.faults import FAULTS
from lab.prove.machines import find_backend
from lab.prove.verify import Target


def test_real_and_simulated_backends_have_names_of_their_own() -> None:
    assert not BACKENDS.keys() & FAULTS.keys()
    assert not any(row.simulated for row in BACKENDS.values())
    assert all(row.healthy and not row.cause for row in BACKENDS.values())
    assert find_backend("plain") is PLAIN


@pytest.mark.parametrize("name", [*BACKENDS, *FAULTS])
def test_a_backend_travels_to_a_worker(name: str) -> None:
    target = pickle.loads(pickle.dumps(Target("cpu", find_backend(name), ieee=True)))
    assert target.backend is find_backend(name)
    assert target.ieee


@pytest.mark.parametrize(("typo", "meant"), [("tf-32", "tf32"), ("thread", "threads"), ("zzz", "--list")])
def test_an_unknown_backend_is_refused_with_the_nearest(typo: str, meant: str) -> None:
    with pytest.raises(UsageError, match="no backend") as refusal:
        find_backend(typo)
    assert meant in refusal.value.next_step
    assert "tf32" in refusal.value.expected
