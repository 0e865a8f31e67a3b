"""The process that judges one attempt, forked warm: it forks the attempt, then compares what comes back.

The attempt shares nothing with it but two pipes and a socket. What crosses to the command line is plain data.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch  # by the warm parent, before the first fork

import lab.practise.diagnose  # noqa: F401  # as above
from lab.errors import LabError
from lab.practise.conclude import Observed, begin_judgement, conclude
from lab.practise.conditions import Conditions
from lab.practise.discover import load_check
from lab.practise.exercise import Exercise
from lab.practise.judgement import Status
from lab.practise.observe import observe_source
from lab.practise.process import Abandoned, become_referee, observe_in_fork


def judge_one(connection: socket.socket, **request: Any) -> None:
    """Judge an attempt and answer with the judgement, or with what of the lab's own kinds was raised."""
    try:
        answer: dict[str, Any] = {"judgement": _judge(connection, **request)}
    except Abandoned:
        return
    except LabError as error:
        answer = {"error": [type(error).__name__, error.happened, error.expected, error.next_step]}
    connection.sendall(json.dumps(answer).encode() + b"\n")


def _judge(
    connection: socket.socket,
    exercise: Mapping[str, Any],
    attempt: tuple[str, str],
    conditions: Mapping[str, Any],
    isolated: bool,
) -> dict[str, Any]:
    """exercise, conditions: the fields of either. attempt: path and text of its file. isolated: by a sandbox."""
    become_referee()
    given, (path, text) = Conditions(**conditions), map(str, attempt)
    found = Exercise(**{**exercise, "path": Path(exercise["path"]), "hints": tuple(exercise["hints"])})
    content = load_check(found)
    if given.dtype not in content.dtypes:
        said = f"{found.id} is judged in {', '.join(content.dtypes)}, not in {given.dtype}."
        return begin_judgement(found, Status.NOT_JUDGED, said, given.seed).to_record()
    drawn = []

    def draw() -> list[Any]:
        drawn.extend(given.draw(found, content))
        return drawn

    observe = partial(observe_source, content, found.function, text, Path(path))
    limits: dict[str, Any] = {"limit_s": given.limit_s, "on_cpu": given.on_cpu, "isolated": isolated}
    reply = observe_in_fork(observe, draw, file=path, client=connection, **limits)
    torch.set_num_threads(1)  # trials are tiny
    return conclude(Observed(found, content, drawn, reply, Path(path).name), given.seed).to_record()
