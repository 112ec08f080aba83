"""`--preset`: options that go together. What is said nearer wins: an option of the command line, the preset of the
command line, an option of the settings file, the preset of the settings file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import UsageError

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "draft": {"max_references": "2", "crop_margin": 32},
        "quality": {"max_references": "12", "crop_margin": 128},
        "archive": {"max_references": "12", "crop_margin": 128, "verify": True},
    }
)
"""Defaults of `e2fgvi inpaint` that a preset replaces, by the names of its parameters. How well the result is encoded
goes with the preset's name: `video.options.GRADES`."""


def apply_preset(context: Any, parameter: Any, name: str | None) -> str | None:
    """The callback of `--preset`, which is parsed before the options that it has values for."""
    if name is None:
        return None
    if name not in PRESETS:
        raise UsageError(f"--preset {name!r} is unknown: use {', '.join(PRESETS)}")
    own = dict(context.default_map or {})
    source = context.get_parameter_source(parameter.name)
    from_settings = source is not None and source.name == "DEFAULT_MAP"
    context.default_map = {**PRESETS[name], **own} if from_settings else {**own, **PRESETS[name]}
    return name
