"""Weights: there, whole, and the right ones, judged by their first bytes, size, structure and SHA-256. Hosts with
--net."""

from __future__ import annotations

import json
import struct
import urllib.request
import zipfile
from pathlib import Path

from ...weights import known as weights
from ..check import Check
from ..host import Host
from ..model import Outcome, Remedy, Severity, Status, passed, say, skipped

LONGEST_HEADER = 100 << 20  # safetensors' own limit
NET_SECONDS = 10


def default_weights() -> Path | None:
    """The file the program uses without --weights, None if it is not there."""
    return weights.find(weights.KNOWN[weights.DEFAULT])


def damage_of(path: Path, deep: bool = False) -> tuple[str, dict[str, object]] | None:  # noqa: PLR0911 (one exit for each finding)
    """(key, values) of what is wrong with a weights file's form, None if nothing is. Raises OSError.

    `deep` also checks the CRC of every entry of a .pth.
    """
    size = path.stat().st_size
    if size > weights.LARGEST_FILE:
        return "weights.too_large", {"have": size, "most": weights.LARGEST_FILE}
    with open(path, "rb") as handle:
        head = handle.read(64)
    if head.startswith(b"version https://git-lfs"):
        return "weights.lfs", {}
    if head.lstrip()[:1] == b"<":
        return "weights.html", {}
    if size == 0:
        return "weights.empty", {}
    if path.suffix == ".safetensors":
        return _safetensors_damage(path, size)
    if head.startswith(b"PK\x03\x04"):
        return _zip_damage(path, deep)
    if head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04")):
        return None  # a pickle of torch before 1.6: only its hash can tell
    return "weights.magic", {"start": head[:8].hex()}


def _safetensors_damage(path: Path, size: int) -> tuple[str, dict[str, object]] | None:
    """The header must parse and the tensors must end where the file does."""
    with open(path, "rb") as handle:
        raw = handle.read(8)
        length = struct.unpack("<Q", raw)[0] if len(raw) == 8 else LONGEST_HEADER + 1
        if length > min(size - 8, LONGEST_HEADER):
            return (
                ("weights.truncated", {"have": size, "want": "?"})
                if length < LONGEST_HEADER
                else ("weights.magic", {"start": raw.hex()})
            )
        try:
            header = json.loads(handle.read(length))
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            return "weights.magic", {"start": raw.hex()}
    want = 8 + length + max(ends, default=0)
    return None if want == size else ("weights.truncated", {"have": size, "want": want})


def _zip_damage(path: Path, deep: bool) -> tuple[str, dict[str, object]] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            broken = archive.testzip() if deep else None
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return "weights.truncated", {"have": path.stat().st_size, "want": "?"}
    if broken:
        return "weights.crc", {"entry": broken}
    return None if any(name.endswith("data.pkl") for name in names) else ("weights.no_tensors", {})


def check_weights(host: Host, name: str) -> Outcome:
    """One known file. The default must be there; others are judged only when they are."""
    known = weights.KNOWN[name]
    default = name == weights.DEFAULT
    path = weights.find(known)
    fetch = Remedy(say("remedy.fetch"), f"e2fgvi weights fetch {name}")
    if default and not known.urls:
        fetch = Remedy(say("remedy.reinstall_self"), "pip install --force-reinstall --no-deps e2fgvi-cli")
    if path is None:
        if not default:
            return skipped("weights.not_here", name=name)
        places = [str(folder) for folder in weights.search_folders()]
        return Outcome(
            Status.FAIL, say("weights.absent", file=known.filename, folders=places), {}, "weights", [], [fetch]
        )
    wrong = damage_of(path, host.options.deep)
    size = path.stat().st_size
    evidence: dict[str, object] = {
        "file": str(path),
        "size": size,
        "expected_size": known.size,
        "expected_sha256": known.sha256,
    }
    own = default and path.parent == weights.user_folder()  # hides the file that came with the program
    fix = [Remedy(say("remedy.delete_own" if own else "remedy.delete", file=str(path)), "" if own else fetch.command)]
    if wrong is None and known.size is not None and size != known.size and not default:
        wrong = ("weights.truncated", {"have": size, "want": known.size})
    if wrong:
        return Outcome(Status.FAIL, say(wrong[0], file=str(path), **wrong[1]), evidence, "weights", [], fix)
    digest = weights.sha256(path)
    evidence["sha256"] = digest
    if digest != known.sha256:
        summary = say("weights.hash", file=str(path), have=digest[:12], want=known.sha256[:12])
        return Outcome(Status.WARN, summary, evidence, "weights", [], fix)
    return Outcome(Status.PASS, say("weights.ok", file=path.name, size=round(size / 1e6), digest=digest[:12]), evidence)


def check_hosts(host: Host) -> Outcome:
    """With --net: whether the hosts of downloadable weights answer."""
    if not host.options.net:
        return skipped("skip.net")
    urls = [url for known in weights.KNOWN.values() for url in known.urls]
    silent = []
    for url in urls:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "e2fgvi-check-env"})
        try:
            with urllib.request.urlopen(request, timeout=NET_SECONDS):  # of `KNOWN`, all https  # nosec B310
                pass
        except OSError as error:
            silent.append(f"{url.split('/')[2]}: {getattr(error, 'reason', error)}")
    proxies = sorted(name for name in host.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy"))
    if silent:
        return Outcome(
            Status.WARN,
            say("net.hosts.silent", hosts=silent),
            {"proxies": proxies},
            "net",
            [],
            [Remedy(say("remedy.offline"))],
        )
    return passed("net.hosts.ok", count=len(urls))


def _weights(name: str) -> Check:
    severity = Severity.REQUIRED if name == weights.DEFAULT else Severity.OPTIONAL
    return Check(f"weights:{name}", "weights", severity, lambda host: check_weights(host, name))


CHECKS = [
    *(_weights(name) for name in weights.KNOWN),
    Check("net.hosts", "weights", Severity.INFO, check_hosts, network=True),
]
