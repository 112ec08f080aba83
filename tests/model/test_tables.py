"""Tables of a size: computed once, let go of when other sizes come, and kept by whoever asked to."""

from __future__ import annotations

import threading
import weakref

import pytest
import torch
from e2fgvi_cli._model.flow import warp
from e2fgvi_cli._model.tables import KEPT, table, tables_used
from torch import Tensor

from e2fgvi_cli.engine.graphs import GraphCache


class Numbers:
    def __init__(self, size: int) -> None:
        self.size = size


@table
def numbers(size: int) -> Numbers:
    return Numbers(size)


def test_a_table_is_computed_once_and_forgotten_after_others() -> None:
    first = weakref.ref(numbers(-1))
    assert numbers(-1) is first()
    for size in range(KEPT):
        numbers(size)
    assert first() is None


def test_what_was_used_inside_the_block_stays() -> None:
    with tables_used() as used:
        first = weakref.ref(numbers(-2))
        with tables_used() as inner:
            numbers(-3)
        numbers(-2)
    numbers(-4)
    for size in range(KEPT):
        numbers(size)
    assert [n.size for n in used if isinstance(n, Numbers)] == [-2, -2]
    assert [n.size for n in inner if isinstance(n, Numbers)] == [-3]
    assert first() is used[0]
    del used
    assert first() is None


def test_another_threads_tables_are_its_own() -> None:
    with tables_used() as used:
        other = threading.Thread(target=numbers, args=(-5,))
        other.start()
        other.join()
    assert not used


def test_the_networks_tables_are_named() -> None:
    with tables_used() as used:
        warp(torch.rand(1, 2, 5, 6), torch.zeros(1, 2, 5, 6))
    assert [t.shape for t in used if isinstance(t, Tensor)] == [(1, 2, 5, 6)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graph_keeps_what_it_reads() -> None:
    device = torch.device("cuda")
    graphs = GraphCache(device)
    x, flow = torch.rand(1, 4, 33, 47, device=device), torch.randn(1, 2, 33, 47, device=device)
    expected = warp(x, flow)
    for _ in range(3):
        assert torch.equal(graphs.run(warp, x, flow), expected)
    assert graphs._graphs
    assert not graphs._refused
    for size in range(KEPT + 1):
        warp(x[:, :, :1, : size + 1], flow[:, :, :1, : size + 1])
    # Memory that was let go of is now somebody else's.
    others = [torch.full((1, 2, 33, 47), torch.nan, device=device) for _ in range(64)]
    assert torch.equal(graphs.run(warp, x, flow), expected)
    assert len(others) == 64
