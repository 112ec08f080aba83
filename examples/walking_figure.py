"""Someone who walks through the picture: the astronaut of `skimage.data.astronaut()`, cut out with soft edges.

Pictures are float32 RGB 0..255; opacity (alpha) is float32 0..1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

# The outline in the photograph's pixels (x, y), drawn by hand to a few pixels; GrabCut finds the edge itself in
# between.
OUTLINE = (
    (153, 70), (158, 52), (170, 38), (188, 29), (210, 20), (230, 16), (255, 20), (275, 29), (290, 44), (299, 64),
    (302, 85), (298, 106), (290, 123), (278, 134), (268, 138), (262, 158), (257, 174), (272, 182), (286, 195), (298, 212),
    (305, 234), (316, 240), (332, 252), (343, 270), (350, 286), (355, 302), (360, 325), (364, 346), (378, 344), (402, 343),
    (427, 349), (455, 365), (480, 395), (492, 425), (497, 452), (506, 460), (511, 470), (511, 511), (37, 511), (31, 482),
    (25, 440), (20, 402), (20, 370), (26, 340), (32, 312), (42, 285), (52, 262), (70, 240), (95, 222), (112, 207),
    (113, 188), (121, 184), (126, 172), (142, 157), (165, 149), (184, 149), (183, 138), (181, 130), (170, 121), (160, 108),
)  # fmt: skip
BAND = 6  # half the width, in pixels, of the strip around the outline in which the edge is searched
SOFTNESS = 0.9  # sigma of the edge, in the photograph's pixels
LIGHT = (0.92, 0.82, 0.72)  # the garage's warm bulb instead of the studio's flash, red green blue
SHUTTER = 0.4  # part of the frame interval that the shutter is open
SHUTTER_SAMPLES = 5

FloatMap = NDArray[np.float32]


class Figure:
    """The cut-out. `draw` puts it over a picture."""

    def __init__(self) -> None:
        photograph = data.astronaut()
        alpha = _cut_out(photograph)
        self.rgb = _extend_colours(photograph.astype(np.float32), alpha) * np.array(LIGHT, np.float32)
        self.alpha = alpha

    def layer(
        self, size: tuple[int, int], foot: tuple[float, float], height: float, tilt: float
    ) -> tuple[FloatMap, FloatMap]:
        """Colours (H, W, 3) and opacity (H, W) on a canvas of `size`.

        `foot` is the canvas point (x, y) of the middle of the cut-out's lower border, `height` its height in canvas
        pixels, `tilt` radians clockwise about that point.
        """
        rows, columns = self.alpha.shape
        scale = height / rows
        cos, sin = scale * np.cos(tilt), scale * np.sin(tilt)
        middle, bottom = columns / 2, rows
        matrix = np.array(
            [
                [cos, -sin, foot[0] - cos * middle + sin * bottom],
                [sin, cos, foot[1] - sin * middle - cos * bottom],
            ]
        )
        # warpAffine samples without a filter: shrink first, so that nothing aliases.
        blur = max(0.0, 0.45 / scale - 0.45)
        source = cv2.merge([*cv2.split(self.rgb), self.alpha])
        if blur > 0:
            source = cv2.GaussianBlur(source, (0, 0), blur, borderType=cv2.BORDER_REPLICATE)
        warped = np.asarray(cv2.warpAffine(source, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR), np.float32)
        return warped[..., :3], warped[..., 3]

    def draw(
        self, picture: FloatMap, time: float, frame_interval: float, scale: float
    ) -> tuple[FloatMap, NDArray[np.bool_]]:
        """The picture (H, W, 3) with the figure over it at `time` 0..1 of the clip, blurred by its motion while the
        shutter is open.

        `frame_interval` is in the unit of `time`; `scale` is canvas pixels a final pixel. Also returns where (H, W) the
        figure has any opacity at all.
        """
        size = (picture.shape[0], picture.shape[1])
        premultiplied, opacity = np.zeros_like(picture), np.zeros(size, np.float32)
        for sample in range(SHUTTER_SAMPLES):
            moment = time + (sample / (SHUTTER_SAMPLES - 1) - 0.5) * SHUTTER * frame_interval
            x, y, height, tilt = walk(moment)
            colours, alpha = self.layer(size, (x * scale, y * scale), height * scale, tilt)
            premultiplied += colours * alpha[..., None] / SHUTTER_SAMPLES
            opacity += alpha / SHUTTER_SAMPLES
        touched = opacity > 0
        return picture * (1 - opacity[..., None]) + premultiplied, touched


def walk(time: float) -> tuple[float, float, float, float]:
    """Where the figure is at `time` 0..1: foot x and y (pixels of a 432x240 frame), height in pixels, tilt in radians.

    It walks from left to right a little faster in the middle, bobs and sways with its steps, and comes nearer.
    """
    steps = 2 * np.pi * 3.5 * time
    x = 52 + 330 * (time - 0.04 * np.sin(2 * np.pi * time))
    y = 250 + 1.8 * np.cos(steps + 0.4)
    height = 156 + 14 * time
    return float(x), float(y), float(height), float(0.022 * np.sin(steps / 2) + 0.01)


def _cut_out(photograph: NDArray[np.uint8]) -> FloatMap:
    """Opacity (H, W): GrabCut inside a strip around the hand-drawn outline, then a soft edge just inside it."""
    height, width = photograph.shape[:2]
    area = np.zeros((height, width), np.uint8)
    cv2.fillPoly(area, [np.array(OUTLINE, np.int32)], 1)
    # The figure runs out of the photograph at the bottom and right: its borders there are no edges to search.
    padded = cv2.copyMakeBorder(area, 2 * BAND, 2 * BAND, 2 * BAND, 2 * BAND, cv2.BORDER_REPLICATE)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND + 1, 2 * BAND + 1))
    inner = slice(2 * BAND, -2 * BAND)
    surely, possibly = cv2.erode(padded, kernel)[inner, inner], cv2.dilate(padded, kernel)[inner, inner]
    labels = np.where(area, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[surely != 0], labels[possibly == 0] = cv2.GC_FGD, cv2.GC_BGD
    cv2.setRNGSeed(1)
    bgr = np.ascontiguousarray(photograph[..., ::-1])
    models = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, width, height)  # not used with GC_INIT_WITH_MASK
    cv2.grabCut(bgr, labels, whole, *models, 4, cv2.GC_INIT_WITH_MASK)
    found = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    found = _largest_part(_morphology(cv2.MORPH_OPEN, found, 3))
    found = _morphology(cv2.MORPH_CLOSE, found, 5)
    # The outermost pixels are half studio wall: one is given up, then the edge is softened.
    found = _morphology(cv2.MORPH_ERODE, found, 3)
    soft = cv2.GaussianBlur(found.astype(np.float32), (0, 0), SOFTNESS, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft, np.float32)


def _morphology(operation: int, mask: NDArray[np.uint8], diameter: int) -> NDArray[np.uint8]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
    return np.asarray(cv2.morphologyEx(mask, operation, kernel), np.uint8)


def _largest_part(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    assert count > 1, "the outline encloses pixels that are surely the figure"
    return (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)


def _extend_colours(rgb: FloatMap, alpha: FloatMap) -> FloatMap:
    """The figure's own colours carried outwards over its soft edge, where the photograph shows the wall behind it."""
    solid = (alpha > 0.98).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(1 - solid, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colour_of = np.zeros((int(nearest.max()) + 1, 3), np.float32)
    colour_of[nearest[solid != 0]] = rgb[solid != 0]
    return np.where(solid[..., None] != 0, rgb, colour_of[nearest])
