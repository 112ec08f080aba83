"""Journals that were damaged, are of another version, or belong to nobody; leases that never end; names that mean
something to SQLite."""

from __future__ import annotations

import os
import random
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.jobs import journal
from e2fgvi_cli.jobs.journal import Journal, is_dead, sibling_journals, snapshot_of

RECORD = {"frames": 5, "filled": 5, "seconds": 2.0, "device": "cpu", "height": 48, "width": 64, "notices": ["n"]}


def made(path: Path) -> Path:
    """A journal of two finished jobs."""
    with Journal(path) as new:
        new.add_all([("/out/a", "a"), ("/out/b", "b")])
        for output in ("/out/a", "/out/b"):
            assert new.claim(output, 60)
            new.update(output, state="done", record=RECORD, key="k" * 64, snapshot="s" * 64, stamp="t" * 64, pids=[7])
            new.release(output)
    return path


def used(path: Path) -> None:
    """What a run asks of a journal."""
    with Journal(path) as old:
        old.add_all([("/out/a", "a"), ("/out/b", "b")])
        old.rates()
        for output in ("/out/a", "/out/b"):
            old.row(output)
            if old.claim(output, 60):
                old.update(output, attempts=1, pids=[1])
        old.release_all()
    with snapshot_of(path) as copy:
        assert copy is not None
        copy.rates()


def test_a_sound_journal_is_of_use(tmp_path: Path) -> None:
    used(made(tmp_path / "journal.sqlite"))
    with Journal(tmp_path / "journal.sqlite") as again:
        assert again.row("/out/a").record == RECORD
        (rate,) = again.rates().items()
    assert rate[0] == "cpu"
    assert rate[1][0] == 4.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE jobs DROP COLUMN pids", "no such column: pids"),
        ("PRAGMA user_version=99", "is of format 99, and this program knows 1"),
        ("PRAGMA user_version=-1", "is of format -1"),
        ("UPDATE jobs SET record='{'", "is damaged .the entry of job 'a'.: move it away"),
        ("UPDATE jobs SET record='[1,2]'", "is damaged"),
        ('UPDATE jobs SET record=\'{"frames": "x"}\'', "is damaged"),
        ("UPDATE jobs SET record='{\"seconds\": [1]}'", "is damaged"),
        ("UPDATE jobs SET record='{\"notices\": [1]}'", "is damaged"),
        ('UPDATE jobs SET record=\'{"scores": {"hole_psnr": "x"}}\'', "is damaged"),
        (f"UPDATE jobs SET record='{'[' * 100_000}'", "is damaged"),
        ("UPDATE jobs SET pids='x'", "is damaged"),
        ("UPDATE jobs SET pids='[\"../../../a\"]'", "is damaged"),
        ("UPDATE jobs SET state='zzz'", "is damaged"),
        ("UPDATE jobs SET attempts='many'", "is damaged"),
        ("UPDATE jobs SET key=x'00ff'", "is damaged"),
        ("CREATE TRIGGER t AFTER UPDATE ON jobs BEGIN DELETE FROM jobs; END", "is damaged .it forgot /out"),
        ("DROP TABLE jobs; CREATE VIEW jobs AS SELECT 1", "cannot be used"),
        ("ALTER TABLE jobs ADD COLUMN future TEXT NOT NULL DEFAULT 'x'", ""),
        ('UPDATE jobs SET record=\'{"filled": 5, "height": 48, "width": 64}\'', ""),
        ("UPDATE jobs SET owner='me', lease='soon'", ""),
        ("UPDATE jobs SET owner=x'00', lease=9e18", ""),
    ],
)
def test_a_journal_whose_entries_cannot_be_is_refused_in_a_sentence(tmp_path: Path, change: str, words: str) -> None:
    path = made(tmp_path / "journal.sqlite")
    db = sqlite3.connect(path)
    db.executescript(change)
    db.commit()
    db.close()
    if not words:
        used(path)
        return
    with pytest.raises(InputError, match=words):
        used(path)


def refusal(path: Path) -> str:
    """What a run says of a journal it cannot use; "" for one it can."""
    try:
        used(path)
    except InputError as error:
        return str(error)
    return ""


def test_seventy_damaged_journals(tmp_path: Path) -> None:
    """Bits that flipped and files that were cut: a sentence that names the file, or a journal that is still of use."""
    rng = random.Random(4)
    good = made(tmp_path / "good.sqlite").read_bytes()
    refused = 0
    for n in range(70):
        path = tmp_path / str(n) / "journal.sqlite"
        path.parent.mkdir()
        data = bytearray(good)
        if n % 10 == 0:
            data = data[: rng.randrange(len(data))]
        for _ in range(rng.choice([1, 3, 20, 200]) if data else 0):
            data[rng.randrange(len(data) if n % 2 else min(len(data), 4096))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        said = refusal(path)
        assert not said or str(path) in said
        refused += bool(said)
    assert refused > 20


@pytest.mark.parametrize("kind", ["folder", "pipe", "text", "device"])
def test_a_journal_that_is_no_file_of_sqlite(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "journal.sqlite"
    make: dict[str, Callable[[], object]] = {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "text": lambda: path.write_bytes(b"hello world\n" * 500),
        "device": lambda: path.symlink_to("/dev/zero"),
    }
    make[kind]()
    words = "is not a database" if kind == "text" else "is no regular file: move it away"
    with pytest.raises(InputError, match=words), Journal(path):
        pass
    with pytest.raises(InputError, match=words), snapshot_of(path):
        pass
    if kind != "text":
        assert sibling_journals(tmp_path / "journal-1-of-2.sqlite") == []


@pytest.mark.parametrize("name", ["reel #2", "50% off?", "a;b&mode=memory", "file:x", "100%41", "é ü"])
def test_names_that_mean_something_in_an_address_are_plain_names(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    made(folder / "journal-1-of-2.sqlite")
    with Journal(folder / "journal.sqlite") as other:
        other.adopt_finished(sibling_journals(other.path))
        assert [other.row(output).state for output in ("/out/a", "/out/b")] == ["done", "done"]
    with snapshot_of(folder / "journal-2-of-2.sqlite") as copy:
        assert copy is not None
        assert copy.row("/out/a").record == RECORD
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert not (folder / "journal-2-of-2.sqlite").exists(), "looking writes nothing"


@pytest.mark.parametrize(
    "owner",
    ["me", "h:x:y", "another-machine:1:x", f"{socket.gethostname()}:{os.getpid()}:x", ""],
    ids=["name", "no-process", "another-machine", "this-process", "nobody"],  # the same in every process of a suite
)
def test_a_lease_from_the_future_that_nobody_renews_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    """The clock was set back, or the process number is another's now: a lease that stands still is over."""
    clock = [1000.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: clock[0])
    path = made(tmp_path / "journal.sqlite")
    with Journal(path, owner) as gone, Journal(path) as waiting:
        assert gone.claim("/out/a", 9e15)
        assert not waiting.claim("/out/a", 60)
        clock[0] += 50
        gone.renew(9e14)
        assert not waiting.claim("/out/a", 60)
        clock[0] += 50
        assert not waiting.claim("/out/a", 60), "it was renewed 50 seconds ago"
        clock[0] += 11
        assert waiting.claim("/out/a", 60)


def test_owners_that_cannot_be_are_not_taken_for_dead_processes() -> None:
    host = socket.gethostname()
    assert [is_dead(text) for text in ("", "me", f"{host}:0:x", f"{host}:-1:x", f"{host}:{'9' * 30}:x")] == [False] * 5


def test_many_jobs_are_added_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    with Journal(tmp_path / "journal.sqlite") as new:
        new.add_all((f"/out/{n}", str(n)) for n in range(20_000))
        assert new.row("/out/19999").name == "19999"
    assert time.monotonic() - started < 10
