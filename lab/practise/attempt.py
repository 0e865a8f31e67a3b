"""The process of one attempt: ``python -m lab.practise.attempt PIPE EXERCISE ATTEMPT LIMIT``.

It says on its pipe that it is ready, reads the trials from standard input, and answers on the pipe with what it
observed, as JSON. Standard output belongs to the learner.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path

from lab.practise.discover import load_check, read_exercise
from lab.practise.observe import observe_file
from lab.practise.trial import Trial


def main(descriptor: int, exercise_path: Path, attempt_path: Path, limit_s: float) -> None:
    """Observe one attempt and answer on the pipe."""
    os.set_inheritable(descriptor, False)  # for what the attempt starts
    exercise = read_exercise(exercise_path)
    check = load_check(exercise)
    with os.fdopen(descriptor, "w", encoding="utf-8") as pipe:
        print("ready", file=pipe, flush=True)
        trials = [Trial(**trial) for trial in json.loads(sys.stdin.readline())]
        # The judge ends this process at the limit. Where the judge is no more, the kernel does.
        signal.alarm(math.ceil(limit_s) + 2)
        observations = observe_file(check, exercise.function, attempt_path, trials)
        print(json.dumps([observation.to_json() for observation in observations]), file=pipe, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
