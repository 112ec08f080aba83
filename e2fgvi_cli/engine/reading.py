"""Files of weights, read with errors that end the program properly."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from .._model import Checkpoint, CheckpointError, read_checkpoint, read_spynet
from ..errors import WeightsError
from ..weights.known import refuse_damaged


def read_weights(path: Path) -> Checkpoint:
    """`model.checkpoint.read_checkpoint` with errors that end the program properly (`WeightsError`)."""
    try:
        refuse_damaged(path)
        return read_checkpoint(path)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def read_spynet_weights(path: Path) -> dict[str, Tensor]:
    """`model.checkpoint.read_spynet` with errors that end the program properly (`WeightsError`)."""
    try:
        return read_spynet(path)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
