"""What a check is: its name, what it needs, and the function that asks the host. Its answer is an `Outcome`
(`model`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .host import Host
from .model import Outcome, Severity


@dataclass(frozen=True)
class Check:
    """One check. `needs` must not have failed, else it is not run and marked blocked; a failure that one of
    `explained_by` explains is kept with its evidence, but marked blocked by it. `probe` checks start processes."""

    id: str
    group: str
    severity: Severity
    run: Callable[[Host], Outcome]
    needs: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()
    probe: bool = False
    deep: bool = False
    network: bool = False

    @property
    def family(self) -> str:
        """`ext.load` of `ext.load:torch`."""
        return self.id.split(":", maxsplit=1)[0]
