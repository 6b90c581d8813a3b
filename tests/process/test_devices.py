from pathlib import Path

import pytest
import torch

from themo.errors import InputError
from themo.process.devices import (
    autocast,
    is_device_fault,
    is_out_of_memory,
    multiplies_bfloat16,
    resolve_device,
    resolve_precision,
)

CPU = torch.device("cpu")
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="tells what happens without a GPU")


@needs_no_gpu
def test_without_a_gpu() -> None:
    assert resolve_device("auto") == resolve_device("cpu") == CPU
    with pytest.raises(InputError, match=r"training\.device: must be auto or cpu .* got 'cuda'"):
        resolve_device("cuda")


@pytest.mark.gpu
def test_with_a_gpu() -> None:
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cpu") == CPU
    assert resolve_precision("float32", torch.device("cuda")) == torch.float32


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_precision_on_a_cpu(precision: str, dtype: torch.dtype) -> None:
    assert resolve_precision(precision, CPU) == dtype  # type: ignore[arg-type]


def test_auto_on_a_cpu_is_bfloat16_where_it_is_native() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    assert resolve_precision("auto", CPU) == (torch.bfloat16 if "amx_bf16" in flags else torch.float32)


@pytest.mark.parametrize(
    ("capabilities", "can"),
    [
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": True}, True),
        ({"avx512_f": True, "avx2": True}, False),
        ({}, False),
    ],
)
def test_bfloat16_units_are_amx_or_avx512_bf16(
    capabilities: dict[str, bool], can: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert multiplies_bfloat16() == can


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_sets_the_type_of_products(dtype: torch.dtype) -> None:
    with autocast(CPU, dtype):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_a_name_of_no_device_is_refused() -> None:
    with pytest.raises(InputError, match=r"^device: must be one of auto, cpu, cuda, got 'gpu'$"):
        resolve_device("gpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_mean_a_lack_of_memory(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


@pytest.mark.parametrize(
    ("error", "is_fault"),
    [
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), False),
        (RuntimeError("a bug"), False),
        (ValueError("CUDA error: of somebody else"), False),
    ],
)
def test_errors_that_mean_a_broken_device(error: Exception, is_fault: bool) -> None:
    assert is_device_fault(error) == is_fault
