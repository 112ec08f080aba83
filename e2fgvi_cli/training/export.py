"""The moving average of a run as weights that the program loads: our 8-bit safetensors, saying where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint import save_checkpoint
from model.config import E2FGVIConfig

from ..errors import InputError
from .state import RunFolder

OWN = "own"


def licence_line(licences: Mapping[str, int], stated: str) -> str:
    """One sentence for the file's metadata: the licence the exporter states, and what the training material was under."""
    material = "; ".join(f"{key} x{count}" for key, count in licences.items()) or "not recorded"
    return f"{stated}. Training material: {material}"


def export_weights(
    path: Path,
    state_dict: Mapping[str, Tensor],
    config: E2FGVIConfig,
    *,
    licence: str,
    training: Mapping[str, Any],
    eight_bit: bool = True,
) -> None:
    """Write weights beside `path` and rename them when they are complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    # A network stored channels_last gives tensors that safetensors will not take.
    dense = {k: v.detach().cpu().contiguous() for k, v in state_dict.items()}
    save_checkpoint(partial, dense, config, eight_bit=eight_bit, licence=licence, training=training)
    partial.replace(path)


def export_run(run: Path, output: Path, *, licence: str, eight_bit: bool = True) -> dict[str, Any]:
    """The moving average of a run's last saved state. Returns the training summary written into the file."""
    folder = RunFolder(run)
    if not folder.state_file.exists():
        raise InputError(f"{run} holds no state.pt: give the folder of a training run that has saved at least once")
    state = folder.load_state(torch.device("cpu"))
    export_weights(
        output,
        state["ema"],
        E2FGVIConfig.from_dict(state["network_config"]),
        licence=licence_line(state["licences"], licence),
        training=state["summary"],
        eight_bit=eight_bit,
    )
    summary: dict[str, Any] = state["summary"]
    return summary
