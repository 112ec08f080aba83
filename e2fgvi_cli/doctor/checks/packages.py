"""Packages as their metadata and files describe them: damaged, doubled, unpaired, of the wrong build."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .. import remedies
from ..check import Check
from ..facts import load_facts, version_tuple
from ..host import Host
from ..model import Outcome, Remedy, Severity, Status, passed, say, skipped
from ..packages import Distribution, parse_requirement, read_torch_build, record_digest, satisfies

REQUIRED = {
    "torch": ">=2.4", "torchvision": ">=0.19", "numpy": ">=1.24", "opencv-python": ">=4.8", "simplejpeg": ">=1.6",
    "av": ">=18", "safetensors": ">=0.4", "typer": ">=0.16", "rich": ">=13", "tqdm": ">=4.66", "pyyaml": ">=6",
}  # fmt: skip
"""pyproject's dependencies: a test compares them. Written out, because a broken installation may have no metadata."""
RECORDED = ("torch", "torchvision", "numpy", "cv2", "av")
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
MARKER = re.compile(r"python_version\s*(<=|>=|<|>|==)\s*['\"]([\d.]+)['\"]")
CODE_SUFFIXES = (".so", ".pyd", ".dll", ".dylib", ".py")


def opencv_name(host: Host) -> str:
    """The OpenCV distribution that is installed, `opencv-python` if none."""
    return next((name for name in OPENCV if host.distribution(name)), "opencv-python")


def check_versions(host: Host) -> Outcome:
    """Everything the program requires is there and new enough, by its own metadata when it is installed."""
    own = host.distribution("e2fgvi-cli")
    lines = [line for line in own.requires() if "extra ==" not in line] if own else []
    wanted = dict(filter(lambda pair: pair[0], map(parse_requirement, lines or [n + v for n, v in REQUIRED.items()])))
    absent, old = [], []
    for name, clauses in wanted.items():
        package = {"opencv-python": "cv2"}.get(name, name)
        version = host.version(package, opencv_name(host) if package == "cv2" else name)
        if not version:
            absent.append(name)
        elif not satisfies(version, clauses):
            old.append(f"{name} {version} ({','.join(a + b for a, b in clauses)})")
    if absent or old:
        names = [*absent, *(entry.split(" ")[0] for entry in old)]
        requirement = " ".join(f'"{name}{",".join(a + b for a, b in wanted[name])}"' for name in names)
        fix = [Remedy(say("remedy.install"), f"{remedies.python_command(host)} install {requirement}")]
        key = "pkg.versions.absent" if absent else "pkg.versions.old"
        return Outcome(
            Status.FAIL, say(key, names=absent or old), {"absent": absent, "old": old}, "pkg.versions", [], fix
        )
    return passed("pkg.versions.ok", count=len(wanted))


def check_record(host: Host, package: str) -> Outcome:
    """Each file of a distribution against RECORD: presence and size, hashes too with --deep; strays in torch/lib."""
    distribution = host.distribution(opencv_name(host) if package == "cv2" else package)
    if distribution is None:
        return skipped("skip.not_installed", package=package)
    missing, wrong = _compare(distribution, host.options.deep)
    if missing or wrong:
        path, have, size = wrong[0] if wrong else (missing[0], 0, 0)
        key = ("pkg.record.size" if have != size else "pkg.record.hash") if wrong else "pkg.record.missing"
        fix = [
            Remedy(
                say("remedy.reinstall_damaged"),
                remedies.reinstall(host, _pip_name(package, host), distribution.version, remedies.torch_tag(host)),
            )
        ]
        evidence = {"wrong": [str(item[0]) for item in wrong], "missing": [str(item) for item in missing[:20]]}
        summary = say(key, file=str(path), have=have, want=size, count=len(wrong) + len(missing))
        return Outcome(Status.FAIL, summary, evidence, "ext.file", [], fix)
    if package == "torch" and host.platform == "win32":
        listed = {row[0].rsplit("/", 1)[-1].lower() for row in distribution.record()}
        folder = distribution.root / "torch" / "lib"
        strays = sorted(path for path in folder.glob("*.dll") if path.name.lower() not in listed and listed)
        if strays:
            fix = [Remedy(say("remedy.stray", file=str(strays[0])))]
            return Outcome(
                Status.WARN,
                say("pkg.record.stray", files=[path.name for path in strays]),
                {},
                "ext.symbol.win",
                [],
                fix,
            )
    return passed("pkg.record.ok", package=package, version=distribution.version)


def _compare(distribution: Distribution, deep: bool) -> tuple[list[str], list[tuple[str, int, int]]]:
    """(missing files, [(file, size, recorded size)]) of a distribution; equal sizes mean a wrong hash (`deep`)."""
    missing: list[str] = []
    wrong: list[tuple[str, int, int]] = []
    root = str(distribution.root)
    for name, digest, size in distribution.record():
        if size is None or name.startswith("..") or not _is_code(name):
            continue  # scripts, licences and data that a distribution may strip do not break an import
        path = f"{root}/{name}"
        try:
            have = os.stat(path).st_size
        except OSError:
            missing.append(path)
            continue
        if have != size or (deep and digest and record_digest(Path(path)) != digest):
            wrong.append((path, have, size))
    return missing, wrong


def _is_code(name: str) -> bool:
    return name.endswith(CODE_SUFFIXES) or ".so." in name


def _pip_name(package: str, host: Host) -> str:
    return opencv_name(host) if package == "cv2" else package


def check_pair(host: Host) -> Outcome:
    """torchvision's own requirement on torch, and whether both are of the same build (CPU or CUDA)."""
    vision, torch = host.distribution("torchvision"), host.torch
    if vision is None or torch is None:
        return skipped("skip.not_installed", package="torchvision" if torch else "torch")
    fix = [Remedy(say("remedy.pair_torchvision"), remedies.pair_line(host))]
    for name, clauses in map(parse_requirement, vision.requires()):
        if name == "torch" and not satisfies(torch.version, clauses):
            wanted = ",".join(a + b for a, b in clauses)
            summary = say("tv.pair.version", vision=vision.version, wanted=wanted, torch=torch.version)
            return Outcome(
                Status.FAIL, summary, {"torch": torch.version, "torchvision": vision.version}, "tv.mismatch", [], fix
            )
    folder = host.package("torchvision")
    build = read_torch_build(folder) if folder else None
    tags = [(entry.tag or "").split(".")[0] for entry in (torch, build) if entry]
    kinds = {"cpu" if tag == "cpu" else "gpu" for tag in tags if tag}
    if len(kinds) == 2:
        summary = say("tv.pair.build", torch=torch.version, vision=build.version if build else vision.version)
        return Outcome(Status.FAIL, summary, {}, "tv.mismatch", [], fix)
    return passed("tv.pair.ok", torch=torch.version, vision=vision.version)


def check_numpy(host: Host) -> Outcome:
    """numpy 2 with a torch built on numpy 1, and what OpenCV and others say they need."""
    version = host.version("numpy")
    if not version:
        return skipped("skip.not_installed", package="numpy")
    line = remedies.python_command(host)
    limit = load_facts()["numpy2_needs_torch"]
    if host.torch and version_tuple(version) >= (2,) and version_tuple(host.torch.version)[:2] < version_tuple(limit):
        fix = [Remedy(say("remedy.numpy1"), f'{line} install "numpy<2"')]
        return Outcome(
            Status.FAIL, say("numpy.abi.torch", numpy=version, torch=host.torch.version), {}, "numpy.abi", [], fix
        )
    for name in (opencv_name(host), "torchvision", "av", "scikit-image"):
        distribution = host.distribution(name)
        for requirement in distribution.requires() if distribution else []:
            wanted, clauses = parse_requirement(requirement)
            if wanted == "numpy" and _applies(requirement, host) and not satisfies(version, clauses):
                text = ",".join(a + b for a, b in clauses)
                fix = [Remedy(say("remedy.numpy_range"), f'{line} install "numpy{text}"')]
                summary = say("numpy.abi.needs", package=name, wanted=text, numpy=version)
                return Outcome(Status.FAIL, summary, {"numpy": version}, "numpy.abi", [], fix)
    return passed("numpy.abi.ok", numpy=version)


def _applies(requirement: str, host: Host) -> bool:
    """False for requirements of extras or of other Python versions; unknown markers count as not applying."""
    marker = requirement.partition(";")[2]
    if "extra" in marker or "sys_platform" in marker or "platform_" in marker:
        return False
    version = ".".join(str(part) for part in host.python[:2])
    return all(satisfies(version, [(operator, wanted)]) for operator, wanted in MARKER.findall(marker))


def check_opencv(host: Host) -> Outcome:
    """Several OpenCV distributions write the same cv2 folder and break one another (opencv-python#467, #103)."""
    found = [entry for entry in dict.fromkeys(host.distributions) if entry.name in OPENCV]
    names = sorted({entry.name for entry in found})
    if len(names) > 1:
        line = remedies.python_command(host)
        command = f"{line} uninstall -y {' '.join(names)} && {line} install opencv-python"
        fix = [Remedy(say("remedy.one_opencv"), command)]
        listing = [f"{entry.name} {entry.version}" for entry in found]
        return Outcome(Status.FAIL, say("cv2.one.many", names=listing), {"installed": listing}, "cv2.conflict", [], fix)
    return passed("cv2.one.ok", name=names[0] if names else "-")


def check_cuda_build(host: Host) -> Outcome:
    """A GPU beside a torch without CUDA: PyPI's Windows torch is such a build."""
    if host.torch is None:
        return skipped("skip.not_installed", package="torch")
    if host.gpu.present and not host.torch.cuda and not host.torch.hip:
        name = host.gpu.devices[0].name if host.gpu.devices else "NVIDIA"
        summary = say("torch.cuda_build.cpu", gpu=name, torch=host.torch.version)
        return Outcome(
            Status.WARN, summary, {"torch": host.torch.version}, "torch.cpu_only", [], remedies.cuda_torch(host)
        )
    if host.torch.cuda:
        return passed("torch.cuda_build.cuda", torch=host.torch.version, cuda=host.torch.cuda)
    return passed("torch.cuda_build.ok", torch=host.torch.version)


def check_openmp(host: Host) -> Outcome:
    """Two OpenMP runtimes in one process abort on Windows and macOS (OMP: Error #15)."""
    name = {"win32": "libiomp5md.dll", "darwin": "libomp.dylib"}.get(host.platform)
    if name is None:
        return skipped("skip.not_linux")
    places = [host.prefix / "Library" / "bin", host.prefix / "lib", host.prefix / "bin"]
    places += [
        folder / sub for folder in host.site_dirs for sub in ("torch/lib", "sklearn/.dylibs", "functorch/.dylibs")
    ]
    found = [folder / name for folder in dict.fromkeys(places) if (folder / name).is_file()]
    if len(found) > 1:
        fix = [Remedy(say("remedy.openmp", file=str(found[0])))]
        return Outcome(Status.WARN, say("omp.dup.many", files=[str(path) for path in found]), {}, "omp.dup", [], fix)
    return passed("omp.dup.ok")


def check_cudnn(host: Host) -> Outcome:
    """The cuDNN package against torch's own pin, and foreign cuDNN libraries on LD_LIBRARY_PATH."""
    torch = host.distribution("torch")
    if torch is None or host.torch is None or not host.torch.cuda:
        return skipped("skip.no_cuda_build")
    folders = [Path(part) for part in host.environ.get("LD_LIBRARY_PATH", "").split(":") if part]
    foreign = next((hit for folder in folders if folder.is_dir() for hit in sorted(folder.glob("libcudnn*.so*"))), None)
    if foreign is not None and host.platform == "linux":
        fix = [Remedy(say("remedy.unset_library_path"), "unset LD_LIBRARY_PATH")]
        return Outcome(Status.WARN, say("cudnn.pin.foreign", file=str(foreign)), {}, "cudnn", [], fix)
    for requirement in torch.requires():
        name, clauses = parse_requirement(requirement)
        if name.startswith("nvidia-cudnn") and host.platform == "linux":
            installed = host.distribution(name)
            if installed is None or not satisfies(installed.version, clauses):
                wanted = name + ",".join(a + b for a, b in clauses)
                fix = [Remedy(say("remedy.cudnn"), f'{remedies.python_command(host)} install "{wanted}"')]
                have = installed.version if installed else "-"
                return Outcome(Status.FAIL, say("cudnn.pin.wrong", have=have, wanted=wanted), {}, "cudnn", [], fix)
    return passed("cudnn.pin.ok")


def _record(package: str) -> Check:
    run = lambda host: check_record(host, package)  # noqa: E731
    reasons = ("cv2.one",) if package == "cv2" else ()
    return Check(f"pkg.record:{package}", "packages", Severity.REQUIRED, run, explained_by=reasons)


CHECKS = [
    Check("pkg.versions", "packages", Severity.REQUIRED, check_versions),
    *(_record(package) for package in RECORDED),
    Check("tv.pair", "packages", Severity.REQUIRED, check_pair),
    Check("numpy.abi", "packages", Severity.REQUIRED, check_numpy),
    Check("cv2.one", "packages", Severity.REQUIRED, check_opencv),
    Check("torch.cuda_build", "packages", Severity.ADVICE, check_cuda_build),
    Check("omp.dup", "packages", Severity.ADVICE, check_openmp),
    Check("cudnn.pin", "packages", Severity.REQUIRED, check_cudnn),
]
