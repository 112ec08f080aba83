"""Listening: a port of this machine only, until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from ..errors import UsageError
from ..system import publication
from ..weights.known import resolve

HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """A socket on loopback; 0 is any free port. Raises `UsageError` for a port that cannot be had."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.bind((HOST, port))
        found.listen(64)
    except (OSError, OverflowError) as error:
        found.close()
        reason = error.strerror if isinstance(error, OSError) else "a port has a number up to 65535"
        raise UsageError(f"--port {port} cannot be used ({reason}): give another, or 0 for any free one") from None
    return found


def serve(
    target: Path, port: int, *, device: str = "auto", weights: str = "open", on_ready: Callable[[str], None]
) -> None:
    """Serve the page until a signal. `on_ready` is told its address. Raises `UsageError`, `InputError`,
    `WeightsError`."""
    try:
        import uvicorn

        from .server import Site, build
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("uvicorn", "starlette", "anyio", "h11", "click"):
            raise
        raise UsageError(
            f"the page needs the package {error.name}, which is not installed: pip install 'e2fgvi-cli[ui]'"
        ) from None
    resolve(weights)
    site = Site(target, device=device, weights=weights)
    token = secrets.token_urlsafe(18)
    with listen(port) as bound:
        config = uvicorn.Config(build(site, token), log_level="error", access_log=False, lifespan="on")
        on_ready(f"http://{HOST}:{bound.getsockname()[1]}/{token}/")
        try:
            uvicorn.Server(config).run(sockets=[bound])
        finally:
            publication.published.clear()  # masks drawn on the way are no news to who ends the page
