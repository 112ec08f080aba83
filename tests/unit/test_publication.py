"""Results get their names together and whole; nobody else's file is replaced; what the dead left is removed."""

# ruff: noqa: PT012 (what happens inside a publication that fails is what is tested)
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.system import publication as module
from e2fgvi_cli.system import renaming
from e2fgvi_cli.system.publication import Publication, discard_unfinished, remove_stale, replace_file


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def frames(folder: Path, *more: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("0.png", *more):
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture(params=["system call", "link", "plain"])
def any_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Also where the system cannot rename without replacing, and where there are no hard links."""
    if request.param != "system call":
        monkeypatch.setattr(renaming, "_system_call", lambda: None)
    if request.param == "plain":
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(PermissionError(1, "no links here")))
    return str(request.param)


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_results_appear_together(tmp_path: Path, any_system: str) -> None:
    with Publication() as publication:
        film = publication.temporary(tmp_path / "a" / "film.mp4")
        folder = publication.temporary(tmp_path / "a" / "frames")
        film.write_bytes(b"film")
        frames(folder)
        assert not (tmp_path / "a" / "film.mp4").exists()
    assert names(tmp_path / "a") == ["film.mp4", "frames"]
    assert names(tmp_path / "a" / "frames") == ["0.png"]
    assert list(module.published)[-2:] == [tmp_path / "a" / "film.mp4", tmp_path / "a" / "frames"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), Publication() as publication:
        publication.temporary(tmp_path / "film.mp4").write_bytes(b"film")
        frames(publication.temporary(tmp_path / "frames"))
        raise ValueError("no")
    assert names(tmp_path) == []


def test_what_appears_meanwhile_is_kept_and_so_is_the_result(tmp_path: Path, any_system: str) -> None:
    target = tmp_path / "film.mp4"
    with pytest.raises(InputError) as caught, Publication() as publication:
        publication.temporary(target).write_bytes(b"hours of work")
        target.write_bytes(b"a stranger's")
        (tmp_path / "film-1.mp4").write_bytes(b"another")
    assert str(caught.value) == (
        f"the output {target} appeared while this ran and was not replaced: the finished result is "
        f"{tmp_path}/film-2.mp4"
    )
    assert target.read_bytes() == b"a stranger's"
    assert (tmp_path / "film-2.mp4").read_bytes() == b"hours of work"
    assert names(tmp_path) == ["film-1.mp4", "film-2.mp4", "film.mp4"]


def test_a_folder_that_fills_meanwhile_is_kept(tmp_path: Path, any_system: str) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with (
        pytest.raises(InputError, match=r"appeared while this ran .* result is .*/out-1$"),
        Publication() as publication,
    ):
        frames(publication.temporary(target))
        (target / "thesis.tex").write_text("years")
    assert names(target) == ["thesis.tex"]
    assert names(tmp_path / "out-1") == ["0.png"]
    assert names(tmp_path) == ["out", "out-1"]


def test_the_others_are_published_when_one_is_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sheet\.png appeared"), Publication() as publication:
        for name in ("sheet.png", "film.mp4"):
            publication.temporary(tmp_path / name).write_bytes(name.encode())
        (tmp_path / "sheet.png").write_bytes(b"other")
    assert names(tmp_path) == ["film.mp4", "sheet-1.png", "sheet.png"]


def test_with_permission_a_file_is_replaced(tmp_path: Path, any_system: str) -> None:
    target = tmp_path / "film.mp4"
    target.write_bytes(b"old")
    with Publication() as publication:
        publication.temporary(target, overwrite=True).write_bytes(b"new")
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["film.mp4"]


def test_only_frames_of_a_replaced_folder_go(tmp_path: Path, any_system: str) -> None:
    target = frames(tmp_path / "out", "stale.png")
    with Publication() as publication:
        frames(publication.temporary(target, overwrite=True), "1.png")
        (target / "thesis.tex").write_text("years")  # while the run lasts
        (target / "x.png").mkdir()
        (target / "x.png" / "inside").write_text("more")
    assert names(target) == ["0.png", "1.png", "thesis.tex", "x.png"]
    assert (target / "x.png" / "inside").read_text() == "more"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("filled", [True, False])
def test_a_link_to_a_folder_stays_a_link(tmp_path: Path, any_system: str, filled: bool) -> None:
    real = frames(tmp_path / "big" / "real")
    if not filled:
        (real / "0.png").unlink()
    link = tmp_path / "link"
    link.symlink_to("big/real")
    with Publication() as publication:
        frames(publication.temporary(link, overwrite=filled), "1.png")
    assert link.is_symlink()
    assert names(real) == ["0.png", "1.png"]
    assert (names(tmp_path), names(tmp_path / "big")) == (["big", "link"], ["real"])


def test_a_link_to_a_file_is_replaced_and_the_file_kept(tmp_path: Path) -> None:
    (tmp_path / "other.mp4").write_bytes(b"other")
    (tmp_path / "link.mp4").symlink_to("other.mp4")
    with Publication() as publication:
        publication.temporary(tmp_path / "link.mp4", overwrite=True).write_bytes(b"new")
    assert (tmp_path / "other.mp4").read_bytes() == b"other"
    assert (tmp_path / "link.mp4").read_bytes() == b"new"


def test_leftovers_of_dead_processes_go_and_those_of_others_stay(tmp_path: Path) -> None:
    target, dead, machine = tmp_path / "film.mp4", dead_process(), module._machine()
    stale = [f".film.{dead}-{machine}-1.partial.mp4", f".film.{os.getpid()}-{machine}-1.partial.mp4"]
    kept = [
        f".film.{os.getppid()}-{machine}-1.partial.mp4",  # alive
        f".film.{dead}-abcdef-1.partial.mp4",  # another machine's
        f".other.{dead}-{machine}-1.partial.mp4",  # another target's
        f".film.{dead}.notes",
    ]
    for name in stale + kept:
        (tmp_path / name).write_bytes(b"x")
    with Publication() as publication:
        publication.temporary(target).write_bytes(b"new")
        assert not any((tmp_path / name).exists() and (tmp_path / name).read_bytes() == b"x" for name in stale)
    assert names(tmp_path) == sorted([*kept, "film.mp4"])
    remove_stale(target, frozenset({dead}))  # whoever knows it is gone, on whatever machine
    assert f".film.{dead}-abcdef-1.partial.mp4" not in names(tmp_path)


def test_a_folder_that_was_being_replaced_by_the_dead_is_put_back(tmp_path: Path) -> None:
    left = frames(tmp_path / f".out.{dead_process()}-{module._machine()}-1.old")
    remove_stale(tmp_path / "out")
    assert not left.exists()
    assert names(tmp_path / "out") == ["0.png"]


def test_a_name_of_255_bytes_has_a_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / ("漢" * 83 + "ab.mp4")
    assert len(os.fsencode(target.name)) == 255
    with Publication() as publication:
        temporary = publication.temporary(target)
        temporary.write_bytes(b"long")
        assert temporary.suffix == ".mp4"
    assert target.read_bytes() == b"long"
    assert names(tmp_path) == [target.name]


def test_two_runs_of_one_process_do_not_share_a_name(tmp_path: Path) -> None:
    with Publication() as first, Publication() as second:
        names_used = {one.temporary(tmp_path / "a.mp4", overwrite=True) for one in (first, second)}
        for name in names_used:
            name.write_bytes(b"x")
        assert len(names_used) == 2
    assert names(tmp_path) == ["a.mp4"]


def test_an_interruption_while_publishing_comes_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = module._publish

    def interrupted(entry: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        publish(entry)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_publish", interrupted)
    with pytest.raises(KeyboardInterrupt), Publication() as publication:
        for name in ("a.mp4", "b.png"):
            publication.temporary(tmp_path / name).write_bytes(b"x")
    assert names(tmp_path) == ["a.mp4", "b.png"]


def test_what_a_failed_command_forgot_is_removed(tmp_path: Path) -> None:
    Publication().temporary(tmp_path / "a.mp4").write_bytes(b"half")
    discard_unfinished()
    assert names(tmp_path) == []


def test_replace_file(tmp_path: Path) -> None:
    replace_file(tmp_path / "r.json", "é")
    replace_file(tmp_path / "r.json", b"2")
    assert (tmp_path / "r.json").read_bytes() == b"2"
    with pytest.raises(OSError, match="Is a directory"):
        replace_file(tmp_path, "x")
    assert names(tmp_path) == ["r.json"]
