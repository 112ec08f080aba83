"""Properties of the window planner."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from e2fgvi_cli.fill.windows import blend_weight, lookahead, plan_published_window, plan_window
from e2fgvi_cli.types import Window

strides = st.integers(1, 12)
references = st.none() | st.integers(0, 9)


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, int, int, int | None]:
    return draw(st.integers(1, 120)), draw(strides), draw(strides), draw(references)


def windows_of(count: int, stride: int, reference_stride: int, most: int | None) -> list[Window]:
    return [
        plan_window(
            c, 0, count - 1, neighbor_stride=stride, reference_stride=reference_stride, max_references=most
        )
        for c in range(0, count, stride)
    ]  # fmt: skip


@given(plans())
def test_every_frame_is_filled_and_no_reference_is_local(plan: tuple[int, int, int, int | None]) -> None:
    count, stride, reference_stride, most = plan
    filled: set[int] = set()
    for window in windows_of(*plan):
        filled |= set(window.local)
        assert list(window.local) == list(range(window.local[0], window.local[-1] + 1))
        assert not set(window.local) & set(window.reference)
        assert list(window.reference) == sorted(set(window.reference))
        assert all(0 <= i < count and i % reference_stride == 0 for i in window.frames if i not in window.local)
        assert most is None or len(window.reference) <= most
        assert len(window.local) <= 2 * stride + 1
    assert filled == set(range(count))


@given(plans())
def test_frames_before_a_centre_are_final(plan: tuple[int, int, int, int | None]) -> None:
    windows = windows_of(*plan)
    for earlier, later in pairwise(windows):
        assert min(later.local) >= earlier.center


@given(plans(), st.integers(0, 200))
def test_a_window_does_not_depend_on_what_lies_beyond_its_lookahead(
    plan: tuple[int, int, int, int | None], more: int
) -> None:
    _, stride, reference_stride, most = plan
    ahead = lookahead(stride, reference_stride, most)
    if ahead is None:
        return
    options = {"neighbor_stride": stride, "reference_stride": reference_stride, "max_references": most}
    for center in (0, stride, 7 * stride):
        assert plan_window(center, 0, center + ahead, **options) == plan_window(
            center, 0, center + ahead + more, **options
        )


@given(plans(), st.integers(1, 500))
def test_a_shot_is_planned_as_if_it_began_at_zero(plan: tuple[int, int, int, int | None], start: int) -> None:
    count, stride, reference_stride, most = plan
    options = {"neighbor_stride": stride, "reference_stride": reference_stride, "max_references": most}
    for window in windows_of(*plan):
        moved = plan_window(window.center + start, start, start + count - 1, **options)
        assert moved.frames == tuple(i + start for i in window.frames)


def test_references_are_the_nearest_on_both_sides() -> None:
    window = plan_window(50, 0, 99, neighbor_stride=5, reference_stride=10, max_references=4)
    assert window == Window(50, tuple(range(45, 56)), (30, 40, 60, 70))
    at_start = plan_window(0, 0, 99, neighbor_stride=5, reference_stride=10, max_references=4)
    assert at_start.reference == (10, 20, 30, 40)


@given(plans())
def test_published_windows_take_every_tenth_frame_of_the_clip(plan: tuple[int, int, int, int | None]) -> None:
    count, stride, reference_stride, most = plan
    for center in range(0, count, stride):
        window = plan_published_window(
            center, count, neighbor_stride=stride, reference_stride=reference_stride, max_references=most
        )
        assert all(0 <= i < count for i in window.reference)  # the published --num_ref may select index == length
        if most is None:
            assert set(window.reference) == set(range(0, count, reference_stride)) - set(window.local)
        else:
            assert len(window.reference) <= most


@given(plans())
def test_weights_fall_from_the_centre_and_stay_positive(plan: tuple[int, int, int, int | None]) -> None:
    for window in windows_of(*plan):
        weights = [blend_weight(i, window) for i in window.local]
        assert min(weights) > 0
        assert blend_weight(window.center, window) == max(weights) == 1
