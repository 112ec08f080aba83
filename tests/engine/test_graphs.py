"""Which calls become graphs, with captures that only write down what they are asked."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from e2fgvi_cli.engine import graphs
from e2fgvi_cli.engine.graphs import GraphCache


def doubled(x: Tensor) -> Tensor:
    return x * 2


class Recorded(GraphCache):
    """captured: the sizes that were captured, in order."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.captured: list[int] = []

    def _captured(self, function: Any, tensors: tuple[Tensor, ...]) -> Any:
        self.captured.append(len(tensors[0]))
        inputs = tuple(t.clone() for t in tensors)
        results = function(*inputs)

        class Graph:
            def replay(self) -> None:
                results.copy_(function(*inputs))

        return graphs._Graph(Graph(), inputs, results, [])  # type: ignore[arg-type]


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    return Recorded()


def call(cache: GraphCache, size: int, often: bool = True) -> None:
    x = torch.rand(size)
    assert torch.equal(cache.run(doubled, x, often=often), x * 2)


def test_what_comes_often_is_captured_at_once_and_the_rest_when_it_comes_again(cache: Recorded) -> None:
    for _ in range(3):
        call(cache, 1)
        call(cache, 2, often=False)
    assert cache.captured == [1, 2]


def test_the_least_recently_used_graph_goes(cache: Recorded) -> None:
    for size in (1, 2, 3, 4, 1, 5, 1, 2):
        call(cache, size)
    assert cache.captured == [1, 2, 3, 4, 5, 2]


def test_more_shapes_than_graphs_by_turns_do_without(cache: Recorded) -> None:
    for _ in range(20):
        for size in range(1, 8):
            call(cache, size)
    assert len(cache.captured) <= 2 * 7
    assert cache.captured.count(1) == 2


def test_a_shape_that_was_used_is_captured_again(cache: Recorded) -> None:
    for _ in range(3):
        for size in range(1, 7):  # as crops that follow a hole: each for a while
            for _ in range(8):
                call(cache, size)
    assert cache.captured == [*range(1, 7)] * 3
