"""The engine of our own network (`following.py`): what ships with the program and follows without a download.

The network looks at a window around the object, so that an object is about as large in it whatever the clip: a small
one is enlarged, a large one seen whole.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..engine import select_device
from ..errors import WeightsError
from ..types import HoleArray, PixelArray
from ..weights import trackers
from .follower import LIKELY, MakeFollower, Prompts, Soft
from .following import STRIDE, Following, Memory, joined
from .seeds import corrected, mask_from_points
from .tracking import clean, grab_cut, mask_from_box

_DOUBT = 1.4  # a share of doubt in a mask means so large a part wrong of it: measured on ../shared/eval


@dataclass(frozen=True)
class LookOptions:
    """`side`: the window is seen with about side x side pixels. `around`: its side is so many times that of the object;
    `around_box`: that of the box in which an object is looked for, the mean of several looks. `by_colour`: the share
    that colour has in what is found there.
    `smallest` side of a window in pixels of the clip, and `closest` enlargement. `marked`, `lately`: how many pictures
    are remembered of those that were marked and of those that were found, and `apart` how far apart the latter are.
    `widening`: how much wider the window grows with each picture in which the object is not seen. `likely`: what the
    network has to be sure of for a pixel of the object. The object is not seen where its confidence is below `unsure`,
    or its area below the share `least` of the largest of the last ten."""

    side: int = 256
    around: float = 1.8
    around_box: tuple[float, ...] = (1.4, 1.8, 2.4)
    by_colour: float = 0.3
    smallest: float = 48.0
    closest: float = 5.0
    marked: int = 6
    lately: int = 3
    apart: int = 4
    widening: float = 1.3
    likely: float = LIKELY
    unsure: float = 0.3
    least: float = 0.08


@dataclass(frozen=True)
class Window:
    """A part of the picture (rows and columns in pixels of it) and the size (height, width) at which it is seen."""

    top: int
    left: int
    bottom: int
    right: int
    size: tuple[int, int]

    def cut(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """That part of (H, W) or (H, W, 3), as it is seen."""
        part = picture[self.top : self.bottom, self.left : self.right]
        smaller = part.shape[0] > self.size[0]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, self.size[::-1], interpolation=how), np.float32)

    def put(self, seen: Soft, shape: tuple[int, ...]) -> Soft:
        """What is known of the window in a picture (H, W) that is 0 elsewhere."""
        whole = np.zeros(shape[:2], np.float32)
        size = (self.right - self.left, self.bottom - self.top)
        whole[self.top : self.bottom, self.left : self.right] = cv2.resize(seen, size, interpolation=cv2.INTER_LINEAR)
        return whole


def window_around(
    box: tuple[float, float, float, float], shape: tuple[int, ...], options: LookOptions, wider: float = 1.0
) -> Window:
    """The window for an object in `box` (left, top, right, bottom) of a picture (H, W), inside the picture."""
    height, width = shape[:2]
    side = max(options.around * max(box[2] - box[0], box[3] - box[1]), options.smallest) * wider
    tall, across = round(min(side, height)), round(min(side, width))
    top = round(min(max((box[1] + box[3] - tall) / 2, 0), height - tall))
    left = round(min(max((box[0] + box[2] - across) / 2, 0), width - across))
    scale = min(options.side / (tall * across) ** 0.5, options.closest)
    size = tuple(max(round(length * scale / STRIDE), 2) * STRIDE for length in (tall, across))
    return Window(top, left, top + tall, left + across, cast(tuple[int, int], size))


def box_of(mask: NDArray[np.generic]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


class LearnedFollower:
    """A `PromptedFollower` and `GradedFollower`: a box is the network's, points become a mask by colour (`seeds.py`).

    Its confidence tells the IoU to be expected, from the overlap of the mask with what the network takes for the
    object, each pixel by how sure it is. As sure as at a box is all that can be asked where there was only a box.
    """

    def __init__(self, network: Following, device: torch.device, options: LookOptions = LookOptions()) -> None:
        self._network, self._device, self._options = network, device, options
        self._marked: deque[Memory] = deque(maxlen=options.marked - 1)
        self._first: Memory | None = None
        self._lately: deque[Memory] = deque(maxlen=1 + options.lately * options.apart)
        self._mask: HoleArray | None = None
        self._box = (0.0, 0.0, 1.0, 1.0)
        self._unseen = 0
        self._soft = np.zeros((0, 0), np.float32)
        self._level = np.float32(1.0)
        self._areas: deque[int] = deque(maxlen=10)

    def start(self, rgb: PixelArray, mask: HoleArray) -> None:
        self._begin(rgb, mask, mask.astype(np.float32))

    @torch.inference_mode()
    def _begin(self, rgb: PixelArray, mask: HoleArray, known: Soft) -> None:
        """As `start`, with how sure each pixel of the object is: what is doubtful is remembered as doubtful."""
        self._level = np.float32(known[mask > 0].mean())
        window = window_around(box_of(mask), mask.shape, self._options)
        seen = self._network.see(self._tensor(rgb, window))
        memory = self._network.remember(seen, torch.from_numpy(window.cut(known))[None, None].to(self._device))
        if self._first is None:
            self._first = memory
        else:
            self._marked.append(memory)
        self._lately.clear()
        self._lately.append(memory)
        self._areas.clear()
        self._settle(mask)

    def prompt(self, rgb: PixelArray, prompts: Prompts) -> HoleArray:
        known = self._mask
        if prompts.box is not None:
            soft = self._from_box(rgb, prompts.box)
            known = (soft > self._options.likely).astype(np.uint8)
            if known.any() and not prompts.points:
                self._begin(rgb, known, soft)
                return known
        if prompts.points and (known is None or not known.any()):
            inner = any(inside for _, _, inside in prompts.points)
            known = mask_from_points(rgb, prompts.points) if inner else np.zeros(rgb.shape[:2], np.uint8)
        elif prompts.points and known is not None:
            known = corrected(rgb, known, prompts.points)
        assert known is not None  # marks are a box or points
        if known.any():
            self.start(rgb, known)
        return known

    @torch.inference_mode()
    def step(self, rgb: PixelArray) -> tuple[HoleArray, float]:
        assert self._mask is not None
        window = window_around(self._box, rgb.shape, self._options, self._options.widening**self._unseen)
        soft, memory = self._look(rgb, window, self._mask.astype(np.float32))
        likely = self._options.likely
        if (soft > likely).any():
            better = window_around(box_of(soft > likely), rgb.shape, self._options)
            if _apart(window, better):
                soft, memory = self._look(rgb, better, soft)
        mask = (soft > likely).astype(np.uint8)
        if margin(soft, mask) < self._options.unsure or mask.sum() < self._options.least * max(self._areas):
            mask[:] = 0
        if mask.any():
            self._lately.append(memory)
        self._settle(mask)
        self._soft = soft
        sure = margin(np.minimum(soft / self._level, 1), mask)
        return mask, max(1 - _DOUBT * (1 - sure), 0.0) if mask.any() else 0.0

    def likely(self) -> Soft:
        return self._soft

    def held(self) -> int:
        """Pictures it remembers."""
        return (self._first is not None) + len(self._marked) + len(self._lately)

    def _settle(self, mask: HoleArray) -> None:
        self._mask = mask
        if mask.any():
            self._box, self._unseen = box_of(mask), 0
            self._areas.append(int(mask.sum()))
        else:
            self._unseen += 1

    def _look(self, rgb: PixelArray, window: Window, hint: Soft) -> tuple[Soft, Memory]:
        """The object in this window, given where it was; the picture as a memory."""
        assert self._first is not None
        seen = self._network.see(self._tensor(rgb, window))
        recent = [*self._lately][-1 :: -self._options.apart][: self._options.lately]
        hints = np.stack((window.cut(hint), np.zeros(window.size, np.float32)))
        logits = self._network.find(
            seen,
            joined([self._first, *self._marked]),
            joined(recent),
            torch.from_numpy(hints)[None].to(self._device),
        )
        soft = logits.float().sigmoid()
        memory = self._network.remember(seen, soft)
        return window.put(soft[0, 0].cpu().numpy(), rgb.shape), memory

    def _from_box(self, rgb: PixelArray, box: tuple[float, float, float, float]) -> Soft:
        """The object in a box: what the network takes for it, and by a smaller part what colour settles from there;
        by colour alone where the network sees none."""
        height, width = rgb.shape[:2]
        left, top, right, bottom = (round(value) for value in box)
        inside = np.zeros((height, width), np.uint8)
        inside[max(top, 0) : bottom, max(left, 0) : right] = 1
        mirrored = (width - box[2], box[1], width - box[0], box[3])
        looks = []
        for around in self._options.around_box:
            looks.append(self._look_into(rgb, box, inside, around))
            looks.append(self._look_into(rgb[:, ::-1], mirrored, inside[:, ::-1], around)[:, ::-1])
        soft = np.asarray(np.mean(looks, axis=0) * inside, np.float32)
        labels = np.where(soft > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[soft > 0.9] = cv2.GC_FGD
        labels[inside == 0] = cv2.GC_BGD
        by_colour = clean(grab_cut(rgb, labels, 3) & inside, 0.05)
        share = np.float32(self._options.by_colour)
        both = (1 - share) * soft + share * by_colour.astype(np.float32)
        if (both > self._options.likely).sum() < 0.05 * inside.sum():
            return mask_from_box(rgb, (box[0], box[1], box[2] - box[0], box[3] - box[1])).astype(np.float32)
        return both

    @torch.inference_mode()
    def _look_into(
        self, rgb: PixelArray, box: tuple[float, float, float, float], inside: HoleArray, around: float
    ) -> Soft:
        """What the network takes for the object in a box of which no memory tells."""
        window = window_around(box, rgb.shape, dataclasses.replace(self._options, around=around))
        hints = np.stack((np.zeros(window.size, np.float32), window.cut(inside.astype(np.float32))))
        seen = self._network.see(self._tensor(rgb, window))
        logits = self._network.find(seen, None, None, torch.from_numpy(hints)[None].to(self._device))
        return window.put(logits[0, 0].float().sigmoid().cpu().numpy(), rgb.shape)

    def _tensor(self, rgb: PixelArray, window: Window) -> torch.Tensor:
        """(1, 3, h, w) in 0..1."""
        seen = window.cut(rgb.astype(np.float32) / np.float32(255))
        return torch.from_numpy(np.ascontiguousarray(seen)).permute(2, 0, 1)[None].to(self._device)


def _apart(one: Window, other: Window) -> bool:
    """Whether they show so different parts that another look is worth its time."""
    tall = min(one.bottom, other.bottom) - max(one.top, other.top)
    across = min(one.right, other.right) - max(one.left, other.left)
    both = max(tall, 0) * max(across, 0)
    areas = [(w.bottom - w.top) * (w.right - w.left) for w in (one, other)]
    return both < 0.6 * (sum(areas) - both)


def margin(soft: Soft, mask: HoleArray) -> float:
    """Overlap (0 to 1) of the mask with what may be the object, each pixel by how sure it is; 0 for an empty one."""
    if not mask.any():
        return 0.0
    return float(soft[mask > 0].sum()) / float(mask.sum() + soft[mask == 0].sum())


def read_network(path: Path) -> Following:
    """The network from its file. Raises `WeightsError` for a file of another kind."""
    from safetensors.torch import load_file

    network = Following()
    try:
        network.load_state_dict({name: one.float() for name, one in load_file(path).items()})
    except Exception as error:  # safetensors and torch have each its own for a file of another kind
        raise WeightsError(f"{path} is no file of the tracking network: {str(error).splitlines()[0]}") from error
    return network.eval()


@functools.cache
def _loaded(path: Path, device: torch.device) -> Following:
    return read_network(path).to(device)


def learned_followers(device: str) -> MakeFollower:
    """Followers of our network. Raises `WeightsError` without its file or for a damaged one, `DeviceError`."""
    target = select_device(device)
    network = _loaded(trackers.resolve("following"), target)
    return lambda: LearnedFollower(network, target)
