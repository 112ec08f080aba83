"""The network's window as a file for other programs: TorchScript or ONNX, of one size and one number of frames."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._model import E2FGVIHQ, forget_tables, load_network, select_backend
from ..errors import InputError, UsageError
from ..system.publication import Publication
from .reading import read_weights

FORMATS = ("torchscript", "onnx")
OPSET = 20
"""Of ONNX: the first whose GridSample is as PyTorch's."""
TOLERANCE = 1e-3
"""Of values from -1 to 1: a file that differs by more is not written."""
_ABOUT = "e2fgvi.json"


@dataclass(frozen=True)
class WindowShape:
    """What an exported window takes: `local` frames in a row, which are filled, then `references`; height and width in
    pixels."""

    local: int
    references: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.local < 2:
            raise UsageError(f"--local {self.local} is too small: flow needs 2 frames or more")
        if self.references < 0:
            raise UsageError(f"--references {self.references} is too small: use 0 or more")

    @property
    def input(self) -> tuple[int, int, int, int, int]:
        """(1, frames, 3, height, width)."""
        return 1, self.local + self.references, 3, self.height, self.width


@dataclass(frozen=True)
class Exported:
    """What was written. `difference`: the largest one of a value (-1 to 1) between the file and the network on noise;
    `checked_with`: what ran the file, "" if nothing here can."""

    output: str
    format: str
    input: tuple[int, ...]
    bytes: int
    difference: float | None
    checked_with: str


def export_weights(
    path: Path, shape: WindowShape, target: Path, kind: str, *, licence: str | None = None, overwrite: bool = False
) -> Exported:
    """As `export_window`, of a file of weights. licence: None is what the file says. Raises `WeightsError`, too."""
    checkpoint = read_weights(path)
    network = load_network(checkpoint, deform=select_backend("torch", "cpu"))
    told = (checkpoint.licence or "") if licence is None else licence
    return export_window(network, shape, target, kind, licence=told, overwrite=overwrite)


class _Window(nn.Module):
    """The network as a function of one tensor."""

    def __init__(self, network: E2FGVIHQ, local: int) -> None:
        super().__init__()
        self.network, self.local = network, local

    def forward(self, frames: Tensor) -> Tensor:
        """(1, T, 3, H, W) in [-1, 1] with holes 0, local frames first -> the same shape, filled."""
        filled: Tensor = self.network(frames, self.local)
        return filled


def export_window(
    network: E2FGVIHQ, shape: WindowShape, target: Path, kind: str, *, licence: str = "", overwrite: bool = False
) -> Exported:
    """Write `network`, which has to use the backend "torch" of its deformable convolution, and run the file once.

    kind: one of `FORMATS`. Raises `UsageError` for a size that is no multiple of the network's, `InputError` where a
    package is missing or the file computes something else; nothing is written then.
    """
    for name, size, multiple in zip(
        ("height", "width"), (shape.height, shape.width), network.config.size_multiple, strict=True
    ):
        if size < multiple or size % multiple:
            more = max(multiple, -(-size // multiple) * multiple)
            raise UsageError(f"--size: the {name} {size} is no multiple of {multiple}: use {more} and pad the frames")
    if kind == "onnx":
        _require_onnx()
    window = _Window(network.float().eval().requires_grad_(False), shape.local)
    frames = torch.rand(shape.input, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        wanted = window(frames)
    about = {"program": "e2fgvi", "licence": licence, "frames first": shape.local, **asdict(shape)}
    with Publication() as publication:
        temporary = publication.temporary(target, overwrite=overwrite)
        with _quiet():
            try:
                write = _write_onnx if kind == "onnx" else _write_torchscript
                write(window, frames, temporary, json.dumps(about))
            finally:
                forget_tables()
            found, ran = (_run_onnx if kind == "onnx" else _run_torchscript)(temporary, frames)
        difference = None if found is None else float((found - wanted).abs().max())
        if difference is not None and not difference <= TOLERANCE:
            raise InputError(f"the exported file differs from the network by {difference:.2g}: it was not written")
        size = temporary.stat().st_size
    return Exported(str(target), kind, shape.input, size, difference, ran)


def _write_torchscript(window: nn.Module, frames: Tensor, path: Path, about: str) -> None:
    traced: Any = torch.jit.trace(window, frames, check_trace=False)
    torch.jit.save(traced, str(path), _extra_files={_ABOUT: about})


def _run_torchscript(path: Path, frames: Tensor) -> tuple[Tensor | None, str]:
    module: Any = torch.jit.load(str(path))
    with torch.no_grad():
        return module(frames), f"torch {torch.__version__}"


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"--format onnx needs the extra [export] ({error}): pip install '.[export]'") from error
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < (2, 6):
        raise InputError(f"--format onnx needs torch 2.6 or newer, and here is {torch.__version__}")


def _write_onnx(window: nn.Module, frames: Tensor, path: Path, about: str) -> None:
    program: Any = torch.onnx.export(
        window, (frames,), dynamo=True, opset_version=OPSET, input_names=["frames"], output_names=["filled"],
        verbose=False,
    )  # fmt: skip
    program.model.metadata_props[_ABOUT] = about
    program.save(str(path), external_data=False)


def _run_onnx(path: Path, frames: Tensor) -> tuple[Tensor | None, str]:
    try:
        import onnxruntime
    except ImportError:
        return None, ""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"frames": frames.numpy()})
    return torch.from_numpy(found), f"onnxruntime {onnxruntime.__version__}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters tell of their own progress."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), suppress(DeprecationWarning):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
