"""What a judgement is made under: seed, dtype, device, time."""

from __future__ import annotations

from dataclasses import dataclass

from lab.device import DTYPES, check_dtype, parse_device, resolve_device
from lab.errors import UsageError, did_you_mean
from lab.practise.discover import load_check
from lab.practise.exercise import Check, Exercise, draw_trials
from lab.practise.trial import Trial

LIMIT_S = 10.0  # for an attempt, all trials together


@dataclass(frozen=True)
class Conditions:
    """What a judgement is made under. device: a name of lab.device. limit_s: seconds for an attempt's process."""

    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    limit_s: float = LIMIT_S

    @property
    def on_cpu(self) -> bool:
        """Whether no other device is asked for; known without importing torch."""
        return parse_device(self.device) == ("cpu", None)

    def validate(self) -> None:
        """Refuse what this machine has not, also where nothing will have to be tried.

        Raises: DeviceUnavailable; UsageError for an unknown dtype.
        """
        if self.dtype not in DTYPES:
            raise UsageError(
                f"There is no dtype {self.dtype!r} to judge in.",
                f"Expected one of {', '.join(DTYPES)}.",
                did_you_mean(self.dtype, DTYPES) or "Name one of these.",
            )
        if not self.on_cpu:  # the CPU is there
            check_dtype(resolve_device(self.device), self.dtype)

    def draw(self, exercise: Exercise, content: Check) -> list[Trial]:
        """Draw an exercise's trials. Raises: DeviceUnavailable, UsageError for a dtype that it is not judged in."""
        device = resolve_device(self.device)
        check_dtype(device, self.dtype)
        if self.dtype not in content.dtypes:
            raise UsageError(
                f"{exercise.id} cannot be judged in {self.dtype}.",
                f"Expected one of {', '.join(content.dtypes)}.",
                "Name one of these.",
            )
        return draw_trials(content, seed=f"{self.seed} {exercise.id}", dtype=self.dtype, device=str(device))

    def prepare(self, exercise: Exercise) -> tuple[Check, list[Trial]]:
        """Load an exercise's check and draw its trials. Raises: as draw."""
        content = load_check(exercise)
        return content, self.draw(exercise, content)
