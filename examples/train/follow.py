"""Trains the network behind `mask track --engine own` on one GPU, from what follow_pack.py wrote:

    python examples/train/follow.py packed.npz OUT --minutes 8

OUT/following.safetensors is the running mean of the weights, in half precision, written every minute and at the end.
Minutes and not steps are given, since the rate of learning falls to nothing at the end of them. `--steps` ends it
before (to try it out). Prints the loss, and the mean IoU on sequences of photographs that were left out.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from follow_data import Maker, Sequences, read_material
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call

from e2fgvi_cli.mask_tools.following import Following, Memory, joined

HELD_OUT = 12
"""Every so manieth photograph is left out of the training."""


class Unrolled(nn.Module):
    """The network along sequences, as the program uses it: from a mask or a box, each frame by those before it."""

    def __init__(self, network: Following) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor, masks: Tensor, windows: Tensor, boxes: Tensor, unhinted: Tensor,
                from_box: Tensor) -> Tensor:  # fmt: skip
        """Logits (b, t, 1, s, s); those of frame 0 are found from `boxes` (b, 1, s, s).

        unhinted: (b, t) where the mask before is not told. from_box: (b,) where frame 0 is known by its box alone.
        """
        b, t = pictures.shape[:2]
        network, type_ = self.network, pictures.dtype
        every = network.see(pictures.flatten(0, 1))
        index = torch.arange(b, device=pictures.device) * t
        none = torch.zeros_like(boxes)
        first = network.find(every.pick(index), None, None, torch.cat((none, boxes), 1))
        logits = [first]
        known = torch.where(from_box.view(-1, 1, 1, 1), first.detach().sigmoid(), masks[:, 0])
        marked = network.remember(every.pick(index), known)
        recent: list[Memory] = [marked]
        for frame in range(1, t):
            seen = every.pick(index + frame)
            hint = moved(known, windows[:, frame - 1], windows[:, frame]).to(type_)
            hint = hint * ~unhinted[:, frame].view(-1, 1, 1, 1)
            found = network.find(seen, marked, joined(recent), torch.cat((hint, none), 1))
            logits.append(found)
            known = found.sigmoid()
            memory = network.remember(seen, known)
            recent = [memory] if frame == 1 else [*recent[-2:], memory]
        return torch.stack(logits, 1)


def moved(masks: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Masks (b, 1, s, s) of the windows `old` (b, 3) as they lie in the windows `new`."""
    scale = new[:, 2] / old[:, 2]
    shift = (new[:, :2] - old[:, :2]) / old[:, 2:]
    zero = torch.zeros_like(scale)
    rows = torch.stack((scale, zero, shift[:, 0], zero, scale, shift[:, 1]), 1).view(-1, 2, 3)
    grid = F.affine_grid(rows.float(), list(masks.shape), align_corners=False)
    return F.grid_sample(masks.float(), grid, align_corners=False)


def boxed(masks: Tensor, loose: Tensor) -> Tensor:
    """(b, 1, s, s) masks -> the boxes around them, filled; each side is off by `loose` (b, 4) shares of the box."""
    side = masks.shape[-1]
    at = torch.arange(side, device=masks.device).float()
    filled = torch.ones_like(masks)
    for axis, (low, high) in ((2, (0, 1)), (3, (2, 3))):
        there = masks.amax(5 - axis).flatten(1) > 0.5
        start = torch.where(there, at, side).amin(1)
        stop = torch.where(there, at + 1, 0).amax(1)
        span = (stop - start).clamp_min(1)
        inside = (at >= (start - loose[:, low] * span)[:, None]) & (at < (stop + loose[:, high] * span)[:, None])
        filled = filled * inside.view(-1, 1, *((side, 1) if axis == 2 else (1, side)))
    return filled


def loss_of(logits: Tensor, masks: Tensor, hardest: float) -> tuple[Tensor, Tensor]:
    """Cross entropy of the `hardest` share of the pixels, plus Dice; and the IoU (b, t)."""
    logits = logits.float()
    weight = (masks.flatten(2).mean(2, keepdim=True) < 0.9).float()  # what fills the window teaches nothing
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").flatten(2)
    count = max(int(hardest * entropy.shape[2]), 1)
    entropy = entropy.topk(count, 2, sorted=False).values if hardest < 1 else entropy
    found, true = logits.sigmoid().flatten(2), masks.flatten(2)
    dice = 1 - (2 * (found * true).sum(2) + 50) / (found.sum(2) + true.sum(2) + 50)
    with torch.no_grad():
        both = ((found > 0.5) & (true > 0.5)).sum(2)
        overlap = (both + 1e-6) / (((found > 0.5) | (true > 0.5)).sum(2) + 1e-6)
    return ((entropy.mean(2, keepdim=True) + dice[..., None]) * weight).sum() / weight.sum().clamp_min(1), overlap


def inputs(made: Sequences, maker: Maker, box_share: float, type_: torch.dtype) -> tuple[Tensor, ...]:
    """What `Unrolled` takes."""
    b, t = made.masks.shape[:2]
    loose = maker.uniform(b, 4, low=-0.03, high=0.06)
    unhinted = maker.chance(b, t, share=0.05)
    unhinted[:, 1] |= made.jumped
    from_box = maker.chance(b, share=box_share)
    boxes = boxed(made.masks[:, 0], loose)
    return (made.pictures.to(type_), made.masks.to(type_), made.windows, boxes.to(type_), unhinted, from_box)


@torch.no_grad()
def judged(unrolled: Unrolled, maker: Maker, batches: int, size: int) -> str:
    """Mean IoU on the sequences of a maker with a seed of its own: of the box, and of each frame after a mask."""
    maker.generator.manual_seed(5)
    rows = []
    for _ in range(batches):
        made = maker.draw(size)
        logits = unrolled(*inputs(made, maker, 0.0, torch.float32))
        there = made.masks.flatten(2).mean(2) > 0.002
        overlap = loss_of(logits, made.masks, 1.0)[1]
        rows.append((overlap * there).sum(0) / there.sum(0).clamp_min(1))
    means = torch.stack(rows).mean(0).tolist()
    return f"box {means[0]:.3f}, then " + " ".join(f"{one:.3f}" for one in means[1:])


def write(network: Following, target: Path) -> None:
    save_file({name: one.half().contiguous().cpu() for name, one in network.state_dict().items()}, target)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--box-share", type=float, default=0.35, help="of the sequences starts from a box")
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    given = parsed()
    started = time.monotonic()
    torch.manual_seed(given.seed)
    cuda = torch.cuda.is_available()
    device, type_ = torch.device("cuda" if cuda else "cpu"), torch.bfloat16 if cuda else torch.float32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    given.out.mkdir(parents=True, exist_ok=True)

    material = read_material(given.packed, device)
    held = torch.arange(len(material.photos), device=device) % HELD_OUT == 0
    maker = Maker(material.part(~held), given.side, given.frames, given.seed)
    other = Maker(material.part(held), given.side, given.frames, 5)
    network = Following()
    if given.start is not None:
        network.load_state_dict(load_file(given.start))
    unrolled = Unrolled(network).to(device)
    mean = Unrolled(Following()).to(device)
    mean.load_state_dict(unrolled.state_dict())
    weights = dict(unrolled.named_parameters())
    optimizer = torch.optim.AdamW(weights.values(), lr=given.rate, weight_decay=0.02, betas=(0.9, 0.98), fused=cuda)
    print(f"{sum(w.numel() for w in weights.values())} weights, {len(maker.material.owner)} objects", flush=True)

    step, told, losses = 0, time.monotonic(), []
    while step < given.steps and (passed := (time.monotonic() - started) / (60 * given.minutes)) < 1:
        rate = given.rate * min(1.0, (step + 1) / 150) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * passed)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        made = maker.draw(given.batch)
        rounded = {name: one.to(type_) for name, one in weights.items()}
        logits = functional_call(unrolled, rounded, inputs(made, maker, given.box_share, type_))
        loss, _ = loss_of(logits, made.masks, max(0.15, 1.0 - 2.5 * passed))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(weights.values()), 2.0)
        optimizer.step()
        step += 1
        kept = min(0.998, step / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(mean.parameters()), list(weights.values()), 1 - kept)
        losses.append(loss.detach())
        if step == 20 or time.monotonic() - told > 45:
            told = time.monotonic()
            recent = torch.stack(losses).mean().item()
            losses = []
            used = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
            print(f"{told - started:5.0f} s, step {step}, loss {recent:.4f}, {used:.1f} GiB; "
                  f"{judged(mean, other, 4, given.batch)}", flush=True)  # fmt: skip
            write(mean.network, given.out / "following.safetensors")
    print(f"step {step}: {judged(mean, other, 8, given.batch)}", flush=True)
    write(mean.network, given.out / "following.safetensors")


if __name__ == "__main__":
    main()
