"""The journal: which jobs are done, which run and where, in SQLite with a write-ahead log. Standard library only.

Several drivers may use one journal on one machine; every claim is one transaction. Only drivers write to it, never workers.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

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
_BUSY_SECONDS = 30.0


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
    """One driver's view of the journal file. Context manager; not thread-safe (the heartbeat opens its own)."""

    def __init__(self, path: Path, owner: str | None = None) -> None:
        self.path = path
        self.owner = owner or new_owner()
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._use_write_ahead_log()
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)

    def _use_write_ahead_log(self) -> None:
        """Switch a new file to the write-ahead log, while other drivers may be doing the same.

        The switch upgrades a read lock, for which SQLite does not wait (two that upgrade would wait for each other): it says "locked"
        at once, whatever the connection's timeout. So the waiting is done here.
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
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"the journal {self.path} cannot be used ({error}): free space or choose another folder with --state"
            ) from error

    def add(self, output: str, name: str) -> None:
        """Know of a job; one that is known keeps its state."""
        with self._errors():
            self._db.execute(
                "INSERT INTO jobs (output, name) VALUES (?, ?) ON CONFLICT(output) DO UPDATE SET name = excluded.name",
                (output, name),
            )

    def find(self, output: str) -> Row | None:
        """A job, or None if the journal does not know it."""
        with self._errors():
            found = self._db.execute("SELECT * FROM jobs WHERE output = ?", (output,)).fetchone()
        if found is None:
            return None
        values = dict(found)
        values["record"], values["pids"] = json.loads(values["record"]), tuple(json.loads(values["pids"]))
        return Row(**values)

    def row(self, output: str) -> Row:
        """A job that was added."""
        found = self.find(output)
        assert found is not None, "jobs are added before they are asked for"
        return found

    def claim(self, output: str, lease: float) -> bool:
        """Take a job for this driver, unless a living one has it. The lease ends `lease` seconds from now."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                row = self._db.execute("SELECT owner, lease FROM jobs WHERE output = ?", (output,)).fetchone()
                free = row["owner"] in (None, self.owner) or row["lease"] < time.time() or is_dead(row["owner"])
                if free:
                    self._db.execute(
                        "UPDATE jobs SET owner = ?, lease = ? WHERE output = ?",
                        (self.owner, time.time() + lease, output),
                    )
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        return bool(free)

    def renew(self, lease: float) -> None:
        """Push back the end of every lease of this driver."""
        with self._errors():
            self._db.execute("UPDATE jobs SET lease = ? WHERE owner = ?", (time.time() + lease, self.owner))

    def is_ours(self, output: str) -> bool:
        """Whether the job is still this driver's: one that slept past its lease may have lost it."""
        with self._errors():
            row = self._db.execute("SELECT owner FROM jobs WHERE output = ?", (output,)).fetchone()
        return bool(row["owner"] == self.owner)

    def update(self, output: str, **values: Any) -> None:
        """Set columns of a job of this driver; if another has taken it, nothing is written."""
        for name in ("record", "pids"):
            if name in values:
                values[name] = json.dumps(values[name])
        assignments = ", ".join(f"{name} = ?" for name in values)
        with self._errors():
            self._db.execute(
                f"UPDATE jobs SET {assignments} WHERE output = ? AND owner = ?", (*values.values(), output, self.owner)
            )

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
            with self._errors(), sqlite3.connect(f"file:{other}?mode=ro", uri=True, timeout=_BUSY_SECONDS) as source:
                rows = source.execute(
                    "SELECT output, name, state, key, snapshot, stamp, attempts, record FROM jobs WHERE state = 'done'"
                ).fetchall()
                self._db.executemany(
                    "INSERT INTO jobs (output, name, state, key, snapshot, stamp, attempts, record) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(output) DO UPDATE SET state = excluded.state, "
                    "key = excluded.key, snapshot = excluded.snapshot, stamp = excluded.stamp, record = excluded.record "
                    "WHERE jobs.state != 'done'",
                    rows,
                )
            source.close()

    def rates(self) -> dict[str, tuple[float, float]]:
        """(seconds of work, padded megapixels filled) of the finished jobs, by device: for predicting how long others take."""
        totals: dict[str, tuple[float, float]] = {}
        with self._errors():
            rows = self._db.execute("SELECT record FROM jobs WHERE state = 'done'").fetchall()
        for row in rows:
            record = json.loads(row["record"])
            pixels = record.get("filled", 0) * padded_megapixels((record.get("height", 0), record.get("width", 0)))
            if pixels:
                seconds, before = totals.get(record["device"], (0.0, 0.0))
                totals[record["device"]] = (seconds + record["seconds"], before + pixels)
        return totals


def new_owner() -> str:
    """A name for this driver: host, process number, and something nobody else has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"


def is_dead(owner: str) -> bool:
    """Whether the owner was a process of this machine that is gone. A false "no" only costs the wait for the lease's end."""
    host, pid, _ = owner.rsplit(":", 2)
    if os.name != "posix" or host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def journal_path(state: Path, shard: tuple[int, int]) -> Path:
    """The journal's file: one a shard, since SQLite's write-ahead log must not be shared by several machines."""
    index, count = shard
    return state / ("journal.sqlite" if count == 1 else f"journal-{index}-of-{count}.sqlite")


def sibling_journals(path: Path) -> list[Path]:
    """The other shards' journals in the same folder."""
    return [other for other in sorted(path.parent.glob("journal*.sqlite")) if other != path]


def parse_shard(text: str) -> tuple[int, int]:
    """From "i/n", counted from 1. Raises `UsageError`."""
    match = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None:
        raise UsageError(f"--shard {text!r} is no part of the whole: write i/n, such as 1/8 for the first of eight")
    return int(match[1]), int(match[2])
