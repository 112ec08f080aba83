"""The comparison table that opens the report: GPU, CUDA, driver, Python, PyTorch, mmcv - detected, required,
verdict."""

from __future__ import annotations

from dataclasses import dataclass

from .checks.packages import REQUIRED
from .facts import load_facts, required_driver
from .host import GIB, Host
from .model import Status, Text, say
from .runner import Report


@dataclass(frozen=True)
class Row:
    """One line. `mood` is ok, warn or bad, for colours."""

    item: Text
    detected: Text | str
    required: Text | str
    verdict: Text
    mood: str


def head_table(host: Host, report: Report) -> list[Row]:
    """The six rows, always in this order. Verdicts are those of the checks that were run."""
    return [
        _gpu(host, report),
        _cuda(host, report),
        _driver(host, report),
        _python(host, report),
        _torch(host, report),
        _mmcv(host, report),
    ]


def _verdict(report: Report, *families: str) -> tuple[Text, str]:
    """The worst outcome of the checks of these families."""
    states = {entry.status for entry in report.results if entry.id.startswith(families)}
    if states & {Status.FAIL, Status.CRASH, Status.BLOCKED}:
        return say("verdict.bad"), "bad"
    return (say("verdict.warn"), "warn") if Status.WARN in states else (say("verdict.ok"), "ok")


def _gpu(host: Host, report: Report) -> Row:
    item, required = say("head.gpu"), say("head.any_gpu")
    if not host.gpu.devices:
        return Row(item, say("head.none"), required, say("verdict.cpu"), "ok")
    gpu = host.gpu.devices[0]
    arch = f"{gpu.capability[0]}{gpu.capability[1]}"
    name = say(
        "head.gpu_memory", name=gpu.name, arch=arch, free=round(gpu.free / GIB, 1), total=round(gpu.total / GIB, 1)
    )
    return Row(
        item, name, required, *_verdict(report, "gpu.arch", "gpu.kernel", "gpu.vram", "cudnn.conv", "torch.cuda_build")
    )


def _cuda(host: Host, report: Report) -> Row:
    item, required = say("head.cuda"), say("head.cuda_need")
    built = host.torch.cuda if host.torch else ""
    allowed = ".".join(map(str, host.gpu.cuda)) if host.gpu.cuda else ""
    if allowed:
        return Row(
            item,
            say("head.cuda_both", torch=built or "CPU", driver=allowed),
            required,
            *_verdict(report, "gpu.driver", "torch.cuda_build"),
        )
    detected = say("head.cuda_torch", torch=f"CUDA {built}" if built else "CPU") if host.torch else say("head.none")
    return Row(item, detected, required, say("verdict.unused"), "ok")


def _driver(host: Host, report: Report) -> Row:
    item = say("head.driver")
    cuda = host.torch.cuda if host.torch else ""
    floor, _ = required_driver(cuda, host.platform) if cuda else (None, None)
    required = say("head.driver_need", floor=floor, cuda=cuda) if floor else say("head.only_with_gpu")
    if not host.gpu.driver:
        bad = (say("verdict.bad"), "bad") if host.gpu.nvml_error else (say("verdict.unused"), "ok")
        return Row(item, say("head.none"), required, *bad)
    return Row(item, host.gpu.driver, required, *_verdict(report, "gpu.driver"))


def _python(host: Host, report: Report) -> Row:
    facts = load_facts()["python"]
    version = ".".join(str(part) for part in host.python)
    required = say("head.python_need", minimum=facts["minimum"], maximum=facts["maximum"])
    return Row(say("head.python"), version, required, *_verdict(report, "sys.python"))


def _torch(host: Host, report: Report) -> Row:
    detected: Text | str = host.torch.version if host.torch else say("head.not_installed")
    required = say("head.torch_need", version=f"torch{REQUIRED['torch']}")
    families = ("ext.static:torch", "ext.load:torch", "pkg.record:torch", "pkg.versions", "tv.pair", "sys.shadow")
    return Row(say("head.torch"), detected, required, *_verdict(report, *families))


def _mmcv(host: Host, report: Report) -> Row:
    item, required = say("head.mmcv"), say("head.mmcv_need")
    version = host.version("mmcv") or host.version("mmcv", "mmcv-full")
    if host.package("mmcv") is None:
        return Row(item, say("head.not_installed"), required, say("verdict.ok"), "ok")
    _, mood = _verdict(report, "ext.static:mmcv", "ext.load:mmcv")
    verdict = say("verdict.ok") if mood == "ok" else say("verdict.harmless")
    return Row(item, version or "?", required, verdict, "ok" if mood == "ok" else "warn")
