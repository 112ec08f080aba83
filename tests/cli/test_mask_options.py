"""Mask options as `inpaint` and the columns of a manifest give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2fgvi_cli.commands.batch import _make_jobs
from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.jobs.manifest import read_manifest
from e2fgvi_cli.masks import Dilation, MaskOptions, parse_box


def masking_of(folder: Path, header: str, cells: str) -> MaskOptions:
    """The mask options of a CSV of one job."""
    (folder / "clip.mp4").touch()
    (folder / "jobs.csv").write_text(f"video,{header}\nclip.mp4,{cells}\n")
    (job,) = _make_jobs(read_manifest(folder / "jobs.csv"), folder)
    return job.options.masking


def test_two_boxes_in_one_cell(tmp_path: Path) -> None:
    two = (parse_box("10,20,30,40@-20"), parse_box("50,60,7,8@21-"))
    assert masking_of(tmp_path, "mask_box", '"10,20,30,40@-20; 50,60,7,8@21-"').boxes == two
    assert masking_of(tmp_path, "mask_box", '"10,20,30,40@-20 50,60,7,8@21-"').boxes == two


def test_gaps_and_dilation(tmp_path: Path) -> None:
    plain = masking_of(tmp_path, "mask", "m")
    assert (plain.grow_gaps, plain.dilation) == (False, Dilation(unit="auto"))
    assert masking_of(tmp_path, "mask,grow_gaps", "m,true").grow_gaps is True
    assert masking_of(tmp_path, "mask,grow_gaps", "m,no").grow_gaps is False
    assert masking_of(tmp_path, "mask,mask_dilation", "m,4px").dilation == Dilation(4)
    assert masking_of(tmp_path, "mask,mask_dilation", "m,auto").dilation == Dilation(unit="auto")


def test_the_published_program_knows_no_gaps(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--compat released fixes the masks: drop --grow-gaps"):
        masking_of(tmp_path, "mask,compat,grow_gaps", "m,released,true")
    assert masking_of(tmp_path, "mask,compat", "m,released") == MaskOptions.published()
