import pytest
import torch

from lab.compare import compare
from lab.errors import LabError
from lab.teach.stage import Stage, check_gradient, check_value, claim, claim_raises, comparison_line, on_stage, picture


@pytest.fixture
def stage():
    with on_stage(Stage()) as stage:
        yield stage


def test_a_gradient_is_shown_beside_its_reference_and_recorded(stage: Stage, capsys) -> None:
    check_gradient("dy/dx = 2x", torch.tensor(4.0), 4.0)
    assert capsys.readouterr().out.split() == ["✓", "dy/dx", "=", "2x", "autograd", "4", "exact", "4", "0", "ulp"]
    assert stage.record.comparisons[0]["value"] == 4.0
    assert stage.record.comparisons[0]["verdict"] == "pass"


def test_a_wrong_gradient_is_shown_recorded_and_raised(stage: Stage, capsys) -> None:
    with pytest.raises(LabError, match="misses its reference"):
        check_gradient("dy/dx", torch.tensor(4.001), 4.0)
    assert "✗" in capsys.readouterr().out
    assert stage.record.comparisons[0]["verdict"] == "fail"


def test_a_value_is_shown_with_where_it_and_its_reference_come_from(stage: Stage, capsys) -> None:
    check_value("w at epoch 3", torch.tensor(0.75), 0.75, words=("descent", "theory"))
    assert capsys.readouterr().out == "  ✓ w at epoch 3         descent 0.75          theory 0.75          0 ulp\n"
    with pytest.raises(LabError, match="w at epoch 4 misses its reference"):
        check_value("w at epoch 4", torch.tensor(0.75), 0.76)
    check_value("w at epoch 4", torch.tensor(0.75), 0.76, scale=1e5)
    assert [c["verdict"] for c in stage.record.comparisons] == ["pass", "fail", "pass"]


def test_a_missing_gradient_is_no_zero(stage: Stage) -> None:
    with pytest.raises(LabError, match="there is no gradient"):
        check_gradient("dy/dx", None, 0.0)


def test_a_false_claim_is_shown_recorded_and_raised(stage: Stage, capsys) -> None:
    claim("two is even", True)
    with pytest.raises(LabError, match="two is odd"):
        claim("two is odd", False)
    assert [c["holds"] for c in stage.record.claims] == [True, False]
    assert capsys.readouterr().out == "  ✓ two is even\n  ✗ two is odd\n"


def test_a_refusal_is_a_claim_with_the_answer_of_torch(stage: Stage, capsys) -> None:
    claim_raises("integers cannot track", lambda: torch.tensor([1], requires_grad=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  ✓ integers cannot track"
    assert lines[1].startswith("    torch: Only Tensors of floating point")
    with pytest.raises(LabError, match="floats cannot track"):
        claim_raises("floats cannot track", lambda: torch.tensor([1.0], requires_grad=True))


def test_pictures_are_recorded_and_a_missing_one_is_said(stage: Stage, capsys) -> None:
    picture("tangent", "<svg/>")
    picture("bars", None)
    assert stage.record.pictures == {"tangent": "<svg/>"}
    assert "no picture 'bars'" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [0.1, -1 / 3, 29999.0, -1.23456789012345e-5, float("-inf")])
@pytest.mark.parametrize("error", [0.0, 0.0123456, 1e-5])
def test_a_scalar_takes_one_line_of_80_columns(dtype: torch.dtype, value: float, error: float) -> None:
    comparison = compare(torch.tensor(value, dtype=dtype), value * (1 + error), name="∂(x·y + a name)/∂x")
    assert comparison.name in comparison_line(comparison)
    assert len(comparison_line(comparison)) <= 80


def test_the_stage_before_is_back_after_the_block() -> None:
    outer, inner = Stage(), Stage()
    with on_stage(outer):
        with on_stage(inner):
            claim("inner", True)
        claim("outer", True)
    assert [c["sentence"] for c in outer.record.claims] == ["outer"]
    assert [c["sentence"] for c in inner.record.claims] == ["inner"]
