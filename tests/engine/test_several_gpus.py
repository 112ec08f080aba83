"""Two GPUs in one process: they capture while the other is at work, and fill what one fills."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from e2fgvi_cli._model.config import E2FGVIConfig

from e2fgvi_cli.engine import Engine, EngineSettings, Precision
from e2fgvi_cli.fill.crops import CropOptions
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.sharing import fill_shot_on
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.planner import Planner

from .test_engine import clip, network

HALF = Precision("fp16", torch.float16)
WIDE = E2FGVIConfig(backward_flow_order="aligned", num_blocks=1)
"""As wide as the real one: so the fused kernels are compiled for the sizes that they are used with."""


def engine(device: str, devices: int) -> Engine:
    planner = Planner(bytes_per_value=2, device="cuda", kernels=True, graphs=True, devices=devices)
    return Engine(network(torch.float16, WIDE), torch.device(device), EngineSettings(HALF, True, True, planner=planner))


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_gpus_fill_what_one_fills() -> None:
    items, options = clip(120), WindowOptions(crops=CropOptions(enabled=False))
    alone = [f.rgb for f in fill_shot(items, engine("cuda:0", 1), options)]
    both = [engine("cuda:0", 2), engine("cuda:1", 2)]
    shared = [f.rgb for f in fill_shot_on(both, items, options)]
    assert not [notice for one in both for notice in one.notices], "every capture worked"
    differences = [np.abs(a.astype(int) - b).max() for a, b in zip(alone, shared, strict=True)]
    assert max(differences) <= 2
