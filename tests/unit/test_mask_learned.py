"""Our tracking network as it ships: that it follows, stays small, and says what is wrong with its file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from e2fgvi_cli.commands.weights import weights_app
from e2fgvi_cli.errors import UsageError, WeightsError
from e2fgvi_cli.mask_tools.engines import build_engine
from e2fgvi_cli.mask_tools.follower import PromptedFollower, Prompts
from e2fgvi_cli.mask_tools.following import Following
from e2fgvi_cli.mask_tools.learned import LearnedFollower, LookOptions, box_of, learned_followers, margin, window_around
from e2fgvi_cli.mask_tools.tracking import overlap
from e2fgvi_cli.mask_tools.walking import KnownMask, walk
from e2fgvi_cli.weights import trackers
from measurements.tracking import STARTS, scored

from .test_mask_tracking import GROUND, SIZE, frame, truth


@pytest.fixture(scope="module")
def network() -> Following:
    from e2fgvi_cli.mask_tools.learned import read_network

    return read_network(trackers.resolve("following"))


def test_object_is_followed_both_ways() -> None:
    """The tool's choice where nothing is asked for, from the true mask of a frame in the middle."""
    engine = build_engine("auto", device="cpu")
    assert engine.name == "own"
    steps = {step.frame: step for step in walk(frame, 8, {3: KnownMask(truth(3))}, engine.make)}
    assert sorted(steps) == list(range(8))
    assert min(overlap(step.mask, truth(index)) for index, step in steps.items()) > 0.8
    assert min(step.confidence for step in steps.values()) > 0.7


def test_without_training_it_does_not_follow(network: Following) -> None:
    """The control: it is the weights that follow."""
    torch.manual_seed(0)
    untrained = Following().eval()
    last = list(walk(frame, 4, {0: KnownMask(truth(0))}, lambda: LearnedFollower(untrained, torch.device("cpu"))))[-1]
    assert overlap(last.mask, truth(3)) < 0.5


def test_a_box_and_points_start_it(network: Following) -> None:
    follower = LearnedFollower(network, torch.device("cpu"))
    assert isinstance(follower, PromptedFollower)
    assert overlap(follower.prompt(frame(0), Prompts(box=box_of(truth(0)))), truth(0)) > 0.85
    assert overlap(follower.step(frame(1))[0], truth(1)) > 0.85
    other = LearnedFollower(network, torch.device("cpu"))
    assert overlap(other.prompt(frame(0), Prompts(points=((30.0, 40.0, True),))), truth(0)) > 0.8
    assert not LearnedFollower(network, torch.device("cpu")).prompt(frame(0), Prompts(((3.0, 3.0, False),))).any()


def test_it_is_less_sure_of_an_object_that_blurs_away(network: Following) -> None:
    sure = []
    for share in (1.0, 0.25):
        follower = LearnedFollower(network, torch.device("cpu"), LookOptions(least=0.0, unsure=0.0))
        follower.start(frame(0), truth(0))
        ground = np.clip(GROUND[10 : 10 + SIZE[0], 21 : 21 + SIZE[1]], 0, 255)
        mask, confidence = follower.step(np.rint(share * frame(1) + (1 - share) * ground).astype(np.uint8))
        sure.append(confidence if mask.any() else 0.0)
    assert sure[0] > 0.8
    assert sure[1] < sure[0] - 0.2


def test_what_is_gone_is_empty_and_found_again(network: Following) -> None:
    ground = np.clip(GROUND[10 : 10 + SIZE[0], 20 : 20 + SIZE[1]], 0, 255).astype(np.uint8)
    follower = LearnedFollower(network, torch.device("cpu"))
    follower.start(frame(0), truth(0))
    for _ in range(2):
        mask, confidence = follower.step(ground)
    assert (mask.any(), confidence) == (False, 0.0)
    assert overlap(follower.step(frame(2))[0], truth(2)) > 0.7


def test_memory_stays_flat(network: Following) -> None:
    options = LookOptions(side=64, marked=3, lately=2, apart=2)
    follower = LearnedFollower(network, torch.device("cpu"), options)
    held = []
    for index in range(12):
        follower.start(frame(index % 4), truth(index % 4))
        for later in range(1, 3):
            follower.step(frame((index + later) % 4))
        held.append(follower.held())
    assert max(held) <= 1 + 2 + 1 + 2 * 2
    assert held[-1] == held[-2]


@pytest.mark.parametrize("box", [(0, 0, 6, 4), (100, 80, 128, 96), (0, 0, 128, 96), (60, 0, 62, 96)])
def test_window_holds_the_object_and_lies_in_the_picture(box: tuple[float, float, float, float]) -> None:
    window = window_around(box, SIZE, LookOptions())
    assert 0 <= window.top <= box[1] < box[3] <= window.bottom <= SIZE[0]
    assert 0 <= window.left <= box[0] < box[2] <= window.right <= SIZE[1]
    assert all(length % 16 == 0 for length in window.size)
    assert 0.6 * 256**2 < window.size[0] * window.size[1] < 1.4 * 256**2 or window.bottom - window.top == 48


def test_margin_is_the_overlap_of_doubt() -> None:
    soft = np.zeros((4, 4), np.float32)
    mask = soft.astype(np.uint8)
    assert margin(soft, mask) == 0
    soft[0] = mask[0] = 1
    assert margin(soft, mask) == 1
    soft[1] = 0.25
    assert margin(soft, mask) == pytest.approx(4 / 5)


def test_a_file_at_fault_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = trackers.resolve("following")
    monkeypatch.setattr(trackers, "search_folders", lambda: (tmp_path,))
    with pytest.raises(WeightsError, match="'following' are not on this machine: install the program again, or use"):
        learned_followers("cpu")
    file = tmp_path / shipped.name
    shutil.copy(shipped, file)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    for engine in ("own", "auto"):
        with pytest.raises(WeightsError, match=r"following\.safetensors is damaged: its SHA-256 is"):
            build_engine(engine, device="cpu")


def test_weights_list_verify_and_import_know_it() -> None:
    shown = CliRunner().invoke(weights_app, ["list", "--json"])
    assert '"following"' in shown.stdout
    assert '"sam2-tiny"' in shown.stdout
    checked = CliRunner().invoke(weights_app, ["verify", "following"])
    assert (checked.exit_code, "known as: following" in checked.stdout) == (0, True)
    given = CliRunner().invoke(weights_app, ["import", str(trackers.resolve("following")), "--name", "following"])
    assert isinstance(given.exception, UsageError)
    assert str(given.exception) == (
        "weights 'following' ship with the program and are not imported: give another --name"
    )


def test_measurement_leaves_out_what_was_given() -> None:
    """A follower that keeps the mask it was given: right on still clips, and scored on nine, ten or eight frames."""

    class Still:
        def start(self, rgb: np.ndarray, mask: np.ndarray) -> None:
            self.mask = mask

        def step(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
            return self.mask, 0.5

    half = [truth(0)] * 5 + [truth(4)] * 5
    frames = [frame(index) for index in range(10)]
    lengths = {start: scored(frames, half, Still, start) for start in STARTS}
    assert [len(lengths[start][0]) for start in STARTS] == [9, 10, 8]
    right = [value == 1.0 for value in lengths["corrected"][0]]
    assert right == [True, True, False, False, True, True, True, True]  # the two before the correction are nearer to it
    after = overlap(truth(0), truth(4))
    assert lengths["mask"][0] == [1.0] * 4 + [after] * 5
    assert lengths["box"][1] == [1.0] + [0.5] * 9
