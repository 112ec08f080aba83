"""Masks of captions and logos: a detector of make-believe finds what was drawn, and the true one reads real letters."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import e2fgvi_cli
from e2fgvi_cli.app import app
from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.mask_tools import text_detection
from e2fgvi_cli.mask_tools.captions import FADED
from e2fgvi_cli.mask_tools.logo import LogoOptions, logo_to_file
from e2fgvi_cli.mask_tools.onset import UNKNOWN, onset
from e2fgvi_cli.mask_tools.shown import Region, parse_region
from e2fgvi_cli.mask_tools.strokes import likeness, presence, stroke_strength
from e2fgvi_cli.mask_tools.text import TextOptions, text_to_folder
from e2fgvi_cli.mask_tools.text_detection import TextBox
from e2fgvi_cli.video.span import Moment, Span, parse_moment

from .. import factories

SIZE = (64, 128)
FIRST, LAST = 5, 15
LINE = TextBox(20, 40, 84, 16, 0.9, 5)


def letters(word: str = "HELLO", at: tuple[int, int] = (22, 54)) -> np.ndarray:
    layer = np.zeros(SIZE, np.uint8)
    cv2.putText(layer, word, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
    return layer


def captioned(folder: Path, count: int = 20, first: int = FIRST, last: int = LAST) -> Path:
    """A panning ground with white letters on frames `first` to `last`."""
    frames = factories.clip(count, *SIZE) // 2
    for index in range(first, last + 1):
        frames[index][letters() > 0] = 255
    return factories.write_folder(folder, frames)


def reader_of_letters(picture: np.ndarray) -> list[TextBox]:
    """Says where the caption is on frames that have one, as a detector would."""
    return [LINE] if (picture == 255).all(axis=2).sum() > 100 else []


def masks(folder: Path) -> np.ndarray:
    return factories.read_folder(folder)[..., 0]


def test_a_caption_is_masked_from_its_first_frame_to_its_last_though_looked_at_rarely(tmp_path: Path) -> None:
    clip = captioned(tmp_path / "clip")
    done = text_to_folder(clip, tmp_path / "masks", TextOptions(every=4), detect=reader_of_letters)
    found = masks(tmp_path / "masks")
    assert [index for index, mask in enumerate(found) if mask.any()] == list(range(FIRST, LAST + 1))
    assert (done.frames, done.masked, len(done.captions)) == (20, 11, 1)
    assert sorted(p.name for p in (tmp_path / "masks").iterdir())[0] == "00000.png"
    inside = letters() > 0
    assert (found[10][inside] == 255).mean() > 0.98
    assert not found[10][cv2.dilate(letters(), np.ones((13, 13), np.uint8)) == 0].any()


def test_of_a_faint_caption_only_the_letters_are_masked(tmp_path: Path) -> None:
    """45 % opaque, over a ground with bars as bright and as thin as the letters, which does not move."""
    frames = np.full((20, *SIZE, 3), 70, np.uint8)
    frames[:, 30:62, 4:124:12] = 160
    inside = letters() > 0
    for index in range(FIRST, LAST + 1):
        frames[index][inside] = np.rint(0.55 * frames[index][inside] + 0.45 * 255)
    clip = factories.write_folder(tmp_path / "clip", frames)
    text_to_folder(
        clip, tmp_path / "masks", TextOptions(every=4), detect=lambda picture: [LINE] if picture.max() > 170 else []
    )
    found = masks(tmp_path / "masks")
    assert [index for index, mask in enumerate(found) if mask.any()] == list(range(FIRST, LAST + 1))
    assert (found[10][inside] == 255).mean() > 0.98
    assert not found[10][cv2.dilate(letters(), np.ones((9, 9), np.uint8)) == 0].any()


BOX = np.s_[36:60, 16:108]


def coming(since: int, count: int = 8) -> np.ndarray:
    """The box of a caption in still frames of noise on which letters stand from frame `since` on."""
    frames = np.stack([factories.texture(*SIZE) // 2] * count)
    frames[since:, letters() > 0] = 220
    return frames[(slice(None), *BOX)]


def test_the_step_is_what_came_with_the_caption() -> None:
    frames = coming(5)
    known = np.ones(frames[0].shape[:2], bool)
    known[:, 80:] = False
    came = onset(list(frames), stroke_strength(frames[-1], 14), known)
    assert came is not None
    assert came.since == 5
    drawn = letters()[BOX]
    beside = (cv2.dilate(drawn, np.ones((9, 9), np.uint8)) == 0) & known
    assert (came.step[..., 0][(drawn > 0) & known] > 60).mean() > 0.95
    assert beside.sum() > 100
    assert not came.step[beside].any()
    assert (came.step[:, 80:] == UNKNOWN).all()


def test_presence_does_not_mind_what_stands_beside_the_strokes() -> None:
    strength = stroke_strength(coming(0)[0], 14)
    drawn = strength * (cv2.dilate(letters()[BOX], np.ones((3, 3), np.uint8)) > 0)[..., None]
    busy = np.maximum(strength, factories.texture(*SIZE, seed=5)[BOX][..., :2]).astype(np.float32)
    assert presence(strength, drawn) == 1
    assert likeness(busy, drawn) < 0.5
    assert presence(busy, drawn) >= 1
    assert presence(0.3 * strength, drawn) == pytest.approx(0.3, abs=0.01)
    other = stroke_strength(np.roll(coming(0)[0], 9, axis=1), 14)
    assert presence(other, drawn) < FADED
    assert presence(strength, 0 * drawn) == 0


def test_a_cut_says_nothing_of_the_caption() -> None:
    """Nor do frames in which it stands already, and ones in which something else comes."""
    frames = coming(0)
    strength, known = stroke_strength(frames[-1], 14), np.ones(frames[0].shape[:2], bool)
    assert onset(list(frames), strength, known) is None
    cut = frames.copy()
    cut[:4] = 10
    cut[:4, :, :45] = 215  # as bright as the letters, of which half would be lost
    assert onset(list(cut), strength, known) is None
    passing = frames.copy()
    passing[4:, :, 4:14] = 250
    assert onset(list(passing), strength, known) is None


def test_boxes_are_whole_rectangles_and_strokes_are_less(tmp_path: Path) -> None:
    clip = captioned(tmp_path / "clip")
    text_to_folder(clip, tmp_path / "boxes", TextOptions("boxes", every=4), detect=reader_of_letters)
    text_to_folder(clip, tmp_path / "strokes", TextOptions(every=4), detect=reader_of_letters)
    boxes, strokes = masks(tmp_path / "boxes")[10] > 0, masks(tmp_path / "strokes")[10] > 0
    assert boxes[36:60, 16:108].all()
    assert boxes.sum() == 24 * 92
    assert strokes.sum() < 0.75 * boxes.sum()
    assert not (strokes & ~boxes).any()


def test_text_that_comes_after_the_last_look_is_found_at_the_last_frame(tmp_path: Path) -> None:
    clip = captioned(tmp_path / "clip", count=12, first=9, last=11)
    text_to_folder(clip, tmp_path / "masks", TextOptions(every=8), detect=reader_of_letters)
    assert [i for i, mask in enumerate(masks(tmp_path / "masks")) if mask.any()] == [9, 10, 11]


def test_frames_outside_of_the_span_have_no_mask_and_region_is_given_to_the_detector(tmp_path: Path) -> None:
    clip = captioned(tmp_path / "clip")
    seen = []

    def detect(picture: np.ndarray) -> list[TextBox]:
        seen.append(picture.shape)
        return [TextBox(10, 8, 84, 16, 0.9, 5)]

    options = TextOptions(region=Region(10, 32, 110, 40), span=Span(Moment(frame=8), Moment(frame=12)))
    done = text_to_folder(clip, tmp_path / "masks", options, detect=detect)
    assert set(seen) == {(32, 110, 3)}
    assert done.captions[0].box == Region(16, 36, 92, 24)
    assert [i for i, mask in enumerate(masks(tmp_path / "masks")) if mask.any()] == [8, 9, 10, 11, 12]


def test_persistent_keeps_only_what_stays(tmp_path: Path) -> None:
    clip = captioned(tmp_path / "clip")
    with pytest.raises(InputError, match=r"no text that stays was found in .*looking at 6 frames"):
        text_to_folder(clip, tmp_path / "m", TextOptions(every=4, persistent=True), detect=reader_of_letters)
    assert not (tmp_path / "m").exists()
    always = captioned(tmp_path / "always", first=0, last=19)
    done = text_to_folder(always, tmp_path / "m", TextOptions(every=4, persistent=True), detect=reader_of_letters)
    assert done.masked == 20


@pytest.mark.parametrize("line", [replace(LINE, confidence=0.3), replace(LINE, letters=1), replace(LINE, height=50)])
def test_what_is_hardly_read_a_single_letter_or_too_high_is_no_text(tmp_path: Path, line: TextBox) -> None:
    clip = captioned(tmp_path / "clip", count=4, first=0, last=3)
    with pytest.raises(InputError, match="no text was found"):
        text_to_folder(clip, tmp_path / "m", detect=lambda picture: [line])


def test_what_cannot_be_meant_is_said(tmp_path: Path) -> None:
    clip = captioned(tmp_path / "clip", count=4, first=0, last=3)
    with pytest.raises(InputError, match=r"--region 500,0,9,9 lies outside the frame, which is 128x64"):
        text_to_folder(clip, tmp_path / "m", TextOptions(region=Region(500, 0, 9, 9)), detect=reader_of_letters)
    with pytest.raises(InputError, match=r"no frame of .* lies between --from and --to: it has 4"):
        text_to_folder(clip, tmp_path / "m", TextOptions(span=Span(Moment(frame=9))), detect=reader_of_letters)
    with pytest.raises(UsageError, match=r"--shape round is not known; there are strokes and boxes"):
        TextOptions("round")
    with pytest.raises(UsageError, match=r"--from 'x' is neither a frame \(120\) nor a time"):
        parse_moment("x", "--from")
    with pytest.raises(UsageError, match=r"--region '0,0,5' has 3 numbers"):
        parse_region("0,0,5")


@pytest.mark.parametrize(
    ("text", "moment"),
    [("12", Moment(frame=12)), ("2.5s", Moment(time=5 / 2)), ("1:04", Moment(time=64)), ("1:00:04", Moment(time=3604))],
)
def test_moments_are_frames_or_times(text: str, moment: Moment) -> None:
    assert parse_moment(text, "--to") == moment


def test_the_missing_extra_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *more: object, **named: object) -> object:
        if name.startswith("rapidocr"):
            raise ImportError(name)
        return imported(name, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    clip = captioned(tmp_path / "clip", count=4, first=0, last=3)
    done = CliRunner().invoke(app, ["mask", "text", "--video", str(clip), "-o", str(tmp_path / "m")])
    assert done.exit_code == 3
    assert text_detection.MISSING in " ".join(done.output.split())
    assert text_detection.MISSING.endswith('pip install "e2fgvi-cli[text]"')
    assert not (tmp_path / "m").exists()


def test_the_true_detector_reads_real_letters(tmp_path: Path) -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    picture = factories.texture(120, 200) // 2
    cv2.putText(picture, "HELLO", (40, 90), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
    clip = factories.write_folder(tmp_path / "clip", picture[None])
    done = e2fgvi_cli.find_text(clip, tmp_path / "masks")
    assert (done.masked, len(done.captions)) == (1, 1)
    assert (masks(tmp_path / "masks")[0][(picture == 255).all(axis=2)] == 255).mean() > 0.95


def with_logo(folder: Path, opacity: float) -> Path:
    frames = factories.clip(24, *SIZE).astype(np.float32) * 0.6
    alpha = letters("TV", (90, 22))[None, ..., None] / 255 * opacity
    return factories.write_folder(folder, np.rint(frames * (1 - alpha) + 255 * alpha).astype(np.uint8))


@pytest.mark.parametrize("opacity", [1.0, 0.6])
def test_a_logo_is_found_by_what_stays(tmp_path: Path, opacity: float) -> None:
    clip = with_logo(tmp_path / "clip", opacity)
    arguments = ["mask", "logo", "--video", str(clip), "-o", str(tmp_path / "logo.png"), "--every", "1", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    mask = cv2.imread(str(tmp_path / "logo.png"), cv2.IMREAD_GRAYSCALE)
    true = letters("TV", (90, 22))
    assert (mask[true > 0] == 255).mean() > 0.95
    assert not mask[cv2.dilate(true, np.ones((21, 21), np.uint8)) == 0].any()
    assert json.loads(done.stdout)["looked"] == 24


def test_without_a_logo_nothing_is_written(tmp_path: Path) -> None:
    clip = factories.write_folder(tmp_path / "clip", factories.clip(24, *SIZE))
    with pytest.raises(InputError, match=r"no logo was found in .*looking at 12 frames"):
        logo_to_file(clip, tmp_path / "logo.png")
    assert not (tmp_path / "logo.png").exists()


def still_clip(folder: Path, opacity: float) -> Path:
    """A camera that stands still, and letters at (90, 22) in an even corner of a busy ground."""
    ground = np.random.default_rng(0).integers(0, 120, (*SIZE, 3), dtype=np.uint8)
    ground[:30, 80:] = 60
    logo = letters("TV", (90, 22)) > 0
    ground[logo] = (ground[logo] * (1 - opacity) + 255 * opacity).astype(np.uint8)
    return factories.write_folder(folder, np.stack([ground] * 12))


def test_where_all_stands_still_a_region_is_asked_for_and_taken(tmp_path: Path) -> None:
    clip = still_clip(tmp_path / "clip", 1.0)
    with pytest.raises(InputError, match="stays in its place, so a logo does not stand out: give --region") as no:
        logo_to_file(clip, tmp_path / "logo.png")
    assert "or find its letters with `e2fgvi mask text --persistent --region x,y,w,h`" in str(no.value)
    done = logo_to_file(clip, tmp_path / "logo.png", LogoOptions(region=Region(82, 0, 46, 28)))
    assert all(box.x >= 82 and box.y + box.height <= 28 for box in done.boxes)


@pytest.mark.parametrize("still", [True, False])
def test_a_region_where_all_stands_still_is_said_and_what_finds_letters_is_named(tmp_path: Path, still: bool) -> None:
    clip = (still_clip if still else with_logo)(tmp_path / "clip", 0.5)
    arguments = ["mask", "logo", "--video", str(clip), "-o", str(tmp_path / "logo.png"), "--region", "82,0,46,28"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    said = "the camera stands still there, so edges of the ground in --region are in the mask, too"
    other = f"e2fgvi mask text --persistent --region 82,0,46,28 --video {clip}"
    assert ((said in done.stderr), (other in done.stderr)) == (still, still)


def test_a_region_of_even_ground_that_stands_still_names_what_finds_letters(tmp_path: Path) -> None:
    ground = np.random.default_rng(0).integers(0, 120, (*SIZE, 3), dtype=np.uint8)
    ground[:30, 80:] = 60
    clip = factories.write_folder(tmp_path / "clip", np.stack([ground] * 12))
    with pytest.raises(InputError, match="mask text --persistent --region x,y,w,h`: the camera stands still there"):
        logo_to_file(clip, tmp_path / "logo.png", LogoOptions(region=Region(86, 4, 38, 20)))


def test_too_few_frames_for_a_logo_are_said(tmp_path: Path) -> None:
    clip = factories.write_folder(tmp_path / "clip", factories.clip(4, *SIZE))
    with pytest.raises(InputError, match=r"gave 2 frames to look at, and 6 are needed; try --every 1"):
        logo_to_file(clip, tmp_path / "logo.png")
