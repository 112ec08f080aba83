"""What takes a while: how far it is, what ends it, and what it says when it cannot be done."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from e2fgvi_cli.types import Progress

from .asking import BOX, CLIP, Moving, finished, follow, numbers, png, put

pytest.importorskip("starlette", reason="the extra [ui] is not installed")
from e2fgvi_cli.ui import work
from e2fgvi_cli.ui.project import apply_marks
from e2fgvi_cli.ui.work import Job


def test_time_left_counts_from_the_first_share_and_runs_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(work.time, "monotonic", lambda: clock.now)
    job = Job("fill", "a.mp4")

    def at(now: float, share: float) -> float | None:
        clock.now = now
        job.advance(0, 10, share)
        return job.record()["eta"]

    assert at(30.0, 0.0) is None  # the weights are loaded
    assert at(30.0, 0.1) is None
    assert at(32.0, 0.15) is None  # frames are read quickly
    assert at(40.0, 0.2) == pytest.approx(80)
    assert at(60.0, 0.2) == pytest.approx(60)  # the window is not done yet
    assert at(999.0, 0.2) == 0
    assert at(50.0, 0.6) == pytest.approx(16)


def test_a_fill_is_seen_to_move_before_its_first_frame_and_says_that_it_ends(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Run:
        """Half of the way, no frame finished, until it is cancelled."""

        progress = Progress(0, 12, 0.5)

        def __init__(self, _options: Any, *, cancel: Any) -> None:
            self.cancel = cancel

        def __enter__(self) -> Run:
            return self

        def __exit__(self, *_error: object) -> None: ...

        def finish(self) -> None:
            assert self.cancel.wait(60)
            assert going.wait(60)
            raise work.StoppedError("cancelled")

    going = work.Event()
    monkeypatch.setattr(work, "inpaint", Run)
    follow(client, monkeypatch)
    client.post(f"{CLIP}/start/fill")
    deadline = time.monotonic() + 60
    while (job := client.get(CLIP).json()["job"])["share"] == 0:
        assert time.monotonic() < deadline
    assert (job["share"], job["done"], job["total"], job["ending"]) == (0.5, 0, 12, False)
    client.post("/token/api/cancel")
    job = client.get(CLIP).json()["job"]
    assert (job["state"], job["ending"]) == ("running", True)
    going.set()
    assert finished(client)["state"] == "cancelled"
    assert client.get(CLIP).json()["job"]["ending"] is False


@pytest.mark.parametrize(("long", "start"), [(400, None), (4, 2)])
def test_a_test_is_what_the_command_fills_and_does_not_begin_far_before(
    client: Any, site: Any, monkeypatch: pytest.MonkeyPatch, long: int, start: int | None
) -> None:
    asked = []

    def fill_frame(options: Any, number: int, *, on_share: Any) -> Any:
        asked.append((options.video.name, options.mask.name, options.span.start, number))
        on_share(0.25)
        seen.append(client.get(CLIP).json()["job"])
        client.post("/token/api/cancel")
        on_share(0.5)

    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(work, "fill_frame", fill_frame)
    monkeypatch.setattr(work, "LONG", long)
    state = follow(client, monkeypatch)
    assert state["commands"]["test"].endswith("masks' --device cpu")
    client.post(f"{CLIP}/start/test?frame=6")
    assert finished(client)["state"] == "cancelled"
    assert asked == [("a clip.mp4", "masks", None if start is None else work.Moment(frame=start), 6)]
    assert (seen[0]["share"], seen[0]["total"]) == (0.25, None)
    assert client.get(CLIP).json()["tested"] == []


def test_wrong_weights_are_said(client: Any, site: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    follow(client, monkeypatch)
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"no weights at all")
    site.worker.weights = str(wrong)
    for kind in ("test", "fill"):
        client.post(f"{CLIP}/start/{kind}?frame=3")
        job = finished(client)
        assert job["state"] == "failed"
        assert "wrong.pth" in job["message"]
        assert "\n" not in job["message"]
        assert "Error" not in job["message"]
    assert client.get(CLIP).json()["filled"] is False


def test_a_mistake_of_the_program_is_said_as_one(client: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(site.worker, "boxed", broken)
    answer = put(client, 0, 0, BOX)
    sentence = "ZeroDivisionError: by nothing (a mistake of the program: its terminal says more)"
    assert (answer.status_code, answer.json()["error"]) == (500, sentence)


class Blind(Moving):
    """Finds nothing in any box."""

    def prompt(self, rgb: np.ndarray, _prompts: object) -> np.ndarray:
        return np.zeros(rgb.shape[:2], np.uint8)


def test_nothing_is_found_in_a_box(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from e2fgvi_cli.mask_tools import engines

    monkeypatch.setattr(engines, "build_engine", lambda *_, **__: SimpleNamespace(make=Blind))
    answer = put(client, 3, 0, BOX)
    sentence = "nothing was found in the box: draw it closely around the object, or paint the object"
    assert (answer.status_code, answer.json()["error"]) == (400, sentence)
    assert client.get(CLIP).json()["marks"] == {}


def test_a_mask_wiped_out_says_that_the_object_is_not_there(
    client: Any, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = png(np.zeros((48, 64), np.uint8))
    put(client, 3, 0, nothing)
    assert client.post(f"{CLIP}/start/track").json()["error"].startswith("nothing is marked yet: draw a box")
    client.delete(f"{CLIP}/mark/3", headers={"x-revision": "1"})
    state = follow(client, monkeypatch, revision=2)
    state = put(client, 5, state["revision"], nothing).json()
    assert "5=" not in state["commands"]["track"]
    client.post(f"{CLIP}/start/track")
    assert finished(client)["state"] == "done"
    apply_marks(site.projects["a clip.mp4"])
    assert [numbers(client, frame).any() for frame in (4, 5, 6)] == [True, False, True]
    files = sorted(site.projects["a clip.mp4"].masks.glob("*.png"))
    assert [cv2.imread(str(files[frame])).any() for frame in (4, 5, 6)] == [True, False, True]


class Leaving(Moving):
    """Loses sight in the fourth to sixth step."""

    steps = 0

    def step(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        mask, sure = super().step(rgb)
        self.steps += 1
        return (np.zeros_like(mask), 0.0) if 4 <= self.steps <= 6 else (mask, sure)


def test_an_object_that_leaves_and_returns(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    state = follow(client, monkeypatch, Leaving)
    gone = [not numbers(client, frame).any() for frame in range(12)]
    assert gone == [frame in (4, 5, 6) for frame in range(12)]
    assert state["confidence"][3:8] == [0.9, 0.0, 0.0, 0.0, 0.9]
    assert state["look_at"][0] == [4, 1]
