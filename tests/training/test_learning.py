"""Losses by hand, the discriminator's shape and bound, one step, and that a small network learns one clip."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from e2fgvi_cli._model.autoencoder import Encoder
from e2fgvi_cli._model.deform import select_backend
from e2fgvi_cli._model.flow import SPyNet
from e2fgvi_cli._model.network import E2FGVIHQ
from torch import nn

from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.training.batches import Batch, BatchMaker
from e2fgvi_cli.training.config import TrainingConfig
from e2fgvi_cli.training.discriminator import CHANNELS, TemporalPatchGAN
from e2fgvi_cli.training.initialise import initialise
from e2fgvi_cli.training.learner import DivergedError, Learner
from e2fgvi_cli.training.losses import (
    flow_l1,
    flow_l1_in_holes,
    hinge_discriminator,
    hinge_generator,
    masked_change,
    masked_l1,
    masked_squared,
)
from e2fgvi_cli.training.setup import in_float32
from e2fgvi_cli.training.shapes import Draw
from e2fgvi_cli.training.step import Step, agree, fill_window

from .conftest import ALONE, CPU, SMALL, material, with_phase


def batch_of(config: TrainingConfig, seed: int = 0) -> Batch:
    draw = Draw(CPU, torch.Generator().manual_seed(seed))
    return BatchMaker(material(), config, config.phase[0], draw).next()


def step_of(config: TrainingConfig, discriminator: nn.Module | None = None) -> Step:
    from contextlib import nullcontext

    torch.manual_seed(0)
    network = E2FGVIHQ(SMALL, deform=in_float32(select_backend("auto")))
    initialise(network)
    teacher = SPyNet().requires_grad_(False)
    teacher.load_state_dict(network.update_spynet.state_dict())
    return Step(network, teacher, discriminator, config.phase[0], config.loss, nullcontext)


def test_masked_l1_is_the_mean_over_the_marked_pixels() -> None:
    truth = torch.zeros(1, 1, 3, 2, 2)
    prediction = torch.tensor([[1.0, 5.0], [3.0, 7.0]]).expand(1, 1, 3, 2, 2)
    where = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(1, 1, 1, 2, 2)
    assert float(masked_l1(prediction, truth, where)) == pytest.approx(2.0)
    assert float(masked_squared(prediction, truth, where)) == pytest.approx(5.0)
    assert float(masked_l1(prediction, truth, torch.zeros_like(where))) == 0.0


def test_what_stays_wrong_does_not_flicker() -> None:
    truth = torch.rand(1, 3, 3, 2, 2)
    where = torch.ones(1, 3, 1, 2, 2)
    wrong = truth + 0.3
    assert float(masked_change(wrong, truth, where)) == pytest.approx(0.0, abs=1e-6)
    wrong[:, 1] += 0.2
    assert float(masked_change(wrong, truth, where)) == pytest.approx(0.2)
    where[:, 0] = 0
    wrong[:, 0] += 5
    assert float(masked_change(wrong, truth, where)) == pytest.approx(0.2), "only pixels that are hole in both"
    assert float(masked_change(wrong[:, :1], truth[:, :1], where[:, :1])) == 0.0


def test_flow_and_hinge_losses_by_hand() -> None:
    zero = torch.zeros(1, 1, 2, 2, 2)
    assert float(flow_l1((zero + 1, zero - 2), (zero, zero))) == pytest.approx(3.0)
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert float(hinge_discriminator(real, fake)) == pytest.approx((0.25 + 0.5) / 2)
    assert float(hinge_generator(fake)) == pytest.approx(1.5)


def test_flow_in_holes_counts_the_frame_that_the_flow_lies_on() -> None:
    zero = torch.zeros(1, 1, 2, 2, 2)
    off = torch.arange(4.0).view(1, 1, 1, 2, 2).expand_as(zero)
    holes = torch.zeros(1, 2, 1, 8, 8)
    holes[0, 0, 0, 1, 6] = 1  # earlier frame: the upper right of four pixels, off by 1
    holes[0, 1, 0, 5, :] = 1  # later frame: the lower two, off by 2 and 3
    assert float(flow_l1_in_holes((off, off), (zero, zero), holes, 4)) == pytest.approx(1 + 2.5)
    assert float(flow_l1_in_holes((off, off), (zero, zero), holes * 0, 4)) == 0.0


def test_the_flow_inside_holes_is_learned_when_it_is_asked_for(config: TrainingConfig) -> None:
    batch = batch_of(config)
    gradients = []
    for weight in (0.0, 5.0):
        step = step_of(replace(config, loss=replace(config.loss, flow_in_hole=weight)))
        result = step(batch)
        assert ("flow_in_hole" in result.parts) == (weight > 0)
        moved = [p.grad.norm() for p in step.network.update_spynet.parameters() if p.grad is not None]
        gradients.append(float(torch.stack(moved).norm()))
    assert gradients[1] > 1.5 * gradients[0]


def test_the_discriminator_has_the_papers_shape_and_norm_one() -> None:
    torch.manual_seed(0)
    critic = TemporalPatchGAN()
    with torch.no_grad():
        for _ in range(8):  # power iteration settles
            verdict = critic(torch.rand(1, 3, 3, 40, 72))
    assert verdict.shape == (1, CHANNELS[-1], 3, 1, 2)
    convolutions = [m for m in critic.modules() if isinstance(m, nn.Conv3d)]
    assert [(c.kernel_size, c.stride) for c in convolutions] == [((3, 5, 5), (1, 2, 2))] * 6
    assert not isinstance(critic.layers[-1], nn.LeakyReLU)
    first = convolutions[1].weight.flatten(1)
    assert float(torch.linalg.matrix_norm(first, 2).detach()) == pytest.approx(1.0, abs=0.1)


def test_kaiming_keeps_the_encoder_awake_where_the_published_start_silences_it() -> None:
    frames = torch.rand(2, 3, 36, 36) * 2 - 1
    deviations = {}
    for name, std in (("published", 0.02), ("kaiming", None)):
        torch.manual_seed(0)
        network = E2FGVIHQ(SMALL)
        if std is None:
            initialise(network)
        else:
            for module in network.encoder.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, 0, std)
                    nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        assert isinstance(network.encoder, Encoder)
        deviations[name] = float(network.encoder(frames).std().detach())
    assert deviations["kaiming"] > 0.1
    assert deviations["published"] < 0.01 * deviations["kaiming"]


def test_a_step_fills_only_the_hole_and_reaches_every_parameter(config: TrainingConfig) -> None:
    config = replace(config, loss=replace(config.loss, flow=1.0))
    step = step_of(config)
    batch = batch_of(config)
    result = step(batch)
    assert set(result.parts) == {"hole", "valid", "flow"}
    outside = batch.holes[:, :3] == 0
    truth = batch.frames[:, :3]
    assert torch.equal(result.filled[outside.expand_as(truth)], truth[outside.expand_as(truth)])
    assert not torch.equal(result.filled, truth)
    silent = [n for n, p in step.network.named_parameters() if p.grad is None]
    assert silent == []


def test_the_window_is_that_of_the_whole_network(config: TrainingConfig) -> None:
    step = step_of(config)
    batch = batch_of(config)
    with torch.no_grad():
        prediction, flows = fill_window(step.network, batch.masked, 3, step.autocast)
        assert torch.allclose(prediction, step.network(batch.masked, 3)[:, :3], atol=1e-5)
        # The teacher, here with the network's own weights, sees what the network sees, but whole.
        true = step.true_flow(batch.masked[:, :3])
    for mine, teachers in zip(flows, true, strict=True):
        assert torch.allclose(mine, teachers, atol=1e-5)


def test_autoencoding_trains_encoder_and_decoder_alone(config: TrainingConfig) -> None:
    config = with_phase(config, mode="autoencoder", reference=0)
    step = step_of(config)
    step(batch_of(config))
    trained = {n.split(".")[0] for n, p in step.network.named_parameters() if p.grad is not None}
    assert trained == {"encoder", "decoder"}
    assert len(step.parameters()) == len([p for p in step.network.parameters() if p.grad is not None])


def losses(config: TrainingConfig, steps: int) -> tuple[list[dict[str, float]], Learner]:
    """Overfit one batch: the same window, the same hole, again and again."""
    learner = Learner(config, ALONE)
    learner.enter(config.phase[0])
    batch = batch_of(config)
    results = [learner.update(batch, 3e-4)[0].parts for _ in range(steps)]
    return [{k: float(v) for k, v in r.items()} for r in results], learner


def test_the_loss_falls_on_one_clip(config: TrainingConfig) -> None:
    seen, learner = losses(with_phase(config, local=2), 14)
    for name in ("hole", "valid"):  # the mean of a few: with betas (0, 0.99) single steps jump
        assert sum(s[name] for s in seen[-4:]) / 4 < 0.65 * seen[0][name]
    # The average follows behind.
    own = next(learner.average.network.parameters())
    assert not torch.equal(own, next(learner.network.parameters()))


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_only_the_named_parts_learn(config: TrainingConfig, kind: Literal["adam", "muon"]) -> None:
    named = replace(config, optimizer=replace(config.optimizer, kind=kind, only=("decoder", "feat_prop_module")))
    before = {k: v.clone() for k, v in Learner(named, ALONE).network.state_dict().items()}
    _, learner = losses(with_phase(named, local=3), 2)
    moved = {k.split(".")[0] for k, v in learner.network.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"decoder", "feat_prop_module"}
    with pytest.raises(UsageError, match=r"no part 'decoders', use decoder, encoder, feat_prop_module"):
        Learner(replace(config, optimizer=replace(config.optimizer, only=("decoders",))), ALONE)
    flow = replace(config, optimizer=replace(config.optimizer, only=("update_spynet",)))
    with pytest.raises(UsageError, match=r"phase 'tiny' trains encoder and decoder"):
        Learner(with_phase(flow, mode="autoencoder"), ALONE)


def test_encoder_and_decoder_learn_one_clip(config: TrainingConfig) -> None:
    seen, _ = losses(with_phase(config, mode="autoencoder", reference=0, local=2), 20)
    assert seen[-1]["frames"] < 0.6 * seen[0]["frames"]


def test_with_the_discriminator_both_learn(config: TrainingConfig) -> None:
    config = replace(config, optimizer=replace(config.optimizer, betas=(0.9, 0.99), discriminator_factor=3.0))
    seen, learner = losses(with_phase(config, adversarial=True, local=2, reference=0), 4)
    assert learner.discriminator_optimizer is not None
    rates = [o.param_groups[0]["lr"] for o in (*learner.optimizers, learner.discriminator_optimizer)]
    assert rates[-1] == pytest.approx(3 * rates[0])
    assert learner.discriminator_optimizer.param_groups[0]["betas"] == (0.0, 0.99), "whatever the generator has"
    assert set(seen[-1]) == {"hole", "valid", "adversarial", "discriminator"}
    assert seen[-1]["discriminator"] < seen[0]["discriminator"]
    assert learner.discriminator_steps == 4
    assert learner.discriminator is not None
    # The generator's backward pass left nothing in the discriminator for the next step to trip over.
    assert all(p.requires_grad for p in learner.discriminator.parameters())


def test_a_captured_step_is_believed_within_its_own_noise_only() -> None:
    """A new discriminator's verdict is near nothing and moves with every call; losses and norms are not and do not."""
    torch.manual_seed(1)
    discriminator, clip = TemporalPatchGAN().requires_grad_(False), torch.rand(1, 5, 3, 120, 216) * 2 - 1
    first, second = (float(hinge_generator(discriminator(clip))) for _ in range(2))
    assert abs(first - second) > 0.1 * abs(second), "else there is nothing to allow for"
    assert agree(first, second)
    assert agree(0.150, 0.151)
    assert not agree(0.150, 0.155)
    assert not agree(math.nan, 0.15)
    assert not agree(0.15, math.nan)


def test_a_gradient_that_is_not_finite_changes_nothing_and_in_the_end_stops(config: TrainingConfig) -> None:
    config = replace(config, optimizer=replace(config.optimizer, max_skipped=3))
    learner = Learner(config, ALONE)
    learner.enter(config.phase[0])
    before = {k: v.clone() for k, v in learner.network.state_dict().items()}
    batch = batch_of(config)
    bad = Batch(torch.full_like(batch.frames, math.nan), batch.holes)
    for _ in range(2):
        _, norm = learner.update(bad, 1e-3)
        assert not math.isfinite(norm)
    assert all(torch.equal(before[k], v) for k, v in learner.network.state_dict().items())
    assert all(torch.equal(before[k], v) for k, v in learner.average.network.state_dict().items())
    with pytest.raises(DivergedError, match=r"the loss hole, valid is not finite in 3 steps"):
        learner.update(bad, 1e-3)
    learner.skipped = 0
    learner.update(batch, 1e-3)
    assert not all(torch.equal(before[k], v) for k, v in learner.network.state_dict().items())


def test_from_scratch_without_a_teacher_is_refused(config: TrainingConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="set `teacher`"):
        Learner(replace(config, loss=replace(config.loss, flow=1.0)), ALONE)
    teacher = SPyNet()
    torch.save(teacher.state_dict(), tmp_path / "spynet.pth")
    learner = Learner(replace(config, loss=replace(config.loss, flow=1.0), teacher="spynet.pth"), ALONE)
    flow = learner.network.update_spynet.state_dict()
    assert all(torch.equal(v, flow[k]) for k, v in teacher.state_dict().items())
    assert not any(p.requires_grad for p in learner.teacher.parameters())


def test_bf16_computes_nearly_the_same(config: TrainingConfig) -> None:
    step = step_of(config)
    batch = batch_of(config)
    with torch.no_grad():
        _, exact = step.losses(batch)
        rounded = Step(
            step.network, step.teacher, None, step.phase, step.loss, lambda: torch.autocast("cpu", torch.bfloat16)
        )
        _, close = rounded.losses(batch)
    for name, value in exact.parts.items():
        assert float(close.parts[name]) == pytest.approx(float(value), rel=0.05)
