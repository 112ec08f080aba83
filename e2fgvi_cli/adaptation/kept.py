"""Results and unfinished states in the cache folder, the oldest of which go. All of it may be deleted at any time."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..engine import read_weights
from ..errors import InputError
from ..system.cache import cache_folder
from ..system.publication import replace_file
from ..training.export import export_weights
from ..training.state import RunFolder

MOST_BYTES = 1 << 30
"""Of results and states together; weights take 42 MB, the state of an interruption 700."""
CANNOT = "what --adapt learns cannot be kept: {reason}; set E2FGVI_CACHE_DIR to a folder that can be written to"


@dataclass(frozen=True)
class Learned:
    """weights: the file to fill with; None: the start was best. record: scores and counts."""

    weights: Path | None
    record: dict[str, Any]


class Kept:
    """What is kept of one adaptation: KEY.json, KEY.safetensors, and KEY.unfinished/state.pt."""

    def __init__(self, key: str) -> None:
        """Raises `InputError` where nothing can be kept."""
        try:
            self.folder = cache_folder() / "adapted"
            self.folder.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError) as error:
            raise InputError(CANNOT.format(reason=getattr(error, "strerror", None) or error)) from error
        self._record, self.weights = self.folder / f"{key}.json", self.folder / f"{key}.safetensors"
        self._unfinished = RunFolder(self.folder / f"{key}.unfinished")

    def find(self) -> Learned | None:
        """What an earlier run learned; None if there is none, or it is damaged."""
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            os.utime(self._record)  # the oldest use goes first
            if not record["best"]:
                return Learned(None, record)
            os.utime(self.weights)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Learned(self.weights, record)

    def keep(self, state: dict[str, Tensor] | None, start: Path, record: dict[str, Any]) -> Learned:
        """The result, under its name once it is whole; the unfinished state goes."""
        try:
            if state is not None:
                checkpoint = read_weights(start)
                training = {"adapted from": start.name, **record}
                licence = f"{checkpoint.licence}. Adapted to one clip, whose rights are its own"
                export_weights(self.weights, state, checkpoint.config, licence=licence, training=training)
            replace_file(self._record, json.dumps(record))
        except OSError as error:
            raise InputError(CANNOT.format(reason=error.strerror or error)) from error
        shutil.rmtree(self._unfinished.path, ignore_errors=True)
        self._tidy()
        return Learned(None if state is None else self.weights, record)

    def unfinished(self, device: torch.device) -> dict[str, Any] | None:
        """The state of an interrupted run; None if there is none that can be read."""
        if not self._unfinished.state_file.exists():
            return None
        with suppress(InputError):
            return self._unfinished.load_state(device)
        return None

    def interrupt(self, state: dict[str, Any]) -> bool:
        """Keep an unfinished state; whether that worked. An interruption has its own reason, which counts more."""
        try:
            self._unfinished.path.mkdir(exist_ok=True)
            self._unfinished.save_state(state)
        except (OSError, RuntimeError):  # torch says the latter of a full disk
            shutil.rmtree(self._unfinished.path, ignore_errors=True)
            return False
        return True

    def _tidy(self) -> None:
        """Remove the oldest until the others fit, never what belongs to this one."""
        own = {self._record, self.weights}
        sizes: dict[Path, tuple[float, int]] = {}
        with suppress(OSError):
            for path in self.folder.iterdir():
                inside = [path, *path.iterdir()] if path.is_dir() else [path]
                status = [p.stat() for p in inside]
                sizes[path] = (max(s.st_mtime for s in status), sum(s.st_size for s in status))
        total = sum(size for _, size in sizes.values())
        for path, (_, size) in sorted(sizes.items(), key=lambda item: item[1][0]):
            if total <= MOST_BYTES:
                return
            if path in own:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            total -= size
