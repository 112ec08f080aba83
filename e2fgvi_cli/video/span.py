"""The part of a clip that is meant, as somebody says it: from one frame or time to another. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from ..errors import UsageError
from ..types import Frame

_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)(s?)")


@dataclass(frozen=True)
class Moment:
    """A frame's number, or a time in seconds from the first frame."""

    frame: int | None = None
    time: Fraction | None = None

    def reached(self, frame: Frame) -> bool:
        """Whether `frame` is at it or after it."""
        return frame.index >= self.frame if self.frame is not None else frame.time >= (self.time or 0)

    def passed(self, frame: Frame) -> bool:
        """Whether a part that ends here is without `frame`: it ends with a frame's number, and before a time."""
        return frame.index > self.frame if self.frame is not None else frame.time >= (self.time or 0)

    def __str__(self) -> str:
        """As it is written on the command line."""
        return str(self.frame) if self.frame is not None else f"{float(self.time or 0):g}s"


@dataclass(frozen=True)
class Span:
    """From one moment to another; None: the clip's own start or end."""

    start: Moment | None = None
    end: Moment | None = None

    def holds(self, frame: Frame) -> bool:
        """Whether `frame` lies in it."""
        after = self.start is None or self.start.reached(frame)
        return after and not (self.end is not None and self.end.passed(frame))

    @property
    def empty(self) -> bool:
        """Whether it ends before it starts, as far as that can be said without the clip."""
        start, end = self.start or Moment(), self.end or Moment()
        if start.frame is not None and end.frame is not None:
            return end.frame < start.frame
        return end.time is not None and start.frame is None and end.time <= (start.time or 0)

    def __str__(self) -> str:
        """As it is written on the command line."""
        said = [f"{name} {moment}" for name, moment in (("--start", self.start), ("--end", self.end)) if moment]
        return " ".join(said)


def parse_moment(text: str, option: str) -> Moment:
    """From a frame's number ("120"), or a time ("4.5s", "1:04", "0:01:04.2"). Raises `UsageError`."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text!r} is neither a frame (120) nor a time (4.5s or 1:04)")
    hours, minutes, seconds, unit = match.groups()
    if minutes is None and not unit:
        if "." in seconds:
            raise UsageError(f"{option} {text!r} is no whole frame; for seconds write {text}s")
        return Moment(frame=int(seconds))
    return Moment(time=Fraction(seconds) + 60 * int(minutes or 0) + 3600 * int(hours or 0))


def parse_span(start: str | None, end: str | None, names: tuple[str, str]) -> Span:
    """From the values of two options of these names. Raises `UsageError`."""
    span = Span(
        None if start is None else parse_moment(start, names[0]), None if end is None else parse_moment(end, names[1])
    )
    if span.empty:
        raise UsageError(f"{names[1]} {end} is not after {names[0]} {start or 0}: nothing is left of the clip")
    return span
