"""Which of the pixels that other frames show are better than what the network would make up.

Candidates that agree may still be wrong: what moves behind the hole is shown elsewhere as it was at another time. How
likely that is, is learned: a network of 400 weights (reliability.npz) sees of each pixel what `evidence` lists, and was
fitted on known pixels, the fills of the default weights beside them (`measurements.reliability`, decision 8). numpy and
OpenCV, no torch.

Shape legend: y x the coarse region around a hole, n pixels of the hole, p coarse pixels that candidates are known for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .query import Answer, Query

Floats = NDArray[np.float32]

EVIDENCE = ("count", "spread", "spread near", "tolerance", "spread by tolerance", "share found near", "detail near")
AROUND = 9
"""Coarse pixels: the side of the square that is "near"."""
MOST_CANDIDATES = 5.0
WEIGHTS = Path(__file__).with_name("reliability.npz")


@dataclass(frozen=True)
class Judge:
    """Two hidden layers: `weights` and `biases` of the three, from evidence less `mean` by `scale`."""

    mean: Floats
    scale: Floats
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    def __call__(self, evidence: Floats) -> Floats:
        """(p, 7) -> (p,): log-odds that what was found is the better one."""
        value = (evidence - self.mean) / self.scale
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            value = np.tanh(value @ weight + bias)
        return np.asarray((value @ self.weights[-1] + self.biases[-1])[:, 0], np.float32)

    def save(self, path: Path) -> None:
        """As `load` reads it."""
        layers = {f"{kind}{i}": a for kind in ("weights", "biases") for i, a in enumerate(getattr(self, kind))}
        np.savez(path, mean=self.mean, scale=self.scale, **layers)

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Judge:
        """From a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            layers = [tuple(file[f"{kind}{i}"] for i in range(3)) for kind in ("weights", "biases")]
            return cls(file["mean"], file["scale"], *layers)


@lru_cache
def default_judge() -> Judge:
    """The one that comes along."""
    return Judge.load()


def reliable(query: Query, answer: Answer) -> NDArray[np.bool_]:
    """(n,): which pixels of the answer are to be shown."""
    there = answer.count > 0
    if not there.any():
        return there
    known, evidence_there = evidence(query, answer)
    shown = np.zeros(known.size, np.bool_)
    shown[known.ravel()] = default_judge()(evidence_there) > query.options.sure
    return np.asarray(there & shown[query.place])


def evidence(query: Query, answer: Answer) -> tuple[NDArray[np.bool_], Floats]:
    """Where candidates are known (y, x), and for these coarse pixels, row by row, `EVIDENCE` (p, 7); levels are of 8
    bits."""
    rows, columns = query.coarse_region
    shape = rows.stop - rows.start, columns.stop - columns.start
    levels = query.levels
    there = answer.count > 0

    def mean(values: NDArray[Any]) -> Floats:
        return np.asarray(summed(values[there], there) / np.maximum(found, 1), np.float32)

    def summed(values: NDArray[Any], some: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        sums = np.bincount(query.place[some], values, minlength=shape[0] * shape[1])
        return np.asarray(sums.reshape(shape), np.float32)

    asked = summed(np.ones(answer.count.size)) > 0
    found = summed(there[there], there)
    known = found > 0
    count, spread, gray = mean(answer.count), mean(answer.spread / levels), mean(answer.colours.mean(axis=1) / levels)
    most = np.asarray(query.tolerance / levels, np.float32)
    weight = known.astype(np.float32)
    near = np.maximum(_blur(weight), np.float32(1e-6))
    parts = (
        count / np.float32(MOST_CANDIDATES),
        _log(spread),
        _log(_blur(spread) / near),
        _log(most),
        np.clip(spread / np.maximum(most, np.float32(1)), 0, 4),
        _blur(weight) / np.maximum(_blur(asked.astype(np.float32)), np.float32(1e-6)),
        _log(_blur(_steps(gray, weight)) / near),
    )
    return known, np.stack([part[known] for part in parts], axis=1).astype(np.float32)


def _steps(gray: Floats, weight: Floats) -> Floats:
    """(y, x): how far the next pixels in the row and in the column are off, where both are known."""
    total = np.zeros_like(gray)
    total[:, :-1] += np.abs(gray[:, 1:] - gray[:, :-1]) * weight[:, :-1] * weight[:, 1:]
    total[:-1] += np.abs(gray[1:] - gray[:-1]) * weight[:-1] * weight[1:]
    return total


def _blur(values: NDArray[Any]) -> Floats:
    import cv2

    return np.asarray(cv2.blur(values, (AROUND, AROUND)), np.float32)


def _log(values: NDArray[Any]) -> Floats:
    return np.asarray(np.log1p(np.clip(values, 0, 500)), np.float32)
