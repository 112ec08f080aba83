"""Fetching a known weights file: several sources, resume, hash check, and plain advice when nothing can be reached.

Standard library only. A download lies beside its target as `NAME.part` until its SHA-256 is right.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ..errors import WeightsError
from .known import CHUNK, LARGEST_FILE, KnownWeights, sha256, user_folder

TIMEOUT_SECONDS = 30
Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None)."""


def fetch(known: KnownWeights, *, folder: Path | None = None, on_progress: Progress | None = None) -> Path:
    """Download `known` into `folder` (default: the user's weights folder) and return its path.

    Continues a partial download where the server allows it. Tries each source in turn. Raises WeightsError
    with every source's reason and the way to do it by hand; the partial file stays for the next attempt.
    """
    target = (folder or user_folder()) / known.filename
    if target.is_file() and sha256(target) == known.sha256:
        return target
    if not known.urls:
        raise WeightsError(f"weights {known.name!r} ship with the program and have no download: reinstall e2fgvi-cli")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(
            f"cannot create {target.parent}: {error.strerror}; set E2FGVI_WEIGHTS_DIR to a folder you can write"
        ) from error
    partial = target.with_name(target.name + ".part")
    reasons = []
    for url in known.urls:
        try:
            _download(url, partial, on_progress)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        except OSError as error:
            raise WeightsError(f"cannot write {partial}: {error.strerror or error}") from error
        digest = sha256(partial)
        if digest == known.sha256:
            _publish(partial, target)
            return target
        reasons.append(f"{url}: the file has SHA-256 {digest}, not {known.sha256}")
        partial.unlink()
    by_hand = known.manual or known.urls[0]
    raise WeightsError(
        f"could not fetch {known.filename} ({'; '.join(reasons)}): download it on another machine from {by_hand}, "
        f"then run `e2fgvi weights import FILE`"
    )


def _publish(partial: Path, target: Path) -> None:
    try:
        partial.replace(target)
    except OSError as error:
        raise WeightsError(f"cannot write {target}: {error.strerror or error}; move what is there") from error


def _download(url: str, partial: Path, on_progress: Progress | None) -> None:
    """Append to `partial` what is still missing of `url`."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "e2fgvi-cli"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # of `KNOWN`, https  # nosec B310
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send: the hash will tell whether it is the right file
            return
        raise
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length", "")
        total = int(length) + (have if resumed else 0) if length.isascii() and length.isdecimal() else None
        done = have if resumed else 0
        with partial.open("ab" if resumed else "wb") as file:
            while block := response.read(CHUNK):
                file.write(block)
                done += len(block)
                if done > LARGEST_FILE:
                    break  # an answer without end; the hash will say that it is another file
                if on_progress:
                    on_progress(done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)
