"""The journal: which jobs are done, which run and where, in SQLite with a write-ahead log. Standard library only.

Several drivers may use one journal on one machine; every claim is one transaction. Only drivers write to it, never
workers.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from ..errors import InputError, UsageError
from .model import State, padded_megapixels

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  output TEXT PRIMARY KEY,      -- resolved path: two jobs never write the same
  name TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending',
  key TEXT NOT NULL DEFAULT '', -- content hash of inputs, settings and weights
  snapshot TEXT NOT NULL DEFAULT '', -- sizes and times of the inputs when the key was computed
  stamp TEXT NOT NULL DEFAULT '',    -- size and time of the published output
  attempts INTEGER NOT NULL DEFAULT 0,
  message TEXT NOT NULL DEFAULT '',
  exit_code INTEGER NOT NULL DEFAULT 0,
  record TEXT NOT NULL DEFAULT '{}', -- figures of the finished job, JSON
  pids TEXT NOT NULL DEFAULT '[]',   -- processes that may have left an unfinished output
  owner TEXT,
  lease REAL NOT NULL DEFAULT 0      -- seconds since the epoch after which the owner is taken for dead
);
"""
_VERSION = 1
"""Of the schema, in the file's `user_version`; 0 is a file made before that was kept."""
_COLUMNS = "output, name, state, key, snapshot, stamp, attempts, message, exit_code, record, pids, owner, lease"
_BUSY_SECONDS = 30.0
_NUMBER = (int, float)
_FIGURES: dict[str, type | tuple[type, ...]] = {
    "frames": int,
    "filled": int,
    "resumed": int,
    "height": int,
    "width": int,
    "seconds": _NUMBER,
    "finished": _NUMBER,
    "peak_memory": _NUMBER,
    "device": str,
    "notices": list,
    "scores": dict,
}


@dataclass(frozen=True)
class Row:
    """A job as the journal has it."""

    output: str
    name: str
    state: State
    key: str
    snapshot: str
    stamp: str
    attempts: int
    message: str
    exit_code: int
    record: dict[str, Any]
    pids: tuple[int, ...]
    owner: str | None
    lease: float


class Journal:
    """One driver's view of the journal file. Context manager; not thread-safe. `shown`: what messages call the file.

    Raises `InputError` for a file that is damaged, of a newer version, or cannot be written.
    """

    def __init__(self, path: Path, owner: str | None = None, shown: Path | None = None) -> None:
        self.path, self._shown = path, shown or path
        self.owner = owner or new_owner()
        self._waiting: dict[str, tuple[object, object, float]] = {}
        _require_folder(path.parent)
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            require_regular(path)
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with self._errors():
                self._require_version()
                self._use_write_ahead_log()
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
                self._db.execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            self._db.close()
            raise

    def _require_version(self) -> None:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if not 0 <= found <= _VERSION:
            raise InputError(
                f"the journal {self._shown} is of format {found}, and this program knows {_VERSION}: "
                "use the version that wrote it, or another folder with --state"
            )

    def _use_write_ahead_log(self) -> None:
        """Switch a new file to the write-ahead log, while other drivers may be doing the same.

        The switch upgrades a read lock, for which SQLite does not wait (two that upgrade would wait for each other): it
        says "locked" at once, whatever the connection's timeout. So the waiting is done here.
        """
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.005, 0.05))

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    @contextmanager
    def _errors(self, path: Path | None = None) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError, UnicodeError) as error:
            # A damaged file's messages may be no text either.
            if type(error) is sqlite3.DatabaseError or isinstance(error, UnicodeError):
                raise self._damaged(str(error), path) from error
            raise InputError(
                f"the journal {path or self._shown} cannot be used ({error}): free space or choose another folder "
                "with --state"
            ) from error

    def _damaged(self, what: str, path: Path | None = None) -> InputError:
        return InputError(
            f"the journal {path or self._shown} is damaged ({what}): move it away, and add overwrite to jobs "
            "whose output is there"
        )

    def add(self, output: str, name: str) -> None:
        """Know of a job; one that is known keeps its state."""
        self.add_all([(output, name)])

    def add_all(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Know of jobs, as (output, name): all in one transaction, for each of them waits for the disk."""
        with self._errors(), self._transaction():
            self._db.executemany(
                "INSERT INTO jobs (output, name) VALUES (?, ?) ON CONFLICT(output) DO UPDATE SET name = excluded.name "
                "WHERE name != excluded.name",
                jobs,
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def find(self, output: str) -> Row | None:
        """A job, or None if the journal does not know it. Raises `InputError` for an entry that cannot be what was
        written."""
        with self._errors():
            query = f"SELECT {_COLUMNS} FROM jobs WHERE output = ?"  # no word of a user  # nosec B608
            found = self._db.execute(query, (output,)).fetchone()
        if found is None:
            return None
        values = dict(zip(_COLUMNS.split(", "), tuple(found), strict=True))  # the file's own names may be damaged
        where = f"the entry of job {values['name']!r}"
        values["record"] = self._figures(values["record"], where)
        values["pids"] = tuple(self._parsed(values["pids"], list, where))
        texts = all(isinstance(values[name], str) for name in ("name", "key", "snapshot", "stamp", "message"))
        numbers = [values["attempts"], values["exit_code"], *values["pids"]]
        if not texts or not all(type(number) is int for number in numbers) or values["state"] not in get_args(State):
            raise self._damaged(where)
        return Row(**values)

    def _parsed(self, text: object, kind: type, where: str) -> Any:
        try:
            value = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, kind):
            raise self._damaged(where)
        return value

    def _figures(self, text: object, where: str) -> dict[str, Any]:
        """A finished job's figures, each of its kind; any of them may be missing."""
        record: dict[str, Any] = self._parsed(text, dict, where)
        if not all(
            isinstance(record.get(name, kind()), kind) for name, kind in _FIGURES.items() if isinstance(kind, type)
        ):
            raise self._damaged(where)
        numbers = [record.get(name, 0) for name, kind in _FIGURES.items() if kind is _NUMBER]
        numbers += record.get("scores", {}).values()
        if not all(isinstance(n, _NUMBER) for n in numbers) or not all(
            isinstance(n, str) for n in record.get("notices", [])
        ):
            raise self._damaged(where)
        return record

    def row(self, output: str) -> Row:
        """A job that was added."""
        found = self.find(output)
        if found is None:
            raise self._damaged(f"it forgot {output}")
        return found

    def claim(self, output: str, lease: float) -> bool:
        """Take a job for this driver, unless a living one has it. The lease ends `lease` seconds from now."""
        with self._errors(), self._transaction():
            row = self._db.execute("SELECT owner, lease FROM jobs WHERE output = ?", (output,)).fetchone()
            if row is None:
                raise self._damaged(f"it forgot {output}")
            free = self._is_free(output, row[0], row[1], lease)
            if free:
                self._db.execute(
                    "UPDATE jobs SET owner = ?, lease = ? WHERE output = ?", (self.owner, time.time() + lease, output)
                )
        return free

    def _is_free(self, output: str, owner: object, until: object, lease: float) -> bool:
        """Whether nobody has a job, or nobody who lives.

        A lease that has stood still for as long as one lasts is over, too, whatever its end: clocks are set back,
        process numbers are given again, and entries are damaged.
        """
        if owner in (None, self.owner) or not isinstance(owner, str) or not isinstance(until, _NUMBER):
            return True
        if until < time.time() or is_dead(owner):
            return True
        seen = self._waiting.get(output)
        if seen is None or seen[:2] != (owner, until):
            self._waiting[output] = (owner, until, time.monotonic())
            return False
        return time.monotonic() - seen[2] > lease

    def renew(self, lease: float) -> None:
        """Push back the end of every lease of this driver."""
        with self._errors():
            self._db.execute("UPDATE jobs SET lease = ? WHERE owner = ?", (time.time() + lease, self.owner))

    def is_ours(self, output: str) -> bool:
        """Whether the job is still this driver's: one that slept past its lease may have lost it."""
        with self._errors():
            row = self._db.execute("SELECT owner FROM jobs WHERE output = ?", (output,)).fetchone()
        return row is not None and bool(row[0] == self.owner)

    def update(self, output: str, **values: Any) -> None:
        """Set columns of a job of this driver; if another has taken it, nothing is written."""
        for name in ("record", "pids"):
            if name in values:
                values[name] = json.dumps(values[name])
        if "message" in values:  # it may name a file whose name is no text
            values["message"] = values["message"].encode(errors="backslashreplace").decode()
        assignments = ", ".join(f"{name} = ?" for name in values)
        change = f"UPDATE jobs SET {assignments} WHERE output = ? AND owner = ?"  # this program's names  # nosec B608
        with self._errors():
            self._db.execute(change, (*values.values(), output, self.owner))

    def release(self, output: str) -> None:
        """Let go of a job, whatever its state."""
        self.update(output, owner=None, lease=0)

    def release_all(self) -> None:
        """Let go of every job of this driver."""
        with self._errors():
            self._db.execute("UPDATE jobs SET owner = NULL, lease = 0 WHERE owner = ?", (self.owner,))

    def adopt_finished(self, others: list[Path]) -> None:
        """Take over what other shards' journals say is done, so that another number of shards repeats nothing."""
        for other in others:
            # As an address, for only an address can ask for reading alone; `as_uri` quotes what would mean something in
            # one.
            address = f"{other.resolve().as_uri()}?mode=ro"
            with self._errors(other), closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as source:
                rows = source.execute(
                    "SELECT output, name, state, key, snapshot, stamp, attempts, record FROM jobs WHERE state = 'done'"
                ).fetchall()
            with self._errors(), self._transaction():
                self._db.executemany(
                    "INSERT INTO jobs (output, name, state, key, snapshot, stamp, attempts, record) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(output) DO UPDATE SET state = excluded.state, "
                    "key = excluded.key, snapshot = excluded.snapshot, stamp = excluded.stamp, record = "
                    "excluded.record WHERE jobs.state != 'done'",
                    rows,
                )

    def rates(self) -> dict[str, tuple[float, float]]:
        """(seconds of work, padded megapixels filled) of the finished jobs, by device: for predicting how long others
        take."""
        totals: dict[str, tuple[float, float]] = {}
        with self._errors():
            rows = self._db.execute("SELECT name, record FROM jobs WHERE state = 'done'").fetchall()
        for name, text in rows:
            record = self._figures(text, f"the entry of job {name!r}")
            pixels = record.get("filled", 0) * padded_megapixels((record.get("height", 0), record.get("width", 0)))
            if pixels > 0:
                device = record.get("device", "")
                seconds, before = totals.get(device, (0.0, 0.0))
                totals[device] = (seconds + record.get("seconds", 0.0), before + pixels)
        return totals


@contextmanager
def snapshot_of(path: Path) -> Iterator[Journal | None]:
    """The journal and those of other shards as they are now, in copies: looking at them writes nothing. None if there
    is none."""
    _require_folder(path.parent)
    files = [file for file in (path, *sibling_journals(path)) if os.path.lexists(file)]
    if not files:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="e2fgvi-") as folder:
        for file in files:
            for part in (file, file.with_name(f"{file.name}-wal")):
                try:
                    if part == file or part.is_file():
                        require_regular(part)
                        shutil.copyfile(part, Path(folder) / part.name)
                except OSError as error:
                    raise InputError(f"the journal {part} cannot be read: {error.strerror or error}") from error
        with Journal(Path(folder) / path.name, shown=path) as journal:
            journal.adopt_finished(sibling_journals(journal.path))
            yield journal


def _require_folder(state: Path) -> None:
    if os.path.lexists(state) and not state.is_dir():
        raise InputError(f"the state folder {state} is no folder: choose another with --state")


def require_regular(path: Path) -> None:
    """Raise `InputError` for a journal that is a folder, a pipe or a device: opening one might wait for ever."""
    if os.path.lexists(path) and not path.is_file():
        raise InputError(f"the journal {path} is no regular file: move it away, or choose another folder with --state")


def new_owner() -> str:
    """A name for this driver: host, process number, and something nobody else has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"


def is_dead(owner: str) -> bool:
    """Whether the owner was a process of this machine that is gone. A false "no" only costs the wait for the lease's
    end."""
    match = re.fullmatch("(.*):([0-9]{1,9}):[^:]*", owner)
    if match is None or os.name != "posix" or match[1] != socket.gethostname() or int(match[2]) == 0:
        return False
    try:
        os.kill(int(match[2]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def sibling_journals(path: Path) -> list[Path]:
    """The other shards' journals in the same folder."""
    return [other for other in sorted(path.parent.glob("journal*.sqlite")) if other != path and other.is_file()]


def parse_shard(text: str) -> tuple[int, int]:
    """From "i/n", counted from 1. Raises `UsageError`."""
    match = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None:
        raise UsageError(f"--shard {text!r} is no part of the whole: write i/n, such as 1/8 for the first of eight")
    return int(match[1]), int(match[2])
