"""What cameras and codecs do to a recording, and things that pass behind the hole."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from e2fgvi_cli.training.augment import add_noise, compress, expose
from e2fgvi_cli.training.batches import BatchMaker
from e2fgvi_cli.training.camera import CameraPath, sample_photographs
from e2fgvi_cli.training.config import AugmentConfig, TrainingConfig
from e2fgvi_cli.training.foregrounds import Foregrounds, aimed, swayed
from e2fgvi_cli.training.sampling import doubled, pixel_times
from e2fgvi_cli.training.shapes import FIELD, Draw, boxes, place

from ..factories import texture
from .conftest import CPU, material, with_phase

EVERYTHING = AugmentConfig(1.0, 0.7, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def draw(seed: int = 0) -> Draw:
    return Draw(CPU, torch.Generator().manual_seed(seed))


def test_everything_at_once_gives_frames_in_range_that_resume(config: TrainingConfig) -> None:
    data = replace(config.data, panorama_share=0.3, scene_share=0.2, photo_share=0.2)
    config = replace(with_phase(config, batch=6), augment=EVERYTHING, data=data)
    made = material(panoramas=1, scenes=2)
    first = BatchMaker(made, config, config.phase[0], draw(1))
    batches = [first.next() for _ in range(3)]
    for batch in batches:
        assert bool(torch.isfinite(batch.frames).all())
        assert -1 <= float(batch.frames.min()) < float(batch.frames.max()) <= 1
        assert float(batch.frames.std()) > 0.1
    again = BatchMaker(made, config, config.phase[0], draw(1))
    assert torch.equal(again.next().frames, batches[0].frames)
    other = BatchMaker(made, config, config.phase[0], draw(5))
    other.restore(*again.state())
    assert torch.equal(other.next().frames, batches[1].frames)


@pytest.mark.parametrize("kind", ["panoramas", "scenes"])
def test_one_kind_of_material_is_enough(config: TrainingConfig, kind: str) -> None:
    only = material(clips=0, photos=0, **{kind: 2})
    maker = BatchMaker(only, with_phase(config, batch=3), with_phase(config, batch=3).phase[0], draw())
    assert maker.shares == {kind: 1.0}
    assert float(maker.next().frames.std()) > 0.1


def test_a_scene_shows_one_picture_and_its_neighbours_as_references(config: TrainingConfig) -> None:
    config = replace(with_phase(config, local=3, reference=4), data=replace(config.data, reference_reach=9))
    maker = BatchMaker(material(scenes=3), config, config.phase[0], draw())
    times = maker._around(200)
    pictures = maker._scene_pictures(times)
    local, others = pictures[:, :3], pictures[:, 3:]
    assert bool((local == local[:, :1]).all())
    assert bool((others // 5 == local[:, :1] // 5).all()), "references are of the same scene"
    away = (others - local[:, :1]).abs()
    assert int(away.max()) <= 3
    assert float((away > 0).float().mean()) > 0.5
    # A picture inside the scene has neighbours on both sides, and time runs from one to the other.
    inner = (local[:, :1] % 5 == 2).expand_as(others)
    sign = (others - local[:, :1]).sign() * times[:, 3:].sign()
    assert bool((sign[inner].view(-1, 4) == sign[inner].view(-1, 4)[:, :1]).all())


def test_an_open_shutter_blurs_along_the_motion() -> None:
    path = CameraPath(
        *(torch.tensor([v]) for v in ([0.5, 0.5], [0.0, 0.0], [0.16, 0.0], [0.0, 0.0])),
        closer=torch.zeros(1),
        turn=torch.zeros(1),
        tilt=torch.zeros(1, 2),
        rhythm=torch.ones(1),
        phase=torch.zeros(1),
    )
    picture = torch.rand(1, 3, 48, 80)
    now, size = torch.zeros(1, 1), doubled((24, 40))
    sharp = sample_photographs(picture, path.grid(now, size))
    same = sample_photographs(picture, path.grid(now, size, None, torch.zeros(1)))
    blurred = sample_photographs(picture, path.grid(now, size, None, torch.ones(1)))
    assert torch.equal(sharp, same)

    def roughness(x: torch.Tensor, dim: int) -> float:
        return float(x.diff(dim=dim).abs().mean())

    assert roughness(blurred, -1) < 0.8 * roughness(sharp, -1)
    moments = pixel_times(now, size, torch.ones(1))
    assert float(moments.mean()) == pytest.approx(0, abs=1e-6)
    assert float(moments.max() - moments.min()) == pytest.approx(0.75)


def test_gain_changes_with_time_but_not_with_colour() -> None:
    grey = torch.full((60, 10, 3, 16, 8), 0.5)
    times = torch.arange(10.0).expand(60, 10)
    out = expose(grey, times, draw(), 1.0)
    assert torch.equal(out[:, :, 0], out[:, :, 1])
    assert float((out / 0.5).log().abs().max()) <= 0.16
    assert bool(((out - out[:, :1]).abs().amax(dim=(1, 2, 3, 4)) > 1e-4).all()), "each sample's gain changes"
    by_row = (out[..., 0].std(dim=-1) > 1e-4).any(dim=2).any(dim=1)
    assert 0.1 < float(by_row.float().mean()) < 0.6, "in some it runs over the rows"
    assert torch.equal(expose(grey, times, draw(), 0.0), grey)


def test_noise_is_new_in_each_frame_and_of_the_strength_asked_for() -> None:
    grey = torch.full((40, 3, 3, 17, 22), 0.5)
    noise = add_noise(grey, draw(), 1.0) - grey
    level = noise.std(dim=(1, 2, 3, 4)) * 255
    assert 0.4 < float(level.min()) < 1.5
    assert 3 < float(level.max()) < 7
    assert float((noise[:, 0] * noise[:, 1]).mean().abs()) < 0.02 * float(noise.square().mean())
    assert torch.equal(add_noise(grey, draw(), 0.0), grey)


def test_compression_errs_as_jpeg_does() -> None:
    picture = texture(52, 68, seed=3)
    frames = torch.from_numpy(picture).permute(2, 0, 1)[None, None].float() / 255
    for quality in (35, 60, 90):
        ours = compress(frames, torch.tensor([float(quality)]))[0, 0].permute(1, 2, 0).numpy() * 255
        sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])[1]
        theirs = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float64)
        error, other = np.abs(ours - picture).mean(), np.abs(theirs - picture).mean()
        assert error == pytest.approx(other, rel=0.3)
    assert float((compress(frames, torch.tensor([100.0])) - frames).abs().max()) < 0.02


def test_a_foreground_passes_behind_the_hole() -> None:
    n, local, (h, w) = 40, 6, (36, 64)
    times = torch.arange(float(local)).expand(n, local)
    holes = torch.zeros(n, local, 1, h, w)
    holes[: n // 2, :, :, 4:14, 6:18] = 1
    holes[n // 2 :, :, :, 20:30, 44:56] = 1
    never = torch.zeros(n, dtype=torch.bool)
    placed = place(boxes(n, draw()), draw(1), size=(h, w), area=(0.05, 0.05), max_speed=6.0, still=never, wide=never)
    placed = aimed(placed, holes, times, draw(2))
    coordinates = placed.local_coordinates(times, (h, w))
    inside = (coordinates.abs() < 1).all(-1)
    touched = (inside & (holes[:, :, 0] > 0)).flatten(1).any(1)
    assert bool(touched.all())
    # What is painted is part of the truth, in the hole too.
    field = torch.ones(n, 1, FIELD, FIELD)
    painter = Foregrounds(1.0, area=(0.05, 0.1), max_speed=6.0, pliant=0.3, behind_hole=True)
    frames = torch.zeros(n, local, 3, h, w)
    painted = painter.paint(frames, times, holes, local, field, torch.ones(n, 3, 20, 30), draw(3))
    assert bool(((painted * holes).amax(dim=(1, 2, 3, 4)) > 0.9).all())
    assert torch.equal(
        replace(painter, share=0.0).paint(frames, times, holes, local, field, painted[:, 0], draw()), frames
    )


def test_a_pliant_outline_changes_with_time_and_does_not_fold() -> None:
    axis = torch.linspace(-1, 1, 33)
    still = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).expand(16, 4, 33, 33, 2)
    bent = swayed(still, torch.arange(4.0).expand(16, 4) * 3, 0.35, draw())
    assert float((bent - still).abs().max()) <= 0.35
    assert float((bent[:, 0] - bent[:, 3]).abs().amax(dim=(1, 2, 3)).median()) > 0.02
    across, down = bent.diff(dim=3)[:, :, :-1], bent.diff(dim=2)[:, :, :, :-1]
    assert float((across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]).min()) > 0
