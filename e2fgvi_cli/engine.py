"""The network at work: device, weights, backends, and the stores that let every feature and flow be computed once.

The only importer of `model`. numpy frames in, numpy predictions out; the pipeline above it knows no tensors.
Shape legend: T all frames of a window, l local frames, c channels, H W pixels, h w feature grid.
"""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoint import Checkpoint, CheckpointError, load_network, read_checkpoint, read_spynet
from model.deform import BackendUnavailableError, DeformBackend, select_backend
from model.network import E2FGVIHQ

from .compose import Box, Prediction
from .errors import DeviceError, UsageError, WeightsError
from .types import HoleArray, PixelArray, Window

FrameSource = Callable[[int], tuple[PixelArray, HoleArray]]
"""Gives frame i of a shot: `rgb` (H, W, 3) and its hole (H, W) in {0, 1}."""


def read_weights(path: Path) -> Checkpoint:
    """`model.checkpoint.read_checkpoint` with errors that end the program properly (`WeightsError`)."""
    try:
        return read_checkpoint(path)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def read_spynet_weights(path: Path) -> dict[str, Tensor]:
    """`model.checkpoint.read_spynet` with errors that end the program properly (`WeightsError`)."""
    try:
        return read_spynet(path)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def select_device(name: str) -> torch.device:
    """The device for `--device`: auto (cuda, else mps, else cpu), cpu, cuda, cuda:N or mps.

    Raises `UsageError` for a name that is none of these, `DeviceError` for one this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"device {name!r} is unknown: use auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = "has no CUDA support" if torch.version.cuda is None else "finds no usable NVIDIA GPU"
            raise DeviceError(
                f"device {name!r} cannot be used: torch {torch.__version__} {built}; run `e2fgvi check-env`"
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise DeviceError(
                f"device {name!r} does not exist: this machine has {torch.cuda.device_count()} GPU(s), from cuda:0"
            )
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device {name!r} cannot be used: this torch or machine has no Metal support")
    return torch.device(device.type)


def describe_device(device: torch.device) -> str:
    """A device in words, for the report."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return f"mps ({platform.processor() or platform.machine()})"
    return f"cpu ({torch.get_num_threads()} threads)"


def choose_deform(name: str, device: torch.device) -> DeformBackend:
    """The deformable convolution's backend. Raises `UsageError` (unknown) or `DeviceError` (does not work here)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # `exact` says the same, and the caller reports it
            return select_backend(name, device)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except BackendUnavailableError as error:
        raise DeviceError(
            f"deformable convolution backend {name!r} does not work: {error}; use --deform auto"
        ) from error


def peak_memory(device: torch.device) -> int:
    """Most memory used so far, in bytes: allocated by torch on a GPU, resident in this process elsewhere."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return _windows_peak_working_set()
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def _windows_peak_working_set() -> int:
    """PeakWorkingSetSize of this process (psapi). Written from its documentation; not run on Windows here."""
    import ctypes

    fields = ("cb", "faults", "peak", "working", "ppp", "pp", "ppnp", "pnp", "pagefile", "peak_pagefile")
    types = [ctypes.c_uint32, ctypes.c_uint32, *[ctypes.c_size_t] * 8]
    counters = type("Counters", (ctypes.Structure,), {"_fields_": list(zip(fields, types, strict=True))})()
    counters.cb = ctypes.sizeof(counters)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (absent from the type stubs of other platforms)
    kernel.K32GetProcessMemoryInfo.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    kernel.K32GetProcessMemoryInfo(ctypes.c_void_p(-1), ctypes.byref(counters), counters.cb)
    return int(counters.peak)


def _symmetric_index(size: int, padded: int, device: torch.device) -> Tensor:
    """Positions that extend 0..size-1 to `padded` by mirroring, edge included, as often as needed (so from 1 pixel up)."""
    index = torch.arange(padded, device=device) % (2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


class Engine:
    """Fills windows of one shot. Features are computed once a frame, flows once a neighbouring pair; `forget` bounds both.

    Call `start_shot` before the first window of each shot. Not thread-safe.
    """

    def __init__(self, network: E2FGVIHQ, device: torch.device) -> None:
        self.network = network.to(device).eval()
        self.device = device
        self._features: dict[int, Tensor] = {}
        self._flows: dict[int, tuple[Tensor, Tensor]] = {}
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def start_shot(self) -> None:
        """Forget everything: frames of another shot are numbered anew."""
        self._features.clear()
        self._flows.clear()

    def forget(self, before: int, keep: Callable[[int], bool]) -> None:
        """Drop what belongs to frames below `before`, but keep the features of those for which `keep(i)` is true."""
        for i in [i for i in self._features if i < before and not keep(i)]:
            del self._features[i]
        for i in [i for i in self._flows if i < before]:
            del self._flows[i]

    @torch.inference_mode()
    def fill(self, window: Window, frame: FrameSource, wanted: Mapping[int, Box]) -> dict[int, Prediction]:
        """Predictions for the `wanted` local frames of `window`, in their boxes. Equal to the whole-window forward pass."""
        self._encode(window.frames, frame)
        self._estimate_flow(window.local, frame)
        local = torch.stack([self._features[i] for i in window.local])[None]
        flows = [self._flows[i] for i in window.local[:-1]]
        empty = local.new_zeros(1, 0, 2, *local.shape[-2:])
        flow_fwd, flow_bwd = (torch.stack([f[k] for f in flows])[None] if flows else empty for k in (0, 1))
        features = [self.network.propagate(local, flow_fwd, flow_bwd)]
        if window.reference:
            features.append(torch.stack([self._features[i] for i in window.reference])[None])
        transformed = self.network.transform(torch.cat(features, dim=1))
        predictions = {}
        for i, box in wanted.items():
            position = window.local.index(i)
            rgb = self.network.decode(transformed[:, position : position + 1])[0, 0]
            predictions[i] = Prediction(box, _to_numpy(rgb, box))
        return predictions

    @torch.inference_mode()
    def fill_whole_window(self, window: Window, frame: FrameSource, wanted: Mapping[int, Box]) -> dict[int, Prediction]:
        """As `fill`, in the published program's way: one forward pass, every frame encoded and decoded, nothing kept."""
        frames = torch.stack([self._masked(*frame(i)) for i in window.frames])[None]
        output = self.network(frames, len(window.local))[0]
        return {i: Prediction(box, _to_numpy(output[window.local.index(i)], box)) for i, box in wanted.items()}

    def _encode(self, indices: tuple[int, ...], frame: FrameSource) -> None:
        for i in indices:
            if i not in self._features:
                self._features[i] = self.network.encode(self._masked(*frame(i))[None, None])[0, 0]

    def _estimate_flow(self, local: tuple[int, ...], frame: FrameSource) -> None:
        missing = [i for i in local[:-1] if i not in self._flows]
        if not missing:
            return
        frames = torch.stack([self._masked(*frame(i)) for i in range(missing[0], missing[-1] + 2)])[None]
        flow_fwd, flow_bwd = self.network.flow(frames)
        for i in missing:
            self._flows[i] = (flow_fwd[0, i - missing[0]], flow_bwd[0, i - missing[0]])

    def _masked(self, rgb: PixelArray, hole: HoleArray) -> Tensor:
        """(3, H, W) in [-1, 1], hole pixels 0, padded by mirroring to the network's multiples."""
        peak = float(np.iinfo(rgb.dtype).max)
        pixels = rgb if rgb.dtype == np.uint8 else rgb.astype(np.int32)
        x = torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)
        x = x.permute(2, 0, 1).to(torch.float32) / peak * 2 - 1
        x = x * (1 - torch.from_numpy(np.ascontiguousarray(hole)).to(self.device).to(torch.float32))
        for dim, multiple in zip((1, 2), self.network.config.size_multiple, strict=True):
            size = x.shape[dim]
            if size % multiple:
                x = x.index_select(dim, _symmetric_index(size, -(-size // multiple) * multiple, self.device))
        return x


def _to_numpy(rgb: Tensor, box: Box) -> NDArray[np.float32]:
    """The pixels of `box` of a decoded frame (3, H, W) in [-1, 1], as (y, x, 3) in [0, 1]."""
    top, left, bottom, right = box
    inside = (rgb[:, top:bottom, left:right].permute(1, 2, 0).float() + 1) / 2
    return np.ascontiguousarray(inside.cpu().numpy())


def build_engine(checkpoint: Checkpoint, device: torch.device, deform: DeformBackend) -> Engine:
    """Weights and choices made into a working engine. Raises `DeviceError` if the device has no room for the network."""
    try:
        return Engine(load_network(checkpoint, deform=deform), device)
    except torch.cuda.OutOfMemoryError as error:
        raise DeviceError(
            f"{describe_device(device)} has no room for the network: close other programs or use --device cpu"
        ) from error
