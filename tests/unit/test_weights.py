"""Finding and fetching weights: against a local server that breaks off, refuses ranges, and sends the wrong thing."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from e2fgvi_cli.errors import WeightsError
from e2fgvi_cli.weights import known as weights
from e2fgvi_cli.weights.download import fetch
from e2fgvi_cli.weights.known import KNOWN, KnownWeights, by_name, find, identify, resolve, sha256

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several blocks


class Handler(BaseHTTPRequestHandler):
    requests: list[tuple[str, str | None]] = []  # noqa: RUF012 (shared on purpose, cleared by the fixture)

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.requests.append((self.path, wanted))
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/wrong":
            self._send(200, b"<html>quota</html>")
        elif self.path == "/badlength":
            self.send_response(200)
            self.send_header("Content-Length", "many")
            self.end_headers()
            self.wfile.write(CONTENT)
        elif self.path == "/noranges":
            self._send(200, CONTENT)
        elif start >= len(CONTENT):
            self.send_error(416)
        elif self.path == "/breaks":
            self._send(206 if wanted else 200, CONTENT[start:], stop=2_000_000)
        else:
            self._send(206 if wanted else 200, CONTENT[start:])

    def _send(self, status: int, body: bytes, stop: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:stop])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


def known(*urls: str) -> KnownWeights:
    return KnownWeights(
        "test", "test.pth", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "none", "a test", urls, "the moon"
    )


def test_fetches_checks_and_reports_progress(server: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(
        known(f"{server}/ok"), folder=tmp_path / "new", on_progress=lambda done, total: seen.append((done, total))
    )
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert list(path.parent.iterdir()) == [path]


def test_present_files_are_not_fetched_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "test.pth").write_bytes(CONTENT)
    fetch(known(f"{server}/ok"), folder=tmp_path)
    assert Handler.requests == []


def test_a_download_that_breaks_off_is_continued(server: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"test\.pth"):
        fetch(known(f"{server}/breaks"), folder=tmp_path)
    part = tmp_path / "test.pth.part"
    assert part.stat().st_size == 2_000_000
    assert not (tmp_path / "test.pth").exists()
    assert fetch(known(f"{server}/ok"), folder=tmp_path).read_bytes() == CONTENT
    assert Handler.requests[-1] == ("/ok", "bytes=2000000-")


def test_a_server_without_ranges_starts_over(server: str, tmp_path: Path) -> None:
    (tmp_path / "test.pth.part").write_bytes(b"x" * 1000)
    assert fetch(known(f"{server}/noranges"), folder=tmp_path).read_bytes() == CONTENT


def test_a_complete_partial_file_needs_no_more_bytes(server: str, tmp_path: Path) -> None:
    (tmp_path / "test.pth.part").write_bytes(CONTENT)
    assert fetch(known(f"{server}/ok"), folder=tmp_path).read_bytes() == CONTENT


def test_the_next_source_is_tried(server: str, tmp_path: Path) -> None:
    path = fetch(known(f"{server}/missing", f"{server}/wrong", f"{server}/ok"), folder=tmp_path)
    assert path.read_bytes() == CONTENT


def test_failure_names_every_source_and_the_way_by_hand(server: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        fetch(known(f"{server}/missing", f"{server}/wrong", "http://127.0.0.1:9/closed"), folder=tmp_path)
    message = str(caught.value)
    assert "/missing: Not Found" in message
    assert "/wrong: the file has SHA-256" in message
    assert "/closed: " in message
    assert "from the moon, then run `e2fgvi weights import FILE`" in message
    assert list(tmp_path.iterdir()) == []


def test_an_answer_without_end_is_left(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("e2fgvi_cli.weights.download.LARGEST_FILE", 2 << 20)
    seen: list[int] = []
    with pytest.raises(WeightsError, match="could not fetch"):
        fetch(known(f"{server}/ok"), folder=tmp_path, on_progress=lambda done, _: seen.append(done))
    assert max(seen) <= 2 << 20


def test_lengths_that_are_no_numbers_are_not_believed(server: str, tmp_path: Path) -> None:
    assert fetch(known(f"{server}/badlength"), folder=tmp_path).read_bytes() == CONTENT


def test_a_folder_in_the_files_place_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "test.pth" / "inside").mkdir(parents=True)
    with pytest.raises(WeightsError, match="move what is there"):
        fetch(known(f"{server}/ok"), folder=tmp_path)


def test_a_folder_that_cannot_be_made_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsError, match="E2FGVI_WEIGHTS_DIR"):
        fetch(known(f"{server}/ok"), folder=tmp_path / "file" / "folder")


def test_the_default_weights_ship_and_are_the_known_file() -> None:
    path = find(KNOWN["open"])
    assert path is not None
    assert path.stat().st_size == KNOWN["open"].size
    assert sha256(path) == KNOWN["open"].sha256
    assert identify(sha256(path)) == KNOWN["open"]


def test_names_aliases_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2FGVI_WEIGHTS_DIR", str(tmp_path))
    assert by_name("Published").name == by_name("e2fgvi-hq-cvpr22.pth").name == "published"
    (tmp_path / "E2FGVI-HQ-CVPR22.pth").write_bytes(b"x")
    # what the published program's README says to type
    assert resolve("release_model/E2FGVI-HQ-CVPR22.pth") == tmp_path / "E2FGVI-HQ-CVPR22.pth"
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"x")
    assert resolve(str(own)) == own
    with pytest.raises(WeightsError, match=r"nowhere\.pth does not exist"):
        resolve("nowhere.pth")
    with pytest.raises(WeightsError, match="'best'"):
        resolve("best")


def test_absent_weights_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "search_folders", lambda: (tmp_path,))
    with pytest.raises(WeightsError, match="e2fgvi weights fetch published"):
        resolve("published")
