"""`e2fgvi mask track`: marks on a clip become a folder with a mask a frame, and a table of how sure each is."""

from __future__ import annotations

import csv
import io
import itertools
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import masks, video
from ..comparison.layout import eight_bits
from ..errors import InputError, UsageError
from ..masks import MaskOptions
from ..masks.inspection import FrameCoverage, coverage, coverage_warnings, ranges
from ..system.paths import Read, Written, check_all
from ..system.publication import Publication
from ..types import HoleArray, PixelArray, VideoInfo
from ..video import images
from ..video.masks.files import MaskDecoder
from ..video.reading import probe
from .follower import MakeFollower, Prompts
from .marks import BoxMark, FrameMarks, KeyframeMark, Mark, by_object, require_frames
from .seeds import corrected, mask_from_points
from .tracking import mask_from_box, require_in_frame, require_mask
from .walking import looks, walk

LARGEST_SIDE = 640  # at which an object is followed; masks are written at the clip's own size
DOUBTFUL = 0.5
"""A confidence below it makes a frame one to look at."""
_CHUNK = 24  # frames decoded together when going backwards


@dataclass(frozen=True)
class FollowedFrame:
    """An object in a frame: how sure its mask is (0..1; 1 where it was marked, 0 where it is not seen) and which share
    of the frame it covers."""

    frame: int
    object: int
    confidence: float
    share: float


@dataclass(frozen=True)
class Tracked:
    """`frames` masks were written to the folder `output`, and what `followed` says of each object and frame (by object,
    then frame) to the CSV file `table`.

    lost: frames in which an object is not seen. look_at: frames worth a look, those of a low confidence and the first
    ones in which an object is lost. notices: what was assumed of the masks given. warnings: what looks wrong.
    """

    output: Path
    table: Path
    frames: int
    followed: list[FollowedFrame]
    lost: list[int]
    look_at: list[int]
    notices: list[str]
    warnings: list[str]


def table_beside(folder: Path) -> Path:
    """The file of confidences that goes with a folder of masks."""
    return folder.with_name(folder.name + ".confidence.csv")


def track_to_folder(
    clip: Path,
    target: Path,
    marks: Sequence[Mark],
    make: MakeFollower,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tracked:
    """Follow what the marks mean in both directions, and write a mask a frame.

    Marks speak of the clip as displayed. The folder has the names of the clip's frames (numbers from 000000 for a
    video), so that it can be given to --mask; with several objects a pixel is the number of its object, as --mask-ids
    reads it. Folder and table appear when they are complete. Raises `InputError`, `UsageError`.
    """
    objects = by_object(marks)
    check_track_paths(clip, target, marks, overwrite=overwrite)
    with video.open_reader(clip) as reader:
        info = reader.info
    notices: list[str] = []
    video.check_output(target, info, video.OutputOptions(codec="png", overwrite=overwrite))
    size = working_size(info.height, info.width)
    with video.open_random_access(clip, size=size, keep=_CHUNK + 2) as access:
        count = len(access)
        require_frames(objects, count)
        anchors = {
            number: {index: _Marked(frame, info, notices) for index, frame in frames.items()}
            for number, frames in objects.items()
        }
        names = _names(info, count)
        followed: list[FollowedFrame] = []
        with Publication() as publication:
            folder = publication.temporary(target, overwrite=overwrite)
            folder.mkdir()
            shown = _Shown(access, info.rotation)
            held = _Numbered(len(objects) > 1)
            on_look = _counter(count * len(anchors), sum(looks(count, one) for one in anchors.values()), on_progress)
            for number, of_frames in anchors.items():
                for step in walk(shown, count, of_frames, make, on_look):
                    followed.append(FollowedFrame(step.frame, number, step.confidence, coverage(step.mask)))
                    held.put(number, step.frame, step.mask, step.confidence)
                    if number == max(anchors):
                        picture = _at_clip_size(held.take(step.frame, step.mask), info)
                        images.write_image(folder / names[step.frame], picture)
            followed.sort(key=lambda one: (one.object, one.frame))
            table = publication.temporary(table_beside(target), overwrite=overwrite)
            table.write_text(_as_csv(followed), encoding="utf-8")
    return _judged(target, len(names), followed, notices)


def _counter(frames: int, total: int, on_progress: Callable[[int, int], None]) -> Callable[[], None]:
    """What to call at each of `total` looks: tells `on_progress` of so many `frames`, some of which are looked at
    twice."""
    told = 0
    done = itertools.count(1)

    def on_look() -> None:
        nonlocal told
        now = next(done) * frames // total
        if now > told:
            told = now
            on_progress(now, frames)

    return on_look


def _judged(target: Path, count: int, followed: Sequence[FollowedFrame], notices: list[str]) -> Tracked:
    warnings: list[str] = []
    look_at: set[int] = set()
    several = len({one.object for one in followed}) > 1
    for number, group in itertools.groupby(followed, key=lambda one: one.object):
        frames = list(group)
        name = f"object {number}" if several else "the object"
        seen = [FrameCoverage(one.frame, one.share) for one in frames if one.share]
        warnings += [f"{name}: {sentence}" if several else sentence for sentence in coverage_warnings(seen)]
        look_at |= {one.frame for one in frames if one.share and one.confidence < DOUBTFUL}
        for first, last in _runs([one.frame for one in frames if not one.share]):
            look_at.add(first)
            warnings.append(_say_gone(name, number if several else None, first, last, count))
    lost = sorted({one.frame for one in followed if not one.share})
    return Tracked(target, table_beside(target), count, list(followed), lost, sorted(look_at), notices, warnings)


def _say_gone(name: str, number: int | None, first: int, last: int, count: int) -> str:
    prefix = f"{number}:" if number is not None else ""
    where = f"in frame {first}" if first == last else f"in frames {first}-{last}"
    back = f"and is found again in frame {last + 1}" if last + 1 < count else "up to the end"
    return (
        f"{name} is not seen {where} {back}: if it is there, mark it in one of them, such as --point "
        f"{prefix}+x,y@{first}"
    )


def _runs(frames: Sequence[int]) -> list[tuple[int, int]]:
    """(first, last) of each run of consecutive numbers of a rising list."""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and runs[-1][1] == frame - 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))
    return runs


def to_look_at(done: Tracked) -> str:
    """One sentence that names the frames worth a look; empty if there are none."""
    if not done.look_at:
        return ""
    return f"frames to look at ({len(done.look_at)}): {ranges(done.look_at)}"


def _as_csv(followed: Iterable[FollowedFrame]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("frame", "object", "confidence", "share"))
    for one in followed:
        table.writerow((one.frame, one.object, f"{one.confidence:.4f}", f"{one.share:.6f}"))
    return text.getvalue()


def check_track_paths(
    clip: Path, target: Path, marks: Sequence[Mark], weights: Path | None = None, *, overwrite: bool
) -> None:
    """Raise `InputError` if what is written would replace what it is made from, or what is there. Opens nothing."""
    given = [Read(f"the mask of frame {one.frame}", one.path) for one in marks if isinstance(one, KeyframeMark)]
    more = [] if weights is None else [Read("the weights file", weights)]
    written = [
        Written("the output", target, True, overwrite),
        Written("the table of confidences", table_beside(target), False, overwrite),
    ]
    check_all(written, [Read("the input", clip), *given, *more])


def working_size(height: int, width: int) -> tuple[int, int]:
    """The clip's size, its longer side at most `LARGEST_SIDE`."""
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _names(info: VideoInfo, count: int) -> list[str]:
    if info.is_folder:
        files = probe.image_list(info.path)
        if len(files) == count:  # else pages of one file
            return [f"{file.stem}.png" for file in files]
    return [f"{index:06d}.png" for index in range(count)]


class _Shown:
    """Frames by number, turned as displayed; going backwards, a run of them is decoded at once, for a decoder only goes
    forwards."""

    def __init__(self, access: video.RandomAccess, rotation: int) -> None:
        self._access = access
        self._rotation = rotation
        self._last = 0

    def __call__(self, index: int) -> PixelArray:
        if index < self._last:
            for _ in self._access.frames(range(max(index - _CHUNK + 1, 0), index + 1)):
                pass  # fills the recent frames; those already there cost nothing
        self._last = index
        turned = masks.turn_to_display(eight_bits(self._access.frame(index).rgb), self._rotation)
        return np.ascontiguousarray(turned)


class _Numbered:
    """The masks of objects that were followed one after the other, packed; where they overlap the surer one wins."""

    def __init__(self, several: bool) -> None:
        self._several = several
        self._held: dict[int, list[tuple[int, float, bytes]]] = {}

    def put(self, number: int, frame: int, mask: HoleArray, confidence: float) -> None:
        if self._several:
            packed = zlib.compress(np.packbits(mask).tobytes(), 1)
            self._held.setdefault(frame, []).append((number, confidence, packed))

    def take(self, frame: int, mask: HoleArray) -> HoleArray:
        """(H, W) of numbers, 255 for one object alone; `mask` gives the size."""
        if not self._several:
            return mask * 255
        numbers = np.zeros(mask.shape, np.uint8)
        for number, _, packed in sorted(self._held.pop(frame), key=lambda one: one[1]):
            bits = np.frombuffer(zlib.decompress(packed), np.uint8)
            numbers[np.unpackbits(bits, count=mask.size).reshape(mask.shape) > 0] = number
        return numbers


class _Marked:
    """The marks of an object in one frame as an anchor of the walk."""

    def __init__(self, marks: FrameMarks, info: VideoInfo, notices: list[str]) -> None:
        self._marks = marks
        self._info = info
        height, width = info.display_size
        if marks.box is not None:
            require_in_frame(_corners(marks.box), info.display_size)
        for point in marks.points:
            if not (0 <= point.x < width and 0 <= point.y < height):
                raise UsageError(
                    f"--point {point.x:g},{point.y:g}@{point.frame} does not lie in the frame of {width}x{height}; "
                    "give x,y in it"
                )
        self._file = None if marks.keyframe is None else _read_mask(marks.keyframe, info, notices)

    def mask(self, rgb: PixelArray, arrived: HoleArray | None) -> HoleArray:
        prompts = self._scaled(rgb.shape)
        if self._file is not None:
            known: HoleArray | None = masks.resize_nearest(self._file, rgb.shape[:2])
        elif prompts.box is not None:
            left, top, right, bottom = prompts.box
            known = mask_from_box(rgb, (left, top, right - left, bottom - top))
        else:
            known = arrived
        if not prompts.points:
            assert known is not None
            return known
        if known is None or not known.any():
            inner = any(inside for _, _, inside in prompts.points)
            return mask_from_points(rgb, prompts.points) if inner else np.zeros(rgb.shape[:2], np.uint8)
        return corrected(rgb, known, prompts.points)

    def prompts(self, shape: tuple[int, ...]) -> Prompts | None:
        return None if self._file is not None else self._scaled(shape)

    def _scaled(self, shape: tuple[int, ...]) -> Prompts:
        down, across = shape[0] / self._info.display_size[0], shape[1] / self._info.display_size[1]
        box = self._marks.box
        corners = None
        if box is not None:
            left, top = box.x * across, box.y * down
            corners = (left, top, left + max(box.width * across, 2.0), top + max(box.height * down, 2.0))
        points = tuple((point.x * across, point.y * down, point.inside) for point in self._marks.points)
        return Prompts(points, corners)


def _corners(box: BoxMark) -> tuple[float, float, float, float]:
    return box.x, box.y, box.width, box.height


def _read_mask(mark: KeyframeMark, info: VideoInfo, notices: list[str]) -> HoleArray:
    """(H, W) hole as displayed."""
    if not mark.path.is_file():
        raise InputError(f"there is no mask {mark.path}; check --keyframe")
    decoder = MaskDecoder(MaskOptions(), notices)
    decoder.settle([decoder.look_at(mark.path)], 1)
    hole = require_mask(decoder.read(mark.path), f"--keyframe {mark.frame}={mark.path}")
    return masks.turn_to_display(masks.turn_to_stored(hole, info.rotation), info.rotation)


def _at_clip_size(mask: HoleArray, info: VideoInfo) -> HoleArray:
    """A mask of 255 or of object numbers at the size displayed."""
    import cv2

    height, width = info.display_size
    if mask.max(initial=0) in (0, 255):
        smooth = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
        return ((smooth > 127) * 255).astype(np.uint8)
    numbers = np.zeros((height, width), np.uint8)
    for number in np.unique(mask[mask > 0]).tolist():
        one = cv2.resize((mask == number).astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR)
        numbers[one > 127] = number
    return numbers
