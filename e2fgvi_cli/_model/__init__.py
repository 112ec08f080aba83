"""The network under a private name: `e2fgvi_cli._model.network` is `model/network.py`, in a checkout and in a wheel.

`model` is what other projects call their package, too; the published E2FGVI has one, and its users stand in that
folder, first on Python's path. So nothing imports that name. A wheel carries the files in here (pyproject.toml), a
checkout has them at its top. Names are imported on first use: the configuration alone needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a type checker finds the files where they lie
    from model import kernels as kernels
    from model.attention import FocalAttention as FocalAttention
    from model.checkpoint import Checkpoint as Checkpoint
    from model.checkpoint import CheckpointError as CheckpointError
    from model.checkpoint import load_network as load_network
    from model.checkpoint import read_checkpoint as read_checkpoint
    from model.checkpoint import read_spynet as read_spynet
    from model.checkpoint import save_checkpoint as save_checkpoint
    from model.config import ENCODER_STRIDE as ENCODER_STRIDE
    from model.config import E2FGVIConfig as E2FGVIConfig
    from model.deform import BackendUnavailableError as BackendUnavailableError
    from model.deform import DeformBackend as DeformBackend
    from model.deform import available_backends as available_backends
    from model.deform import select_backend as select_backend
    from model.flow import SPyNet as SPyNet
    from model.network import E2FGVIHQ as E2FGVIHQ
    from model.propagation import SecondOrderAlignment as SecondOrderAlignment
    from model.tables import forget_tables as forget_tables
    from model.tables import tables_used as tables_used

_HERE = Path(__file__).resolve().parent
_INSTALLED = _HERE / "files"
__path__ = [str(_INSTALLED if _INSTALLED.is_dir() else _HERE.parents[1] / "model")]

_HOMES = {
    "attention": ("FocalAttention",),
    "checkpoint": (
        "Checkpoint", "CheckpointError", "load_network", "read_checkpoint", "read_spynet", "save_checkpoint",
    ),
    "config": ("ENCODER_STRIDE", "E2FGVIConfig"),
    "deform": ("BackendUnavailableError", "DeformBackend", "available_backends", "select_backend"),
    "flow": ("SPyNet",),
    "network": ("E2FGVIHQ",),
    "propagation": ("SecondOrderAlignment",),
    "tables": ("forget_tables", "tables_used"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
