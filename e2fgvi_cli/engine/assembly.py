"""Everything the options ask of the engine, made into one: device, precision, operators, memory plan, weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from .. import _model
from .._model import E2FGVIConfig, SecondOrderAlignment, select_backend
from ..fill.options import WindowOptions
from ..options import InpaintOptions
from ..planner import Planner, padded_size, parse_memory
from ..propagation.gpu.lookup import LookupKind, choose_lookup, lookup_bytes
from ..system.cache import PassedCheck
from ..weights.known import resolve
from .core import (
    WITHOUT_ALIGNMENT,
    WITHOUT_FUSED_LOOKUP,
    WITHOUT_LOOKUP,
    Engine,
    EngineSettings,
    build_engine,
)
from .devices import choose_deform, describe_device, select_device, total_memory
from .estimate import seconds_a_frame
from .precision import Precision, precision_for
from .reading import read_weights

HOST_SHARE = 0.7
"""Of a machine's memory, that `--max-memory auto` uses on a CPU: decoding, encoding and other programs need some,
too."""
GPU_SHARE = 0.92
"""Of a GPU's free memory: the rest is for fragmentation and the libraries' own."""


@dataclass(frozen=True)
class Assembled:
    """A working engine and what to say of it. `notices`: sentences for the user."""

    engine: Engine
    device: torch.device
    description: str
    deform: str
    precision: str
    weights: Path
    notices: tuple[str, ...] = ()


def assemble(
    options: InpaintOptions, device: str | None = None, size: tuple[int, int] | None = None, bit_depth: int = 8
) -> Assembled:
    """The engine for `options`, on `device` (None: the options').

    size, bit_depth: of the frames; without a size the memory for lookups on a GPU is not planned.
    Raises `WeightsError`, `DeviceError`, `UsageError`. Threads and memory limits of the process are not its business:
    see `process`.
    """
    weights = resolve(options.weights)
    name = device or options.device
    chosen = select_device(name)
    released = options.windows.released
    precision = precision_for(options, chosen, bit_depth)
    notices: list[str] = []
    if chosen.type == "cpu" and name == "auto":
        notices.append(
            "no GPU that torch can use was found: running on the CPU, seconds a frame (see `e2fgvi check-env`)"
        )
    kernels = False
    with ThreadPoolExecutor(2) as pool:  # on a machine's first run both checks compile, for seconds
        working = None
        looking = pool.submit(lookup_for, options.windows, chosen)
        if chosen.type == "cuda" and options.deform == "auto" and not released and precision.name != "fp32":
            working = pool.submit(checked_kernels, chosen, precision)
        lookup, without = looking.result()
        notices += [] if without is None else [without]
        if working is not None:
            reason = working.result()
            kernels = reason is None
            if reason is not None:
                notices.append(f"fused kernels are off: {reason}")
    graphs = kernels  # torchvision's operator launches on the legacy stream, which a graph cannot capture
    # Kernels leave the operator nothing to do: torchvision would be imported, for seconds, and not called.
    deform = (
        choose_deform("torch", torch.device("cpu"))
        if kernels
        else choose_deform(options.deform, chosen, prefer_torch=not released)
    )
    beside = lookup_memory(options, size, bit_depth, lookup) if lookup and size is not None else 0
    planner = plan_memory(options, chosen, precision, kernels=kernels, graphs=graphs, beside=beside)
    settings = EngineSettings(precision, kernels, graphs, options.compile and not released, lookup, planner)
    engine = build_engine(read_weights(weights), chosen, deform, settings)
    described, operator = describe_device(chosen), "triton (fused)" if kernels else deform.name
    notices.insert(
        0,
        f"weights: {weights.name} (SPyNet inside); device: {described}; precision: {precision.name}; deformable "
        f"convolution: {operator}",
    )
    if deform.reason not in ("the default", "asked for") and not kernels:
        notices.append(f"deformable convolution: {deform.name} backend ({deform.reason})")
    if not deform.exact:
        notices.append(
            "warning: the approximate deformable convolution ignores all offsets, the result is not that of the network"
        )
    return Assembled(engine, chosen, described, operator, precision.name, weights, tuple(notices))


def plan_only(
    options: InpaintOptions, size: tuple[int, int], bit_depth: int = 8, frames: int | None = None
) -> list[str]:
    """The plan for whole frames of `size` on the options' device, in lines: memory, and the time for `frames` frames.

    The time is measured on a few windows of random pixels, so the network is built.
    """
    assembled = assemble(options, (options.devices or (options.device,))[0], size, bit_depth)
    engine = assembled.engine
    lines = engine.planner.describe(padded_size(size, engine.size_multiple), engine.size_multiple)
    seconds = seconds_a_frame(engine, size, options.windows) / max(1, len(options.devices))
    whole = "" if frames is None else f", {_minutes(seconds * frames)} for {frames} frames"
    beside = "" if options.windows.propagation is None else "; looking at other frames comes on top"
    return [
        f"device: {assembled.description}; precision: {assembled.precision}",
        *lines,
        f"time: the network takes about {seconds:.2g} s a whole frame{whole}, less where the crops around the "
        f"holes are smaller{beside}",
    ]


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def lookup_memory(options: InpaintOptions, size: tuple[int, int], bit_depth: int, kind: LookupKind) -> int:
    """Bytes that image propagation takes of a GPU; 0 where the options have none."""
    propagation = options.windows.propagation
    return (
        0
        if propagation is None
        else lookup_bytes(size, propagation, 1 if bit_depth <= 8 else 2, aligned=kind == "aligned")
    )


def plan_memory(
    options: InpaintOptions,
    device: torch.device,
    precision: Precision,
    *,
    kernels: bool,
    graphs: bool,
    beside: int = 0,
) -> Planner:
    """The planner for `--max-memory` on `device`.

    beside: bytes for lookups of image propagation.
    """
    asked = parse_memory(options.max_memory)
    available = total_memory(device)
    budget = asked if asked is not None else int(available * (GPU_SHARE if device.type == "cuda" else HOST_SHARE))
    windows = options.windows
    return Planner(
        budget=None if windows.released else budget,
        bytes_per_value=precision.bytes_per_value,
        local=2 * windows.neighbor_stride + 1,
        references=windows.max_references,
        device="cuda" if device.type == "cuda" else "cpu",
        kernels=kernels,
        graphs=graphs,
        beside=beside,
        devices=max(1, len(options.devices)),
    )


def lookup_for(windows: WindowOptions, device: torch.device) -> tuple[LookupKind | None, str | None]:
    """How `windows` look at other frames on `device`, and a sentence for the user where it is not the fastest way.

    (None, None) without image propagation or on a CPU.
    """
    if device.type != "cuda" or windows.propagation is None:
        return None, None
    kind, reason = checked_lookup(device)
    if reason is None:
        return kind, None
    without = {None: WITHOUT_LOOKUP, "plain": WITHOUT_FUSED_LOOKUP}.get(kind, WITHOUT_ALIGNMENT)
    return kind, without + reason


def checked_lookup(device: torch.device) -> tuple[LookupKind | None, str | None]:
    """`choose_lookup`, which is asked once for a device and the versions of everything: it takes a second."""
    known = _check("aligned", device)
    if known.passed():
        return "aligned", None
    kind, reason = choose_lookup(device)
    if kind == "aligned":
        known.note()
    return kind, reason


def checked_kernels(device: torch.device, precision: Precision) -> str | None:
    """`kernels_fail`, asked as seldom as `checked_lookup` asks."""
    known = _check(f"kernels-{precision.name}", device)
    if known.passed():
        return None
    reason = kernels_fail(device, precision)
    if reason is None:
        known.note()
    return reason


def _check(name: str, device: torch.device) -> PassedCheck:
    """Of kernels on `device`: they depend on it, its driver, what compiles them, and their own text."""
    gpu = torch.cuda.get_device_properties(device)
    facts = [gpu.name, gpu.major, gpu.minor, torch.__version__, torch.version.cuda, _triton(), _driver()]
    homes = [Path(__file__).parents[1] / "propagation", Path(_model.__path__[0])]
    return PassedCheck(name, facts, sorted(path for home in homes for path in home.rglob("*.py")))


def _triton() -> str:
    try:
        return version("triton")
    except PackageNotFoundError:
        return ""


def _driver() -> str:
    """What Linux says of NVIDIA's driver; "" elsewhere."""
    try:
        return Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def kernels_fail(device: torch.device, precision: Precision) -> str | None:
    """Why the fused kernels do not work here, in a few words; None if they do. Compiles them, which takes some seconds
    once."""
    try:
        from .._model import kernels
    except ImportError as error:
        return f"Triton does not load ({error})"
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=[device]):
            torch.manual_seed(0)
            alignment = SecondOrderAlignment(E2FGVIConfig(), select_backend("torch")).to(device, precision.dtype)
            torch.nn.init.normal_(alignment.conv_offset.get_parameter("6.weight"), std=0.05)
            shapes = [(1, 128, 8, 9)] * 3 + [(1, 2, 8, 9)] * 2
            before_1, before_2, current, flow, earlier = (torch.randn(shape, device=device) for shape in shapes)
            maps = [x.to(precision.dtype) for x in (before_1, before_2, current)]
            plain = alignment(maps[0], maps[1], maps[2], flow, earlier)
            alignment.use_kernels(kernels)
            fused = alignment(maps[0], maps[1], maps[2], flow, earlier)
            off = float((fused - plain).norm() / plain.norm())
    except Exception as error:  # a compiler inside a driver inside a toolkit: whatever it throws is the reason
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"{type(error).__name__}: {first_line[:160]}"
    return None if off < 0.03 else f"they are off by {off:.2g} on {device}"
