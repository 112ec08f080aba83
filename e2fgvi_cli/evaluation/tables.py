"""An evaluation as CSV, Markdown, LaTeX and JSON, and the folder that holds them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..system.publication import replace_file
from .scores import BY_NAME, METRICS, Metric
from .settings import RECORD

FILES = (RECORD, "clips.csv", "table.md", "table.tex")
ARROWS = {1: "↑", -1: "↓", 0: "→0"}
VFID = Metric("vfid", "VFID", "", 4, -1)
_LATEX_SIGNS = str.maketrans({"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"})


def shown(value: float | None, digits: int) -> str:
    """A figure, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def metrics_in(means: list[dict[str, Any]]) -> list[Metric]:
    """Those that at least one row has."""
    every = [*METRICS, VFID]
    return [metric for metric in every if any(row["figures"].get(metric.name) is not None for row in means)]


def heading(metric: Metric) -> str:
    """Name, unit and which way is better."""
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.title}{unit} {ARROWS[metric.better]}"


def markdown(record: dict[str, Any]) -> str:
    """The means, and under them what they are of."""
    means = record["means"]
    metrics = metrics_in(means)
    lines = ["| masks | method | clips | " + " | ".join(map(heading, metrics)) + " |"]
    lines.append("|---|---|---:|" + "---:|" * len(metrics))
    for row in means:
        clips = max(row["clips"].values(), default=0)
        figures = [shown(row["figures"].get(m.name), m.digits) for m in metrics]
        lines.append(f"| {row['kind']} | {row['method']} | {clips} | " + " | ".join(figures) + " |")
    return "\n".join([*lines, "", *(f"{line}." for line in provenance(record))]) + "\n"


def latex(record: dict[str, Any]) -> str:
    """The means as a tabular for booktabs, the best of each kind in bold."""
    means = record["means"]
    metrics = metrics_in(means)
    arrows = {1: r"$\uparrow$", -1: r"$\downarrow$", 0: r"$\to 0$"}
    titles = [f"{m.title.translate(_LATEX_SIGNS)} {arrows[m.better]}" for m in metrics]
    lines = [
        *(f"% {line}" for line in provenance(record)),
        rf"\begin{{tabular}}{{ll{'r' * len(metrics)}}}",
        r"\toprule",
    ]
    lines += ["masks & method & " + " & ".join(titles) + r" \\", r"\midrule"]
    for row in means:
        cells = []
        for metric in metrics:
            value = row["figures"].get(metric.name)
            text = shown(value, metric.digits)
            rivals = [r["figures"].get(metric.name) for r in means if r["kind"] == row["kind"]]
            known = [metric.merit(v) for v in rivals if v is not None]
            best = value is not None and len(known) > 1 and metric.merit(value) >= max(known)
            cells.append(rf"\textbf{{{text}}}" if best else text)
        lines.append(" & ".join([*(row[n].translate(_LATEX_SIGNS) for n in ("kind", "method")), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def provenance(record: dict[str, Any]) -> list[str]:
    """Without which the numbers mean nothing, in sentences without a full stop."""
    settings, machine = record["settings"], record["environment"]
    weights = f", weights {machine['weights']} (sha256 {machine['weights_sha256'][:12]})" if machine["weights"] else ""
    device = ", ".join(machine["gpus"]) or f"{machine['cpu']}, {machine['threads']} threads"
    limit = settings["limit_frames"]
    grown = settings.get("mask_dilation", "0px")
    masks = ", ".join(settings["masks"]) + (f" grown by {grown}" if grown != "0px" else "")
    lines = [
        f"{machine['program']}, {machine['measured']}, protocol {settings['protocol']}, masks {masks}{weights}",
        f"first {limit} frames of each clip" if limit else "all frames of each clip",
        f"{device}; torch {machine['packages']['torch']}; flow: {machine['flow']}",
        f"command: {machine['command']}",
    ]
    exact = sum(row["exact_frames"] for row in record["means"])
    if exact:
        lines.append(f"{exact} frames equal the truth (no hole, or a perfect fill) and have no PSNR")
    return lines + record["notices"]


def csv_rows(record: dict[str, Any]) -> str:
    """One row a clip, kind of mask and method."""
    buffer = io.StringIO(newline="")
    first = ("clip", "kind", "method", "width", "height", "frames", "hole_frames", "exact_frames", "seconds")
    writer = csv.writer(buffer)
    writer.writerow([*first, *BY_NAME])
    for case in record["cases"]:
        start = [case["clip"], case["kind"], case["method"], *case["size"]]
        start += [case[name] for name in first[5:]]
        writer.writerow([*start, *("" if case["figures"].get(n) is None else case["figures"][n] for n in BY_NAME)])
    return buffer.getvalue()


def write_folder(folder: Path, record: dict[str, Any]) -> None:
    """Write `FILES`, each there completely or as it was. Raises `InputError`."""
    texts = (json.dumps(record, allow_nan=False) + "\n", csv_rows(record), markdown(record), latex(record))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in zip(FILES, texts, strict=True):
            replace_file(folder / name, text)
    except OSError as error:
        raise InputError(f"cannot write into {folder}: {error.strerror or error}; give another --output") from error


def write_page(path: Path, text: str) -> None:
    """A page, there completely or as it was. Raises `InputError`."""
    try:
        replace_file(path, text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; give another --html") from error


def read_record(path: Path) -> dict[str, Any]:
    """The JSON of an evaluation, or of the folder that holds one. Raises `InputError`."""
    file = path / RECORD if path.is_dir() else path
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as the JSON of `e2fgvi evaluate`: {error}") from error
    if not isinstance(record, dict) or not str(record.get("schema", "")).startswith("e2fgvi-evaluation-"):
        raise InputError(f"{file} is not from `e2fgvi evaluate`: give its evaluation.json")
    return record
