"""`results.csv` and `report.html`: what became of every job, written beside the journal when a batch ends."""

from __future__ import annotations

import csv
import html
import io
import os
from pathlib import Path

from .model import BatchResult, JobRecord

_COLUMNS = (
    "job",
    "outcome",
    "output",
    "frames",
    "frames_with_hole",
    "frames_resumed",
    "seconds",
    "seconds_per_frame",
    "attempts",
    "device",
    "hole_psnr",
    "hole_ssim",
    "exit_code",
    "message",
)


def row_of(record: JobRecord) -> dict[str, str]:
    """One job as the table shows it."""
    ran = record.outcome in ("done", "skipped")
    each = f"{record.seconds / record.frames:.3f}" if record.frames else ""
    return {
        "job": record.name,
        "outcome": record.outcome,
        "output": record.output,
        "frames": str(record.frames) if ran else "",
        "frames_with_hole": str(record.filled) if ran else "",
        "frames_resumed": str(record.resumed) if ran else "",
        "seconds": f"{record.seconds:.1f}" if ran else "",
        "seconds_per_frame": each,
        "attempts": str(record.attempts),
        "device": record.device,
        "hole_psnr": _score(record, "hole_psnr", 2),
        "hole_ssim": _score(record, "hole_ssim", 4),
        "exit_code": str(record.exit_code),
        "message": record.message or "; ".join(record.notices),
    }


def _score(record: JobRecord, name: str, digits: int) -> str:
    return f"{record.scores[name]:.{digits}f}" if name in record.scores else ""


def write_reports(result: BatchResult, folder: Path, suffix: str = "") -> tuple[Path, Path]:
    """Write results.csv and report.html (with `suffix` before the dot) and return their paths. Each replaces the last one whole."""
    folder.mkdir(parents=True, exist_ok=True)
    table, page = folder / f"results{suffix}.csv", folder / f"report{suffix}.html"
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, _COLUMNS)
    writer.writeheader()
    writer.writerows(row_of(record) for record in result.records)
    _replace(table, buffer.getvalue())
    _replace(page, _page(result))
    return table, page


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; } th, td { padding: .3rem .7rem; text-align: left; border-bottom: 1px solid #ddd; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } th { background: #f4f4f4; }
.done { color: #14662b; } .skipped { color: #555; } .failed, .cancelled { color: #a11212; font-weight: 600; }
"""
_NUMBERS = frozenset(_COLUMNS[3:9]) | {"hole_psnr", "hole_ssim", "exit_code"}


def _page(result: BatchResult) -> str:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in result.counts.items() if count)
    frames = sum(r.frames for r in result.records if r.outcome == "done")
    summary = f"{len(result.records)} jobs: {counts or 'nothing'}. {frames} frames in {result.seconds:.1f} s by {result.workers} workers."
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in _COLUMNS)
    rows = "\n".join(_row(record) for record in result.records)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>e2fgvi batch</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>e2fgvi batch</h1><p>{html.escape(summary)}</p>\n"
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></body></html>\n"
    )


def _row(record: JobRecord) -> str:
    cells = []
    for name, text in row_of(record).items():
        kind = "number" if name in _NUMBERS else record.outcome if name == "outcome" else ""
        shown = html.escape(text)
        if name == "output" and record.outcome in ("done", "skipped"):
            shown = f'<a href="{html.escape(Path(text).as_uri())}">{html.escape(Path(text).name)}</a>'
        cells.append(f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>")
    return f"<tr>{''.join(cells)}</tr>"
