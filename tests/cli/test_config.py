"""The user's own defaults: they reach the command, the command line wins, mistakes are named with their file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from e2fgvi_cli.app import app
from e2fgvi_cli.commands.config import TEMPLATE
from e2fgvi_cli.system import user_config


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my settings.toml"
    monkeypatch.setenv(user_config.VARIABLE, str(path))
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "300", "NO_COLOR": "1"})


def test_what_is_set_is_the_default_and_the_command_line_wins(settings: Path, tmp_path: Path) -> None:
    settings.write_text('[weights.list]\njson = true\n[inpaint]\ncrf = 16\nmask-box = ["1,2,3,4"]\n')
    assert run("weights", "list").stdout.startswith("[")
    assert not run("weights", "list", "--no-json").stdout.startswith("[")
    settings.write_text('[mask.preview]\noutput = "sheet.gif"\n')
    done = run("mask", "preview", "--video", tmp_path / "no.mp4", "--mask", tmp_path)
    assert "sheet.gif" in done.output, "an option of a subcommand"


def test_config_says_what_is_set(settings: Path) -> None:
    settings.write_text('[inpaint]\ncrf = 16\nmask-box = "1,2,3,4"\n[mask.track]\nengine = "classic"\n')
    assert run("config").stdout.splitlines() == [
        str(settings), "e2fgvi inpaint --crf 16", "e2fgvi inpaint --mask-box ['1,2,3,4']", "e2fgvi mask track --engine classic",
    ]  # fmt: skip
    said = json.loads(run("config", "--json").stdout)
    assert said == {
        "path": str(settings),
        "settings": {"inpaint --crf": 16, "inpaint --mask-box": ["1,2,3,4"], "mask track --engine": "classic"},
    }
    assert run("config", "--path").stdout.strip() == str(settings)


def test_a_file_to_begin_with_is_right_once_uncommented(settings: Path) -> None:
    assert run("config", "--init").exit_code == 0
    assert settings.read_text() == TEMPLATE
    again = run("config", "--init")
    assert (again.exit_code, settings.read_text()) == (3, TEMPLATE)
    lines = [
        line.removeprefix("# ") for line in TEMPLATE.splitlines() if line.startswith(("# [", "# ")) and line[2:3] != "D"
    ]
    settings.write_text("\n".join(line for line in lines if line.startswith("[") or " = " in line))
    assert len(run("config").stdout.splitlines()) == 6
    assert run("weights", "list", "--json").exit_code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[inpain]\na = 1", "[inpain] is no command of e2fgvi; there are batch, benchmark, check-env"),
        ("[mask.trak]\na = 1", "[mask.trak] is no command of e2fgvi; there are grow, logo, preview, text, track"),
        ("crf = 1", "'crf' outside of a table is no command of e2fgvi"),
        ("[inpaint]\ncrff = 1", "e2fgvi inpaint has no option --crff"),
        ('[inpaint]\ncrf = "high"', "[inpaint] crf = 'high': "),
        ("[inpaint", "are no TOML: "),
    ],
)
def test_a_mistake_is_named_with_its_file(settings: Path, text: str, said: str) -> None:
    settings.write_text(text)
    done = run("weights", "list")
    assert done.exit_code == 2
    assert said in done.stderr
    assert str(settings) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_named_file_has_to_be_there_and_none_may_be_wanted(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("weights", "list")
    assert (done.exit_code, f"{user_config.VARIABLE} names {settings}, which is not there" in done.stderr) == (2, True)
    monkeypatch.setenv(user_config.VARIABLE, "")
    assert run("weights", "list").exit_code == 0
    assert user_config.config_path() is None


def test_where_the_file_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(user_config.VARIABLE, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert user_config.config_path() == Path("/somewhere/e2fgvi/config.toml")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("APPDATA", "/roaming")
    assert user_config.config_path() == Path("/roaming/e2fgvi/config.toml")
