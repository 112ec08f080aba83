"""What a run writes against what it reads: by identity, however the names are spelled, before anything is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2fgvi_cli.comparison import ComparisonOptions
from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.system.paths import Read, Written, check_free, check_paths, identity
from e2fgvi_cli.video.options import OutputOptions


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a clip, frames, masks, a reference and weights; their content does not matter."""
    monkeypatch.chdir(tmp_path)
    for name in ("v.mp4", "v_compare.mp4", "mask.mp4", "ref.mp4", "m.png", "w.mp4", "other.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    for folder in ("fr", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            (tmp_path / folder / f"{number:04d}.png").write_bytes(b"picture")
    (tmp_path / "lmasks").symlink_to("masks")
    (tmp_path / "link.mp4").symlink_to("v.mp4")
    os.link(tmp_path / "masks" / "0001.png", tmp_path / "hard.png")
    (tmp_path / "among").mkdir()
    (tmp_path / "among" / "0000.png").symlink_to("../masks/0000.png")
    return tmp_path


def job(video: str = "v.mp4", mask: str = "masks", output: str = "o.mp4", **more: object) -> InpaintOptions:
    given = {
        name: Path(str(more.pop(name))) for name in ("frames_dir", "reference", "sheet", "gif", "film") if name in more
    }
    comparison = ComparisonOptions(
        given.pop("film", None), "side", given.pop("sheet", None), gif=given.pop("gif", None)
    )
    return InpaintOptions(
        Path(video),
        Path(mask),
        Path(output),
        comparison=comparison if comparison.writes() else None,
        encoding=OutputOptions(overwrite=True),
        **given,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


REFUSED = [
    (job(output="masks"), "the output masks is the mask itself; give another name"),
    (job(output="lmasks"), "the output lmasks is the mask itself; give another name"),
    (job(output="fr/../masks"), "the output fr/../masks is the mask itself; give another name"),
    (job("fr", "m.png", "m.png"), "the output m.png is the mask itself; give another name"),
    (job(mask="mask.mp4", output="mask.mp4"), "the output mask.mp4 is the mask itself; give another name"),
    (job(output="link.mp4"), "the output link.mp4 is the input itself; give another name"),
    (
        job(reference="ref.mp4", output="ref.mp4"),
        "the output ref.mp4 is the reference itself; give another name",
    ),
    (job(weights="w.mp4", output="w.mp4"), "the output w.mp4 is the weights file itself; give another name"),
    (job(frames_dir="masks"), "the folder of --save-frames masks is the mask itself; give another name"),
    (job("fr", frames_dir="fr"), "the folder of --save-frames fr is the input itself; give another name"),
    (job(mask="m.png", sheet="m.png"), "the sheet m.png is the mask itself; give another name"),
    (
        job("fr", sheet="fr/0000.png"),
        "the sheet fr/0000.png lies among the files of the input; give another folder",
    ),
    (
        job(sheet="masks/new.png"),
        "the sheet masks/new.png lies among the files of the mask; give another folder",
    ),
    (
        job(sheet="among/0000.png"),
        "the sheet among/0000.png lies among the files of the mask; give another folder",
    ),
    (
        job(mask="masks/%04d.png", sheet="masks/0001.png"),
        "the sheet masks/0001.png lies among the files of the mask; give another folder",
    ),
    (job(sheet="hard.png"), "the sheet hard.png is 0001.png of the mask; give another name"),
    (job(gif="v.mp4"), "the GIF v.mp4 is the input itself; give another name"),
    (
        job("v_compare.mp4", output="v.mkv", film="v_compare.mp4"),
        "the film of --compare v_compare.mp4 is the input itself; give another name",
    ),
    (
        job("fr/0000.png", "m.png", "fr"),
        "the output fr would be replaced as a whole, and the input fr/0000.png lies in it; give another folder",
    ),
    (
        job(output="masks/.."),
        "the output masks/.. would be replaced as a whole, and the weights file w.mp4 lies in it; give another folder",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_read_is_never_written(place: Path, options: InpaintOptions, message: str) -> None:
    if options.output == Path("masks/.."):
        options = job(output="masks/..", mask="w.mp4", video="w.mp4", weights="w.mp4")
    with pytest.raises(InputError) as caught:
        options.check_paths()
    assert str(caught.value) == message
    assert caught.value.exit_code == 3


COLLIDING = [
    (job(sheet="o.png", output="o.png"), "the output and the sheet are both o.png: give each a name of its own"),
    (
        job(output="o", frames_dir="x/../o"),
        "the output and the folder of --save-frames are both x/../o: give each a name of its own",
    ),
    (
        job(output="o", sheet="o/s.png"),
        "the sheet o/s.png lies in the output o, which is written as a whole: give another folder",
    ),
]


@pytest.mark.parametrize(("options", "message"), COLLIDING, ids=[message for _, message in COLLIDING])
def test_two_outputs_do_not_collide(place: Path, options: InpaintOptions, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        options.check_paths()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "options",
    [
        job(output="other.mp4", sheet="s.png", gif="g.gif", film="o_compare.mp4", frames_dir="new"),
        job(output="masks/o.mp4"),
        job("fr", output="fr/out"),
        job("fr", output="results/deep/out", reference="fr"),
    ],
)
def test_what_disturbs_nothing_is_allowed(place: Path, options: InpaintOptions) -> None:
    before = sorted(place.rglob("*"))
    options.check_paths()
    assert sorted(place.rglob("*")) == before


def test_several_jobs_are_checked_together(place: Path) -> None:
    jobs = [job("v.mp4", "masks", "a.mp4"), job("fr", "m.png", "other.mp4"), job("other.mp4", "m.png", "b.mp4")]
    with pytest.raises(InputError, match=r"^the output other\.mp4 is the input itself"):
        check_paths([w for one in jobs for w in one.writes()], [r for one in jobs for r in one.reads()])


def test_identity_sees_through_spellings(place: Path) -> None:
    assert identity(Path("v.mp4")) == identity(place / "masks" / ".." / "link.mp4")
    assert identity(Path("lmasks/new/x.png")) == identity(Path("masks/new/x.png"))
    assert identity(Path("new.mp4")) != identity(Path("New.mkv"))


def test_an_existing_output_needs_permission(place: Path) -> None:
    with pytest.raises(InputError, match=r"^the sheet m\.png exists; give another name, or --overwrite"):
        check_free([Written("the sheet", Path("m.png"))])
    check_free([Written("the sheet", Path("m.png"), overwrite=True), Written("the output", Path("no.mp4"))])


@pytest.mark.parametrize("name", ["x.png", "notes.txt", "photo.jpg", "link.png"])
def test_a_folder_is_replaced_only_if_all_in_it_are_frames(place: Path, name: str) -> None:
    odd = place / "masks" / name
    if name == "x.png":
        odd.mkdir()
    elif name == "link.png":
        odd.symlink_to("../m.png")
    else:
        odd.write_text("years of work")
    with pytest.raises(InputError) as caught:
        check_free([Written("the output", Path("masks"), True, True)])
    what = (
        "something that is no image" if name in ("x.png", "notes.txt") else "an image that this program did not write"
    )
    assert str(caught.value) == f"the output masks holds {what} ({name}) and is never replaced; give a new folder"


def test_reading_is_named_as_given(place: Path) -> None:
    with pytest.raises(InputError, match=r"^--json v\.mp4 is the input itself; give another name$"):
        check_paths([Written("--json", Path("v.mp4"))], [Read("the input", Path("v.mp4"))])
