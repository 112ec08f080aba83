"""`results.csv` and `report.html`: what became of every job, written beside the journal when a batch ends."""

from __future__ import annotations

import csv
import html
import io
import time
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError
from ..system.publication import replace_file
from .model import BatchResult, BatchSettings, JobRecord
from .thumbnails import remove_unfinished, thumbnail_of

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
    "finished",
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
        "finished": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.finished)) if record.finished else "",
    }


def _score(record: JobRecord, name: str, digits: int) -> str:
    return f"{record.scores[name]:.{digits}f}" if name in record.scores else ""


def write_reports(result: BatchResult, settings: BatchSettings) -> tuple[Path, Path]:
    """Write results.csv and report.html and return their paths. Each replaces the last one whole. Raises
    `InputError`."""
    remove_unfinished(settings.thumbnails)
    table, page = settings.file("results", ".csv"), settings.file("report", ".html")
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, _COLUMNS)
    writer.writeheader()
    writer.writerows(row_of(record) for record in result.records)
    for path, text in ((table, buffer.getvalue()), (page, _page(result, settings.thumbnails))):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text.encode(errors="backslashreplace"))  # names of files need not be text
        except OSError as error:
            raise InputError(f"the report {path} cannot be written: {error.strerror or error}") from error
    return table, page


_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem auto; padding: 0 1rem; max-width: 1060px; }
body { color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .5rem; text-align: left; border-bottom: 1px solid #ddd; }
td { vertical-align: top; overflow-wrap: anywhere; } th { background: #f4f4f4; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.done { color: #14662b; } .skipped { color: #555; } .failed, .cancelled { color: #a11212; font-weight: 600; }
small { display: block; color: #555; } img { display: block; width: 200px; }
"""


def _page(result: BatchResult, thumbnails: Path) -> str:
    """What failed first, with all that was said of it; then what there is, with a picture before and after, and its
    times."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in result.counts.items() if count)
    frames = sum(r.frames for r in result.records if r.outcome == "done")
    summary = (
        f"{len(result.records)} jobs: {counts or 'nothing'}. {frames} frames in {result.seconds:.1f} s by "
        f"{result.workers} workers."
    )
    finished = [r for r in result.records if r.outcome in ("done", "skipped")]
    parts = [f"<h1>e2fgvi batch</h1><p>{html.escape(summary)}</p>"]
    if result.failed:
        parts.append(f"<h2>{len(result.failed)} without output</h2>")
        parts.append(_table(("job", "outcome", "what happened", "tries", "exit code"), map(_failed_row, result.failed)))
    if finished:
        seconds = sum(r.seconds for r in finished)
        parts.append(
            f"<h2>{len(finished)} with output</h2><p>{sum(r.frames for r in finished)} frames, {seconds:.1f} s of "
            "work in all.</p>"
        )
        head = (
            "before and after",
            "job",
            "outcome",
            "frames",
            "with a hole",
            "resumed",
            "time",
            "s/frame",
            "finished",
            "in the hole",
        )
        parts.append(_table(head, (_finished_row(record, thumbnails) for record in finished)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>e2fgvi batch</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _table(head: tuple[str, ...], rows: Iterable[str]) -> str:
    names = "".join(f"<th>{name}</th>" for name in head)
    return f"<table><thead><tr>{names}</tr></thead><tbody>\n{chr(10).join(rows)}\n</tbody></table>"


def _failed_row(record: JobRecord) -> str:
    cells = (
        f"<td>{html.escape(record.name)}<small>{html.escape(record.output)}</small></td>",
        f'<td class="{record.outcome}">{record.outcome}</td>',
        f"<td>{html.escape(record.message)}</td>",
        _number(str(record.attempts)),
        _number(str(record.exit_code)),
    )
    return f"<tr>{''.join(cells)}</tr>"


def _finished_row(record: JobRecord, thumbnails: Path) -> str:
    row = row_of(record)
    picture = thumbnail_of(thumbnails, record.output)
    shown = f'<img src="{thumbnails.name}/{picture.name}" loading="lazy" alt="">' if picture.is_file() else ""
    notes = "".join(f"<small>{html.escape(note)}</small>" for note in (*record.notices, record.device) if note)
    output = Path(record.output)
    link = f'<a href="{html.escape(output.as_uri())}">{html.escape(output.name)}</a>'
    scores = " / ".join(value for value in (row["hole_psnr"], row["hole_ssim"]) if value)
    cells = (
        f"<td>{shown}</td>",
        f"<td>{html.escape(record.name)}<small>{link}</small>{notes}</td>",
        f'<td class="{record.outcome}">{record.outcome}</td>',
        *(_number(row[name]) for name in ("frames", "frames_with_hole", "frames_resumed")),
        _number(f"{row['seconds']} s"),
        _number(row["seconds_per_frame"]),
        f"<td>{row['finished']}</td>",
        _number(scores),
    )
    return f"<tr>{''.join(cells)}</tr>"


def _number(text: str) -> str:
    return f'<td class="number">{html.escape(text)}</td>'
