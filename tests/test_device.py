"""lab.device: names, what is present, and the switches, on machines with and without GPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Place

from lab.compare import compare
from lab.device import (
    DEVICES,
    DTYPES,
    Device,
    check_dtype,
    device_row,
    environment,
    parse_device,
    present_devices,
    resolve_device,
)
from lab.errors import DeviceUnavailable

KINDS = [row.kind for row in DEVICES]
every_row = pytest.mark.parametrize("row", DEVICES, ids=KINDS)


@pytest.fixture
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two CUDA devices and no others, as far as torch's public functions tell."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"NVIDIA Test {index}")
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def _only_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def _settings_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a test change torch's precision and determinism settings."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "unset below")  # so that it is put back too
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    deterministic = torch.are_deterministic_algorithms_enabled()
    before = {name: value for row in DEVICES for name, value in row.switches().items() if ".backends." in name}
    yield
    torch.use_deterministic_algorithms(deterministic)
    for name, value in before.items():
        owner: Any = torch
        *path, attribute = name.split(".")[1:]
        for part in path:
            owner = getattr(owner, part)
        if not callable(getattr(owner, attribute)) and getattr(owner, attribute) != value:
            setattr(owner, attribute, value)


def refusal(name: str) -> DeviceUnavailable:
    with pytest.raises(DeviceUnavailable) as caught:
        resolve_device(name)
    assert caught.value.exit_code == 3
    return caught.value


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        *((kind, (kind, None)) for kind in ("auto", *KINDS)),
        *((f"{kind}:0", (kind, 0)) for kind in KINDS),
        ("cuda:1", ("cuda", 1)),
        ("cuda:99", ("cuda", 99)),
    ],
)
def test_a_device_is_a_kind_and_perhaps_an_index(name: str, parsed: tuple[str, int | None]) -> None:
    assert parse_device(name) == parsed


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("cdua", "cuda"),
        ("CPU", "cpu"),
        ("Cuda", "cuda"),
        (" cpu", "cpu"),
        ("cpu\n", "cpu"),
        ("cuda 1", "cuda"),
        ("cuda:", "cuda"),
        ("cuda:-1", "cuda"),
        ("cuda:1000", "cuda"),
        ("cuda:01", "cuda"),  # torch refuses it
        ("cuda:٣", "cuda"),  # a digit, but not one of torch's
        ("cüda", "cuda"),
        ("auto:1", "auto"),
        ("gpu", "auto"),
        ("GPU", "auto"),
        ("mpx", "mps"),
        ("", None),
        ("空", None),
        ("meta", None),
        ("../../etc", None),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_there_are(name: str, suggestion: str | None) -> None:
    error = refusal(name)
    assert error.happened == f"There is no device {name!r}."
    assert "auto, cuda, xpu, mps, cpu" in error.expected
    assert error.next_step == (f"Did you mean {suggestion!r}?" if suggestion else error.next_step)
    assert suggestion or "lab doctor" in error.next_step


def test_the_cpu_is_always_there() -> None:
    assert present_devices()[-1] == "cpu"
    assert resolve_device("cpu") == resolve_device("cpu:0") == torch.device("cpu")


@pytest.mark.usefixtures("_only_cpu")
def test_auto_is_the_cpu_where_there_is_nothing_else() -> None:
    assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.usefixtures("_only_cpu")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:99", "xpu", "xpu:1", "mps", "mps:0"])
def test_an_absent_device_is_an_error_that_lists_what_there_is(name: str) -> None:
    error = refusal(name)
    kind = name.partition(":")[0]
    assert error.happened == f"{name!r} is not there: torch {torch.__version__} finds no {kind}."
    assert error.expected == "Present: cpu."
    assert "'auto'" in error.next_step


@pytest.mark.usefixtures("_only_cpu")
def test_a_second_cpu_is_not_there() -> None:
    assert refusal("cpu:1").happened == f"'cpu:1' is not there: torch {torch.__version__} finds cpu."


@pytest.mark.usefixtures("_two_gpus")
def test_with_two_gpus_each_has_one_name_and_auto_is_the_first() -> None:
    assert present_devices() == ["cuda:0", "cuda:1", "cpu"]
    assert str(resolve_device("auto")) == str(resolve_device("cuda")) == str(resolve_device("cuda:0")) == "cuda:0"
    assert str(resolve_device("cuda:1")) == "cuda:1"
    error = refusal("cuda:2")
    assert "finds cuda:0, cuda:1." in error.happened
    assert error.expected == "Present: cuda:0, cuda:1, cpu."


@pytest.mark.usefixtures("_two_gpus")
def test_with_one_gpu_its_name_has_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert present_devices() == ["cuda", "cpu"]
    assert str(resolve_device("cuda:0")) == str(resolve_device("auto")) == "cuda"
    assert "finds cuda." in refusal("cuda:1").happened


@pytest.mark.usefixtures("_two_gpus")
def test_the_environment_names_the_gpu_that_was_asked_for() -> None:
    facts = environment("cuda:1")
    assert (facts["device"], facts["device_name"]) == ("cuda:1", "NVIDIA Test 1")
    assert environment(torch.device("cuda"))["device_name"] == "NVIDIA Test 0"
    assert facts["switches"]["torch.backends.cudnn.conv.fp32_precision"] in ("tf32", "ieee", "none")


@pytest.mark.parametrize(
    ("present", "best"),
    [((1, 1, True), "cuda"), ((0, 1, True), "xpu"), ((0, 0, True), "mps"), ((0, 0, False), "cpu")],
)
def test_auto_prefers_cuda_then_xpu_then_mps(
    monkeypatch: pytest.MonkeyPatch, present: tuple[int, int, bool], best: str
) -> None:
    cuda, xpu, mps = present
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: xpu)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto").type == best


@pytest.fixture
def _old_driver(monkeypatch: pytest.MonkeyPatch, _two_gpus: None) -> None:
    """GPUs that the kernel module counts, with a driver that this torch cannot use."""

    def warn() -> bool:
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old", UserWarning, stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", warn)


@pytest.mark.usefixtures("_old_driver")
def test_a_driver_that_does_not_work_is_the_reason_given_once() -> None:
    error = refusal("cuda")
    assert error.happened.count("driver on your system is too old") == 1
    assert error.expected == "Present: cpu."


@pytest.mark.usefixtures("_old_driver")
def test_auto_does_not_hide_that_a_driver_does_not_work() -> None:
    with pytest.warns(UserWarning, match="driver on your system is too old"):
        assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.skipif(torch.version.cuda is None, reason=f"torch {torch.__version__} is built without CUDA")
def test_hidden_gpus_are_absent_ones() -> None:
    code = "from lab.device import resolve_device; print(resolve_device('auto')); resolve_device('cuda')"
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run([sys.executable, "-c", code], env=hidden, capture_output=True, text=True, check=False)
    assert "cuda" not in found.stdout
    assert "DeviceUnavailable: 'cuda' is not there" in found.stderr


@every_row
def test_a_row_counts_without_complaint_and_names_real_settings(row: Device) -> None:
    assert row.count() >= 0
    assert (row.kind in {name.partition(":")[0] for name in present_devices()}) is (row.count() > 0)
    json.dumps(row.switches(), allow_nan=False)
    assert set(row.dtypes) <= set(DTYPES)
    assert device_row(f"{row.kind}:0") is device_row(torch.device(row.kind)) is row


@pytest.mark.parametrize("row", DEVICES[:-1], ids=KINDS[:-1])
def test_an_absent_device_cannot_be_used_but_torch_has_the_functions(row: Device) -> None:
    if row.count():
        pytest.skip(f"this machine has {row.kind}")
    # An AttributeError would mean that this torch has no such function; these say that it has no such device.
    with pytest.raises((AssertionError, RuntimeError)):
        row.synchronize(0)
    if row.kind != "mps":
        with pytest.raises((AssertionError, RuntimeError)):
            row.describe(0)
    assert callable(torch.backends.mps.get_name)


def test_a_present_device_computes_in_what_it_says_and_waits(place: Place) -> None:
    row = device_row(place.device)
    x = torch.full((64, 64), 0.5, device=place.device, dtype=place.dtype, requires_grad=True)
    (x @ x).sum().backward()  # type: ignore[no-untyped-call]
    row.synchronize(place.device.index or 0)
    assert x.grad is not None
    assert compare(x.grad, 64.0).max_ulps == 0
    assert row.describe(place.device.index or 0)


def test_metal_has_no_float64() -> None:
    with pytest.raises(DeviceUnavailable, match="mps does not compute in float64") as caught:
        check_dtype(torch.device("mps"), "float64")
    assert "float32, bfloat16, float16" in caught.value.expected
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dtype_is_found_by_name(dtype: str) -> None:
    assert check_dtype(torch.device("cpu"), dtype) is getattr(torch, dtype)


@pytest.mark.parametrize("dtype", ["int64", "complex64", "float8_e5m2", "", "float", "nn"])
def test_a_dtype_without_gradients_here_is_refused(dtype: str) -> None:
    with pytest.raises(DeviceUnavailable) as caught:
        check_dtype(torch.device("cpu"), dtype)
    assert ", ".join(DTYPES) in caught.value.expected


def test_the_environment_is_plain_data_and_the_same_twice() -> None:
    facts = environment("cpu")
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts == environment(torch.device("cpu"))
    values = [*facts.values(), *facts["switches"].values()]
    assert {type(value) for value in values} <= {str, int, float, bool, type(None), dict}
    assert facts["threads"] == torch.get_num_threads()
    assert facts["device_name"]
    assert facts["driver"] is None  # a CPU needs none, whatever else is installed


@pytest.mark.usefixtures("_two_gpus")
@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\nGCC version: 12.2.0\n", "535.183.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build\n", "560.35.03"),
        ("something else\n", None),
        (OSError("no such file"), None),
    ],
)  # fmt: skip
def test_the_driver_is_read_from_the_kernel(
    monkeypatch: pytest.MonkeyPatch, text: str | OSError, version: str | None
) -> None:
    def read_text(path: Path, encoding: str | None = None) -> str:
        assert str(path) == "/proc/driver/nvidia/version"
        if isinstance(text, OSError):
            raise text
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    assert environment("cuda")["driver"] == version


@pytest.mark.usefixtures("_settings_put_back")
def test_cuda_ieee_sets_the_documented_switches() -> None:
    row = device_row("cuda")
    matmul = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn  # its conv and rnn are not in torch's stubs
    matmul.fp32_precision = cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "tf32"
    matmul.allow_fp16_accumulation = True
    row.ieee()
    assert matmul.fp32_precision == cudnn.conv.fp32_precision == cudnn.rnn.fp32_precision == "ieee"
    assert matmul.allow_fp16_reduced_precision_reduction is False
    assert matmul.allow_bf16_reduced_precision_reduction is False
    assert matmul.allow_fp16_accumulation is False
    switches = row.switches()
    assert {value for name, value in switches.items() if name.endswith("fp32_precision")} == {"ieee"}
    assert {value for name, value in switches.items() if "allow_" in name} == {False}
    row.ieee()
    assert row.switches() == switches


@pytest.mark.usefixtures("_settings_put_back")
@pytest.mark.parametrize("kind", ["cpu", "xpu"])
def test_ieee_undoes_the_bfloat16_that_medium_precision_asks_for(kind: str) -> None:
    row = device_row(kind)
    torch.set_float32_matmul_precision("medium")
    name = "torch.backends.mkldnn.matmul.fp32_precision"
    assert row.switches()[name] == "bf16"
    row.ieee()
    assert row.switches()[name] == "ieee"
    if kind == "cpu":  # 1 + 2**-20 has more bits than bfloat16, and than TF32
        x = torch.full((256, 256), 1 + 2.0**-20)
        assert torch.equal(x @ torch.eye(256), x)


@pytest.mark.usefixtures("_settings_put_back")
def test_cuda_deterministic_sets_the_documented_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cudnn.benchmark = True
    device_row("cuda").deterministic()
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark is False
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert device_row("cuda").switches()["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # the other one that cuBLAS documents
    device_row("cuda").deterministic()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@every_row
@pytest.mark.usefixtures("_settings_put_back")
def test_every_row_can_be_made_deterministic_and_precise(row: Device) -> None:
    torch.use_deterministic_algorithms(False)
    assert row.switches()["torch.are_deterministic_algorithms_enabled"] is False
    row.deterministic()
    row.ieee()
    assert row.switches()["torch.are_deterministic_algorithms_enabled"] is True


@pytest.mark.parametrize(
    "module",
    ["lab.device", "lab.errors", "lab.parameters", "lab.store", "lab.teach.lessons", "lab.teach.cells", "lab.__main__"],
)
def test_importing_it_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('torch', 'numpy', 'IPython') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_a_wrong_name_is_answered_before_torch_is_imported() -> None:
    code = "import sys, lab.device as d\ntry: d.parse_device('tpu')\nfinally: print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout == "False\n"
    assert "DeviceUnavailable: There is no device 'tpu'." in found.stderr
