"""Which stage computes in which dtype, and whether TF32 may round the products of float32.

Flow stays float32 everywhere (its result is a position), and so do the positions of every sampling.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .._model import E2FGVIHQ
from ..errors import DeviceError, UsageError
from ..options import PRECISIONS, InpaintOptions
from ..threads.setting import ProcessSetting


@dataclass(frozen=True)
class Precision:
    """`dtype` of everything but flow. tf32: float32 matrix products on tensor cores, with 10 bits of mantissa; and
    convolutions."""

    name: str = "fp32"
    dtype: torch.dtype = torch.float32
    tf32: bool = False
    tf32_convolutions: bool = False

    @property
    def bytes_per_value(self) -> int:
        """Of features and weights."""
        return self.dtype.itemsize


RELEASED = Precision("fp32, TF32 convolutions", tf32_convolutions=True)
"""What PyTorch does by default, and so the published program."""


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products of bf16 (AVX512_BF16 or AMX) and may use them: without it is far
    slower than float32.

    False where torch does not say (older ones, and on other processors than x86), and where the environment limits the
    instructions.
    """
    limited = any(name in os.environ for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    if limited or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(supported is not None and supported() for supported in asked)


def choose_precision(name: str, device: torch.device, bit_depth: int = 8) -> Precision:
    """The precision for `--precision`. auto: fp16 on CUDA GPUs with tensor cores (7.0 and newer), bf16 on CPUs that
    multiply it, fp32 elsewhere.

    bit_depth: of the frames. The steps of bf16 are half a level of 8 bits, so auto does not take it for more.

    Raises `UsageError` for an unknown name, `DeviceError` for one the device cannot do.
    """
    if name not in PRECISIONS:
        raise UsageError(f"precision {name!r} is unknown: use {', '.join(PRECISIONS)}")
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if name == "auto":
        if capability is not None:
            name = "fp16" if capability >= (7, 0) else "fp32"
        else:
            name = "bf16" if device.type == "cpu" and bit_depth <= 8 and cpu_multiplies_bf16() else "fp32"
    if name == "fp32":
        return Precision()
    if name == "tf32":
        if capability is None or capability < (8, 0):
            raise DeviceError(
                f"precision tf32 needs an NVIDIA GPU of compute capability 8.0 or newer, {device} is none: use fp32"
            )
        return Precision(name, torch.float32, True, True)
    if name == "fp16":
        if device.type == "cpu":
            raise DeviceError("precision fp16 is for GPUs: on a CPU use fp32 or bf16")
        return Precision(name, torch.float16, True, True)
    if capability is not None and capability < (8, 0):
        raise DeviceError(f"precision bf16 needs compute capability 8.0, {device} has {capability}: use fp16 or fp32")
    return Precision(name, torch.bfloat16, True, True)


def precision_for(options: InpaintOptions, device: torch.device, bit_depth: int = 8) -> Precision:
    """The precision of a run. Raises as `choose_precision`."""
    if options.windows.released and options.precision == "auto":
        return RELEASED
    return choose_precision(options.precision, device, bit_depth)


def convert(network: E2FGVIHQ, precision: Precision) -> E2FGVIHQ:
    """Give every stage but flow the precision's dtype, in place."""
    for stage in (
        network.encoder,
        network.feat_prop_module,
        network.ss,
        network.transformer,
        network.sc,
        network.decoder,
    ):
        stage.to(precision.dtype)
    return network


def _read_switches() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def _write_switches(allowed: tuple[bool, bool]) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed


SWITCHES = ProcessSetting[tuple[bool, bool]]("TF32 (products, convolutions)", _read_switches, _write_switches)


@contextmanager
def products(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let TF32 round float32 products, or not, inside the block.

    The switches are the whole process's: a run holds them from its first window to its last, and each window only makes
    sure of them. GPUs before 8.0 have no TF32 and leave them alone, so that they may work beside newer ones.
    Raises `UsageError` while another run wants them otherwise.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        yield
        return
    with SWITCHES.held((precision.tf32, precision.tf32_convolutions)):
        yield
