"""How often each source and each kind of material is seen. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def capped(weights: Sequence[float], sources: Sequence[str], cap: float) -> list[float]:
    """Probabilities in proportion to `weights` (0 or more, not all 0), but for sources that would pass `cap`: those get
    `cap` in all.

    What is cut off goes to the other sources in proportion. With fewer than 1 / cap sources each gets at most an equal
    part.
    """
    totals: dict[str, float] = {}
    for weight, source in zip(weights, sources, strict=True):
        totals[source] = totals.get(source, 0.0) + weight
    open_ = {source: total for source, total in totals.items() if total > 0}
    cap = max(cap, 1 / len(open_))
    share: dict[str, float] = dict.fromkeys(totals, 0.0)
    left = 1.0
    # A source that passes the cap leaves more to the others, of which one may pass it then.
    while open_:
        whole = sum(open_.values())
        above = [source for source, total in open_.items() if total / whole * left > cap]
        if not above:
            share |= {source: total / whole * left for source, total in open_.items()}
            break
        for source in above:
            share[source] = cap
            left -= cap
            del open_[source]
    return [
        weight / totals[source] * share[source] if totals[source] > 0 else 0.0
        for weight, source in zip(weights, sources, strict=True)
    ]


def shares_of_kinds(wanted: Mapping[str, float], rest: str, present: Mapping[str, bool]) -> dict[str, float]:
    """The part of the samples that each kind gives: as wanted, `rest` what that leaves of 1; kinds that are not present
    give none.

    If only kinds are present that nobody wanted, they share equally. Raises ValueError if none is present.
    """
    every = {**wanted, rest: max(0.0, 1 - sum(wanted.values()))}
    there = {kind: share for kind, share in every.items() if present[kind]}
    if not there:
        raise ValueError("there is no material of any kind")
    total = sum(there.values())
    return {kind: share / total if total > 0 else 1 / len(there) for kind, share in there.items()}


def counts_of(shares: Mapping[str, float], n: int, offset: float) -> dict[str, int]:
    """How many of n samples each kind gives: whole numbers that add up to n, each within 1 of its share.

    offset: a random number in [0, 1). Over many of them the mean of each count is its share exactly, also for n = 1.
    """
    counts, passed = {}, 0.0
    before = math.floor(offset)
    for i, (kind, share) in enumerate(shares.items()):
        passed += share
        # The last one ends at n whatever the sum of the shares was rounded to.
        after = math.floor(passed * n + offset) if i < len(shares) - 1 else n
        counts[kind] = after - before
        before = after
    return counts
