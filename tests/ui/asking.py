"""Asking the page's server, and followers without a network."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from e2fgvi_cli.mask_tools.follower import Prompts

CLIP = "/token/api/clip/a%20clip.mp4"
BOX = {"box": [5, 14, 20, 20]}


def put(client: Any, frame: int, revision: int, content: object, number: int = 1) -> Any:
    headers, address = {"x-revision": str(revision)}, f"{CLIP}/mark/{frame}?object={number}"
    if isinstance(content, dict):
        return client.put(address, json=content, headers=headers)
    return client.put(address, content=content, headers={**headers, "content-type": "image/png"})


def numbers(client: Any, frame: int) -> np.ndarray:
    """(H, W): the objects that the page shows in a frame."""
    data = np.frombuffer(client.get(f"{CLIP}/mask/{frame}").content, np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def png(mask: np.ndarray) -> bytes:
    return cv2.imencode(".png", mask * 255)[1].tobytes()


def finished(client: Any) -> dict[str, Any]:
    deadline = time.monotonic() + 100
    while (job := client.get(CLIP).json()["job"])["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


class Moving:
    """Follows what moves by 2 pixels a frame: the contract of `mask_tools.follower`."""

    def start(self, rgb: np.ndarray, mask: np.ndarray) -> None:
        self.mask = mask

    def step(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        self.mask = np.roll(self.mask, 2, axis=1)
        return self.mask, 0.9


class Finding(Moving):
    """Takes the lower half of a box for the object, and follows the upper one."""

    def prompt(self, rgb: np.ndarray, prompts: Prompts) -> np.ndarray:
        assert prompts.box is not None
        left, top, right, bottom = (round(value) for value in prompts.box)
        self.mask = np.zeros(rgb.shape[:2], np.uint8)
        self.mask[(top + bottom) // 2 : bottom, left:right] = 1
        return self.mask


def follow(client: Any, monkeypatch: pytest.MonkeyPatch, follower: type = Moving, revision: int = 0) -> dict[str, Any]:
    """Mark a box and track without a network: the state afterwards."""
    from e2fgvi_cli.mask_tools import engines

    monkeypatch.setattr(engines, "build_engine", lambda *_, **__: SimpleNamespace(make=follower))
    assert put(client, 0, revision, BOX).status_code == 200
    assert client.post(f"{CLIP}/start/track").status_code == 200
    assert finished(client)["state"] == "done"
    return client.get(CLIP).json()
