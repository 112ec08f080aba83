"""An evaluation as a table, and as pictures to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .evaluate import Evaluation, Frames
from .sheets import Row, write_sheet

SHEET_FRAMES = 4


def table(result: Evaluation) -> str:
    """PSNR in the hole (dB) by clip, kind of hole and method, the means, and the network's other mean figures."""
    methods = list(result.scores)
    lines = [f"{'holes':10}{'clip':22}" + "".join(f"{m:>10}" for m in methods)]
    for kind in result.kinds():
        for clip in result.scores["network"][kind]:
            values = [result.scores[m][kind][clip].hole_psnr for m in methods]
            shown = "".join(f"{'-':>10}" if v is None else f"{v:10.2f}" for v in values)
            lines.append(f"{kind:10}{clip:22}{shown}")
        lines.append(f"{kind:10}{'mean':22}" + "".join(f"{result.mean(m, kind):10.2f}" for m in methods))
        lines.append(
            f"{kind:10}network: hole SSIM {result.mean('network', kind, 'hole_ssim'):.4f}, whole frame "
            f"{result.mean('network', kind, 'composite_psnr'):.2f} dB / "
            f"{result.mean('network', kind, 'composite_ssim'):.4f}, flicker "
            f"{result.mean('network', kind, 'flicker'):.2f}"
        )
    return "\n".join(lines)


class SheetWriter:
    """Collects the fills of a clip by all methods and writes one sheet a clip and kind: rows are methods, columns
    frames."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[tuple[str, str], list[Row]] = {}

    def __call__(self, method: str, kind: str, clip: str, truth: Frames, holes: Frames, filled: list[Frames]) -> None:
        """What `evaluate` calls for each method; the sheet is written anew each time, so it is complete after the
        last."""
        at = np.linspace(0, len(filled) - 1, SHEET_FRAMES).round().astype(int)
        if (clip, kind) not in self._rows:
            masked = [np.where(holes[i][..., None] != 0, np.uint8(127), truth[i]) for i in at]
            self._rows[clip, kind] = [Row("truth", [truth[i] for i in at]), Row(f"{clip} {kind}", masked)]
        self._rows[clip, kind].append(Row(method, [filled[i] for i in at]))
        write_sheet(self.folder / f"{clip}_{kind}.png", self._rows[clip, kind])
