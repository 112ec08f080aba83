"""`--preset`: what it sets, and who wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from e2fgvi_cli.app import app
from e2fgvi_cli.commands import config
from e2fgvi_cli.commands.inpaint import inpaint
from e2fgvi_cli.commands.inpaint_arguments import InpaintArguments
from e2fgvi_cli.commands.inpaint_options import to_options
from e2fgvi_cli.commands.presets import PRESETS
from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.system import user_config
from e2fgvi_cli.types import VideoInfo
from e2fgvi_cli.video.options import GRADES
from e2fgvi_cli.video.writing.codecs import Encoding, choose


def parsed(*arguments: str, settings: dict[str, Any] | None = None) -> InpaintOptions:
    single = typer.Typer(add_completion=False)
    single.command()(inpaint)
    command: Any = get_command(single)
    given = ["-v", "clip.mp4", "-m", "masks", *arguments]
    context = command.make_context("inpaint", given, default_map=dict(settings or {}))
    return to_options(InpaintArguments.of(context.params))


def encoding(*arguments: str, codec: str = "h264", output: str = "out.mp4") -> Encoding:
    info = VideoInfo(Path("clip.mp4"), False, 48, 64, 9, None, codec=codec, pixel_format="yuv420p")
    return choose(Path(output), info, parsed(*arguments).encoding)


def test_presets_are_the_grades_and_name_options_that_are_there() -> None:
    assert set(PRESETS) == set(GRADES)
    for name in PRESETS:
        options = parsed("--preset", name)
        assert options.windows.max_references == int(PRESETS[name]["max_references"])
        assert options.windows.crops.margin == PRESETS[name]["crop_margin"]
    assert [parsed("--preset", name).verify for name in PRESETS] == [False, False, True]
    assert parsed("--preset", "archive", "--no-verify").verify is False


@pytest.mark.parametrize(
    ("arguments", "settings", "references", "margin"),
    [
        (("--preset", "draft", "--max-references", "3"), {}, 3, 32),
        (("--max-references", "3", "--preset", "draft"), {}, 3, 32),
        (("--preset", "draft"), {"max_references": "4", "crop_margin": 50}, 2, 32),
        ((), {"preset": "draft", "max_references": "4"}, 4, 32),
        (("--preset", "quality"), {"preset": "draft"}, 12, 128),
        (("--crop-margin", "7"), {"preset": "draft", "crop_margin": 50}, 2, 7),
    ],
)
def test_what_is_said_nearer_wins(
    arguments: tuple[str, ...], settings: dict[str, Any], references: int, margin: int
) -> None:
    options = parsed(*arguments, settings=settings)
    assert (options.windows.max_references, options.windows.crops.margin) == (references, margin)


@pytest.mark.parametrize(
    ("arguments", "codec", "output", "wanted"),
    [
        (("--preset", "draft"), "h264", "out.mp4", ("h264", False, "26")),
        (("--preset", "quality"), "h264", "out.mp4", ("h264", False, "12")),
        (("--preset", "quality", "--crf", "20"), "h264", "out.mp4", ("h264", False, "20")),
        (("--preset", "archive"), "h264", "out.mp4", ("h264", True, None)),
        (("--preset", "archive", "--crf", "20"), "h264", "out.mp4", ("h264", False, "20")),
        (("--preset", "archive"), "prores", "out.mov", ("h264", True, None)),
        (("--preset", "archive", "--codec", "prores"), "prores", "out.mov", ("prores", False, None)),
        (("--preset", "draft"), "prores", "out.mov", ("prores", False, None)),
        (("--preset", "quality"), "h264", "frames", ("png", True, None)),
    ],
)
def test_the_grade_gives_way_to_what_is_said_of_the_encoding(
    arguments: tuple[str, ...], codec: str, output: str, wanted: tuple[str, bool, str | None]
) -> None:
    found = encoding(*arguments, codec=codec, output=output)
    assert (found.codec, found.lossless, dict(found.options).get("crf")) == wanted


def test_mistakes_are_said() -> None:
    with pytest.raises(UsageError, match="--preset 'best' is unknown: use draft, quality, archive"):
        parsed("--preset", "best")
    with pytest.raises(UsageError, match="--compat released fixes what --preset draft would set"):
        parsed("--preset", "draft", "--compat", "released")
    assert parsed("--preset", "draft", "--full-frame").windows.crops.enabled is False


def test_a_preset_may_be_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.toml"
    monkeypatch.setenv(user_config.VARIABLE, str(path))
    path.write_text('[inpaint]\npreset = "archive"\n')
    assert config.config_path() == path
    done = CliRunner().invoke(app, ["config"])
    assert done.output.splitlines()[1:] == ["e2fgvi inpaint --preset archive"]
    path.write_text('[inpaint]\npreset = "best"\n')
    done = CliRunner().invoke(app, ["inpaint", "-v", "a.mp4", "-m", "b"])
    assert done.exit_code == 2
    assert "preset = 'best'" in done.output
    path.write_text("[inpaint]\nhelp = true\n")
    assert CliRunner().invoke(app, ["weights", "list"]).exit_code == 2
