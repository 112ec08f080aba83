"""The command itself: help, version, speed of starting, weights subcommands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..conftest import ROOT

DEFAULT = ROOT / "release_model" / "e2fgvi-hq-open.safetensors"


def test_version_and_help(e2fgvi: Any) -> None:
    assert e2fgvi("--version").stdout.startswith("e2fgvi 0.")
    shown = e2fgvi("--help").stdout
    assert all(name in shown for name in ("inpaint", "weights"))
    assert "--mask-dilation" in e2fgvi("inpaint", "--help").stdout


def test_weights_list_and_verify(e2fgvi: Any) -> None:
    entries = {e["name"]: e for e in json.loads(e2fgvi("weights", "list", "--json").stdout)}
    assert entries["open"]["path"] == str(DEFAULT)
    assert entries["published"]["licence"].startswith("CC BY-NC")
    assert entries["open"]["bytes"] == Path(entries["open"]["path"]).stat().st_size
    assert entries["published"]["bytes"] == 164_535_938
    assert "open (default)" in e2fgvi("weights", "list").stdout
    facts = json.loads(e2fgvi("weights", "verify", "--json").stdout)
    assert facts["known_as"] == "open"
    assert facts["backward_flow_order"] == "aligned"
    assert facts["storage"] == "int8"


def test_a_changed_file_under_a_known_name_is_caught(e2fgvi: Any, tmp_path: Path) -> None:
    data = bytearray(DEFAULT.read_bytes())
    data[-5] ^= 1
    (tmp_path / DEFAULT.name).write_bytes(bytes(data))
    done = e2fgvi("weights", "verify", DEFAULT.name)
    assert done.returncode == 4
    assert "is damaged: its SHA-256 is" in done.stderr


def test_import_puts_a_checked_file_where_its_name_is_enough(e2fgvi: Any, tmp_path: Path) -> None:
    env = {"E2FGVI_WEIGHTS_DIR": str(tmp_path / "mine")}
    done = e2fgvi("weights", "import", DEFAULT, env=env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / DEFAULT.name).read_bytes() == DEFAULT.read_bytes()
    (tmp_path / "bad.pth").write_text("<html>")
    refused = e2fgvi("weights", "import", "bad.pth", env=env)
    assert refused.returncode == 4
    assert "web page" in refused.stderr
    assert [p.name for p in (tmp_path / "mine").iterdir()] == [DEFAULT.name]


def test_fetch_without_a_network_gives_offline_advice(e2fgvi: Any, tmp_path: Path) -> None:
    env = {
        "E2FGVI_WEIGHTS_DIR": str(tmp_path),
        "https_proxy": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    done = e2fgvi("weights", "fetch", "published", "--quiet", env=env)
    assert done.returncode == 4
    assert "e2fgvi weights import FILE" in done.stderr
    assert "drive.google.com" in done.stderr


@pytest.mark.parametrize("arguments", [("weights", "verify", "best"), ("weights", "fetch", "best")])
def test_unknown_weights_are_named(e2fgvi: Any, arguments: tuple[str, ...]) -> None:
    done = e2fgvi(*arguments)
    assert done.returncode == 4
    assert "'best'" in done.stderr
