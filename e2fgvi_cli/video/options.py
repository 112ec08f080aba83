"""How a result is to be written. Cheap to import, so that a command line may build it without PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from ..system.paths import is_pipe

CODECS = ("auto", "h264", "h265", "prores", "ffv1", "vp9", "av1", "png")
GRADES = {"draft": 8, "quality": -6, "archive": None}
"""What is added to a codec's usual CRF; None: without loss, where the codec can."""


@dataclass(frozen=True)
class OutputOptions:
    """`codec` one of `CODECS`; `crf` quality (lower is better) where the codec has one; `bitrate` "match" (that of the
    source) or bits a second; `lossless` every sample as given to the encoder; `container` overrides the suffix;
    `frame_rate` replaces the source's time stamps by a constant rate; `overwrite` allows the target to exist. `grade`:
    one of `GRADES`, how well to encode where neither `crf` nor `bitrate` nor `lossless` is said; None: as usual."""

    codec: str = "auto"
    crf: int | None = None
    bitrate: Literal["match"] | int | None = None
    lossless: bool = False
    container: str | None = None
    grade: str | None = None
    frame_rate: Fraction | None = None
    overwrite: bool = False

    def writes_folder(self, target: Path) -> bool:
        """Whether the target becomes a folder of images: no suffix, an existing folder, or the codec png."""
        if is_pipe(target):
            return False
        return self.codec == "png" or target.is_dir() or (not target.suffix and self.container is None)
