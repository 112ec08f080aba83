"""A real Ray cluster of several raylets on this machine: nodes are killed in the middle, the output is that of one
machine.

One test and one cluster, since a raylet takes seconds to start; after the third step it has one node left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2fgvi_cli.errors import DeviceError, UsageError
from e2fgvi_cli.jobs import Event, Job, run_batch
from tests.conftest import ROOT
from tests.factories import read_folder

from .clips import expected, leftovers, make_job, settings

ray = pytest.importorskip("ray", reason="the extra [ray] is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without CPUs (nothing but the driver's actor runs there) and two nodes of one CPU in `cluster.nodes`."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("E2FGVI_FAKE_SECONDS", "0.05")
        small: dict[str, Any] = {"object_store_memory": 80 * 2**20}
        made: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
        made.nodes = [made.add_node(num_cpus=1, **small) for _ in range(2)]
        made.wait_for_nodes()
        try:
            ray.init(address=made.address, log_to_driver=False)
            while ray.cluster_resources().get("CPU") != 2:  # nodes report a moment after they have joined
                time.sleep(0.1)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def run(cluster: Any, jobs: list[Job], folder: Path, on_event: Any = lambda event: None, **values: Any) -> Any:
    from e2fgvi_cli.jobs.cluster import RayCluster

    chosen = settings(folder, **{"workers": None, **values})
    return run_batch(jobs, chosen, on_event=on_event, executor=RayCluster(chosen, cluster.address))


def test_a_cluster_gives_what_one_machine_gives(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_clip_over_two_nodes_is_identical(cluster, tmp_path / "split")
    with monkeypatch.context() as patch:
        a_folder_that_nodes_do_not_see_is_refused(cluster, tmp_path / "blind", patch)
    a_node_killed_in_mid_job_changes_nothing(cluster, tmp_path / "killed")
    an_interrupt_cancels_and_the_rest_is_done_later(cluster, tmp_path / "interrupted")


def one_clip_over_two_nodes_is_identical(cluster: Any, tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 40)
    events: list[Event] = []
    result = run(cluster, [job], tmp_path, events.append)
    assert [e.values["parts"] for e in events if e.kind == "job_planned"] == [2]
    assert result.records[0].outcome == "done"
    assert np.array_equal(read_folder(job.options.output), expected(job))
    assert leftovers(tmp_path) == []


def a_folder_that_nodes_do_not_see_is_refused(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from e2fgvi_cli.jobs import cluster as module

    monkeypatch.setattr(module, "_sees", lambda path: False)
    with pytest.raises(UsageError, match="does not see"):
        run(cluster, [make_job(tmp_path, "clip", 3)], tmp_path)
    with pytest.raises(DeviceError, match="has no GPU"):
        run(cluster, [make_job(tmp_path, "other", 3)], tmp_path, devices=("cuda",))


def a_node_killed_in_mid_job_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "first", 60), make_job(tmp_path, "second", 30), make_job(tmp_path, "bad", 5)]
    (jobs[2].options.video / "00002.png").write_bytes(b"no picture")
    events: list[Event] = []

    def kill_a_node(event: Event) -> None:
        events.append(event)
        if event.kind == "segment" and len(cluster.nodes) == 2 and event.values["start"] == 6:
            cluster.remove_node(cluster.nodes.pop(), allow_graceful=False)

    result = run(cluster, jobs, tmp_path, kill_a_node)
    assert len(cluster.nodes) == 1, "a node was killed"
    assert result.workers == 2
    assert [r.outcome for r in result.records] == ["done", "done", "failed"]
    assert (result.records[2].exit_code, "00002.png" in result.records[2].message) == (3, True)
    assert all(np.array_equal(read_folder(job.options.output), expected(job)) for job in jobs[:2])
    stored = [(e.job, e.values["start"]) for e in events if e.kind == "segment"]
    assert len(stored) == len(set(stored)), "no stored segment was computed twice"
    assert [e for e in events if e.kind == "progress"], "progress came back"
    again = run(cluster, jobs[:2], tmp_path)
    assert [r.outcome for r in again.records] == ["skipped", "skipped"]


def an_interrupt_cancels_and_the_rest_is_done_later(cluster: Any, tmp_path: Path) -> None:
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
