"""Sequences for follow.py, made on the device: objects cut from photographs move over other photographs.

A batch is drawn at once. The world's unit is half the size of the object; a frame is a window of the world around where
the object was in the frame before, as the program looks at a clip. Layers, from the back: the background, another
object like it or not, the object's shadow, the object (of one piece or two that move together), what passes before it.
Shape legend: b samples, t frames, s pixels of a side, P photographs, K objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image


@dataclass(frozen=True)
class Sequences:
    """`pictures` (b, t, 3, s, s) in 0..1, true `masks` (b, t, 1, s, s), and the `windows` (b, t, 3) they show of the
    world: centre x, y and half a side. jumped: (b,) True where frame 1 is far from frame 0 in time."""

    pictures: Tensor
    masks: Tensor
    windows: Tensor
    jumped: Tensor


@dataclass(frozen=True)
class Material:
    """`photos` (P, 3, h, w) uint8, `labels` (P, h, w) uint8, `boxes` (K, 4), `numbers` (K, n) int, `owner` (K,)."""

    photos: Tensor
    labels: Tensor
    boxes: Tensor
    numbers: Tensor
    owner: Tensor

    def part(self, photos: Tensor) -> Material:
        """Only the objects of these photographs (P,) bool, which also alone are backgrounds."""
        place = photos.cumsum(0) - 1
        kept = photos[self.owner]
        owner = place[self.owner[kept]]
        return Material(self.photos[photos], self.labels[photos], self.boxes[kept], self.numbers[kept], owner)


def read_material(path: Path, device: torch.device) -> Material:
    """What follow_pack.py wrote."""
    packed = np.load(path)

    def pictures(name: str, lengths: str, mode: ImageReadMode) -> Tensor:
        parts = np.split(packed[name], np.cumsum(packed[lengths])[:-1])
        return torch.stack([decode_image(torch.from_numpy(part.copy()), mode) for part in parts]).to(device)

    objects = torch.from_numpy(packed["objects"].astype(np.int64)).to(device)
    return Material(
        pictures("pictures", "lengths", ImageReadMode.RGB),
        pictures("labels", "label_lengths", ImageReadMode.GRAY)[:, 0],
        objects[:, 1:5].float(),
        objects[:, 5:],
        objects[:, 0],
    )


class Maker:
    """Draws sequences of `frames` frames of `side` pixels."""

    def __init__(self, material: Material, side: int, frames: int, seed: int) -> None:
        self.material, self.side, self.frames = material, side, frames
        self.device = material.photos.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        axis = (torch.arange(side, device=self.device) + 0.5) * (2 / side) - 1
        self.grid = torch.stack((axis.view(1, -1).expand(side, side), axis.view(-1, 1).expand(side, side)), -1)

    def uniform(self, *size: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(size, device=self.device, generator=self.generator)

    def normal(self, *size: int) -> Tensor:
        return torch.randn(size, device=self.device, generator=self.generator)

    def log_uniform(self, *size: int, low: float, high: float) -> Tensor:
        return self.uniform(*size, low=math.log(low), high=math.log(high)).exp()

    def chance(self, *size: int, share: float) -> Tensor:
        return self.uniform(*size) < share

    @torch.no_grad()
    def draw(self, b: int) -> Sequences:
        """`b` sequences."""
        jumped = self.chance(b, share=0.4)
        gap = torch.where(jumped, self.uniform(b, low=2, high=25), torch.ones(b, device=self.device))
        later = torch.arange(self.frames - 1, device=self.device)
        time = torch.cat((torch.zeros(b, 1, device=self.device), gap[:, None] + later), 1)
        object_ = self.objects(b)
        pose = self.path(time, fast=0.45)
        windows = self.windows(pose, jumped)
        points = windows[:, :, None, None, :2] + windows[:, :, None, None, 2:] * self.grid  # (b, t, s, s, 2)
        at = self.into(pose, points, self.bends(b))
        alpha, colour = self.layer(object_, at)
        round_ = self.round
        colour = self.tinted(colour)
        # A second piece moves with the first.
        second = self.within(pose, time)
        piece, of_piece = self.layer(self.objects(b), self.into(second, points, self.bends(b)))
        piece = piece * self.chance(b, 1, 1, 1, 1, share=0.35)
        before = self.chance(b, 1, 1, 1, 1, share=0.5)
        share = torch.where(before, piece, piece * (1 - alpha))
        whole = torch.maximum(alpha, piece)
        colour = colour * (1 - share) + self.tinted(of_piece) * share

        scene = self.background(object_, at, points, time, round_)
        other = self.beside(pose, time)
        same = self.chance(b, share=0.5)
        look = torch.where(same, object_, self.objects(b))
        beside, of_beside = self.layer(look, self.into(other, points, self.bends(b)))
        beside = beside * self.chance(b, 1, 1, 1, 1, share=0.5)
        in_place = self.in_place
        beside = beside * ~in_place
        scene = scene * (1 - beside) + of_beside * beside
        scene = scene * (1 - self.shadow(whole) * ~in_place)
        picture = scene * (1 - whole) + colour * whole
        # In place the photograph moves as a whole, with the object in it.
        picture = torch.where(in_place, scene, picture)
        mask = torch.where(in_place, alpha, whole)
        cover, of_cover = self.cover(pose, time, points)
        picture = picture * (1 - cover) + of_cover * cover
        mask = mask * (1 - cover)
        return Sequences(self.filmed(picture), (mask > 0.5).float(), windows, jumped)

    def objects(self, b: int) -> Tensor:
        return torch.randint(len(self.material.owner), (b,), device=self.device, generator=self.generator)

    def path(self, time: Tensor, fast: float) -> Tensor:
        """(b, t, 5): x, y, log size, angle, log of width by height."""
        b = len(time)
        drift = self.log_uniform(b, 1, low=0.015, high=fast) * torch.tanh(time / 6) * 6
        heading = self.uniform(b, 1, high=2 * math.pi) + 0.1 * self.normal(b, 1) * time
        x, y = drift * heading.cos(), drift * heading.sin()
        wobble = self.log_uniform(b, 1, 1, low=0.005, high=0.12) * self.normal(b, time.shape[1], 2)
        calm = torch.tanh(time / 12) * 12
        grow = 0.07 * self.normal(b, 1) * calm + 0.03 * self.normal(*time.shape)
        turn = 0.04 * self.normal(b, 1) * calm + 0.05 * self.normal(*time.shape) + self.turned(b)
        narrow = 0.025 * self.normal(b, 1) * calm + 0.2 * self.normal(b, 1)
        place = torch.stack((x, y), -1) + wobble
        return torch.cat((place, torch.stack((grow.clamp(-1.5, 1.5), turn, narrow.clamp(-0.6, 0.6)), -1)), -1)

    def turned(self, b: int) -> Tensor:
        return 0.25 * self.normal(b, 1)

    def within(self, pose: Tensor, time: Tensor) -> Tensor:
        """Poses of a second piece: at the rim of the first, and swinging a little."""
        b = len(pose)
        angle = (
            self.uniform(b, 1, high=2 * math.pi) + pose[..., 3] + 0.03 * self.normal(b, 1) * torch.tanh(time / 9) * 9
        )
        far = self.uniform(b, 1, low=0.3, high=1.1) * pose[..., 2].exp()
        x, y = pose[..., 0] + far * angle.cos(), pose[..., 1] + far * angle.sin()
        size = pose[..., 2] + self.log_uniform(b, 1, low=0.3, high=0.9).log()
        turn = pose[..., 3] + self.uniform(b, 1, low=-3.2, high=3.2) + 0.1 * self.normal(*time.shape)
        return torch.stack((x, y, size, turn, pose[..., 4]), -1)

    def beside(self, pose: Tensor, time: Tensor) -> Tensor:
        """Poses of another object, which comes from one to three sizes away and has its own way."""
        b = len(pose)
        own = self.path(time, fast=0.3)
        far, angle = self.uniform(b, 1, low=0.9, high=3.0), self.uniform(b, 1, high=2 * math.pi)
        with_it = self.chance(b, 1, share=0.5) * 1.0  # as one of a group
        own[..., 0] += far * angle.cos() + with_it * pose[..., 0]
        own[..., 1] += far * angle.sin() + with_it * pose[..., 1]
        own[..., 2] += self.uniform(b, 1, low=-0.4, high=0.3)
        return own

    def windows(self, pose: Tensor, jumped: Tensor) -> Tensor:
        """(b, t, 3) around where the object was in the frame before."""
        b, t = pose.shape[:2]
        before = torch.cat((pose[:, :1], pose[:, :-1]), 1).clone()
        before[:, 1] = torch.where(jumped[:, None], pose[:, 1], before[:, 1])
        size = before[..., 2].exp()
        half = size / (self.log_uniform(b, 1, low=0.16, high=0.85) * (0.08 * self.normal(b, t)).exp()).clamp(0.12, 0.95)
        room = (half - size).clamp_min(0)
        off = self.uniform(b, 1, 2, low=-0.7, high=0.7) + 0.06 * self.normal(b, t, 2)
        centre = before[..., :2] + room[..., None] * off * self.chance(b, 1, 1, share=0.5) + 0.05 * self.normal(b, t, 2)
        return torch.cat((centre, half[..., None]), -1)

    def into(self, pose: Tensor, points: Tensor, bends: Tensor) -> Tensor:
        """Points of the world (b, t, s, s, 2) in the coordinates of a thing, where it is from -1 to 1."""
        x, y, size, turn, narrow = (pose[..., i, None, None] for i in range(5))
        dx, dy = points[..., 0] - x, points[..., 1] - y
        cos, sin = turn.cos(), turn.sin()
        u = (cos * dx + sin * dy) * (-size - narrow / 2).exp()
        v = (cos * dy - sin * dx) * (-size + narrow / 2).exp()
        at = torch.stack((u, v), -1)
        b, t, s = at.shape[:3]
        bent = F.grid_sample(
            bends.flatten(0, 1), (at / 1.5).flatten(0, 1).clamp(-1, 1), mode="bilinear", align_corners=True
        )
        return at + bent.permute(0, 2, 3, 1).reshape(b, t, s, s, 2)

    def bends(self, b: int) -> Tensor:
        """(b, t, 2, 17, 17) displacements that grow with time, smooth over the thing."""
        t = self.frames
        strength = self.log_uniform(b, 1, 1, 1, 1, low=0.02, high=0.32)
        still, swing = self.normal(b, 1, 2, 4, 4), self.normal(b, t, 2, 4, 4).cumsum(1) * 0.5
        bend = strength * (0.5 * still + swing)
        return F.interpolate(bend.flatten(0, 1), (17, 17), mode="bicubic", align_corners=True).view(b, t, 2, 17, 17)

    def layer(self, objects: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
        """How much of the thing is at its coordinates (b, t, 1, s, s), 0..1, and its colour (b, t, 3, s, s)."""
        m = self.material
        owner = m.owner[objects]
        labels = m.labels[owner].long()
        table = torch.zeros(len(objects), 257, device=self.device)
        table.scatter_(1, m.numbers[objects].clamp_min(-1) + 1, 1.0)
        table[:, 0] = 0
        inside = table.gather(1, labels.flatten(1) + 1).view(len(objects), 1, *labels.shape[1:])
        alpha = self.sampled(inside, self.in_photo(objects, at), "zeros")
        smooth = self.round_shape(at)
        use = self.chance(len(objects), 1, 1, 1, 1, share=0.25)
        alpha = torch.where(use, smooth, ((alpha - 0.5) * 2.5 + 0.5).clamp(0, 1))
        photo = m.photos[owner].float() / 255
        self.round = use
        return alpha, self.sampled(photo, self.in_photo(objects, at), "reflection")

    def round_shape(self, at: Tensor) -> Tensor:
        """Outlines that are no regions: a circle whose radius swings with the angle."""
        b = len(at)
        angle, far = torch.atan2(at[..., 1], at[..., 0]), at.norm(dim=-1)
        radius = self.uniform(b, 1, 1, 1, low=0.5, high=0.9)
        for order in range(1, 6):
            swing, phase = 0.35 * self.normal(b, 1, 1, 1) / order, self.uniform(b, 1, 1, 1, high=6.28)
            radius = radius + 0.5 * swing * torch.cos(order * angle + phase)
        return ((radius.clamp(0.2, 1.3) - far) * 25 + 0.5).clamp(0, 1)[:, :, None]

    def in_photo(self, objects: Tensor, at: Tensor) -> Tensor:
        """A thing's coordinates as pixels of its photograph."""
        left, top, right, bottom = (self.material.boxes[objects][:, i] for i in range(4))
        centre = torch.stack((left + right, top + bottom), -1) / 2
        half = torch.maximum(right - left, bottom - top) / 2
        return centre[:, None, None, None] + at * half[:, None, None, None, None]

    def sampled(self, pictures: Tensor, pixels: Tensor, padding: str) -> Tensor:
        """(b, c, h, w) at pixel coordinates (b, t, s, s, 2) -> (b, t, c, s, s)."""
        b, t, s = pixels.shape[:3]
        h, w = pictures.shape[-2:]
        scale = torch.tensor((2 / w, 2 / h), device=self.device)
        grid = (pixels * scale - 1).view(b, t * s, s, 2)
        found = F.grid_sample(pictures, grid, mode="bilinear", padding_mode=padding, align_corners=False)
        return found.view(b, -1, t, s, s).transpose(1, 2)

    def background(self, objects: Tensor, at: Tensor, points: Tensor, time: Tensor, round_: Tensor) -> Tensor:
        """Colours of what is behind; sets `in_place` (b, 1, 1, 1, 1): there it is the object's own photograph."""
        m = self.material
        b = len(objects)
        self.in_place = self.chance(b, 1, 1, 1, 1, share=0.3) & ~round_
        photo = torch.randint(len(m.photos), (b,), device=self.device, generator=self.generator)
        photo = torch.where(self.in_place.view(-1), m.owner[objects], photo)
        h, w = m.photos.shape[-2:]
        scale = self.log_uniform(b, 1, 1, 1, 1, low=15, high=90)
        middle = torch.tensor((w, h), device=self.device) * self.uniform(b, 2, low=0.25, high=0.75)
        pan = (
            self.log_uniform(b, 1, 1, low=0.003, high=0.3) * self.normal(b, 1, 2) * torch.tanh(time / 8)[..., None] * 8
        )
        zoom = (0.02 * self.normal(b, 1) * torch.tanh(time / 10) * 10).exp()[..., None, None, None]
        pixels = middle[:, None, None, None] + scale * (points + pan[:, :, None, None]) * zoom
        pixels = torch.where(self.in_place, self.in_photo(objects, at), pixels)
        return self.sampled(m.photos[photo].float() / 255, pixels, "reflection")

    def shadow(self, mask: Tensor) -> Tensor:
        """How much darker what is behind is beside the object."""
        b = len(mask)
        soft = F.avg_pool2d(mask.flatten(0, 1), 21, 1, 10).view_as(mask)
        shift = (int(self.side * 0.1), int(self.side * 0.05))
        return (
            soft.roll(shift, (-2, -1)) * self.uniform(b, 1, 1, 1, 1, high=0.6) * self.chance(b, 1, 1, 1, 1, share=0.3)
        )

    def cover(self, pose: Tensor, time: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """What passes before the object: a bar, or another thing."""
        b = len(pose)
        own = self.path(time, fast=0.5)
        start = self.uniform(b, 1, 2, low=-1.6, high=1.6)
        follows = self.uniform(b, 1, 1, low=0.0, high=1.0)
        own[..., :2] = own[..., :2] + start + pose[..., :2] * follows
        own[..., 2] += self.uniform(b, 1, low=-1.0, high=0.5)
        at = self.into(own, points, self.bends(b))
        alpha, colour = self.layer(self.objects(b), at)
        width = self.log_uniform(b, 1, 1, 1, low=0.05, high=0.6)
        bar = ((width - at[..., 0].abs()) * 30 + 0.5).clamp(0, 1)[:, :, None]
        alpha = torch.where(self.chance(b, 1, 1, 1, 1, share=0.4), bar, alpha)
        return alpha * self.chance(b, 1, 1, 1, 1, share=0.4), self.tinted(colour)

    def tinted(self, colour: Tensor) -> Tensor:
        """Another light on a thing, which changes slowly."""
        b, t = colour.shape[:2]
        gain = (0.2 * self.normal(b, 1, 1, 1, 1) + 0.08 * self.normal(b, 1, 3, 1, 1)).exp()
        drift = (0.05 * self.normal(b, t, 1, 1, 1)).exp()
        return colour * gain * drift + 0.06 * self.normal(b, 1, 3, 1, 1)

    def filmed(self, pictures: Tensor) -> Tensor:
        """Light, blur (of the lens and of motion) and noise of a camera."""
        b, t, _, s, _ = pictures.shape
        gain = (0.12 * self.normal(b, 1, 1, 1, 1) + 0.06 * self.normal(b, t, 1, 1, 1)).exp()
        pictures = (pictures * gain + 0.03 * self.normal(b, 1, 3, 1, 1) + 0.012 * self.normal(b, t, 3, 1, 1)).clamp(
            0, 1
        )
        pictures = pictures ** (0.25 * self.normal(b, 1, 1, 1, 1)).exp()
        gray = pictures.mean(2, keepdim=True)
        pictures = gray + (pictures - gray) * self.uniform(b, 1, 1, 1, 1, low=0.3, high=1.3)
        axis = torch.arange(-5, 6, device=self.device).float()
        wide = self.log_uniform(b, 1, low=0.25, high=2.2).expand(b, t).clone()
        long = torch.where(self.chance(b, t, share=0.15), self.uniform(b, t, low=1, high=4), wide)
        turn = self.uniform(b, 1, high=math.pi)[..., None, None]
        along = turn.cos() * axis + turn.sin() * axis[:, None]
        across = turn.cos() * axis[:, None] - turn.sin() * axis
        kernel = torch.exp(-((along / long[..., None, None]) ** 2 + (across / wide[..., None, None]) ** 2) / 2)
        kernel = (kernel / kernel.sum((-1, -2), keepdim=True)).repeat_interleave(3, 1).view(b * t * 3, 1, 11, 11)
        flat = F.pad(pictures.reshape(1, b * t * 3, s, s), (5, 5, 5, 5), "replicate")
        blurred = F.conv2d(flat, kernel, groups=b * t * 3).view(b, t, 3, s, s)
        noise = self.log_uniform(b, 1, 1, 1, 1, low=0.002, high=0.03)
        return (blurred + noise * self.normal(b, t, 3, s, s)).clamp(0, 1)
