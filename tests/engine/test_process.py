"""What is set for the whole process is set by one owner, and put back: threads, TF32, limits of memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from e2fgvi_cli.engine import products, run_settings, settle
from e2fgvi_cli.engine.precision import RELEASED, SWITCHES, Precision
from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.threads.setting import ProcessSetting

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def options(threads: int | None = None, max_memory: str = "auto") -> InpaintOptions:
    return InpaintOptions(Path("v"), Path("m"), Path("o"), threads=threads, max_memory=max_memory)


@pytest.fixture
def switches() -> Iterator[tuple[bool, bool]]:
    """PyTorch's TF32 switches exist without a GPU, too."""
    before = SWITCHES._read()
    yield before
    assert SWITCHES._read() == before


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The limits set on a make-believe GPU of 16 GiB and compute capability 9.0."""
    found: list[float] = []
    properties = type("Properties", (), {"total_memory": 16 << 30})()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: found.append(share))
    return found


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with run_settings(options(threads=before + 1), [CPU]):
        assert torch.get_num_threads() == before + 1
        with run_settings(options(threads=before + 1), [CPU]):
            pass
        assert torch.get_num_threads() == before + 1
        message = (
            f"^--threads {before + 2}: another run in this process uses {before + 1}; let it end first, or start a "
            "process"
        )
        with pytest.raises(UsageError, match=message), run_settings(options(threads=before + 2), [CPU]):
            pass
    assert torch.get_num_threads() == before


def test_a_limit_of_memory_ends_with_its_run(shares: list[float]) -> None:
    with run_settings(options(max_memory="4GiB"), [GPU, CPU]):
        assert shares == [0.25]
    with run_settings(options(), [GPU]):
        pass
    assert shares == [0.25, 1.0]


def test_a_worker_has_the_limits_of_its_last_job(shares: list[float]) -> None:
    for asked in ("8GiB", "auto"):
        settle(options(max_memory=asked), GPU)
    assert shares == [0.5, 1.0]


def test_tf32_is_set_once_for_all_threads_of_a_run(shares: list[float], switches: tuple[bool, bool]) -> None:
    precision, writes = Precision("fp16", torch.float16, True, True), []
    seen = []

    def windows() -> None:
        for _ in range(200):
            with products(precision, GPU):
                seen.append(SWITCHES._read())

    write = SWITCHES._write
    SWITCHES._write = lambda value: writes.append(value) or write(value)  # type: ignore[func-returns-value]
    try:
        with products(precision, GPU):
            threads = [threading.Thread(target=windows) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        SWITCHES._write = write
    assert set(seen) == {(True, True)}
    assert len(seen) == 800
    assert writes == [(True, True), switches]


def test_a_run_that_wants_other_switches_waits_its_turn(shares: list[float], switches: tuple[bool, bool]) -> None:
    with products(Precision(), GPU), pytest.raises(UsageError, match="TF32"), products(RELEASED, GPU):
        pass
    with products(RELEASED, GPU):
        assert SWITCHES._read() == (False, True)


def test_a_run_holds_its_switches_from_the_first_window_to_the_last(
    shares: list[float], switches: tuple[bool, bool]
) -> None:
    with run_settings(options(), [GPU, CPU]):
        assert SWITCHES._read() == (True, True)
        with products(Precision("fp16", torch.float16, True, True), GPU):
            pass
        assert SWITCHES._read() == (True, True)


def test_processors_without_tf32_leave_the_switches_alone(
    shares: list[float], switches: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with products(Precision("fp16", torch.float16, True, True), GPU), products(Precision(), CPU):
        assert SWITCHES._read() == switches


def test_a_setting_is_put_back_in_whatever_order_its_holders_end() -> None:
    value = [7]
    setting = ProcessSetting("x", lambda: value[0], lambda new: value.__setitem__(0, new))
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(setting.held(1))
        second.enter_context(setting.held(1))
        first.close()
        assert value == [1]
    assert value == [7]
