"""Which comparisons a run writes. Cheap to import: the command line builds it before PyAV and OpenCV are needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..system.paths import Written


@dataclass(frozen=True)
class ComparisonOptions:
    """`video`: a before/after film in `mode` (also that of the GIF); `sheet`: a PNG of `sheet_frames`, or of
    `sheet_count` frames spread over the clip; `gif`: a small loop. None leaves one out."""

    video: Path | None = None
    mode: str = "side"
    sheet: Path | None = None
    sheet_frames: tuple[int, ...] | None = None
    sheet_count: int = 6
    gif: Path | None = None
    overwrite: bool = False

    def writes(self) -> list[Written]:
        """The files, for `paths.check_paths`."""
        named = [("the film of --compare", self.video), ("the sheet", self.sheet), ("the GIF", self.gif)]
        return [Written(name, path, False, self.overwrite) for name, path in named if path is not None]
