"""What a training step minimises (E2FGVI, section 3.4), each term a mean in float32.

Shape legend: b batch, l local frames, H W pixels, h w = H/4 W/4.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def masked_l1(prediction: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Mean absolute error over the pixels that `where` marks, 0 if it marks none.

    prediction, truth: (b, l, 3, H, W) in [-1, 1]; where: (b, l, 1, H, W) in {0, 1}. Divided by the marked part, so that
    the size of a hole does not weigh.
    """
    error = (prediction.float() - truth.float()).abs() * where
    return error.sum() / (where.sum() * prediction.shape[2]).clamp_min(1.0)


def masked_squared(prediction: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """As `masked_l1`, of squared errors."""
    error = (prediction.float() - truth.float()).square() * where
    return error.sum() / (where.sum() * prediction.shape[2]).clamp_min(1.0)


def masked_change(prediction: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """How much the error changes from frame to frame, over the pixels that both frames mark: what is seen as flicker.

    The same as `quality.metrics` calls flicker. Shapes as in `masked_l1`; 0 for a single frame.
    """
    error = prediction.float() - truth.float()
    return masked_l1(error[:, 1:], error[:, :-1], where[:, 1:] * where[:, :-1])


def flow_l1(completed: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """Flow completion: the flow found on frames with holes against the teacher's on whole ones, both directions.

    Each flow is (b, l-1, 2, h, w) in pixels.
    """
    return sum(
        (F.l1_loss(c.float(), t.float()) for c, t in zip(completed, teacher, strict=True)), completed[0].new_zeros(())
    )


def flow_l1_in_holes(
    completed: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], holes: Tensor, stride: int
) -> Tensor:
    """As `flow_l1`, over the pixels whose own frame has a hole there. holes: (b, l, 1, H, W) in {0, 1}, H = `stride`
    h."""
    small = F.max_pool2d(holes.flatten(0, 1), stride).unflatten(0, holes.shape[:2])
    # Forwards flow lies on the earlier frame of a pair, backwards flow on the later one.
    where = (small[:, :-1], small[:, 1:])
    return sum(
        (masked_l1(c, t, w) for c, t, w in zip(completed, teacher, where, strict=True)), completed[0].new_zeros(())
    )


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator over all its patch values: real above 1, fake below -1."""
    return (F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()) / 2


def hinge_generator(fake: Tensor) -> Tensor:
    """Hinge loss of the generator: what it filled should be taken for real."""
    return -fake.float().mean()
