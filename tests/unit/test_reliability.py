"""Which found pixels are shown: evidence by hand, the judge's file, and what it is there for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.query import COARSE_PIXELS, Answer, Query, View
from e2fgvi_cli.propagation.reliability import EVIDENCE, Judge, default_judge, evidence, reliable
from tests.factories import texture

SIZE = (60, 80)


def question(picture: np.ndarray, hole: np.ndarray, coarse: int = 1) -> Query:
    """About the hole of a picture, compared at a `coarse`-th of its size."""
    small = np.ascontiguousarray(picture[::coarse, ::coarse])
    there = np.ascontiguousarray(hole[::coarse, ::coarse])
    view = View(picture * (1 - hole[..., None]), small * (1 - there[..., None]), there, 1 - there)
    region = slice(0, picture.shape[0]), slice(0, picture.shape[1])
    return Query(0, view, region, hole > 0, (), PropagationOptions())


def middle(size: tuple[int, int]) -> np.ndarray:
    hole = np.zeros(size, np.uint8)
    hole[size[0] // 4 : 3 * size[0] // 4, size[1] // 4 : 3 * size[1] // 4] = 1
    return hole


def answer(query: Query, colours: np.ndarray, count: int, spread: float) -> Answer:
    pixels = int(query.need.sum())
    return Answer(colours[query.pixels], np.full(pixels, count), np.full(pixels, spread, np.float32))


def test_what_agrees_is_shown_and_what_does_not_is_not() -> None:
    picture = texture(*SIZE)
    query = question(picture, middle(SIZE))
    assert reliable(query, answer(query, picture, 5, 1.0)).mean() > 0.95
    assert reliable(query, answer(query, picture, 5, 40.0)).mean() < 0.05
    assert not reliable(query, answer(query, picture, 0, np.inf)).any()


def test_sixteen_bits_are_judged_as_eight() -> None:
    picture, hole = texture(*SIZE), middle(SIZE)
    eight, sixteen = question(picture, hole), question(picture.astype(np.uint16) * np.uint16(257), hole)
    one = evidence(eight, answer(eight, picture, 3, 4.0))
    other = evidence(sixteen, answer(sixteen, picture.astype(np.uint16) * np.uint16(257), 3, 4.0 * 257))
    assert np.array_equal(one[0], other[0])
    assert np.abs(one[1] - other[1]).max() < 1e-4


def test_evidence_by_hand() -> None:
    picture, hole = np.full((*SIZE, 3), 90, np.uint8), middle(SIZE)
    query = question(picture, hole)
    given = answer(query, picture, 4, 2.0)
    half = query.pixels[1] < SIZE[1] // 2
    given.count[~half], given.spread[~half] = 0, np.inf
    known, rows = evidence(query, given)
    assert known.sum() == half.sum()
    named = dict(zip(EVIDENCE, rows.T, strict=True))
    assert np.allclose(named["count"], 0.8)
    assert np.allclose(named["spread"], np.log1p(2.0))
    assert np.allclose(named["spread near"], np.log1p(2.0), atol=1e-5)
    assert np.allclose(named["tolerance"], np.log1p(3.0), atol=1e-5), "an even patch is off by nothing: `noise`"
    assert np.allclose(named["spread by tolerance"], 2 / 3, atol=1e-5)
    assert named["share found near"].min() < 0.6, "at the middle, where the other half is not found"
    assert np.isclose(named["share found near"].max(), 1)
    assert np.allclose(named["detail near"], 0)


def test_large_frames_are_judged_by_their_coarse_pixels() -> None:
    size = (120, 2 * COARSE_PIXELS)
    picture = texture(*size)
    query = question(picture, middle(size), coarse=2)
    known, rows = evidence(query, answer(query, picture, 5, 1.0))
    assert rows.shape == (int(query.need.sum()) // 4, len(EVIDENCE))
    assert known.sum() == len(rows)
    shown = reliable(query, answer(query, picture, 5, 1.0))
    assert shown.shape == (int(query.need.sum()),)


@pytest.mark.parametrize("sure", [-1e9, 1e9])
def test_how_sure_it_has_to_be_is_an_option(sure: float) -> None:
    picture, hole = texture(*SIZE), middle(SIZE)
    plain = question(picture, hole)
    query = Query(0, plain.view, plain.region, plain.need, (), PropagationOptions(sure=sure))
    assert reliable(query, answer(query, picture, 3, 8.0)).all() == (sure < 0)
    assert reliable(query, answer(query, picture, 3, 8.0)).any() == (sure < 0)


def test_a_judge_comes_back_from_its_file(tmp_path: Path) -> None:
    judge = default_judge()
    judge.save(tmp_path / "judge.npz")
    rows = np.random.default_rng(0).normal(size=(50, len(EVIDENCE))).astype(np.float32)
    assert np.array_equal(Judge.load(tmp_path / "judge.npz")(rows), judge(rows))
    assert (tmp_path / "judge.npz").stat().st_size < 20_000
