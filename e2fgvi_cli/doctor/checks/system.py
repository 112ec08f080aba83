"""Python, what shadows packages, paths, runtime libraries, memory, disk, environment variables."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .. import remedies
from ..binary import Malformed
from ..binary.pe import PeBinary
from ..check import Check
from ..facts import load_facts, version_tuple
from ..host import GIB, PACKAGE_ROOT, Host
from ..model import Outcome, Remedy, Severity, Status, passed, say, skipped

IMPORTED = ("torch", "torchvision", "numpy", "cv2", "av", "mmcv", "safetensors", "typer", "rich", "tqdm")
LONGEST_WINDOWS_PATH = 180  # of the folder: torch's own files add up to 80 characters, the limit is 260
MSVC_NAMES = ("msvcp140.dll", "vcruntime140.dll", "vcruntime140_1.dll")
RAM_NEED, COMMIT_NEED, DISK_NEED = (8, 2), (4, 2), (10, 1)  # GiB: enough, and too little


def check_python(host: Host) -> Outcome:
    """Version, word size, translation; refs mim#242 (3.12 removed pkgutil.ImpImporter, which mmcv's installer
    needs)."""
    limits = load_facts()["python"]
    version = ".".join(str(part) for part in host.python)
    advice = [Remedy(say("remedy.python", advised=limits["advised"]))]
    if host.bits == 32:
        return Outcome(
            Status.FAIL, say("sys.python.bits"), {"version": version, "bits": 32}, "py.unsupported", [], advice
        )
    if host.python[:2] < version_tuple(limits["minimum"]):
        summary = say("sys.python.old", version=version, minimum=limits["minimum"])
        return Outcome(Status.FAIL, summary, {"version": version}, "py.unsupported", [], advice)
    if host.os_machine and host.os_machine != host.machine:
        summary = say("sys.python.translated", machine=host.machine, hardware=host.os_machine)
        native = [Remedy(say("remedy.native_python", hardware=host.os_machine))]
        return Outcome(Status.WARN, summary, {"machine": host.machine}, "py.translated", [], native)
    if host.python[:2] > version_tuple(limits["maximum"]) or host.free_threaded:
        summary = say(
            "sys.python.new" if not host.free_threaded else "sys.python.free_threaded",
            version=version,
            maximum=limits["maximum"],
        )
        return Outcome(Status.WARN, summary, {"version": version}, "py.unsupported", [], advice)
    return passed("sys.python.ok", version=version, machine=host.machine)


def check_shadow(host: Host) -> Outcome:
    """Files that hide a package: torch.py in the working folder, PYTHONPATH copies, two distributions of one name."""
    active, dormant = find_shadows(host)
    doubles = _doubles(host)
    if active or doubles:
        culprit = str(active[0]) if active else say("sys.shadow.twice", name=doubles[0][0], files=doubles[0][1])
        fix = (
            Remedy(say("remedy.rename", file=str(active[0])))
            if active
            else Remedy(say("remedy.twice"), f"{remedies.python_command(host)} uninstall -y {doubles[0][0]}")
        )
        evidence = {"files": [str(path) for path in active], "twice": [name for name, _ in doubles]}
        key = "sys.shadow.fail" if active else "sys.shadow.double"
        return Outcome(Status.FAIL, say(key, culprit=culprit), evidence, "sys.shadow", [], [fix])
    if dormant:
        summary = say("sys.shadow.dormant", file=str(dormant[0]))
        evidence = {"files": [str(path) for path in dormant]}
        return Outcome(
            Status.WARN, summary, evidence, "sys.shadow", [], [Remedy(say("remedy.rename", file=str(dormant[0])))]
        )
    user = [
        entry for entry in host.path if "site-packages" in entry and str(Path.home()) in entry and ".local" in entry
    ]
    if user and host.executable.parent.parent.joinpath("pyvenv.cfg").exists():
        fix = Remedy(say("remedy.user_site"), "PYTHONNOUSERSITE=1")
        return Outcome(
            Status.WARN, say("sys.shadow.user_site", folder=user[0]), {"folder": user[0]}, "sys.shadow", [], [fix]
        )
    return passed("sys.shadow.ok")


def find_shadows(host: Host) -> tuple[list[Path], list[Path]]:
    """(files that hide a package now, files that would if Python were started with the working folder on its path)."""
    extra = [
        Path(entry)
        for entry in host.environ.get("PYTHONPATH", "").split(":" if host.platform != "win32" else ";")
        if entry
    ]
    own = PACKAGE_ROOT.resolve()
    active: list[Path] = []
    dormant: list[Path] = []
    for folder in dict.fromkeys([host.cwd, *extra]):
        if folder.resolve() == own or not folder.is_dir():
            continue
        on_path = str(folder) in host.path or ("" in host.path and folder == host.cwd)
        installed = {entry.name for entry in host.distributions if entry.root == folder}
        for name in IMPORTED:
            hit = _module_at(folder, name)
            if hit is None or name in installed or {"cv2": "opencv-python"}.get(name) in installed:
                continue
            (active if on_path else dormant).append(hit)
    return active, dormant


def _module_at(folder: Path, name: str) -> Path | None:
    """`name.py` or the package `name` in a folder; a folder without __init__.py hides nothing that is installed."""
    for candidate in (folder / f"{name}.py", folder / name / "__init__.py"):
        if candidate.is_file():
            return candidate if candidate.name != "__init__.py" else candidate.parent
    return None


def _doubles(host: Host) -> list[tuple[str, list[str]]]:
    """Distributions with two metadata folders in one site-packages: an upgrade that was interrupted."""
    seen: dict[tuple[str, Path], list[str]] = {}
    for entry in host.distributions:
        if entry.name in IMPORTED or entry.name.startswith("opencv"):
            seen.setdefault((entry.name, entry.root.resolve()), []).append(entry.folder.name)
    return [(name, sorted(set(folders))) for (name, _), folders in seen.items() if len(set(folders)) > 1]


def check_folder(host: Host) -> Outcome:
    """A shell can stand in a folder that was deleted: relative paths lead nowhere there."""
    if host.cwd.is_dir():
        return passed("sys.folder.ok")
    fix = [Remedy(say("remedy.folder"), "cd ~")]
    evidence = {"folder": str(host.cwd)}
    return Outcome(Status.WARN, say("sys.folder.gone", folder=str(host.cwd)), evidence, "sys.folder", [], fix)


def check_path(host: Host) -> Outcome:
    """Windows: paths that old C runtimes and MAX_PATH cannot handle."""
    if host.platform != "win32":
        return skipped("skip.windows_only")
    for text in (str(host.prefix), host.environ.get("E2FGVI_WEIGHTS_DIR", "")):
        if not text.isascii():
            return Outcome(
                Status.WARN,
                say("sys.path.ascii", folder=text),
                {"folder": text},
                "sys.path",
                [],
                [Remedy(say("remedy.move"))],
            )
        if len(text) > LONGEST_WINDOWS_PATH:
            return Outcome(
                Status.WARN,
                say("sys.path.long", folder=text, length=len(text)),
                {},
                "sys.path",
                [],
                [Remedy(say("remedy.move"))],
            )
    return passed("sys.path.ok")


def check_msvc(host: Host) -> Outcome:
    """Windows: every copy of the Visual C++ runtime that could be loaded, with its version (pt#169429: 1114 below
    14.40)."""
    if host.platform != "win32":
        return skipped("skip.windows_only")
    facts = load_facts()["msvc_runtime"]
    fix = [Remedy(say("remedy.vcredist"), facts["url"])]
    system = Path(host.environ.get("SystemRoot", r"C:\Windows")) / "System32"
    folders = [host.executable.parent, system, *(folder / "PyQt5" / "Qt5" / "bin" for folder in host.site_dirs)]
    found = {name: [folder / name for folder in folders if (folder / name).is_file()] for name in MSVC_NAMES}
    absent = [name for name, files in found.items() if not files]
    if absent:
        return Outcome(Status.FAIL, say("sys.msvc.absent", names=absent), {"absent": absent}, "ext.lib.win", [], fix)
    versions = {str(path): _dll_version(host, path) for path in found["msvcp140.dll"]}
    old = {
        path: version for path, version in versions.items() if version and version[:2] < version_tuple(facts["minimum"])
    }
    torch = version_tuple(host.torch.version) if host.torch else ()
    if old and torch >= version_tuple(facts["needed_since_torch"]):
        path, version = next(iter(old.items()))
        summary = say("sys.msvc.old", file=path, version=".".join(map(str, version)), minimum=facts["minimum"])
        fix = [*fix, Remedy(say("remedy.older_torch"), f"{remedies.python_command(host)} install torch==2.8.0")]
        return Outcome(
            Status.FAIL,
            summary,
            {"files": {key: list(value or ()) for key, value in versions.items()}},
            "ext.init.win",
            [],
            fix,
        )
    linker = _linker_of_torch(host)
    behind = [path for path, version in versions.items() if version and linker and version[1] // 10 < linker[1] // 10]
    if behind:
        have, want = ".".join(map(str, versions[behind[0]] or ())), ".".join(map(str, linker))
        summary = say("sys.msvc.linker", file=behind[0], version=have, linker=want)
        return Outcome(Status.WARN, summary, {"linker": want}, "ext.init.win", [], fix[:1])
    return passed("sys.msvc.ok", versions=[".".join(map(str, version)) for version in versions.values() if version])


def _linker_of_torch(host: Host) -> tuple[int, ...]:
    """(14, 38): the MSVC linker of torch's c10.dll, () if unknown. A runtime is too old when its tens digit is
    lower."""
    folder = host.package("torch")
    try:
        binary = host.library.get(folder / "lib" / "c10.dll") if folder else None
    except (OSError, Malformed):
        return ()
    return version_tuple(binary.notes.get("linker", "")) if binary else ()


def _dll_version(host: Host, path: Path) -> tuple[int, ...] | None:
    try:
        binary = host.library.get(path)
    except (OSError, Malformed):
        return None
    return binary.file_version() if isinstance(binary, PeBinary) else None


def check_ram(host: Host) -> Outcome:
    """Available memory, container limits included."""
    available, total, _ = host.memory()
    if not total:
        return skipped("skip.unknown")
    return _amount("sys.ram", available, RAM_NEED, total=round(total / GIB, 1))


def check_commit(host: Host) -> Outcome:
    """Windows: memory that can still be promised; CUDA's DLLs commit gigabytes (WinError 1455)."""
    _, _, commit = host.memory()
    if host.platform != "win32" or not commit:
        return skipped("skip.windows_only")
    return _amount("sys.commit", commit, COMMIT_NEED)


def check_disk(host: Host) -> Outcome:
    """Free space where temporary files, outputs and weights go; the smallest counts."""
    from ...weights import known as weights

    folders = [Path(tempfile.gettempdir()), host.options.output_dir or host.cwd, weights.user_folder()]
    free = {str(folder): host.free_disk(folder) for folder in folders}
    known = {folder: value for folder, value in free.items() if value is not None}
    if not known:
        return skipped("skip.unknown")
    folder = min(known, key=lambda name: known[name])
    return _amount("sys.disk", known[folder], DISK_NEED, folder=folder)


def _amount(family: str, have: int, need: tuple[int, int], **values: object) -> Outcome:
    """Pass, warn or fail for an amount in bytes against (enough, too little) in GiB."""
    amount = round(have / GIB, 1)
    evidence = {"bytes": have, **values}
    if have >= need[0] * GIB:
        return Outcome(Status.PASS, say(f"{family}.ok", amount=amount, **values), evidence)
    status = Status.FAIL if have < need[1] * GIB else Status.WARN
    fix = [Remedy(say(f"remedy.{family.split('.')[1]}"))]
    return Outcome(status, say(f"{family}.low", amount=amount, need=need[0], **values), evidence, family, [], fix)


def check_variables(host: Host) -> Outcome:
    """Environment variables that change what is loaded or seen."""
    env, found = host.environ, []
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        folders = [Path(part) for part in env.get(name, "").split(":") if part and Path(part).is_dir()]
        hits = [
            f
            for f in folders
            if any(e.name.startswith(("libcudnn", "libcudart", "libcublas", "libtorch")) for e in f.iterdir())
        ]
        found += [say("env.vars.library_path", name=name, folder=str(folder)) for folder in hits]
    if "CUDA_VISIBLE_DEVICES" in env and env["CUDA_VISIBLE_DEVICES"].strip() in ("", "-1"):
        found.append(say("env.vars.hidden_gpu", value=env["CUDA_VISIBLE_DEVICES"] or '""'))
    found += [
        say("env.vars.set", name=name)
        for name in sorted(env)
        if name.startswith(
            ("KMP_DUPLICATE", "PYTORCH_CUDA_ALLOC", "PYTORCH_ALLOC", "PYTORCH_HIP_ALLOC", "PYTORCH_ENABLE_MPS")
        )
    ]
    if not found:
        return passed("env.vars.none")
    hurtful = any(text.key != "env.vars.set" for text in found)
    fix = [Remedy(say("remedy.unset"))] if hurtful else []
    return Outcome(
        Status.WARN if hurtful else Status.PASS,
        say("env.vars.found", items=found),
        {},
        "env.vars" if hurtful else "",
        [],
        fix,
    )


CHECKS = [
    Check("sys.python", "system", Severity.REQUIRED, check_python),
    Check("sys.shadow", "system", Severity.REQUIRED, check_shadow),
    Check("sys.folder", "system", Severity.ADVICE, check_folder),
    Check("sys.path", "system", Severity.ADVICE, check_path),
    Check("sys.msvc", "system", Severity.REQUIRED, check_msvc),
    Check("sys.ram", "system", Severity.ADVICE, check_ram),
    Check("sys.commit", "system", Severity.ADVICE, check_commit),
    Check("sys.disk", "system", Severity.ADVICE, check_disk),
    Check("env.vars", "system", Severity.INFO, check_variables),
]
