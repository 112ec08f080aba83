"""Optical flow between two pictures by the network's own SPyNet, for whoever needs flow without filling anything."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..engine import build_engine, choose_deform, read_weights, select_device
from ..types import PixelArray
from ..weights import known as known_weights
from .tracking import FlowArray, FlowBetween

LARGEST_SIDE = 256  # SPyNet sees its pictures at a quarter of the size inside the network, too


def flow_estimator(weights: str, device: str) -> FlowBetween:
    """`flow(a, b)` of two (H, W, 3) pictures -> (a->b, b->a), each float32 (H, W, 2), (dx, dy) in pixels.

    `weights` is a known name or a file, `device` as for --device. Raises `WeightsError`, `DeviceError`, `UsageError`.
    """
    target = select_device(device)
    engine = build_engine(read_weights(known_weights.resolve(weights)), target, choose_deform("auto", target))

    @torch.inference_mode()
    def flow_between(a: PixelArray, b: PixelArray) -> tuple[FlowArray, FlowArray]:
        height, width = a.shape[:2]
        scale = min(1.0, LARGEST_SIDE / max(height, width))
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        pair = torch.stack([_tensor(picture, size) for picture in (a, b)]).to(target)
        both = engine.network.update_spynet(pair, pair.flip(0)).permute(0, 2, 3, 1).cpu().numpy()
        return _enlarged(both[0], a.shape), _enlarged(both[1], a.shape)

    return flow_between


def _tensor(picture: PixelArray, size: tuple[int, int]) -> torch.Tensor:
    """(3, h, w) in [0, 1] at `size`."""
    small = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small.astype(np.float32) / np.iinfo(picture.dtype).max).permute(2, 0, 1)


def _enlarged(flow: NDArray[np.float32], shape: tuple[int, ...]) -> FlowArray:
    scale = np.array([shape[1] / flow.shape[1], shape[0] / flow.shape[0]], np.float32)
    return np.asarray(cv2.resize(flow, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR) * scale, np.float32)
