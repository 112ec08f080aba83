"""The Fréchet distance of two sets of features, each taken as a Gaussian (Heusel et al. 2017; of videos: VFID)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def frechet_distance(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), each a list of feature vectors of one length, two or more.

    The root's trace is taken from the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric: it has no imaginary
    part, whatever the rounding, also with fewer vectors than features.
    """
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    (mean_one, covariance_one), (mean_other, covariance_other) = (_gaussian(part) for part in (first, second))
    root = _root(covariance_one)
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ covariance_other @ root), 0, None)).sum()
    apart = float(((mean_one - mean_other) ** 2).sum())
    return max(0.0, apart + float(np.trace(covariance_one) + np.trace(covariance_other) - 2 * shared))


def _gaussian(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
