"""NVIDIA GPU: driver against CUDA, architectures against the GPU, memory, and work really done on it."""

from __future__ import annotations

from pathlib import Path

from ...planner import gpu_needs
from .. import remedies
from ..binary import Malformed
from ..binary.fatbin import read_gpu_code
from ..check import Check
from ..facts import covers, required_driver, tag_capabilities, version_tuple
from ..host import GIB, Gpu, Host
from ..model import Outcome, Remedy, Severity, Status, passed, say, skipped
from .extensions import extension_files

NVML_MISMATCH = 18  # NVML_ERROR_LIB_RM_VERSION_MISMATCH
CUDA_CONTEXT = 600 << 20  # bytes; what the driver and CUDA's libraries take beside torch's tensors, about
TOLERANCE = 1e-3
SLOW_SECONDS = 10


def _without_gpu(host: Host) -> Outcome | None:
    """Why the GPU checks do not apply, None if they do."""
    if not host.wants_gpu:
        return skipped("skip.no_gpu")
    if host.torch is None or not host.torch.cuda:
        return skipped("skip.no_cuda_build")
    return None


def check_driver(host: Host) -> Outcome:  # noqa: PLR0911 (one exit for each finding)
    """The driver's version against what torch's CUDA needs, known without torch."""
    if host.gpu.nvml_error == NVML_MISMATCH:
        fix = [Remedy(say("remedy.reboot"))]
        return Outcome(Status.FAIL, say("gpu.driver.mismatch"), {"nvml_error": NVML_MISMATCH}, "driver.old", [], fix)
    if not host.gpu.present:
        if host.options.device.startswith("cuda"):
            fix = [Remedy(say("remedy.use_cpu"), "--device cpu")]
            return Outcome(Status.FAIL, say("gpu.driver.none", device=host.options.device), {}, "driver.none", [], fix)
        return skipped("skip.no_gpu")
    skip = _without_gpu(host)
    if skip or host.torch is None:
        return skip or skipped("skip.no_cuda_build")
    cuda, driver = host.torch.cuda, host.gpu.driver
    floor, toolkit = required_driver(cuda, host.platform)
    evidence = {"driver": driver, "floor": floor, "toolkit": toolkit, "cuda": cuda}
    major = int(cuda.split(".", maxsplit=1)[0])
    too_old = floor is not None and driver and version_tuple(driver) < version_tuple(floor)
    if too_old or (host.gpu.cuda is not None and host.gpu.cuda[0] < major):
        summary = say("gpu.driver.old", driver=driver or "?", cuda=cuda, floor=floor or "?")
        fix = [Remedy(say("remedy.new_driver", floor=floor or "?"), "", say("risk.reboot"))]
        return Outcome(Status.FAIL, summary, evidence, "driver.old", [], [*remedies.cuda_torch(host), *fix])
    if toolkit and driver and version_tuple(driver) < version_tuple(toolkit):
        return passed("gpu.driver.minor", driver=driver, cuda=cuda, toolkit=toolkit)
    return passed("gpu.driver.ok", driver=driver, cuda=cuda)


def check_arch(host: Host) -> Outcome:
    """Whether torch's wheel holds code for each GPU."""
    skip = _without_gpu(host)
    if skip or host.torch is None:
        return skip or skipped("skip.no_cuda_build")
    capabilities = tag_capabilities(host.torch.tag or "cu" + host.torch.cuda.replace(".", ""), host.torch.version)
    if capabilities is None:
        return skipped("gpu.arch.unknown", torch=host.torch.version)
    uncovered = next((gpu for gpu in host.gpu.devices if not covers(capabilities, gpu.capability)), None)
    if uncovered is not None:
        name = f"sm_{uncovered.capability[0]}{uncovered.capability[1]}"
        have = [f"sm_{round(value * 10)}" for value in capabilities]
        summary = say("gpu.arch.none", gpu=uncovered.name, arch=name, torch=host.torch.version, have=have)
        return Outcome(Status.FAIL, summary, {"capabilities": capabilities}, "gpu.arch", [], remedies.cuda_torch(host))
    archs = [f"sm_{gpu.capability[0]}{gpu.capability[1]}" for gpu in host.gpu.devices]
    return passed("gpu.arch.ok", archs=archs, torch=host.torch.version)


def check_extension_arch(host: Host) -> Outcome:
    """Whether torchvision's and mmcv's CUDA code covers each GPU."""
    skip = _without_gpu(host)
    if skip:
        return skip
    read = 0
    for package in ("torchvision", "mmcv"):
        for path in extension_files(host, package):
            code = _gpu_code(host, path)
            if code is None:
                continue
            read += 1
            for gpu in host.gpu.devices:
                verdict = _verdict(code.sass, code.ptx, gpu)
                if verdict == "ok":
                    continue
                fix = (
                    remedies.drop_mmcv(host)
                    if package == "mmcv"
                    else [Remedy(say("remedy.pair_torchvision"), remedies.pair_line(host))]
                )
                summary = say(
                    f"gpu.arch.ext_{verdict}", file=path.name, package=package, gpu=gpu.name, have=code.label()
                )
                bad = Status.WARN if verdict == "ptx" or package == "mmcv" else Status.FAIL
                return Outcome(bad, summary, {"have": code.label()}, "gpu.arch", [], [] if verdict == "ptx" else fix)
    return passed("gpu.arch.ext_ok", count=read) if read else skipped("skip.unknown")


def _gpu_code(host: Host, path: Path):  # type: ignore[no-untyped-def]
    try:
        return read_gpu_code(host.library.get(path, host.machine))
    except (OSError, Malformed):
        return None


def _verdict(sass: tuple[int, ...], ptx: tuple[int, ...], gpu: Gpu) -> str:
    """`ok` for machine code, `ptx` for portable code only (compiled at the first call), `none`."""
    if covers([value / 10 for value in sass], gpu.capability):
        return "ok"
    return "ptx" if any(value <= 10 * gpu.capability[0] + gpu.capability[1] for value in ptx) else "none"


def check_memory(host: Host) -> Outcome:
    """Free memory of the largest GPU against what the planner says a 720p window needs, and the smallest tile."""
    if not host.gpu.devices:
        return skipped("skip.no_gpu")
    gpu = max(host.gpu.devices, key=lambda device: device.free)
    free, total = round(gpu.free / GIB, 1), round(gpu.total / GIB, 1)
    enough, least = (needed + CUDA_CONTEXT for needed in gpu_needs())
    evidence = {"free": gpu.free, "total": gpu.total, "needed_720p": enough, "needed_least": least}
    if gpu.free >= enough:
        return Outcome(Status.PASS, say("gpu.vram.ok", gpu=gpu.name, free=free, total=total), evidence)
    status = Status.FAIL if gpu.free < least else Status.WARN
    summary = say("gpu.vram.low", gpu=gpu.name, free=free, total=total, need=round(enough / GIB, 1))
    return Outcome(status, summary, evidence, "gpu.vram", [], [Remedy(say("remedy.vram"))])


def check_work(host: Host, kind: str) -> Outcome:  # noqa: PLR0911 (one exit for each finding)
    """A matrix product (`kernel`) or a convolution (`conv`) on each GPU, compared with the CPU."""
    skip = _without_gpu(host)
    if skip:
        return skip
    family = {"kernel": "gpu.kernel", "conv": "cudnn.conv"}[kind]
    cause = {"kernel": "gpu.arch", "conv": "cudnn"}[kind]
    result = host.probe("gpu_work", kind)
    answer = result.answer
    if not answer:
        details = [say("ext.load.output", text=result.last_lines())] if result.output.strip() else []
        summary = say("gpu.work.died", what=family, reason=result.reason())
        return Outcome(
            Status.FAIL, summary, {"returncode": result.returncode}, cause, details, remedies.cuda_torch(host)
        )
    if not answer["available"]:
        return Outcome(Status.FAIL, say("gpu.work.unavailable"), answer, "driver.old", [], remedies.cuda_torch(host))
    for entry in answer["devices"]:
        if "error" in entry:
            message = entry["error"].strip().splitlines()[0]
            summary = say("gpu.work.error", device=entry["device"], message=message)
            return Outcome(Status.FAIL, summary, answer, cause, [], remedies.cuda_torch(host))
        if not entry["finite"] or entry["error_max"] > TOLERANCE:
            summary = say("gpu.work.wrong", device=entry["device"], difference=f"{entry['error_max']:.1e}")
            return Outcome(Status.FAIL, summary, answer, "gpu.numbers", [], [Remedy(say("remedy.gpu_numbers"))])
    slow = next((entry for entry in answer["devices"] if entry["seconds"] > SLOW_SECONDS), None)
    if slow:
        return Outcome(
            Status.WARN, say("gpu.work.slow", device=slow["device"], seconds=slow["seconds"]), answer, "gpu.slow"
        )
    names = [f"{entry['device']} {entry['name']}" for entry in answer["devices"]]
    return Outcome(Status.PASS, say("gpu.work.ok", devices=names), answer)


CUDA_NEEDS = ("ext.load:torch", "gpu.driver")
CHECKS = [
    Check("gpu.driver", "gpu", Severity.REQUIRED, check_driver),
    Check("gpu.arch:torch", "gpu", Severity.REQUIRED, check_arch, needs=("gpu.driver",)),
    Check(
        "gpu.arch:ext",
        "gpu",
        Severity.REQUIRED,
        check_extension_arch,
        needs=("gpu.driver",),
        explained_by=("gpu.arch:torch",),
    ),
    Check("gpu.vram", "gpu", Severity.ADVICE, check_memory),
    Check(
        "gpu.kernel",
        "gpu",
        Severity.REQUIRED,
        lambda host: check_work(host, "kernel"),
        CUDA_NEEDS,
        ("gpu.arch:torch", "cudnn.pin"),
        True,
    ),
    Check(
        "cudnn.conv",
        "gpu",
        Severity.REQUIRED,
        lambda host: check_work(host, "conv"),
        CUDA_NEEDS,
        ("gpu.kernel", "gpu.arch:torch", "cudnn.pin"),
        True,
    ),
]
