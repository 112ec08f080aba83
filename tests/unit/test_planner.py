"""The memory planner: properties of its plans."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from e2fgvi_cli._model.config import E2FGVIConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.planner import GIB, MIB, Plan, Planner, costs, parse_memory, plans

MULTIPLE = E2FGVIConfig().size_multiple
FULL_HD = (1080, 1944)
FUSED = Planner(bytes_per_value=2, device="cuda", kernels=True, graphs=True)
PLANNERS = [FUSED, Planner(device="cuda"), Planner(), Planner(bytes_per_value=2, local=5, references=2)]
BUDGETS = [int(g * GIB) for g in (1.25, 1.5, 2, 3, 4, 6, 8, 12, 24, 80)]


def sizes(rows: int = 20, columns: int = 20) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, rows), st.integers(1, columns)).map(
        lambda n: (n[0] * MULTIPLE[0], n[1] * MULTIPLE[1])
    )


def smallest_steps(size: tuple[int, int], references: int) -> Plan:
    return Plan(references, 1, 1, 1, plans.LEAST_KEYS, size[0] * size[1] // 144)


# -- plans -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unlimited", PLANNERS)
@settings(max_examples=60, deadline=None)
@given(size=sizes(), budget=st.sampled_from(BUDGETS))
def test_what_max_pixels_lets_through_stays_within_the_budget(
    unlimited: Planner, size: tuple[int, int], budget: int
) -> None:
    limited = replace(unlimited, budget=budget)
    most = limited.max_pixels(MULTIPLE)
    plan = limited.plan(size)
    if most is None or size[0] * size[1] <= most:
        assert plan.predicted <= budget
    assert plan.predicted == max(limited.stages(size, plan).values())


@pytest.mark.parametrize("unlimited", PLANNERS)
@settings(max_examples=60, deadline=None)
@given(size=sizes(), budgets=st.tuples(st.sampled_from(BUDGETS), st.sampled_from(BUDGETS)))
def test_more_memory_never_gives_fewer_references_or_smaller_tiles(
    unlimited: Planner, size: tuple[int, int], budgets: tuple[int, int]
) -> None:
    small, large = (replace(unlimited, budget=b) for b in sorted(budgets))
    few, many = small.plan(size).references, large.plan(size).references
    assert few is not None
    assert many is not None
    assert few <= many
    least, most = small.max_pixels(MULTIPLE), large.max_pixels(MULTIPLE)
    assert most is None or (least is not None and least <= most)


@pytest.mark.parametrize("unlimited", PLANNERS)
@settings(max_examples=100, deadline=None)
@given(size=sizes(), more=sizes(4, 4), references=st.integers(0, 8))
def test_more_pixels_or_references_never_predict_less(
    unlimited: Planner, size: tuple[int, int], more: tuple[int, int], references: int
) -> None:
    larger = (size[0] + more[0], size[1] + more[1])
    needed = [
        max(unlimited.stages(s, smallest_steps(s, n)).values())
        for s, n in (
            (size, references),
            ((larger[0], size[1]), references),
            (larger, references),
            (larger, references + 1),
        )
    ]
    # Attention takes whole windows of tokens at a time: how many fit into a call depends on the shape, a little.
    assert all(b > 0.96 * a for a, b in pairwise(needed))


def test_dials_are_given_up_in_order() -> None:
    size = (480, 864)
    found = [replace(FUSED, budget=b * MIB).plan(size) for b in range(6000, 500, -3)]
    graphs, references = [p.graph for p in found], [p.references for p in found]
    assert graphs == sorted(graphs, reverse=True)
    assert references == sorted(references, reverse=True)  # type: ignore[type-var]
    assert {2, 6} < set(references) <= {2, 3, 4, 5, 6}
    first_without_graph = graphs.index(False)
    assert references[first_without_graph] == 6
    assert found[first_without_graph].max_keys == plans.MOST_KEYS
    last_with_all = found[references.count(6) - 1]
    assert last_with_all.encode_batch is not None
    assert last_with_all.encode_batch < 6


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_reference_is_given_up_only_where_nothing_else_helps(budget: int) -> None:
    limited = replace(FUSED, budget=budget)
    references = limited.plan(FULL_HD).references
    assert references is not None
    if references < 6:
        more = limited.stages(FULL_HD, smallest_steps(FULL_HD, references + 1))
        assert max(more.values()) > budget * costs.USABLE


def test_devices_that_share_an_interpreter_launch_larger_windows_at_once() -> None:
    """Where there is room: the graph has a pool of its own."""
    size = (1080, 1944)
    several = replace(FUSED, devices=2)
    assert not replace(FUSED, budget=60 * GIB).plan(size).graph
    assert replace(several, budget=60 * GIB).plan(size).graph
    assert not replace(several, budget=60 * GIB).plan(size).graph_steps
    assert not replace(several, budget=8 * GIB).plan(size).graph
    assert not replace(several, budget=60 * GIB).plan((2160, 3888)).graph


def test_without_a_budget_nothing_is_given_up() -> None:
    assert FUSED.max_pixels(MULTIPLE) is None
    plan = FUSED.plan((2160, 3888))
    assert (plan.references, plan.max_keys, plan.graph) == (6, plans.MOST_KEYS, False)
    assert FUSED.plan((240, 432)).graph
    assert FUSED.plan((240, 432)).graph_steps
    assert not replace(FUSED, graphs=False).plan((240, 432)).graph


def test_batches_do_not_raise_the_peak_of_large_windows() -> None:
    size, planner = (480, 864), replace(FUSED, graphs=False)
    plan = planner.plan(size)
    alone = replace(plan, encode_batch=1, flow_batch=1, decode_batch=1)
    assert plan.predicted == max(planner.stages(size, alone).values())
    assert plan.decode_batch is not None
    assert plan.decode_batch > 1


def test_large_pictures_keep_a_gpu_busy_one_by_one() -> None:
    for devices in (1, 2):
        plan = replace(FUSED, devices=devices).plan(FULL_HD)
        assert (plan.encode_batch, plan.decode_batch) == (1, 1)
    assert replace(FUSED, device="cpu", graphs=False).plan(FULL_HD).encode_batch != 1


def test_unbounded_references() -> None:
    unbounded = replace(FUSED, references=None)
    assert unbounded.plan(FULL_HD).references is None
    short, long = (replace(unbounded, frames=n) for n in (50, 1000))
    assert short.plan(FULL_HD).predicted < unbounded.plan(FULL_HD).predicted < long.plan(FULL_HD).predicted
    assert replace(short, budget=24 * GIB).plan(FULL_HD).references is None
    bounded = replace(long, budget=8 * GIB).plan(FULL_HD).references
    assert bounded is not None
    assert 2 <= bounded < 100


def test_fewer_references_than_the_minimum_are_taken_as_asked() -> None:
    assert replace(FUSED, references=0, budget=2 * GIB).plan(FULL_HD).references == 0


# -- tiles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unlimited", PLANNERS)
@pytest.mark.parametrize("budget", [2 * GIB, 6 * GIB])
def test_max_pixels_is_the_largest_crop_that_fits(unlimited: Planner, budget: int) -> None:
    limited = replace(unlimited, budget=budget)
    most = limited.max_pixels(MULTIPLE)
    assert most is not None
    grid = [(h * MULTIPLE[0], w * MULTIPLE[1]) for h in range(1, 131) for w in range(1, 73)]
    above = sorted((s for s in grid if s[0] * s[1] > most), key=lambda s: s[0] * s[1])
    just_above = [s for s in above if s[0] * s[1] == above[0][0] * above[0][1]]
    fewest = min(2, limited.references or 0)
    limit = budget * costs.USABLE
    assert any(max(limited.stages(s, smallest_steps(s, fewest)).values()) > limit for s in just_above)
    assert any(s[0] * s[1] == most for s in grid)


def test_stored_features_of_other_tiles_count() -> None:
    limited = replace(FUSED, budget=12 * GIB)
    frame = (2160, 3888)
    alone, tiled = limited.max_pixels(MULTIPLE), limited.max_pixels(MULTIPLE, frame)
    assert alone is not None
    assert tiled is not None
    assert tiled < alone
    assert limited.max_pixels(MULTIPLE, FULL_HD) is None
    crop = (600, 1080)
    assert limited.plan(crop, others=frame[0] * frame[1]).predicted > limited.plan(crop).predicted + GIB


def test_a_crop_that_should_have_been_tiled_gets_the_smallest_plan() -> None:
    plan = replace(FUSED, budget=2 * GIB).plan((2160, 3888))
    assert (plan.references, plan.encode_batch, plan.max_keys) == (2, 1, plans.LEAST_KEYS)
    assert plan.predicted > 2 * GIB


def test_a_budget_without_room_for_any_tile_says_what_is_needed() -> None:
    poor = replace(FUSED, budget=100 * MIB)
    with pytest.raises(
        UsageError, match=r"limit of 0\.10 GiB is too low: the smallest tile \(120x108 pixels, 2 ref"
    ) as told:
        poor.plan(FULL_HD)
    with pytest.raises(UsageError, match=r"raise --max-memory"):
        poor.max_pixels(MULTIPLE)
    enough = parse_memory(str(told.value).split("needs ")[1].split(",")[0])
    assert enough is not None
    assert replace(FUSED, budget=enough + 11 * MIB).max_pixels(MULTIPLE) is not None


# -- after running out of memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, (240, 432), FULL_HD])
@pytest.mark.parametrize("budget", [None, 4 * GIB, 80 * GIB])
def test_smaller_plans_come_to_an_end(size: tuple[int, int] | None, budget: int | None) -> None:
    chain = [replace(FUSED, budget=budget)]
    while (following := chain[-1].smaller(size)) is not None:
        chain.append(following)
        assert len(chain) < 40
    assert len(chain) > 1
    assert chain[1].lean
    if size is not None:
        predicted = [p.plan(size).predicted for p in chain]
        assert all(b < a for a, b in pairwise(predicted))


def test_a_smaller_planner_starts_from_what_was_used() -> None:
    rich = replace(FUSED, budget=80 * GIB)
    size = (480, 864)
    used = rich.plan(size).predicted
    smaller = rich.smaller(size)
    assert smaller is not None
    assert smaller.budget == int(used * plans.CUT)
    assert smaller.plan(size).predicted < used
    assert smaller.summary() == f"at most {smaller.budget / GIB:.2f} GiB, the smallest steps"


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("auto", None),
        ("AUTO ", None),
        ("8GiB", 8 * GIB),
        ("8 gib", 8 * GIB),
        ("8GB", 8_000_000_000),
        ("1.5GiB", 1536 * MIB),
        ("6000MiB", 6000 * MIB),
        ("500MB", 500_000_000),
    ],
)
def test_memory_sizes(text: str, size: int | None) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    "text", ["", "8", "8G", "GiB", "-1GiB", "0GiB", "0.0MB", "8 TiB", "1,5GiB", "nan GiB", "٨GiB", "8GiB!"]
)
def test_other_memory_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not understood: use auto, or a size such as 8GiB"):
        parse_memory(text)


def test_the_plan_in_words() -> None:
    lines = replace(FUSED, budget=8 * GIB).describe(FULL_HD, MULTIPLE)
    assert lines[:3] == [
        "frame: 1080x1944 pixels, padded",
        "tiles: none, the whole frame fits",
        "references: 6 of 6 asked for",
    ]
    assert lines[-1].endswith("; limit 8.00 GiB")
    tiled = replace(FUSED, budget=2 * GIB).describe(FULL_HD, MULTIPLE)
    assert tiled[1].startswith("tiles: of at most ")
    assert tiled[2] == "references: 2 of 6 asked for"
    graph = replace(FUSED, references=None).describe((240, 432), MULTIPLE)
    assert graph[2] == "references: all of all asked for"
    assert graph[3].endswith("launched as CUDA graphs")
    assert graph[-1].endswith("; no limit")
