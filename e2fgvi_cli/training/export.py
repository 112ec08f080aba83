"""The moving average of a run as weights that the program loads: our 8-bit safetensors, saying where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._model import E2FGVIConfig, save_checkpoint
from ..engine import read_weights
from ..errors import InputError
from ..system.publication import Publication
from .state import RunFolder

OWN = "own"
MATERIAL = ". Training material: "


def licence_line(licences: Mapping[str, int], stated: str) -> str:
    """One sentence for the file's metadata: the licence the exporter states, and what the training material was
    under."""
    material = "; ".join(f"{key} x{count}" for key, count in licences.items()) or "not recorded"
    return f"{stated}{MATERIAL}{material}"


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
    # A network stored channels_last gives tensors that safetensors will not take.
    dense = {k: v.detach().cpu().contiguous() for k, v in state_dict.items()}
    with Publication() as publication:
        partial = publication.temporary(path, overwrite=True)
        save_checkpoint(partial, dense, config, eight_bit=eight_bit, licence=licence, training=training)


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


def average_weights(paths: Sequence[Path], output: Path, licence: str = "") -> None:
    """Write the mean of several runs' weights, often better than each of them where all began with the same ones.

    licence: what the file is under; else what the runs' files say. Both times what they say of their material is kept.

    Wortsman et al., "Model soups", ICML 2022 (uniform). Only for fine-tuned runs: weights of different beginnings have
    no meaningful mean. Raises InputError for fewer than two files or different networks, WeightsError for a file that
    holds none.
    """
    if len(paths) < 2:
        raise InputError(f"the mean of {len(paths)} file is that file: give the weights of two or more runs")
    read = [read_weights(path) for path in paths]
    for path, checkpoint in zip(paths[1:], read[1:], strict=True):
        if checkpoint.config != read[0].config:
            raise InputError(f"{path} is another network than {paths[0]}: only runs of the same one have a mean")
    mean = {
        name: torch.stack([c.state_dict[name].double() for c in read]).mean(dim=0).to(first.dtype)
        for name, first in read[0].state_dict.items()
    }
    licences = list(dict.fromkeys(c.licence for c in read))
    if licence:
        materials = (said.rpartition(MATERIAL)[2] for said in licences)
        licences = [f"{licence}{MATERIAL}{'; '.join(dict.fromkeys(materials))}"]
    training = {"mean of": [json.loads(c.metadata.get("training", "null")) for c in read]}
    export_weights(output, mean, read[0].config, licence="; ".join(licences), training=training)
