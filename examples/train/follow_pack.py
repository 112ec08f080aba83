"""Packs photographs and the outlines found in them into one file for follow.py:

    python examples/train/follow_pack.py PHOTOS packed.npz [--prefix NAME ...]

No outline is drawn by hand: a photograph falls into regions of like colour (Felzenszwalb and Huttenlocher 2004, fine
and coarse), and an object is one region, or a few that touch. Needs scikit-image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 272, 480
REGIONS = 12
"""Of the fine ones, an object consists of so many at most."""
OBJECTS = 14
"""A photograph gives so many at most."""
SMALLEST, LARGEST = 0.004, 0.28
"""Area of an object, share of the photograph."""

Labels = NDArray[np.uint8]


def cropped(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a picture of any size, at HEIGHT x WIDTH."""
    height, width = picture.shape[:2]
    scale = max(HEIGHT / height, WIDTH / width)
    size = (max(round(width * scale), WIDTH), max(round(height * scale), HEIGHT))
    picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    top, left = (size[1] - HEIGHT) // 2, (size[0] - WIDTH) // 2
    return picture[top : top + HEIGHT, left : left + WIDTH]


def regions(picture: NDArray[np.uint8]) -> tuple[Labels, list[list[int]]]:
    """(HEIGHT, WIDTH) numbers of the fine regions, at most 255, and the objects, each as the numbers it consists of."""
    from skimage.segmentation import felzenszwalb

    fine = felzenszwalb(picture, scale=120, sigma=0.8, min_size=250)
    if fine.max() > 254:
        fine = felzenszwalb(picture, scale=300, sigma=0.9, min_size=600)
    fine = np.minimum(fine, 254).astype(np.uint8)
    random = np.random.default_rng(int(picture[::7, ::7].sum()))
    found: set[tuple[int, ...]] = set()
    for scale in (400, 1000, 2500):
        coarse = felzenszwalb(picture, scale=scale, sigma=0.8, min_size=400)
        shares = np.zeros((int(coarse.max()) + 1, 256))
        np.add.at(shares, (coarse.ravel(), fine.ravel()), 1)
        areas = np.maximum(shares.sum(axis=0), 1)
        for one in shares:
            found.add(tuple(np.flatnonzero(one / areas > 0.6).tolist()))
    touching = neighbours(fine)
    for start in random.permutation(int(fine.max()) + 1)[:40].tolist():
        group = [start]
        for _ in range(int(random.integers(0, 5))):
            near = sorted(set().union(*(touching[one] for one in group)) - set(group))
            if near:
                group.append(int(random.choice(near)))
        found.add(tuple(sorted(group)))
    usable = [list(one) for one in sorted(found) if 0 < len(one) <= REGIONS and fits(np.isin(fine, one))]
    usable.sort(key=lambda one: -compactness(np.isin(fine, one)) + 0.3 * random.random())
    return fine, usable[:OBJECTS]


def neighbours(labels: Labels) -> list[set[int]]:
    """Which regions touch each."""
    touching: list[set[int]] = [set() for _ in range(256)]
    for a, b in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        differ = a != b
        for one, other in set(zip(a[differ].tolist(), b[differ].tolist(), strict=True)):
            touching[one].add(other)
            touching[other].add(one)
    return touching


def fits(mask: NDArray[np.bool_]) -> bool:
    """Neither a speck nor the sky: its area, and how much of the picture's rim it takes."""
    rim = np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return bool(SMALLEST < mask.mean() < LARGEST and rim.mean() < 0.12)


def compactness(mask: NDArray[np.bool_]) -> float:
    """Area over that of the convex hull, 0 to 1."""
    points = cv2.findNonZero(mask.astype(np.uint8))
    return float(mask.sum() / max(cv2.contourArea(cv2.convexHull(points)), 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("packed", type=Path)
    parser.add_argument("--prefix", nargs="*", default=[""], help="take the files whose names start so (default: all)")
    parser.add_argument("--quality", type=int, default=82)
    given = parser.parse_args()
    files = [file for file in sorted(given.photos.glob("*.jpg")) if file.name.startswith(tuple(given.prefix))]
    pictures: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    objects: list[NDArray[np.int16]] = []
    for file in files:
        picture = cropped(np.asarray(cv2.imread(str(file)), np.uint8))
        fine, found = regions(picture)
        for one in found:
            rows, columns = np.nonzero(np.isin(fine, one))
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            objects.append(np.array([len(pictures), *box, *one, *[-1] * (REGIONS - len(one))], np.int16))
        pictures.append(np.asarray(cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, given.quality))[1]).ravel())
        labels.append(np.asarray(cv2.imencode(".png", fine, (cv2.IMWRITE_PNG_COMPRESSION, 9))[1]).ravel())
    np.savez(
        given.packed,
        pictures=np.concatenate(pictures),
        lengths=np.array([len(one) for one in pictures]),
        labels=np.concatenate(labels),
        label_lengths=np.array([len(one) for one in labels]),
        objects=np.stack(objects),
    )
    size = given.packed.stat().st_size / 1e6
    print(f"{len(pictures)} photographs, {len(objects)} objects, {size:.1f} MB")


if __name__ == "__main__":
    main()
