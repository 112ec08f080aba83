"""What `planner` predicts against what is measured: `python -m measurements.memory --device cuda --precision fp16 -o
memory.json`.

cuda: bytes that torch has allocated, stage by stage and for a whole clip. meta: tensors counted on a device that
computes nothing, so that any size and precision takes seconds; what libraries allocate inside is not seen. cpu:
resident memory of a process of its own for each case, whole windows only. Needs neither PyAV nor OpenCV. Weights are
random, but for cpu.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from e2fgvi_cli._model import E2FGVIHQ, E2FGVIConfig, select_backend
from e2fgvi_cli.engine import (
    Engine,
    EngineSettings,
    Precision,
    build_engine,
    choose_deform,
    choose_precision,
    describe_device,
    peak_memory,
    read_weights,
    select_device,
)
from e2fgvi_cli.errors import UsageError, UserError
from e2fgvi_cli.fill.crops import CropOptions
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.fill.windows import plan_window
from e2fgvi_cli.frames.stages import HoledFrame
from e2fgvi_cli.planner import MIB, Planner, parse_memory
from e2fgvi_cli.system.publication import replace_file
from e2fgvi_cli.types import Frame, HoleArray, PixelArray
from e2fgvi_cli.weights.known import resolve
from measurements.gauges import CudaGauge, Gauge, StagePeaks, TensorCount

SIZES = "120x216,240x432,480x864,720x1296,1080x1944"
WINDOWS = "5+2,11+6"
CLIP_FRAMES = 60
CLIP_REFERENCE_STRIDE = 5
"""Closer than usual, so that the middle of a short clip has as many frames stored as that of a long one."""
GRAPH_CALLS = 3
"""Of a window: computed, captured, replayed."""


@dataclass(frozen=True)
class Case:
    """A padded size (height, width) and a window: so many local frames, so many references."""

    size: tuple[int, int]
    local: int
    references: int


@dataclass(frozen=True)
class Row:
    """A peak in bytes. stage: of `Planner.stages`; "window", the largest of them; "clip", of many windows; "idle",
    between windows."""

    case: Case
    stage: str
    predicted: int
    measured: int

    @property
    def error(self) -> float:
        """Relative; above 0 too much was predicted."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Request:
    """What to measure, and on what."""

    device: torch.device
    precision: Precision
    cases: tuple[Case, ...]
    budget: int | None = None
    kernels: bool = False
    graphs: bool = False

    def planner(self, case: Case) -> Planner:
        """The planner for a case's windows."""
        return Planner(
            budget=self.budget,
            bytes_per_value=self.precision.bytes_per_value,
            local=case.local,
            references=case.references,
            device=self.device.type,
            kernels=self.kernels,
            graphs=self.graphs,
        )

    def engine(self, network: E2FGVIHQ, case: Case) -> Engine:
        """An engine with nothing stored."""
        return Engine(
            network, self.device, EngineSettings(self.precision, self.kernels, self.graphs, planner=self.planner(case))
        )


# -- measurements ------------------------------------------------------------------------------------------------------


def measure(request: Request) -> Iterator[Row]:
    """Peaks of all cases, as they are measured. Raises `UserError` for what the device cannot do."""
    if request.device.type == "cpu":
        yield from (_measure_process(request, case) for case in request.cases)
    elif request.device.type == "meta":
        yield from _measure_tensors(request)
    else:
        yield from _measure_gpu(request)


def fill_window(engine: Engine, case: Case) -> None:
    """Fill all local frames of a window with as many references; the holes are as large as the frames."""
    rgb, hole = _frame(case.size)
    stride = 2 * case.local
    center = stride * (case.references + 1)
    window = plan_window(
        center,
        0,
        2 * center,
        neighbor_stride=case.local // 2,
        reference_stride=stride,
        max_references=case.references,
    )
    whole = (0, 0, *case.size)
    engine.fill(window, lambda _: (rgb, hole), whole, [(i, whole) for i in window.local])


def _measure_tensors(request: Request) -> Iterator[Row]:
    with torch.device("meta"):
        network = E2FGVIHQ(deform=select_backend("torch"))
    for case in request.cases:
        with TensorCount() as count:
            engine = request.engine(network, case)
            count.add((*network.parameters(), *network.buffers()))
            rows = list(_measure_window(request, case, engine, count))
        yield from rows


def _measure_gpu(request: Request) -> Iterator[Row]:
    network = E2FGVIHQ(deform=choose_deform("auto", request.device))
    gauge = CudaGauge(request.device)
    for case in request.cases:
        yield from _measure_window(request, case, request.engine(network, case), gauge)
        yield _measure_clip(request, case, request.engine(network, case), gauge)


def _measure_window(request: Request, case: Case, engine: Engine, gauge: Gauge) -> Iterator[Row]:
    """A full window with nothing stored before, stage by stage; then what stays when the stores are empty again."""
    planner = request.planner(case)
    plan = planner.plan(case.size)
    peaks = StagePeaks(gauge)
    with peaks.watch(engine.network):
        for _ in range(GRAPH_CALLS if plan.graph else 1):
            fill_window(engine, case)
    for stage, predicted in _predicted_stages(planner, case).items():
        yield Row(case, stage, predicted, peaks.peaks[stage])
    engine.start_shot()
    gauge.reset()
    if not plan.graph:  # its inputs and results stay
        yield Row(case, "idle", planner.fixed, gauge.peak())


def _measure_clip(request: Request, case: Case, engine: Engine, gauge: Gauge) -> Row:
    """Many windows, merged and fetched as in a run."""
    rgb, hole = _frame(case.size)
    alpha, whole = hole.astype(np.float32), (0, 0, *case.size)
    frames = (HoledFrame(Frame(i, rgb, Fraction(i, 25)), hole, alpha, whole) for i in range(CLIP_FRAMES))
    options = WindowOptions(case.local // 2, CLIP_REFERENCE_STRIDE, case.references, crops=CropOptions(enabled=False))
    gauge.reset()
    for _ in fill_shot(frames, engine, options):
        pass
    return Row(case, "clip", request.planner(case).plan(case.size).predicted, gauge.peak())


def _measure_process(request: Request, case: Case) -> Row:
    """A full window on the CPU with the default weights, in another process. Raises `UsageError` if that fails."""
    sizes, windows = f"{case.size[0]}x{case.size[1]}", f"{case.local}+{case.references}"
    command = [sys.executable, "-m", "measurements.memory", "--resident", "--device", "cpu"]
    command += ["--precision", request.precision.name, "--sizes", sizes, "--windows", windows]
    if request.budget is not None:
        command += ["--max-memory", f"{request.budget / MIB}MiB"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UsageError(f"{sizes} {windows} cannot be measured: {reason}")
    return Row(case, "window", _predicted_stages(request.planner(case), case)["window"], int(done.stdout))


def _resident(request: Request) -> int:
    """Peak resident memory of this process in bytes, after the cases."""
    deform = choose_deform("auto", request.device, prefer_torch=True)
    for case in request.cases:
        settings = EngineSettings(request.precision, planner=request.planner(case))
        fill_window(build_engine(read_weights(resolve("open")), request.device, deform, settings), case)
    return peak_memory(request.device)


def _predicted_stages(planner: Planner, case: Case) -> dict[str, int]:
    plan = planner.plan(case.size)
    used = case.references if plan.references is None else plan.references
    stages = planner.stages(case.size, plan, stored=case.local + used, merging=False)
    return {**stages, "window": max(stages.values())}


def _frame(size: tuple[int, int]) -> tuple[PixelArray, HoleArray]:
    return np.zeros((*size, 3), np.uint8), np.ones(size, np.uint8)


# -- command line ------------------------------------------------------------------------------------------------------


def _cases(sizes: str, windows: str) -> tuple[Case, ...]:
    """All sizes, padded, with all windows, the cheapest first. Raises `UsageError` for what is neither."""
    multiple = E2FGVIConfig().size_multiple
    found = set()
    for height, width in _pairs(sizes, "x"):
        padded = -(-height // multiple[0]) * multiple[0], -(-width // multiple[1]) * multiple[1]
        for local, references in _pairs(windows, "+"):
            if local % 2 == 0 or local < 3:
                raise UsageError(f"{local} local frames are no window: give an odd number, 3 or more")
            found.add(Case(padded, local, references))
    return tuple(sorted(found, key=lambda c: (c.size[0] * c.size[1] * (c.local + c.references), c.size)))


def _pairs(text: str, separator: str) -> Iterator[tuple[int, int]]:
    for part in text.split(","):
        match = re.fullmatch(rf"(\d+){re.escape(separator)}(\d+)", part.strip())
        if match is None or (separator == "x" and "0" in match.groups()):
            raise UsageError(f"{part!r} is not understood: give pairs such as 240{separator}432 with commas between")
        yield int(match[1]), int(match[2])


def _request(arguments: argparse.Namespace) -> Request:
    name = arguments.device
    device = torch.device("meta") if name == "meta" else select_device(name)
    precision = choose_precision(arguments.precision, device)
    cuda = device.type == "cuda"
    return Request(
        device,
        precision,
        _cases(arguments.sizes, arguments.windows),
        parse_memory(arguments.max_memory),
        kernels=cuda and not arguments.plain and precision.name != "fp32",
        graphs=cuda and not arguments.plain,
    )


def _line(row: Row) -> str:
    case = f"{row.case.size[0]}x{row.case.size[1]} {row.case.local}+{row.case.references}"
    return f"{case:18} {row.stage:13} {row.predicted / MIB:9.1f} {row.measured / MIB:9.1f} MiB {row.error:+7.1%}\n"


def main() -> None:
    """Parse, measure, print as it comes."""
    parser = argparse.ArgumentParser(prog="python -m measurements.memory", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, or meta (count tensors only)")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--sizes", default=SIZES, help="HEIGHTxWIDTH, with commas between")
    parser.add_argument("--windows", default=WINDOWS, help="LOCAL+REFERENCES, with commas between")
    parser.add_argument("--max-memory", default="auto", help="the planner's budget; auto: none")
    parser.add_argument("--plain", action="store_true", help="neither fused kernels nor CUDA graphs")
    parser.add_argument(
        "--resident", action="store_true", help="fill the windows on the CPU and print the peak in bytes"
    )
    parser.add_argument("-o", "--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    try:
        request = _request(arguments)
        if arguments.resident:
            sys.stdout.write(f"{_resident(request)}\n")
            return
        described = "tensors only" if request.device.type == "meta" else describe_device(request.device)
        kinds = f"fused kernels {request.kernels}, graphs {request.graphs}"
        sys.stdout.write(f"{described}, torch {torch.__version__}, {request.precision.name}, {kinds}\n")
        sys.stdout.write(f"{'size window':18} {'stage':13} predicted  measured     error\n")
        rows = []
        for row in measure(request):
            sys.stdout.write(_line(row))
            sys.stdout.flush()
            rows.append(row)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(error.exit_code) from None
    if arguments.output is not None:
        record = {
            "device": described,
            "torch": torch.__version__,
            "precision": request.precision.name,
            "kernels": request.kernels,
            "graphs": request.graphs,
            "budget": request.budget,
            "rows": [{**asdict(row), "error": row.error} for row in rows],
        }
        replace_file(arguments.output, json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
