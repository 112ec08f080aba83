"""Workers on a Ray cluster (`pip install 'e2fgvi-cli[ray]'`). Tasks carry paths and plans, never frames: the clips, the
state folder and the outputs must be on a file system that every node sees under the same path.

Ray itself starts a task again when its node is lost; the segments that were stored are not computed twice.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from pathlib import Path
from typing import Any

from ..errors import EXIT_FAILED, DeviceError, UsageError
from .model import BatchSettings, Failure, Message, Task

MAILBOX_SECONDS = 0.5


class RayCluster:
    """`Executor` on a cluster. `address` None starts a Ray of this machine alone; "auto" finds the one that runs
    here."""

    def __init__(self, settings: BatchSettings, address: str | None) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError("--engine ray needs Ray: pip install 'e2fgvi-cli[ray]', or use --engine local") from None
        self._ray: Any = ray
        self._settings, self._address = settings, address
        self._slots: dict[str, Any] = {}
        self._tasks: dict[Any, tuple[str, Task]] = {}
        self._ours = False
        self._looked = 0.0

    def start(self) -> None:
        """Connect, count what the cluster has, and see that every node sees the state folder. Raises `DeviceError`,
        `UsageError`."""
        ray = self._ray
        if not ray.is_initialized():
            try:
                ray.init(address=self._address, log_to_driver=False, logging_level="error", configure_logging=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise DeviceError(
                    f"no Ray cluster answers at {self._address}: start one with `ray start --head` ({error})"
                ) from error
            self._ours = True
        self._demand = self._resources()
        count = self._settings.workers or self._capacity()
        self._slots = {f"ray {n + 1}": None for n in range(count)}
        self._require_shared_folder()
        head = ray.get_runtime_context().get_node_id()
        affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(head, soft=False)
        self._mailbox = ray.remote(num_cpus=0)(_Mailbox).options(scheduling_strategy=affinity).remote()

    def _resources(self) -> dict[str, float]:
        """What one task asks for: a GPU where the cluster has any (unless --devices cpu), else its CPU threads."""
        total = self._ray.cluster_resources()
        kinds = {name.partition(":")[0] for name in self._settings.devices}
        if "mps" in kinds:
            raise UsageError("--engine ray runs on cuda or cpu: drop --devices mps")
        if kinds == {"cuda"} and not total.get("GPU"):
            raise DeviceError("the Ray cluster has no GPU: add nodes with GPUs, or use --devices cpu")
        if kinds != {"cpu"} and total.get("GPU"):
            return {"num_gpus": 1, "num_cpus": 1}
        return {"num_cpus": self._threads, "num_gpus": 0}

    @property
    def _threads(self) -> int:
        return self._settings.threads or 1

    def _capacity(self) -> int:
        total = self._ray.cluster_resources()
        key, each = ("GPU", 1.0) if self._demand["num_gpus"] else ("CPU", self._demand["num_cpus"])
        return max(1, int(total.get(key, 0) // each))

    def _require_shared_folder(self) -> None:
        """A file written here must be there for every node: frames do not travel through Ray."""
        ray = self._ray
        token = self._settings.state / f".ray-{uuid.uuid4().hex}"
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch()
        look = ray.remote(num_cpus=0)(_sees)
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        nodes = [node for node in ray.nodes() if node["Alive"]]
        try:
            looks = [
                look.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(str(token.resolve()))
                for node in nodes
            ]
            blind = [
                node["NodeManagerAddress"] for node, ref in zip(nodes, looks, strict=True) if self._answers_no(ref)
            ]
        finally:
            token.unlink(missing_ok=True)
        if blind:
            raise UsageError(
                f"node {blind[0]} does not see {self._settings.state.resolve()}: put --state, clips and outputs "
                "on a shared folder"
            )

    def _answers_no(self, reference: Any) -> bool:
        try:
            return not self._ray.get(reference)
        except self._ray.exceptions.RayError:
            return False  # a node that has just died, which Ray has not noticed yet, will not be given any task

    @property
    def size(self) -> int:
        """Tasks at a time."""
        return len(self._slots)

    def free(self) -> list[str]:
        """Places without a task."""
        return [name for name, reference in self._slots.items() if reference is None]

    def ready(self, task: Task, worker: str) -> int:
        """Nothing to do: Ray chooses the process."""
        return 0

    def submit(self, task: Task, worker: str) -> None:
        """See `Executor.submit`. The task's relative paths are made absolute: nodes have working folders of their
        own."""
        # A process's environment must be set before torch is imported: jobs that need another get processes of their
        # own.
        remote = self._ray.remote(**self._demand, max_retries=self._settings.max_retries, retry_exceptions=False)(_run)
        if task.job.environment:
            remote = remote.options(runtime_env={"env_vars": dict(task.job.environment)})
        settings = self._settings
        device = "cuda" if self._demand["num_gpus"] else "cpu"
        reference = remote.remote(_absolute(task), settings.engine_module, device, self._threads, self._mailbox)
        self._slots[worker] = reference
        self._tasks[reference] = (worker, task)

    def wait(self, seconds: float) -> list[Message]:
        """See `Executor.wait`."""
        ray = self._ray
        if not self._tasks:
            time.sleep(seconds)
            return []
        finished, _ = ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        messages: list[Message] = []
        if finished or time.monotonic() - self._looked > MAILBOX_SECONDS:
            self._looked = time.monotonic()
            messages += ray.get(self._mailbox.take.remote())
        for reference in finished:
            worker, task = self._tasks.pop(reference)
            self._slots[worker] = None
            messages.append(self._outcome(reference, worker, task))
        return messages

    def _outcome(self, reference: Any, worker: str, task: Task) -> Message:
        ray = self._ray
        try:
            kind, value = ray.get(reference)
        except ray.exceptions.RayError as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            failure = Failure(f"a Ray worker was lost and could not be replaced: {first}", EXIT_FAILED, False)
            return Message("failed", task.id, failure, worker)
        return Message(kind, task.id, value, worker)

    def close(self) -> None:
        """Cancel what runs; leave the cluster as it was found."""
        with contextlib.suppress(Exception):  # a cluster that is gone needs no cancelling
            for reference in self._tasks:
                self._ray.cancel(reference, force=True)
        self._tasks.clear()
        if self._ours:
            with contextlib.suppress(Exception):
                self._ray.shutdown()


class _Mailbox:
    """An actor beside the driver: workers put messages in, the driver takes them out."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def put(self, message: Message) -> None:
        self._messages.append(message)

    def take(self) -> list[Message]:
        taken, self._messages = self._messages, []
        return taken


def _absolute(task: Task) -> Task:
    """Every path of the task made absolute."""
    from dataclasses import replace

    options = task.job.options
    paths = {
        name: Path(value).resolve()
        for name in ("video", "mask", "output", "frames_dir", "reference")
        if (value := getattr(options, name)) is not None
    }
    comparison = options.comparison
    if comparison is not None:
        comparison = replace(
            comparison,
            **{n: v.resolve() for n in ("video", "sheet", "gif") if (v := getattr(comparison, n)) is not None},
        )
    weights = str(Path(options.weights).resolve()) if Path(options.weights).is_file() else options.weights
    job = replace(task.job, options=replace(options, **paths, comparison=comparison, weights=weights))  # type: ignore[arg-type]
    thumbnail = None if task.thumbnail is None else task.thumbnail.resolve()
    return replace(task, job=job, folder=task.folder.resolve(), thumbnail=thumbnail)


def _sees(path: str) -> bool:
    return os.path.exists(path)


_workers: dict[tuple[str, str, int], Any] = {}


def _run(task: Task, engine_module: str, device: str, threads: int, mailbox: Any) -> tuple[str, Any]:
    """On a node: run the task with this process's worker, which keeps the network for the next one."""
    from .work import Worker, describe_failure

    key = (engine_module, device, threads)
    try:
        if key not in _workers:
            _workers[key] = Worker(*key)
        node = f"node {os.uname().nodename if hasattr(os, 'uname') else os.environ.get('COMPUTERNAME', '?')}"

        def emit(kind: Any, value: Any) -> None:
            mailbox.put.remote(Message(kind, task.id, value, node, os.getpid()))

        return "done", _workers[key].run(task, emit)
    except Exception as error:
        return "failed", describe_failure(error)
