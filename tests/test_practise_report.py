"""What a learner reads of a list of judgements."""

from lab.lessons import LESSONS
from lab.practise import Status, discover_exercises
from lab.practise.conclude import begin_judgement
from lab.practise.report import report_judgements

FIRST, SECOND = discover_exercises(next(LESSONS.glob("05_*")))[:2]


def test_what_could_not_be_judged_says_why_and_the_others_are_one_line_each() -> None:
    why = f"{FIRST.id} is judged in float32, not in float64."
    judgements = [
        begin_judgement(FIRST, Status.NOT_JUDGED, why, 0),
        begin_judgement(SECOND, Status.NOT_STARTED, "There is no file yet.", 0),
    ]
    assert [text.plain for text in report_judgements(judgements)] == [
        "0/2 solved",
        f"  – ex01  Two partials: {why}",
        "  · ex02  Accumulate and zero",
    ]
