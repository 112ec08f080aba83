"""No source and no kind of material is seen more than its share."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2fgvi_cli.training.mixing import capped, counts_of, shares_of_kinds

ITEMS = st.lists(st.tuples(st.floats(0.01, 100), st.sampled_from("abcdefgh")), min_size=1, max_size=40)


@given(items=ITEMS, cap=st.floats(0.01, 1))
def test_no_source_passes_the_cap(items: list[tuple[float, str]], cap: float) -> None:
    weights, sources = [w for w, _ in items], [s for _, s in items]
    shares = capped(weights, sources, cap)
    assert sum(shares) == pytest.approx(1)
    by_source: Counter[str] = Counter()
    for share, source in zip(shares, sources, strict=True):
        by_source[source] += share
    limit = max(cap, 1 / len(by_source))
    assert max(by_source.values()) <= limit + 1e-9
    # Inside a source, and between sources below the cap, proportions are as given.
    below = [s / w for s, w, source in zip(shares, weights, sources, strict=True) if by_source[source] < limit - 1e-9]
    assert below == pytest.approx([below[0]] * len(below)) if below else True
    for source in by_source:
        own = [s / w for s, w, of in zip(shares, weights, sources, strict=True) if of == source]
        assert own == pytest.approx([own[0]] * len(own))


def test_a_cap_by_hand() -> None:
    # "a" would have 8 of 10; the rest is divided 1 to 3, of which the larger part passes the cap in turn.
    assert capped([4, 4, 0.5, 1.5], ["a", "a", "b", "c"], 0.4) == pytest.approx([0.2, 0.2, 0.2, 0.4])
    assert capped([3, 1], ["a", "b"], 1.0) == pytest.approx([0.75, 0.25])
    assert capped([3, 1, 0], ["a", "b", "c"], 0.1) == pytest.approx([0.5, 0.5, 0])


def test_kinds_that_are_missing_leave_their_share_to_the_others() -> None:
    wanted = {"photos": 0.4, "panoramas": 0.1}
    assert shares_of_kinds(wanted, "clips", {"photos": True, "panoramas": True, "clips": True}) == pytest.approx(
        {"photos": 0.4, "panoramas": 0.1, "clips": 0.5}
    )
    assert shares_of_kinds(wanted, "clips", {"photos": True, "panoramas": False, "clips": True}) == pytest.approx(
        {"photos": 4 / 9, "clips": 5 / 9}
    )
    assert shares_of_kinds({"photos": 0.0}, "clips", {"photos": True, "clips": False}) == {"photos": 1.0}
    with pytest.raises(ValueError, match="no material"):
        shares_of_kinds(wanted, "clips", {"photos": False, "panoramas": False, "clips": False})


@given(
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=4),
    n=st.integers(1, 64),
    offset=st.floats(0, 1, exclude_max=True),
)
def test_counts_add_up_and_are_within_one_of_the_share(shares: list[float], n: int, offset: float) -> None:
    kinds = {str(i): share / sum(shares) for i, share in enumerate(shares)}
    counts = counts_of(kinds, n, offset)
    assert sum(counts.values()) == n
    assert all(abs(counts[k] - share * n) <= 1 + 1e-9 for k, share in kinds.items())
    assert min(counts.values()) >= 0


@pytest.mark.parametrize("n", [1, 3, 24])
def test_over_many_draws_each_kind_has_its_share_exactly(n: int) -> None:
    kinds = {"photos": 0.45, "panoramas": 0.11, "scenes": 0.07, "clips": 0.37}
    total: Counter[str] = Counter()
    draws = 1000
    for i in range(draws):
        total.update(counts_of(kinds, n, (i + 0.5) / draws))
    assert {k: v / (n * draws) for k, v in total.items()} == pytest.approx(kinds, abs=2e-3)
