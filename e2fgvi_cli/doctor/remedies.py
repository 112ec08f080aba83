"""What can be done, checked for feasibility and ordered by cost: nothing, one pip line, a driver, a new machine."""

from __future__ import annotations

from pathlib import Path

from .facts import covers, load_facts, owner_of, required_driver, tag_capabilities, torch_release, version_tuple
from .host import Gpu, Host
from .loader.model import Fault, Flaw
from .loader.variable import Intruder
from .model import Remedy, say

DISTRIBUTION = {"cv2": "opencv-python", "mmcv": "mmcv"}
OWN = ("torch", "torchvision", "numpy", "cv2", "av")
GUI_LIBRARIES = "libgl1 libglib2.0-0 libsm6 libxext6"


def python_command(host: Host) -> str:
    """`python -m pip` of the examined interpreter, short where it is the one called python."""
    return (
        "python -m pip"
        if host.executable.name in ("python", "python.exe", "python3")
        else f"{host.executable.name} -m pip"
    )


def index_line(tag: str) -> str:
    """` --index-url ...` for a wheel tag, "" for wheels of the default index."""
    return f" --index-url {load_facts()['torch_index']}/{tag}" if tag else ""


def reinstall(host: Host, package: str, version: str = "", tag: str = "") -> str:
    """The pip line that replaces every file of a package."""
    name = DISTRIBUTION.get(package, package)
    installed = version or host.version(package, name)
    exact = f"{name}=={installed.partition('+')[0]}" if installed else name
    line = f"{python_command(host)} install --force-reinstall --no-deps --no-cache-dir {exact}"
    return line + (index_line(tag) if package in ("torch", "torchvision") else "")


def torch_tag(host: Host) -> str:
    """The index tag of the installed torch (`cu126`, `cpu`), "" when it came from the default index."""
    tag = host.torch.tag if host.torch else ""
    release = torch_release(host.torch.version) if host.torch else None
    default = "cu" + release["pypi_linux_cuda"].replace(".", "") if release else ""
    return "" if host.platform == "linux" and tag == default else tag


def matching_torchvision(torch_version: str) -> str:
    """The torchvision release for a torch release: `0.23.0` for 2.8.0, `>=0.29.1` since the stable ABI; "" unknown."""
    parts = version_tuple(torch_version)
    if len(parts) < 2 or parts[0] != 2:
        return ""
    if parts[:2] >= (2, 14):
        return ">=0.29.1"
    if parts[:3] == (2, 0, 0):
        return "==0.15.1"
    offset = load_facts()["torchvision"]["minor_offset"]
    return f"==0.{parts[1] + offset}.{parts[2] if len(parts) > 2 else 0}"


def pair_line(host: Host) -> str:
    """The pip line that gives the installed torch its torchvision."""
    wanted = matching_torchvision(host.torch.version) if host.torch else ""
    quoted = f'"torchvision{wanted}"' if ">" in wanted else f"torchvision{wanted}"
    return f"{python_command(host)} install --force-reinstall --no-deps {quoted}{index_line(torch_tag(host))}"


def pick_cuda_wheel(host: Host, gpu: Gpu | None) -> tuple[str, str] | None:
    """(torch "2.14", tag "cu126") of the newest official wheel that this Python, driver and GPU can run, None if none
    can."""
    driver = version_tuple(host.gpu.driver)
    for version, row in sorted(load_facts()["torch"].items(), key=lambda item: version_tuple(item[0]), reverse=True):
        low, high = version_tuple(row["python"][0]), version_tuple(row["python"][1])
        if not low <= host.python[:2] <= high or not row.get("inspected", True) or host.platform == "darwin":
            continue
        for tag in sorted(row["tags"], key=lambda name: int(name[2:]), reverse=True):
            if host.platform != "linux" and tag in row.get("linux_only_tags", []):
                continue
            floor, _ = required_driver(f"{tag[2:-1]}.{tag[-1]}", host.platform)
            capabilities = tag_capabilities(tag, version)
            runs = capabilities is None or gpu is None or covers(capabilities, gpu.capability)
            if runs and (not driver or floor is None or driver >= version_tuple(floor)):
                return version, tag
    return None


def cuda_torch(host: Host) -> list[Remedy]:
    """Install a torch with CUDA that fits this machine; says so when there is none."""
    gpu = host.gpu.devices[0] if host.gpu.devices else None
    pick = pick_cuda_wheel(host, gpu)
    if pick is None:
        return [Remedy(say("remedy.no_cuda_wheel", python=_python(host)))]
    version, tag = pick
    minor = version_tuple(version)[1]
    vision = f"0.{minor + load_facts()['torchvision']['minor_offset']}.*"
    line = f"{python_command(host)} install --force-reinstall torch=={version}.* torchvision=={vision}{index_line(tag)}"
    return [Remedy(say("remedy.cuda_torch", tag=tag, torch=version), line, say("risk.download"))]


def drop_mmcv(host: Host) -> list[Remedy]:
    """First: nothing to do, the tool needs no mmcv. Then what a repair would take, if one exists at all."""
    name = "mmcv-full" if host.distribution("mmcv-full") else "mmcv"
    first = Remedy(say("remedy.no_mmcv"), f"{python_command(host)} uninstall -y mmcv mmcv-full")
    torch = host.torch.version if host.torch else ""
    rows = [row for row in load_facts()["mmcv"]["prebuilt"] if row["os"] == host.platform]
    for row in rows:
        if not torch or version_tuple(torch)[:2] > version_tuple(row["torch_max"]):
            continue
        if not version_tuple(row["python"][0]) <= host.python[:2] <= version_tuple(row["python"][1]):
            continue
        return [first, Remedy(say("remedy.mmcv_wheel", version=row["mmcv"]), f"mim install {name}=={row['mmcv']}")]
    return [
        first,
        Remedy(say("remedy.mmcv_none", torch=torch or "?", python=_python(host), os=host.os_name or host.platform)),
    ]


def headless_opencv(host: Host) -> list[Remedy]:
    """One OpenCV without a window system, or the system libraries the GUI one needs."""
    names = " ".join(sorted({entry.name for entry in host.distributions if entry.name.startswith("opencv-")}))
    swap = (
        f"{python_command(host)} uninstall -y {names or 'opencv-python'} && "
        f"{python_command(host)} install opencv-python-headless"
    )
    return [
        Remedy(say("remedy.headless"), swap),
        Remedy(say("remedy.gui_libraries"), f"apt-get install -y {GUI_LIBRARIES}", say("risk.root")),
    ]


def unset_variable(intruder: Intruder) -> list[Remedy]:
    """Nothing to install: the variable goes, or the folder goes out of it."""
    why = say("remedy.unset_variable", name=intruder.variable, folder=str(intruder.library.parent))
    return [Remedy(why, f"unset {intruder.variable}")]


def for_extension(package: str, cause: str, fault: Fault, host: Host) -> list[Remedy]:  # noqa: PLR0911 (one exit for each class)
    """Remedies for a broken extension file of `package`, cheapest that can work first."""
    if package == "mmcv":
        return drop_mmcv(host)
    if cause == "cv2.libgl":
        return headless_opencv(host)
    if cause == "ext.version.linux":
        return _newer_runtime(fault, package, host)
    if fault.flaw in (Flaw.TRUNCATED, Flaw.UNREADABLE):
        return [_again("remedy.reinstall_damaged", "remedy.get_again", package, fault, host)]
    if fault.flaw is Flaw.WRONG_MACHINE:
        return [_again("remedy.reinstall_machine", "remedy.get_for_machine", package, fault, host)]
    found: list[Remedy] = []
    if fault.flaw is Flaw.MISSING_LIBRARY:
        found += _library_owner(fault.name, host)
    elif fault.provider is not None and _outside(fault, host):
        found.append(Remedy(say("remedy.shadowing", file=str(fault.provider))))
    if package == "torchvision":
        return [*found, Remedy(say("remedy.pair_torchvision"), pair_line(host))]
    if fault.flaw is Flaw.MISSING_SYMBOL and package not in OWN and owner_of(fault.provider_name) == "torch":
        return [*found, _for_this_torch(package, fault, host)]
    if not found or package:
        stranger = "remedy.bring_library" if fault.flaw is Flaw.MISSING_LIBRARY else "remedy.rebuild"
        found.append(_again("remedy.reinstall", stranger, package, fault, host))
    return found


def _again(known: str, stranger: str, package: str, fault: Fault, host: Host) -> Remedy:
    """The package's files anew; without a package there is no command, only what to look for."""
    if package:
        why = say(known, package=package, machine=host.machine)
        return Remedy(why, reinstall(host, package, tag=torch_tag(host)))
    provider = fault.provider_name or say("word.its_libraries")
    return Remedy(say(stranger, file=fault.consumer.name, machine=host.machine, provider=provider, library=fault.name))


def get_again(package: str, path: Path, host: Host) -> Remedy:
    """What to do with a file that is no library."""
    fault = Fault(Flaw.UNREADABLE, path, str(path))
    return _again("remedy.reinstall_damaged", "remedy.get_again", package, fault, host)


def _for_this_torch(package: str, fault: Fault, host: Host) -> Remedy:
    """A stranger's extension that was built for another torch: another release of it, or a build here."""
    if not host.torch:
        return Remedy(say("remedy.built_for_torch_beside", file=fault.consumer.name, provider=fault.provider_name))
    torch = host.torch.version
    if not package:
        return Remedy(say("remedy.built_for_other_torch", file=fault.consumer.name, torch=torch))
    name = DISTRIBUTION.get(package, package)
    command = f"{python_command(host)} install --upgrade --force-reinstall --no-deps --no-cache-dir {name}"
    return Remedy(say("remedy.other_release", package=name, torch=torch), command)


def _outside(fault: Fault, host: Host) -> bool:
    """True if the library that lacks the symbol is not of this environment at all: a copy elsewhere won."""
    roots = [folder.resolve() for folder in host.site_dirs] + [host.prefix.resolve(), fault.consumer.resolve().parent]
    provider = fault.provider.resolve() if fault.provider else None
    return provider is not None and not any(root in provider.parents for root in roots)


def _library_owner(library: str, host: Host) -> list[Remedy]:
    owner = owner_of(library)
    if owner == "vcredist":
        return [Remedy(say("remedy.vcredist"), load_facts()["msvc_runtime"]["url"])]
    if owner in ("cuda", "torch_cuda", "torch_1_8", "cudnn", "nccl"):
        return [Remedy(say(f"remedy.owner_{'cuda' if owner in ('nccl', 'cudnn') else owner}", library=library))]
    if owner in ("driver", "python", "libcxx", "glibc"):
        return [Remedy(say(f"remedy.owner_{owner}", library=library, python=_python(host)))]
    if host.platform == "win32" and not owner:
        return [Remedy(say("remedy.no_dll_sites"))]
    return []


def _newer_runtime(fault: Fault, package: str, host: Host) -> list[Remedy]:
    if fault.name.startswith("GLIBC_"):
        return [Remedy(say("remedy.os_too_old", version=fault.name))]
    if not fault.name.startswith(("GLIBCXX_", "CXXABI_", "GCC_")):
        return [_again("remedy.reinstall", "remedy.rebuild", package, fault, host)]
    conda = "conda-meta" if (host.prefix / "conda-meta").is_dir() else ""
    official = _again("remedy.official_wheel", "remedy.rebuild", package, fault, host)
    runtime = Remedy(say("remedy.conda_libstdcxx"), 'conda install -c conda-forge "libstdcxx-ng>=12"')
    return [runtime, official] if conda else [official, runtime]


def _python(host: Host) -> str:
    return ".".join(str(part) for part in host.python[:2])
