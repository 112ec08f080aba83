"""A real Ray cluster of several raylets on this machine: nodes are killed in the middle, the output is that of one machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.jobs import Event, run_batch
from tests.conftest import ROOT
from tests.factories import read_folder

from .clips import expected, leftovers, make_job, settings

pytest.importorskip("ray", reason="the extra [ray] is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs (nothing but the driver's actor runs there) to which each test adds nodes."""
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["E2FGVI_FAKE_SECONDS"] = "0.05"
    import ray
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    made.small = small
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        os.environ.pop("E2FGVI_FAKE_SECONDS")


def run(cluster: Any, jobs: list[Any], folder: Path, on_event: Any = lambda event: None, **values: Any) -> Any:
    from e2fgvi_cli.jobs.cluster import RayCluster

    chosen = settings(folder, **{"workers": None, **values})
    return run_batch(jobs, chosen, on_event=on_event, executor=RayCluster(chosen, cluster.address))


def test_a_node_killed_in_mid_job_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1, **cluster.small) for _ in range(2)]
    cluster.wait_for_nodes()
    jobs = [make_job(tmp_path, "first", 60), make_job(tmp_path, "second", 30)]
    events: list[Event] = []

    def kill_a_node(event: Event) -> None:
        events.append(event)
        if event.kind == "segment" and len([e for e in events if e.kind == "segment"]) == 3:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    result = run(cluster, jobs, tmp_path, kill_a_node)
    assert len(nodes) == 1, "a node was killed"
    assert result.workers == 2
    assert [r.outcome for r in result.records] == ["done", "done"]
    assert all(np.array_equal(read_folder(job.options.output), expected(job)) for job in jobs)
    stored = [(e.job, e.values["start"]) for e in events if e.kind == "segment"]
    assert len(stored) == len(set(stored)), "no stored segment was computed twice"
    assert [e for e in events if e.kind == "progress"], "progress came back"
    assert leftovers(tmp_path) == []
    assert [r.outcome for r in run(cluster, jobs, tmp_path).records] == ["skipped", "skipped"]
    cluster.remove_node(nodes.pop(), allow_graceful=False)


def test_one_clip_over_two_nodes_is_identical_and_failures_come_back(cluster: Any, tmp_path: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1, **cluster.small) for _ in range(2)]
    cluster.wait_for_nodes()
    job, bad = make_job(tmp_path, "clip", 40), make_job(tmp_path, "bad", 5)
    (bad.options.video / "00002.png").write_bytes(b"no picture")
    parts: list[int] = []

    def count(event: Event) -> None:
        if event.kind == "job_planned":
            parts.append(event.values["parts"])

    result = run(cluster, [job], tmp_path, count)
    assert parts == [2]
    assert result.records[0].outcome == "done"
    assert np.array_equal(read_folder(job.options.output), expected(job))
    record = run(cluster, [bad], tmp_path).records[0]
    assert (record.outcome, record.exit_code) == ("failed", 3)
    assert "00002.png" in record.message
    for node in nodes:
        cluster.remove_node(node, allow_graceful=False)


def test_an_interrupt_cancels_and_the_rest_is_done_later(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1, **cluster.small)
    cluster.wait_for_nodes()
    job = make_job(tmp_path, "clip", 40)

    def interrupt(event: Event) -> None:
        if event.kind == "segment":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cluster, [job], tmp_path, interrupt)
    assert not job.options.output.exists()
    record = run(cluster, [job], tmp_path).records[0]
    assert (record.outcome, record.attempts) == ("done", 2)
    assert record.resumed >= 6
    assert np.array_equal(read_folder(job.options.output), expected(job))
    cluster.remove_node(node, allow_graceful=False)


def test_a_folder_that_nodes_do_not_see_is_refused(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from e2fgvi_cli.jobs import cluster as module

    node = cluster.add_node(num_cpus=1, **cluster.small)
    cluster.wait_for_nodes()
    monkeypatch.setattr(module, "_sees", _sees_nothing)
    with pytest.raises(UsageError, match="does not see"):
        run(cluster, [make_job(tmp_path, "clip", 3)], tmp_path)
    cluster.remove_node(node, allow_graceful=False)


def _sees_nothing(path: str) -> bool:
    return False
