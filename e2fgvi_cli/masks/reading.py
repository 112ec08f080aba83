"""What the samples of masks mean, decided once for all masks of a clip. Pure.

Masks come as black and white, as numbers of objects, as 0 and 1, as 8 bits in a file of 16, as transparency. One
picture often fits several of these, a whole folder rarely: what is decided of all holds for each, and is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..types import HoleArray
from .inspection import TOO_MUCH
from .looks import BLACK, GRAY_SPREAD, Look, numbers_of
from .normalise import as_levels, to_eight_bits
from .options import DEFAULT_THRESHOLD, MaskOptions

_MOST_OBJECTS = 64
_DARK, _BRIGHT = 32, 223
_NOISE = 16  # levels up to here are what lossy compression leaves of black


@dataclass(frozen=True)
class Reading:
    """How a picture becomes a hole, before inversion.

    objects: palette pictures hold object numbers. black: their background is what is black (else number 0). alpha: the
    channel is the mask: its "opaque" or its "transparent" part. narrow: files of 16 bits hold levels 0..255.
    any_number: whatever is not 0 is hole; else what is above the threshold.
    """

    objects: bool = False
    black: bool = False
    alpha: Literal["opaque", "transparent"] | None = None
    narrow: bool = False
    any_number: bool = False

    def hole(self, picture: NDArray[Any], options: MaskOptions) -> HoleArray:
        """(H, W) hole of a gray, RGB or RGBA picture by the levels."""
        if options.any_value:
            return (as_levels(picture, luma=True) > options.threshold).astype(np.uint8)
        by_alpha = self.alpha is not None and picture.ndim == 3 and picture.shape[2] == 4
        samples = to_eight_bits(picture[:, :, 3]) if by_alpha else numbers_of(picture)
        deep = samples.dtype == np.uint16
        if not deep and not self.any_number:
            hole = (samples > options.threshold).astype(np.uint8)
        else:
            hole = self._chosen(np.arange(65536 if deep else 256), deep, options).astype(np.uint8)[samples]
        return 1 - hole if by_alpha and self.alpha == "transparent" else hole

    def hole_of_palette(
        self, indices: NDArray[np.uint8], colours: NDArray[np.uint8], options: MaskOptions
    ) -> HoleArray:
        """(H, W) hole of a palette picture: (H, W) indices, (256, 4) RGBA."""
        used = np.unique(indices)
        if self.objects:
            table = np.ones(256, np.uint8)
            table[self._background(used, colours)] = 0
            return table[indices]
        shown = colours[indices]
        return self.hole(shown if (colours[used, 3] < 255).any() else shown[:, :, :3], options)

    def share(self, look: Look, options: MaskOptions) -> float:
        """Which part (0..1) of a picture is hole, inversion included."""
        if options.ids is not None:
            share = look.numbers.share(np.isin(look.numbers.values, sorted(options.ids)))
        elif look.colours is not None and self.objects:
            background = self._background(look.numbers.values, look.colours)
            share = look.numbers.share(np.isin(look.numbers.values, background, invert=True))
        else:
            look = look.shown()
            by_alpha = self.alpha is not None and look.alpha is not None
            tally, deep = (look.alpha, False) if by_alpha and look.alpha is not None else (look.numbers, look.deep)
            share = tally.share(self._chosen(tally.values, deep, options))
            share = 1 - share if by_alpha and self.alpha == "transparent" else share
        return 1 - share if options.invert else share

    def _background(self, used: NDArray[Any], colours: NDArray[np.uint8]) -> list[int]:
        """The palette numbers that stand for no object."""
        dark = [int(number) for number in used if colours[number, :3].max() <= BLACK]
        if 0 in dark or (not dark and (not self.black or colours[0, :3].max() <= BLACK)):
            return [0]
        return dark

    def _chosen(self, values: NDArray[Any], deep: bool, options: MaskOptions) -> NDArray[np.bool_]:
        """Which sample values are hole."""
        if self.any_number:
            return values > 0
        return self.levels(values, deep) > options.threshold

    def levels(self, values: NDArray[Any], deep: bool) -> NDArray[Any]:
        """Sample values as levels 0..255."""
        return np.rint(values / 257) if deep and not self.narrow else values


def decide(looks: Sequence[Look], options: MaskOptions) -> tuple[Reading, list[str]]:
    """How the masks that `looks` are of are to be read, and sentences that say so.

    Raises `UsageError` for object numbers that no mask has, `InputError` for masks of which nothing would be a hole
    though they are not blank.
    """
    if options.ids is not None:
        return Reading(), _check_ids(looks, options.ids)
    if options.any_value:
        return Reading(), []
    notices: list[str] = []
    palettes = [look for look in looks if look.colours is not None]
    objects = any(_is_coloured_palette(look) for look in palettes)
    black = any((look.used_colours[:, :3].max(axis=1) <= BLACK).any() for look in palettes)
    reading = Reading(objects=objects, black=black)
    if objects:
        notices.append(_say_palette(palettes, reading))
    shown = [look.shown() for look in looks if not (objects and look.colours is not None)]
    reading = replace(reading, alpha=_alpha_part([look for look in shown if look.alpha is not None], options, notices))
    by_levels = [look for look in shown if reading.alpha is None or look.alpha is None]
    deep = [look for look in by_levels if look.deep]
    if deep and 0 < max(_highest(look) for look in deep) <= 255:
        reading = replace(reading, narrow=True)
        notices.append(
            f"mask {deep[0].name} has 16 bits and no level above 255: its levels are taken as those of 8 bits"
        )
    if by_levels and _means_numbers(by_levels, reading, options, notices):
        reading = replace(reading, any_number=True)
    elif by_levels:
        notices += _say_photograph(by_levels, reading)
    return reading, notices


def tells_objects(looks: Sequence[Look], reading: Reading, options: MaskOptions) -> bool:
    """Whether masks read like this tell several objects apart by their numbers."""
    if options.ids is not None:
        return len(options.ids) > 1
    if options.invert or not (reading.objects or reading.any_number):
        return False
    if any(look.coloured for look in looks):
        return False
    numbers = {value for look in looks for value in look.numbers.values.tolist()}
    return len(numbers) > 2


def _say_photograph(looks: Sequence[Look], reading: Reading) -> list[str]:
    """A warning of pictures most of whose pixels are neither dark nor bright: a mask has such along its edges alone."""
    levels = [reading.levels(look.numbers.values, look.deep) for look in looks]
    between = [
        look.numbers.share((level > _DARK) & (level < _BRIGHT)) for look, level in zip(looks, levels, strict=True)
    ]
    if float(np.median(between)) <= 0.5:
        return []
    return [f"warning: mask {looks[0].name} looks like a photograph, not like a mask: is it the right file?"]


def _check_ids(looks: Sequence[Look], ids: frozenset[int]) -> list[str]:
    there: set[int] = set()
    for look in looks:
        if look.coloured:
            raise InputError(
                f"--mask-ids needs object numbers, and mask {look.name} is a colour image; save it as gray or "
                "palette PNG"
            )
        there.update(look.numbers.values.tolist())
    missing = sorted(ids - there)
    if missing:
        which = ",".join(map(str, missing))
        raise UsageError(f"--mask-ids {which}: no mask has that number; they hold {_listed(there)}")
    return []


def _listed(numbers: Iterable[int], most: int = 12) -> str:
    ordered = sorted(numbers)
    return ", ".join(map(str, ordered[:most])) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")


def _is_coloured_palette(look: Look) -> bool:
    colours = look.used_colours[:, :3].astype(int)
    return bool((colours.max(axis=1) - colours.min(axis=1) > GRAY_SPREAD).any())


def _say_palette(palettes: Sequence[Look], reading: Reading) -> str:
    first = next(look for look in palettes if _is_coloured_palette(look))
    assert first.colours is not None
    background = reading._background(first.numbers.values, first.colours)
    objects = [number for number in first.numbers.values.tolist() if number not in background]
    note = "" if background == [0] else f"; {_listed(background)}, which is black, is the background"
    return f"mask {first.name} is a palette image: read as object numbers (here {_listed(objects) or 'none'}){note}"


def _alpha_part(
    looks: Sequence[Look], options: MaskOptions, notices: list[str]
) -> Literal["opaque", "transparent"] | None:
    """Which part of the alpha channels is the mask; None if no picture is transparent anywhere, or all are
    everywhere."""
    tallies = [look.alpha for look in looks if look.alpha is not None]
    lowest = min((int(tally.values[0]) for tally in tallies), default=255)
    highest = max((int(tally.values[-1]) for tally in tallies), default=0)
    if lowest == highest or lowest > DEFAULT_THRESHOLD:
        return None
    name = next(look.name for look in looks if look.alpha is not None and look.alpha.values[0] == lowest)
    opaque = float(np.mean([tally.share(tally.values > options.threshold) for tally in tallies]))
    if opaque <= 0.5:
        notices.append(f"mask {name} has transparency: its alpha channel is the mask, its colours are not")
        return "opaque"
    notices.append(
        f"mask {name} has transparency: its transparent part is the mask, for the opaque one covers {opaque:.0%} "
        "of the frame (--mask-invert takes that instead)"
    )
    return "transparent"


def _highest(look: Look) -> int:
    return int(look.numbers.values[-1])


def _means_numbers(looks: Sequence[Look], reading: Reading, options: MaskOptions, notices: list[str]) -> bool:
    """Whether whatever is not 0 is hole: masks of 0 and 1, of numbered objects none of which reaches the threshold, or
    of objects in colours some of which do not. Raises `InputError` for faint masks that are none of these."""
    levels = [float(reading.levels(look.numbers.values[-1:], look.deep)[0]) for look in looks]
    highest = max(levels)
    first = looks[levels.index(highest)]
    lossless = all(look.lossless for look in looks)
    values = sorted({value for look in looks for value in look.numbers.values.tolist()})
    numbers = lossless and values[0] == 0 and 1 < len(values) <= _MOST_OBJECTS
    if numbers and options.threshold == DEFAULT_THRESHOLD:
        sentence = _numbers_sentence(looks, first, values, highest)
        notices += [sentence] if sentence else []
        if sentence or highest > DEFAULT_THRESHOLD:
            return bool(sentence)
    if (0 if lossless else _NOISE) < highest <= options.threshold:
        raise InputError(
            f"no mask has a level above the threshold {options.threshold}: the highest is {highest:g}, in "
            f"{first.name}; lower --mask-threshold, or use --mask-ids for images of object numbers"
        )
    return False


def _numbers_sentence(looks: Sequence[Look], first: Look, values: Sequence[int], highest: float) -> str:
    """What few `values` from 0 up mean; "" for levels, of which some reach the threshold. `first` has the highest."""
    if highest > DEFAULT_THRESHOLD:
        coloured = next((look for look in looks if look.coloured), None)
        if coloured is None or not _NOISE < values[1] <= DEFAULT_THRESHOLD:
            return ""
        return f"mask {coloured.name} is of few colours, some of them dark: every one but black is taken as hole"
    if len(values) == 2:
        return f"mask {first.name} holds only 0 and {values[1]}: {values[1]} is taken as white"
    return (
        f"mask {first.name} has no level above {_highest(first)}: read as object numbers (here "
        f"{_listed(v for v in first.numbers.values.tolist() if v)}); --mask-ids takes some of them"
    )


def coverage_notices(shares: Sequence[tuple[str, float]], whole: int | None, *, inverted: bool = False) -> list[str]:
    """What is said before the work of masks that cover nothing or nearly all: (name, share of the frame) of those
    looked at.

    `whole`: how many masks there are, None if unknown. inverted: by --mask-invert.
    """
    looked = f"{len(shares)} masks" if whole == len(shares) else f"{len(shares)} masks looked at"
    full = [name for name, share in shares if share > TOO_MUCH]
    if shares and all(share == 0 for _, share in shares):
        one = f"mask {shares[0][0]} has no hole" if len(shares) == 1 else f"none of the {looked} has a hole"
        return [f"warning: {one}: is it inverted, or --mask-threshold too high?"]
    if not full:
        return []
    advice = "is --mask-invert right?" if inverted else "--mask-invert swaps hole and background"
    which = f"mask {full[0]} covers" if len(shares) == 1 else f"{len(full)} of the {looked} cover"
    such = "" if len(shares) == 1 else f" (such as {full[0]})"
    return [f"warning: {which} more than {TOO_MUCH:.0%} of the frame{such}: {advice}"]
