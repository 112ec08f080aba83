"""A run's folder: its configuration, log, samples, exported weights, and the state it resumes from.

config.json   log.jsonl   state.pt   best.safetensors   samples/*.png   curves.html   curves.png
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, UsageError
from ..system.interrupts import deferred
from ..system.publication import replace_file
from .config import TrainingConfig

STATE_VERSION = 1


class RunFolder:
    """Where one run writes. Everything is written beside its name and renamed, so that an interrupted call leaves no
    half file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_file, self.state_file = path / "log.jsonl", path / "state.pt"
        self.best_file, self.config_file = path / "best.safetensors", path / "config.json"
        self.samples = path / "samples"

    def create(self, config: TrainingConfig, *, resume: bool) -> None:
        """Make the folder. Raises UsageError if it holds another run and `resume` is False."""
        if not resume and self.state_file.exists():
            raise UsageError(f"{self.path} already holds a run: continue it with --resume, or choose another `folder`")
        self.samples.mkdir(parents=True, exist_ok=True)
        if not resume:
            self.log_file.unlink(missing_ok=True)
        text = json.dumps(config.to_dict(), indent=2, default=str)
        replace_file(self.config_file, text)

    def append(self, entry: Mapping[str, Any]) -> None:
        """One line of the log, with the wall clock."""
        with deferred(), self.log_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"clock": round(time.time(), 1), **entry}) + "\n")

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write the state that `load_state` reads."""
        partial = self.state_file.with_suffix(".part")
        with deferred():  # an interruption is what makes a run save: the next one must not break into it
            try:
                torch.save({"version": STATE_VERSION, **state}, partial)
                partial.replace(self.state_file)
            finally:
                partial.unlink(missing_ok=True)

    def load_state(self, device: torch.device) -> dict[str, Any]:
        """The state of an earlier call. Raises UsageError if there is none, InputError if it cannot be read."""
        if not self.state_file.exists():
            raise UsageError(f"{self.path} holds no state to resume from: start the run without --resume")
        try:
            state: dict[str, Any] = torch.load(self.state_file, map_location=device, weights_only=True)
        except (RuntimeError, EOFError, OSError, LookupError, ValueError, pickle.UnpicklingError) as error:
            # A damaged file can fail anywhere in the unpickler.
            raise InputError(f"{self.state_file} is damaged and cannot be read: start the run anew") from error
        if state.get("version") != STATE_VERSION:
            raise InputError(f"{self.state_file} was written by another version of this program: start the run anew")
        return state


def read_log(run: Path) -> Iterator[dict[str, Any]]:
    """The entries of a run's log. Raises InputError if there is none; a line cut off by a kill is passed over."""
    path = run / "log.jsonl" if run.is_dir() else run
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the folder of a training run")
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue
