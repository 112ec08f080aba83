"""Following an object with OpenCV's DIS flow in place of SPyNet, on pictures whose truth is known."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.mask_tools.classic import classic_followers
from e2fgvi_cli.mask_tools.tracking import (
    FlowBetween,
    TrackOptions,
    clean,
    disagreement,
    mask_from_box,
    overlap,
    require_mask,
    step,
    warp,
)
from e2fgvi_cli.mask_tools.walking import Frames, KnownMask, walk

SIZE = (96, 128)


def noise(seed: int, size: tuple[int, int], blur: float) -> np.ndarray:
    raw = np.random.default_rng(seed).normal(0, 1, (*size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(raw, (0, 0), blur)
    return smooth / smooth.std()


GROUND = noise(1, (140, 220), 2.0) * 22 + np.array([70, 90, 120])
THING = noise(2, (40, 40), 1.5) * 22 + np.array([180, 110, 60])


def truth(index: int) -> np.ndarray:
    """A disc that moves right by 2 and down by 0.5 pixels a frame."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return ((rows - 40 - index // 2) ** 2 + (columns - 30 - 2 * index) ** 2 <= 14**2).astype(np.uint8)


def frame(index: int) -> np.ndarray:
    """The disc with a texture of its own, over a ground that moves left by 1."""
    picture = GROUND[10 : 10 + SIZE[0], 20 + index : 20 + index + SIZE[1]].copy()
    canvas = np.zeros((*SIZE, 3))
    top, left = 40 + index // 2 - 20, 30 + 2 * index - 20
    rows, columns = slice(max(top, 0), top + 40), slice(max(left, 0), left + 40)
    canvas[rows, columns] = THING[rows.start - top :, columns.start - left :][: SIZE[0] - top, : SIZE[1] - left]
    inside = truth(index) > 0
    picture[inside] = canvas[inside]
    return np.clip(picture, 0, 255).astype(np.uint8)


def dis_flow(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    gray = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (a, b)]
    return estimator.calc(gray[0], gray[1], None), estimator.calc(gray[1], gray[0], None)


def followed(
    frames: Frames,
    known: list[int],
    flow: FlowBetween = dis_flow,
    options: TrackOptions = TrackOptions(),
    count: int = 20,
) -> dict[int, np.ndarray]:
    """The masks of a walk from the true ones of the frames `known`."""
    anchors = {index: KnownMask(truth(index)) for index in known}
    return {step.frame: step.mask for step in walk(frames, count, anchors, classic_followers(flow, options))}


BOX = (15.0, 24.0, 31.0, 32.0)


def test_grab_cut_finds_the_object_in_its_box() -> None:
    assert overlap(mask_from_box(frame(0), BOX), truth(0)) > 0.9


def test_box_outside_the_frame() -> None:
    message = "--box 200,10,20,20 does not lie in the frame of 128x96; give x,y,width,height in it"
    with pytest.raises(UsageError, match=message):
        mask_from_box(frame(0), (200, 10, 20, 20))


def test_uniform_picture_takes_the_box_whole() -> None:
    assert mask_from_box(np.full((*SIZE, 3), 99, np.uint8), BOX).sum() in (31 * 32, SIZE[0] * SIZE[1])


def test_object_is_followed() -> None:
    masks = followed(frame, [0])
    assert sorted(masks) == list(range(20))
    overlaps = [overlap(masks[index], truth(index)) for index in range(20)]
    assert min(overlaps) > 0.8
    assert np.mean(overlaps) > 0.88


def test_it_is_not_the_place_that_is_followed() -> None:
    """The control: with no flow and no colour the mask stays behind, and the measure says so."""

    def still(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        none = np.zeros((*SIZE, 2), np.float32)
        return none, none

    masks = followed(frame, [0], still, TrackOptions(refine=False))
    assert overlap(masks[19], truth(19)) < 0.1


def test_colour_mends_what_the_flow_spoils() -> None:
    """With a flow that is wrong by a pixel a frame the outline is kept only by the refinement."""

    def off(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        forward, backward = dis_flow(a, b)
        return forward + np.float32([0.7, 0]), backward - np.float32([0.7, 0])

    found = [followed(frame, [0], off, TrackOptions(refine=refine), 16)[15] for refine in (False, True)]
    plain, refined = (overlap(mask, truth(15)) for mask in found)
    assert refined > plain + 0.1


def test_backwards_and_between_two_anchors() -> None:
    order = []

    def counted(index: int) -> np.ndarray:
        order.append(index)
        return frame(index)

    masks = followed(counted, [16, 4])
    assert sorted(masks) == list(range(20))
    assert min(overlap(masks[index], truth(index)) for index in range(20)) > 0.85
    assert [(a, b) for a, b in itertools.pairwise(order) if abs(b - a) != 1] == [(5, 17), (19, 3)]  # no other leaps


def test_object_that_is_gone_stays_gone() -> None:
    empty = np.zeros(SIZE, np.uint8)
    mask, confidence = step(empty, frame(0), frame(1), dis_flow, TrackOptions())
    assert not mask.any()
    assert confidence == 0


def test_warp_looks_up_along_the_flow() -> None:
    values = np.arange(20, dtype=np.float32).reshape(4, 5)
    flow = np.zeros((4, 5, 2), np.float32)
    flow[:, :, 0] = 1
    assert np.array_equal(warp(values, flow)[:, :4], values[:, 1:])


def test_disagreement_marks_flow_that_does_not_return() -> None:
    flow = np.full((10, 10, 2), 2, np.float32)
    assert not disagreement(flow, -flow).any()
    assert disagreement(flow, flow).all()


def test_clean_drops_specks_and_fills_pinholes() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[5:25, 5:25] = 1
    mask[10, 10] = 0
    mask[35, 35] = 1
    cleaned = clean(mask, 0.05)
    assert cleaned.sum() == 400
    assert not clean(np.zeros((4, 4), np.uint8), 0.05).any()


def test_empty_mask_is_refused() -> None:
    with pytest.raises(InputError, match="key marks nothing"):
        require_mask(np.zeros((4, 4), np.uint8), "key")
