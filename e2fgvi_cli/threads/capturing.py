"""Captures of CUDA graphs take turns in a process: one may begin by returning all devices' cached memory, which must
not happen while another captures."""

from __future__ import annotations

from threading import Lock

CAPTURING = Lock()
