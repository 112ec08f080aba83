"""A photographed garage seen from a moving camera, rendered from the stereo pair's measured depth.

The pair and its ground-truth disparity are `skimage.data.stereo_motorcycle()` (Middlebury 2014, "Motorcycle"), with the
calibration its docstring gives. The virtual camera moves between and around the two real ones, so nearly everything it
sees was photographed: what the left camera could not see behind the motorcycle comes from the right one.
Lengths are millimetres, x right, y down, z forward, the origin in the left camera. Pictures are float32 RGB 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

FOCAL_LENGTH = 994.978
PRINCIPAL_POINT = (311.193, 254.877)
PRINCIPAL_POINT_SHIFT = 31.086  # the right camera's principal point lies this much further right
BASELINE = 193.001

POINTS_PER_PIXEL = 3  # each way: dense enough that a surface has no cracks at the scale it is drawn
SURFACE_STEP = 2.5e-6  # 1/mm between neighbouring pixels; a larger step of inverse depth is an edge, not a surface
SEAM_WIDTH = 5  # pixels of cross-fade from the left photograph to the right one

FloatMap = NDArray[np.float32]


@dataclass(frozen=True)
class Pose:
    """Where the camera is (mm), how it is turned (radians: yaw to the right, roll clockwise) and its zoom."""

    x: float
    y: float
    z: float
    yaw: float
    roll: float
    zoom: float

    def rotation(self) -> NDArray[np.float64]:
        """(3, 3), world to camera."""
        cy, sy, cr, sr = np.cos(self.yaw), np.sin(self.yaw), np.cos(self.roll), np.sin(self.roll)
        roll = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        return roll @ yaw


@dataclass(frozen=True)
class View:
    """A photograph with the inverse depth (1/mm) of each pixel, and its camera."""

    rgb: FloatMap
    inverse_depth: FloatMap
    principal_point: tuple[float, float]
    x: float


class Garage:
    """The scene: two photographs with depth. `render` draws it from any pose near them."""

    def __init__(self) -> None:
        left_rgb, right_rgb, disparity = data.stereo_motorcycle()
        inverse = (disparity + PRINCIPAL_POINT_SHIFT) / (FOCAL_LENGTH * BASELINE)
        inverse = _fill_from_behind(inverse.astype(np.float32), ~np.isfinite(disparity))
        # Silhouettes are blurred over a pixel or two in a photograph; that rim has to move with the nearer surface.
        inverse = np.asarray(cv2.dilate(inverse, np.ones((3, 3), np.uint8)), np.float32)
        right_point = (PRINCIPAL_POINT[0] + PRINCIPAL_POINT_SHIFT, PRINCIPAL_POINT[1])
        self.left = View(left_rgb.astype(np.float32), inverse, PRINCIPAL_POINT, 0.0)
        seen_from_right, covered = _splat(
            self.left, np.eye(3), (BASELINE, 0.0, 0.0), focal=FOCAL_LENGTH, point=right_point, size=inverse.shape
        )
        right_inverse = _fill_from_behind(seen_from_right, ~covered)
        self.right = View(right_rgb.astype(np.float32), right_inverse, right_point, BASELINE)

    def render(self, pose: Pose, size: tuple[int, int], view_width: float, centre: tuple[float, float]) -> FloatMap:
        """The picture (H, W, 3) from `pose`.

        At zoom 1 it shows `view_width` pixels of the photograph, around its pixel `centre` (x, y) for the left camera.
        """
        focal = FOCAL_LENGTH * size[1] / view_width * pose.zoom
        point = (
            size[1] / 2 + (PRINCIPAL_POINT[0] - centre[0]) * focal / FOCAL_LENGTH,
            size[0] / 2 + (PRINCIPAL_POINT[1] - centre[1]) * focal / FOCAL_LENGTH,
        )
        left, left_seen = _draw(self.left, pose, focal, point, size)
        right, right_seen = _draw(self.right, pose, focal, point, size)
        weight = cv2.GaussianBlur(cv2.erode(left_seen.astype(np.float32), np.ones((3, 3))), (0, 0), SEAM_WIDTH / 2)
        weight = np.where(left_seen & right_seen, weight, left_seen.astype(np.float32))[..., None]
        picture = left * weight + right * (1 - weight)
        picture = _fill_unseen(picture.astype(np.float32), ~(left_seen | right_seen))
        # Narrow gaps show single pixels of the wrong surface, where the right view's depth is a guess.
        return np.where(left_seen[..., None], picture, cv2.medianBlur(picture, 3))


def _draw(
    view: View, pose: Pose, focal: float, point: tuple[float, float], size: tuple[int, int]
) -> tuple[FloatMap, NDArray[np.bool_]]:
    """One photograph moved to `pose`: its colours (H, W, 3) and where it saw the surface that the new camera sees."""
    rotation, position = pose.rotation(), (pose.x, pose.y, pose.z)
    inverse, covered = _splat(view, rotation, position, focal=focal, point=point, size=size)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    depth = 1.0 / np.where(covered, inverse, 1.0)
    rays = np.stack([(columns - point[0]) / focal, (rows - point[1]) / focal, np.ones(size)]) * depth
    world = np.tensordot(rotation.T, rays, axes=1) + np.reshape(position, (3, 1, 1))
    x = (world[0] - view.x) / world[2] * FOCAL_LENGTH + view.principal_point[0]
    y = world[1] / world[2] * FOCAL_LENGTH + view.principal_point[1]
    colours = cv2.remap(
        view.rgb, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    height, width = view.inverse_depth.shape
    inside = covered & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return np.clip(colours, 0, 255), inside


def _splat(
    view: View,
    rotation: NDArray[np.float64],
    position: tuple[float, float, float],
    *,
    focal: float,
    point: tuple[float, float],
    size: tuple[int, int],
) -> tuple[FloatMap, NDArray[np.bool_]]:
    """Inverse depth (H, W) that a camera sees of a view's points, the nearest winning, and where any point fell."""
    x, y, inverse = _points(view)
    world = np.stack(
        [(x - view.principal_point[0]) / FOCAL_LENGTH, (y - view.principal_point[1]) / FOCAL_LENGTH, np.ones_like(x)]
    )
    world /= inverse
    world[0] += view.x
    u, v, z = rotation @ (world - np.reshape(position, (3, 1)))
    column = np.rint(u / z * focal + point[0]).astype(np.int64)
    row = np.rint(v / z * focal + point[1]).astype(np.int64)
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0]) & (z > 0)
    nearest = np.zeros(size[0] * size[1], np.float32)
    np.maximum.at(nearest, row[inside] * size[1] + column[inside], (1.0 / z[inside]).astype(np.float32))
    # The median closes the odd pixel that no point fell on, and drops points that stray past a silhouette.
    smooth = np.asarray(cv2.medianBlur(nearest.reshape(size), 3), np.float32)
    return smooth, smooth > 0


def _points(view: View) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A view's pixels, each cut into POINTS_PER_PIXEL squared: x, y, inverse depth. Surfaces interpolated, edges
    kept."""
    height, width = view.inverse_depth.shape
    large = (width * POINTS_PER_PIXEL, height * POINTS_PER_PIXEL)
    smooth = cv2.resize(view.inverse_depth, large, interpolation=cv2.INTER_LINEAR)
    stepped = cv2.resize(view.inverse_depth, large, interpolation=cv2.INTER_NEAREST)
    kernel = np.ones((3, 3), np.uint8)
    step = cv2.dilate(view.inverse_depth, kernel) - cv2.erode(view.inverse_depth, kernel)
    edge = cv2.resize(step, large, interpolation=cv2.INTER_NEAREST) > 2 * SURFACE_STEP
    inverse = np.where(edge, stepped, smooth).astype(np.float64)
    y, x = np.mgrid[: large[1], : large[0]].astype(np.float64)
    offset = (POINTS_PER_PIXEL - 1) / 2
    return (x.ravel() - offset) / POINTS_PER_PIXEL, (y.ravel() - offset) / POINTS_PER_PIXEL, inverse.ravel()


def _fill_from_behind(inverse_depth: FloatMap, unknown: NDArray[np.bool_]) -> FloatMap:
    """Unknown pixels take the farther of their known neighbours on the scanline: gaps in depth are background."""
    width = inverse_depth.shape[1]
    columns = np.broadcast_to(np.arange(width), inverse_depth.shape)
    before = np.maximum.accumulate(np.where(unknown, -1, columns), axis=1)
    after = np.minimum.accumulate(np.where(unknown, width, columns)[:, ::-1], axis=1)[:, ::-1]
    left = np.take_along_axis(inverse_depth, np.maximum(before, 0), axis=1)
    right = np.take_along_axis(inverse_depth, np.minimum(after, width - 1), axis=1)
    left, right = np.where(before < 0, np.inf, left), np.where(after >= width, np.inf, right)
    filled = np.where(unknown, np.minimum(left, right), inverse_depth)
    # A row without any known pixel takes the farthest depth there is.
    return np.where(np.isfinite(filled), filled, inverse_depth[~unknown].min()).astype(np.float32)


def _fill_unseen(picture: FloatMap, unseen: NDArray[np.bool_]) -> FloatMap:
    """The little that neither camera saw, continued from around it."""
    if not unseen.any():
        return picture
    filled = cv2.inpaint(np.rint(picture).astype(np.uint8), unseen.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    return np.where(unseen[..., None], filled.astype(np.float32), picture)
