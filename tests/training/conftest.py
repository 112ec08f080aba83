"""Training on a panning texture, with a network of a tenth of the size and windows of 36 x 36 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from e2fgvi_cli._model.checkpoint import save_checkpoint
from e2fgvi_cli._model.config import E2FGVIConfig
from e2fgvi_cli._model.network import E2FGVIHQ

from e2fgvi_cli.training.config import DataConfig, LossConfig, OptimizerConfig, PhaseConfig, SpeedConfig, TrainingConfig
from e2fgvi_cli.training.material import Material
from e2fgvi_cli.training.parallel import World
from e2fgvi_cli.training.shapes import FIELD

from ..factories import clip, texture

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)
SMALL = E2FGVIConfig(embed_dim=32, num_heads=2, num_blocks=1, mlp_dim=98, window=(3, 3), backward_flow_order="aligned")
PHASE = PhaseConfig(name="tiny", size=(36, 36), batch=1, local=3, reference=1, adversarial=False)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """These tensors are too small to share: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    """A run from scratch, without a teacher."""
    return TrainingConfig(
        folder="run",
        start="scratch",
        minutes=60.0,
        log_every=1,
        data=DataConfig(clips=("unused",), clip_size=(48, 60), photo_size=(48, 60), reference_reach=8),
        loss=LossConfig(flow=0.0, discriminator_warmup=1),
        optimizer=OptimizerConfig(learning_rate=1e-3, schedule="constant", warmup_steps=0, ema=0.9),
        speed=SpeedConfig(precision="float32", batches_per_draw=2),
        network=SMALL,
        phase=(PHASE,),
        base=tmp_path,
    )


def material(
    *,
    clips: int = 2,
    frames: int = 14,
    photos: int = 2,
    outlines: int = 1,
    held_out: int = 0,
    panoramas: int = 0,
    scenes: int = 0,
) -> Material:
    """Panning textures of 48 x 60 pixels, textures as photographs, discs as outlines, scenes of five pictures."""
    size = (48, 60)
    every = [clip(frames, *size, seed=i) for i in range(clips)]
    stored = np.concatenate(every).transpose(0, 3, 1, 2) if every else np.zeros((0, 3, *size), np.uint8)
    pictures = [texture(*size, seed=50 + i).transpose(2, 0, 1) for i in range(photos)]
    axis = torch.linspace(-1, 1, FIELD)
    disc = ((axis[:, None] ** 2 + axis[None] ** 2) < 0.8).to(torch.uint8) * 255
    lengths = torch.full((clips,), frames, dtype=torch.int64)
    around = [texture(64, 128, seed=70 + i).transpose(2, 0, 1) for i in range(panoramas)]
    places = [texture(*size, seed=80 + i).transpose(2, 0, 1) for i in range(5 * scenes)]
    scene_lengths = torch.full((scenes,), 5, dtype=torch.int64)

    def stack(pictures: list[np.ndarray], shape: tuple[int, int]) -> torch.Tensor:
        return torch.from_numpy(np.stack(pictures)) if pictures else torch.zeros(0, 3, *shape, dtype=torch.uint8)

    return Material(
        frames=torch.from_numpy(np.ascontiguousarray(stored)),
        first=lengths.cumsum(0) - lengths,
        length=lengths,
        clip_weight=torch.ones(clips),
        photos=stack(pictures, size),
        photo_weight=torch.ones(photos),
        panoramas=stack(around, (64, 128)),
        panorama_detail=torch.full((panoramas,), 128.0),
        panorama_weight=torch.ones(panoramas),
        scenes=stack(places, size),
        scene_first=scene_lengths.cumsum(0) - scene_lengths,
        scene_length=scene_lengths,
        scene_weight=torch.ones(scenes),
        silhouettes=disc.expand(outlines, 1, FIELD, FIELD),
        device=CPU,
        validation=tuple((f"clip{i}", clip(4, 36, 36, seed=90 + i)) for i in range(held_out)),
    )


def with_phase(config: TrainingConfig, **changes: object) -> TrainingConfig:
    """`config` with its only phase changed."""
    return replace(config, phase=(replace(config.phase[0], **changes),))  # type: ignore[arg-type]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small untrained network's weights."""
    torch.manual_seed(0)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, E2FGVIHQ(SMALL).state_dict(), SMALL, eight_bit=False, licence="test")
    return path
