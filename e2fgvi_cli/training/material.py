"""The chosen material, decoded once into 8-bit tensors, and the outlines of objects found in it.

Clips are decoded with OpenCV, whose wheels carry FFmpeg: training needs neither time stamps nor audio, and a rented GPU
machine often lacks PyAV. Shape legend: N frames of all clips, H W the stored size, P photographs, Q panoramas, M
pictures of all scenes, S = shapes.FIELD.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..threads.opencv import one_thread_a_call
from ..video.images.files import whole_bytes
from .config import DataConfig, TrainingConfig
from .manifest import Item, Selection, find_pictures
from .mixing import capped
from .shapes import FIELD

MIN_FRAMES = 10
"""Clips shorter than this hold no window worth learning from."""
FIXED_CAMERA_STEP = 15
"""Outlines are looked for in every so many frames of a clip from a fixed camera."""

Notify = Callable[[str], None]
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Material:
    """Everything batches are made of.

    frames: (N, 3, H, W) uint8, the clips one after the other; first, length: (clips,) int64 where each begins and how
    long it is. photos: (P, 3, Hp, Wp) uint8. silhouettes: (k, 1, S, S) uint8. panoramas: (Q, 3, Hq, Wq) uint8;
    panorama_detail: (Q,), their widths before they were stored. scenes: (M, 3, Hp, Wp) uint8, with first and length as
    clips have them. *_weight: how often each is seen. All but `frames` lie on `device`; `frames` lies there too unless
    it is too large.
    """

    frames: Tensor
    first: Tensor
    length: Tensor
    clip_weight: Tensor
    photos: Tensor
    photo_weight: Tensor
    silhouettes: Tensor
    panoramas: Tensor
    panorama_detail: Tensor
    panorama_weight: Tensor
    scenes: Tensor
    scene_first: Tensor
    scene_length: Tensor
    scene_weight: Tensor
    device: torch.device
    validation: tuple[tuple[str, Frames], ...] = ()
    """Held-out clips: name and frames (t, H, W, 3) RGB."""

    def summary(self) -> str:
        """One sentence for the log."""
        size = sum(x.numel() for x in (self.frames, self.photos, self.panoramas, self.scenes)) / 2**30
        return (
            f"{len(self.first)} clips ({len(self.frames)} frames), {len(self.photos)} photographs, "
            f"{len(self.panoramas)} panoramas, {len(self.scene_first)} scenes ({len(self.scenes)} pictures), "
            f"{len(self.silhouettes)} outlines, {len(self.validation)} held-out clips; {size:.2f} GiB, frames on "
            f"{self.frames.device}"
        )


def load_material(
    selection: Selection, config: TrainingConfig, device: torch.device, notify: Notify = lambda _: None
) -> Material:
    """Decode everything `selection` names. Raises InputError for a file that cannot be read."""
    data, validation = config.data, config.validation
    with one_thread_a_call(), ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        clips = list(pool.map(lambda i: read_clip(i.path, data.clip_size, data.max_frames), selection.clips))
        photos = list(pool.map(lambda i: fit(read_picture(i.path), data.photo_size), selection.photos))
        panoramas = list(pool.map(lambda i: read_panorama(i.path, data.panorama_size), selection.panoramas))
        pictures = list(pool.map(lambda i: fit(read_picture(i.path), data.photo_size), selection.scenes))
        held_out = list(pool.map(lambda i: read_clip(i.path, validation.size, validation.frames), selection.validation))
    kept = [(i, c) for i, c in zip(selection.clips, clips, strict=True) if len(c) >= MIN_FRAMES]
    if len(kept) < len(clips):
        notify(f"{len(clips) - len(kept)} clips have fewer than {MIN_FRAMES} frames and are left out")
    if not (kept or photos or panoramas or pictures):
        raise InputError(
            f"no clip has {MIN_FRAMES} frames or more and there is no photograph, panorama or scene: nothing to "
            "train on"
        )
    outlines = [o for i, c in kept if i.fixed_camera for o in moving_outlines(c)]
    outlines += [o for value in data.silhouettes for p in find_pictures(config.path(value)) for o in _mask_outlines(p)]
    first, length = _runs([len(c) for _, c in kept], device)
    folders = [list(group) for _, group in groupby(selection.scenes, key=lambda i: i.path.parent)]
    scene_first, scene_length = _runs([len(folder) for folder in folders], device)

    def weigh(items: Sequence[Item], base: Sequence[float]) -> Tensor:
        return _weights(items, base, data.source_cap).to(device)

    return Material(
        frames=_store([c for _, c in kept], data, device),
        first=first,
        length=length,
        # A long clip holds more to see, but not in proportion: its frames resemble each other. A scene's pictures do
        # less.
        clip_weight=weigh([i for i, _ in kept], [len(c) ** 0.5 for _, c in kept]),
        photos=_stack(photos, data.photo_size).to(device),
        photo_weight=weigh(selection.photos, [1.0] * len(photos)),
        silhouettes=torch.from_numpy(np.stack(outlines))[:, None].to(device)
        if outlines
        else torch.zeros(0, 1, FIELD, FIELD, dtype=torch.uint8, device=device),
        panoramas=_stack([p for p, _ in panoramas], data.panorama_size).to(device),
        panorama_detail=torch.tensor([float(width) for _, width in panoramas], device=device),
        panorama_weight=weigh(selection.panoramas, [1.0] * len(panoramas)),
        scenes=_stack(pictures, data.photo_size).to(device),
        scene_first=scene_first,
        scene_length=scene_length,
        scene_weight=weigh([folder[0] for folder in folders], [float(len(folder)) for folder in folders]),
        device=device,
        validation=tuple((i.name, c) for i, c in zip(selection.validation, held_out, strict=True) if len(c) >= 2),
    )


def _runs(lengths: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each of several things that lie one after the other begins, and how long it is: both int64."""
    length = torch.tensor(lengths, dtype=torch.int64)
    return (length.cumsum(0) - length).to(device), length.to(device)


def _weights(items: Sequence[Item], base: Sequence[float], cap: float) -> Tensor:
    """Probabilities (items,) by the items' own weights times `base`, with no source above `cap`."""
    if not items:
        return torch.zeros(0)
    weights = [item.weight * value for item, value in zip(items, base, strict=True)]
    if not any(weights):
        raise InputError(f"all {items[0].kind} of the manifest have weight 0: leave their class out instead")
    return torch.tensor(capped(weights, [item.source for item in items], cap))


def _store(clips: Sequence[Frames], data: DataConfig, device: torch.device) -> Tensor:
    """All frames as (N, 3, H, W) uint8, on the device or, if they are too large for it, in pinned host memory."""
    total = sum(len(c) for c in clips)
    frames = torch.empty(total, 3, *data.clip_size, dtype=torch.uint8)
    at = 0
    for clip in clips:
        frames[at : at + len(clip)] = torch.from_numpy(clip).permute(0, 3, 1, 2)
        at += len(clip)
    if device.type != "cuda":
        return frames.to(device)
    fits = frames.numel() < torch.cuda.mem_get_info(device)[0] / 2
    if data.storage == "device" or (data.storage == "auto" and fits):
        return frames.to(device)
    return frames.pin_memory()


def _stack(pictures: Sequence[Frames], size: tuple[int, int]) -> Tensor:
    if not pictures:
        return torch.zeros(0, 3, *size, dtype=torch.uint8)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def read_clip(path: Path, size: tuple[int, int], max_frames: int) -> Frames:
    """The first `max_frames` frames of a video file or folder of frames: (t, H, W, 3) RGB, cropped to `size`'s
    shape."""
    if path.is_dir():
        return np.stack([fit(read_picture(p), size) for p in find_pictures(path)[:max_frames]])
    capture = cv2.VideoCapture(f"file:{path}", cv2.CAP_FFMPEG)  # a bare name may be an address or a pattern to OpenCV
    frames: list[Frames] = []
    try:
        while len(frames) < max_frames:
            read, bgr = capture.read()
            if not read:
                break
            frames.append(fit(np.asarray(bgr[..., ::-1], np.uint8), size))
    finally:
        capture.release()
    if not frames:
        raise InputError(f"training clip {path} cannot be decoded: remove it, or convert it to H.264")
    return np.stack(frames)


def read_picture(path: Path) -> Frames:
    """(H, W, 3) RGB. Raises InputError if the file is no picture, or no whole one."""
    data = np.frombuffer(whole_bytes(path), np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise InputError(f"{path} is not a picture that can be read: replace or remove it")
    return np.asarray(bgr[..., ::-1], np.uint8)


def read_panorama(path: Path, size: tuple[int, int]) -> tuple[Frames, int]:
    """An equirectangular picture at `size` (height, width): (H, W, 3) RGB, and its true width, at most `size`'s.

    Raises InputError if it is not twice as wide as it is high.
    """
    picture = read_picture(path)
    height, width = picture.shape[:2]
    if abs(width - 2 * height) > 0.02 * width:
        raise InputError(
            f"panorama {path} is {width}x{height}: it must be equirectangular, 360 by 180 degrees, twice as wide "
            "as high"
        )
    way = cv2.INTER_AREA if width > size[1] else cv2.INTER_LINEAR
    stored = picture if (height, width) == size else cv2.resize(picture, (size[1], size[0]), interpolation=way)
    return np.ascontiguousarray(stored), min(width, size[1])


def fit(picture: Frames, size: tuple[int, int]) -> Frames:
    """`picture` scaled to cover `size` (height, width), the overhang cut off evenly."""
    height, width = picture.shape[:2]
    if (height, width) == size:
        return np.ascontiguousarray(picture)
    factor = max(size[0] / height, size[1] / width)
    scaled = max(size[0], round(height * factor)), max(size[1], round(width * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(picture), (scaled[1], scaled[0]), interpolation=way)
    top, left = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    return np.ascontiguousarray(resized[top : top + size[0], left : left + size[1]])


def moving_outlines(clip: Frames) -> list[NDArray[np.uint8]]:
    """Outlines (S, S), 255 inside, of what moves in front of a fixed camera: differences from the clip's median
    picture."""
    plate = np.median(clip[:: max(1, len(clip) // 25)], axis=0)
    outlines = []
    for frame in clip[::FIXED_CAMERA_STEP]:
        difference = cv2.GaussianBlur(np.abs(frame - plate).max(axis=2).astype(np.float32), (5, 5), 0)
        moved = (difference > 28).astype(np.uint8)
        moved = cv2.morphologyEx(moved, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        moved = cv2.morphologyEx(moved, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        outlines += outlines_in(np.asarray(moved, np.uint8))
    return outlines


def _mask_outlines(path: Path) -> list[NDArray[np.uint8]]:
    return outlines_in((read_picture(path).max(axis=2) > 127).astype(np.uint8))


def outlines_in(mask: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The connected parts of a mask (H, W) in {0, 1} that are neither specks nor scenery, each filling a field (S,
    S)."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = []
    for contour in contours:
        left, top, width, height = cv2.boundingRect(contour)
        area = cv2.contourArea(contour)
        if not 0.004 < area / mask.size < 0.3 or min(width, height) < 12 or area < 0.3 * width * height:
            continue
        side = max(width, height)  # the field keeps the outline's proportions
        canvas = np.zeros((side, side), np.uint8)
        offset = ((side - width) // 2 - left, (side - height) // 2 - top)
        cv2.drawContours(canvas, [contour], -1, 255, cv2.FILLED, offset=offset)
        found.append(np.asarray(cv2.resize(canvas, (FIELD, FIELD), interpolation=cv2.INTER_AREA), np.uint8))
    return found
