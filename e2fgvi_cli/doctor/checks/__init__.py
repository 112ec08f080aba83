"""All checks, in the order of the report."""

from __future__ import annotations

from ..check import Check
from . import exercise, extensions, gpu, packages, system, weights


def all_checks() -> list[Check]:
    """The registry. Ids are stable: scripts and issues refer to them."""
    return [
        *system.CHECKS,
        *packages.CHECKS,
        *extensions.CHECKS,
        *gpu.CHECKS,
        *exercise.CHECKS,
        *weights.CHECKS,
    ]
