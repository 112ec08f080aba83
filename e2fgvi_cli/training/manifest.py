"""Which files a run may use and under which licence: the manifest of sources, selection by class, exclusions. No torch.

A manifest is JSON: {"sources": [{"name", "kind": "clips" | "photos" | "panoramas" | "scenes", "files": [globs],
"class", "licence", "origin", "weight"?, "fixed_camera"?}], "excluded": [{"files": [globs], "reason"}]}. Globs are
relative to the material's root. Pictures of a scene lie in a folder of their own, in the order of their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import InputError
from ..system.paths import Read, Written, check_paths
from .config import DataConfig, TrainingConfig

VIDEO_SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg"}
PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
Kind = Literal["clips", "photos", "panoramas", "scenes"]
KINDS = get_args(Kind)


@dataclass(frozen=True)
class Item:
    """One clip (a video file or a folder of frames), one photograph, one panorama, or one picture of a scene."""

    path: Path
    name: str
    """Relative to the root: what exclusions and validation refer to."""
    kind: Kind
    licence_class: str
    licence: str
    weight: float = 1.0
    fixed_camera: bool = False
    source: str = "own"
    """The manifest's name of where it comes from: what `data.source_cap` counts by."""


@dataclass(frozen=True)
class Selection:
    """What a run uses. `notices`: sentences about what was left out."""

    clips: tuple[Item, ...]
    photos: tuple[Item, ...]
    validation: tuple[Item, ...]
    notices: tuple[str, ...] = ()
    panoramas: tuple[Item, ...] = ()
    scenes: tuple[Item, ...] = ()
    """Pictures, those of a scene together and in order."""

    @property
    def training(self) -> tuple[Item, ...]:
        """Everything that batches are made of."""
        return (*self.clips, *self.photos, *self.panoramas, *self.scenes)

    @property
    def licences(self) -> dict[str, int]:
        """Number of items under each "class: licence", most items first."""
        counts: dict[str, int] = {}
        for item in self.training:
            key = f"{item.licence_class}: {item.licence}"
            counts[key] = counts.get(key, 0) + 1
        return dict(sorted(counts.items(), key=lambda entry: -entry[1]))


def select(config: TrainingConfig) -> Selection:
    """The material that the configuration names. Raises InputError if a path is missing or nothing is left."""
    items: list[Item] = []
    notices: list[str] = []
    if config.data.manifest:
        items, notices = _from_manifest(config)
    for value in config.data.clips:
        items += [_own(path, "clips", config.data) for path in find_clips(config.path(value))]
    for value in config.data.photos:
        items += [_own(path, "photos", config.data) for path in find_pictures(config.path(value))]
    for value in config.data.panoramas:
        items += [_own(path, "panoramas", config.data) for path in find_pictures(config.path(value))]
    for value in config.data.scenes:
        items += [_own(path, "scenes", config.data) for path in find_pictures(config.path(value))]
    patterns = config.validation.clips
    held_out = [i for i in items if i.kind == "clips" and _matches(i.name, patterns)]
    if patterns and not held_out:
        raise InputError(f"no clip matches validation.clips {list(patterns)}: give names such as {_examples(items)}")
    training = [i for i in items if i not in held_out]
    if not training:
        raise InputError("no training material is left: check the paths of [data], its classes and validation.clips")
    clips, photos, panoramas, scenes = (tuple(i for i in training if i.kind == kind) for kind in KINDS)
    return Selection(clips, photos, tuple(held_out), tuple(notices), panoramas, scenes)


RUN_FILES = ("config.json", "log.jsonl", "state.pt", "best.safetensors")


def inputs_of(config: TrainingConfig, file: Path, selection: Selection) -> list[Read]:
    """Everything a run reads, for `paths.check_paths`. file: the configuration's."""
    items = (*selection.clips, *selection.photos, *selection.validation)
    named = [
        ("the starting weights", config.start),
        ("the teacher", config.teacher),
        ("the manifest", config.data.manifest),
    ]
    read = [Read("the configuration", file), *(Read(f"the material {item.name}", item.path) for item in items)]
    return read + [Read(name, path) for name, value in named if value and (path := config.path(value)).is_file()]


def check_run_paths(config: TrainingConfig, file: Path, selection: Selection) -> None:
    """Raise `InputError` if the run's folder would replace, or mix with, what the run reads."""
    folder = config.path(config.folder)
    written = [Written("the run's file", folder / name) for name in RUN_FILES]
    written.append(Written("the run's sample", folder / "samples" / "sample.png"))
    check_paths(written, inputs_of(config, file, selection))


def _from_manifest(config: TrainingConfig) -> tuple[list[Item], list[str]]:
    path = config.path(config.data.manifest)
    manifest = _read(path)
    root = config.path(config.data.root) if config.data.root else path.parent
    if not root.is_dir():
        raise InputError(f"the material's folder {root} does not exist: set data.root to where it lies")
    files = sorted(p for p in root.rglob("*") if p.is_file())
    names = {p: p.relative_to(root).as_posix() for p in files}
    excluded = {p: e["reason"] for e in manifest.get("excluded", []) for p in files if _matches(names[p], e["files"])}
    items: dict[Path, Item] = {}
    for source in manifest["sources"]:
        kind: Kind = source["kind"]
        for p in files:
            if p in excluded or p in items or source["class"] not in config.data.classes:
                continue
            if p.suffix.lower() in _suffixes(kind) and _matches(names[p], source["files"]):
                items[p] = Item(
                    path=p,
                    name=names[p],
                    kind=kind,
                    licence_class=source["class"],
                    licence=f"{source['licence']} ({source['name']})",
                    weight=float(source.get("weight", 1.0)),
                    fixed_camera=bool(source.get("fixed_camera", False)),
                    source=source["name"],
                )
    if not items:
        raise InputError(f"{root} holds no file of the classes {', '.join(config.data.classes)} of {path}")
    reasons: dict[str, list[str]] = {}
    for p, reason in excluded.items():
        reasons.setdefault(reason, []).append(names[p])
    return list(items.values()), [f"left out ({reason}): {', '.join(n)}" for reason, n in reasons.items()]


def _read(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for source in manifest["sources"]:
            if not {"name", "kind", "files", "class", "licence"} <= set(source) or source["kind"] not in KINDS:
                raise InputError(
                    f"{path}: source {source.get('name', source)!r} needs name, kind ({', '.join(KINDS)}), files, "
                    "class, licence"
                )
    except OSError as error:
        raise InputError(f"cannot read the manifest {path}: {error.strerror or error}") from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no manifest of training material: {error}") from error
    return manifest


def _own(path: Path, kind: Kind, data: DataConfig) -> Item:
    return Item(path, path.name, kind, "own", data.own_licence)


def find_clips(path: Path) -> list[Path]:
    """The clips at `path`: a video file, a folder of frames, or every such thing in a folder. Raises InputError if
    none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(
            f"training clip {path} does not exist: give a video file, a folder of frames, or a folder of them"
        )
    if _pictures_in(path):
        return [path]
    found = [
        entry
        for entry in sorted(path.iterdir())
        if (entry.is_file() and entry.suffix.lower() in VIDEO_SUFFIXES) or (entry.is_dir() and _pictures_in(entry))
    ]
    if not found:
        raise InputError(f"{path} holds no clip: put video files or folders of frames there")
    return found


def find_pictures(path: Path) -> list[Path]:
    """The pictures at `path`: one file, or all files of a folder. Raises InputError if none."""
    found = [path] if path.is_file() else _pictures_in(path)
    if not found:
        raise InputError(f"{path} holds no pictures: give a picture file or a folder of them")
    return found


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in PICTURE_SUFFIXES)


def _suffixes(kind: Kind) -> set[str]:
    return VIDEO_SUFFIXES if kind == "clips" else PICTURE_SUFFIXES


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) or fnmatch(name.rsplit("/", 1)[-1], pattern) for pattern in patterns)


def _examples(items: list[Item]) -> str:
    return ", ".join([i.name for i in items if i.kind == "clips"][:3]) or "none: there are no clips"
