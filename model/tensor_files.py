"""Tensors out of files that anyone may have made: PyTorch's archives and pickles, safetensors, our 8-bit storage.

Nothing in a file runs (`weights_only=True`), and every reader has a limit: of the file, of the values it may become, of
the metadata. What a file that is none of these might be instead is explained in the error.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT = "e2fgvi-weights"
FORMAT_VERSION = 1
QUANTISED_ABOVE = 4096
SCALE_SUFFIX = ".scale"
DIGEST = "content_sha256"
"""Metadata entry: the hash of all tensors and all other metadata. Files of earlier versions have none."""
LARGEST_FILE = 2 << 30
"""Bytes. The published file has 165 MB; a training program's state with its optimizers some times as much."""
LARGEST_COUNT = 1 << 29
"""Values, 2 GiB in float32: an 8-bit file grows to four times its size when it is read."""
LONGEST_MESSAGE = 700
_WRAPPERS = ("state_dict", "params_ema", "params", "model", "netG", "generator", "ema", "weights")
_KINDS = {
    stat.S_IFDIR: "a folder: give the file in it",
    stat.S_IFIFO: "a named pipe: save it as a file first",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
    stat.S_IFSOCK: "a socket, not a file",
}


class CheckpointError(ValueError):
    """A file that cannot be used as weights. The message is one printable line: what it is and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, LONGEST_MESSAGE))


def printable(text: str, longest: int) -> str:
    """`text` in one line without control characters, which names inside a foreign file may hold; the middle of a long
    one left out."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
    half = longest // 2
    return line if len(line) <= longest else f"{line[:half]} [...] {line[-half:]}"


@contextmanager
def blamed_on(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside is the fault of the file: a hostile one can fail anywhere in a reader. Raises
    CheckpointError.

    Only a machine without memory is not.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise
        raise CheckpointError(f"{path} is damaged or foreign: {_first_line(error)}; fetch it again") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """(tensors, metadata, storage) of any readable weights file; what it cannot be is explained. Raises
    CheckpointError."""
    with blamed_on(path):
        size, head = _open(path)
        if not size:
            raise CheckpointError(f"{path} is empty: the download did not finish, fetch it again")
        if head.startswith(b"version https://git-lfs"):
            raise CheckpointError(
                f"{path} is a git-LFS pointer ({size} bytes), not the weights: run `git lfs pull`, or download "
                "the file itself"
            )
        if head.lstrip()[:1] == b"<":
            raise CheckpointError(
                f"{path} is a web page, not weights: the download needs a browser or hit a quota; see `e2fgvi "
                "weights fetch`"
            )
        if head.startswith((b"PK", b"\x80")):
            return _dense(_read_pickle(path), path), {}, "pth"
        if len(head) > 8 and head[8:9] == b"{":
            stored, metadata = _read_safetensors(path, size, int.from_bytes(head[:8], "little"))
            eight_bit = any(t.dtype == torch.int8 for t in stored.values())
            return dequantise(_dense(stored, path)), metadata, "int8" if eight_bit else "safetensors"
        raise CheckpointError(f"{path} is neither a PyTorch checkpoint nor safetensors (it begins with {head[:8]!r})")


def quantise(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Large float tensors as int8 with one scale per output channel (dimension 0), everything else as it is."""
    stored: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        if not tensor.is_floating_point() or tensor.dim() < 2 or tensor.numel() <= QUANTISED_ABOVE:
            stored[key] = (tensor.float() if tensor.is_floating_point() else tensor).contiguous().cpu()
            continue
        value = tensor.detach().float().cpu()
        scale = value.flatten(1).abs().amax(dim=1).clamp_min(1e-12) / 127
        shape = (-1, *([1] * (value.dim() - 1)))
        stored[key] = (value / scale.view(shape)).round().clamp(-127, 127).to(torch.int8)
        stored[key + SCALE_SUFFIX] = scale
    return stored


def dequantise(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `quantise`, up to its rounding. Raises ValueError for scales that are not one float a channel."""
    state = {}
    for key, tensor in stored.items():
        if key.endswith(SCALE_SUFFIX) and key[: -len(SCALE_SUFFIX)] in stored:
            continue
        scale = stored.get(key + SCALE_SUFFIX)
        if scale is not None:
            if scale.shape != tensor.shape[:1] or not scale.is_floating_point():
                raise ValueError(f"the scales of {key} are {tuple(scale.shape)} {scale.dtype}, not one float a channel")
            scale = scale.float().view(-1, *([1] * (tensor.dim() - 1)))
            # numpy's product is torch's; torch would wake a thread a core for it, which takes longer on a busy machine.
            eight_bit = tensor.dtype == torch.int8
            tensor = torch.from_numpy(tensor.numpy() * scale.numpy()) if eight_bit else tensor.float() * scale
        elif tensor.is_floating_point():
            tensor = tensor.float()
        state[key] = tensor
    return state


def content_digest(stored: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of all that a safetensors file says, `DIGEST` itself left out, whatever the order in the file."""
    digest = hashlib.sha256(json.dumps({k: v for k, v in metadata.items() if k != DIGEST}, sort_keys=True).encode())
    for key in sorted(stored):
        tensor = stored[key].contiguous()
        digest.update(f"\n{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _open(path: Path) -> tuple[int, bytes]:
    """Size and first bytes of a regular file that is not too large. Pipes and devices are not opened: that could wait
    for ever."""
    try:
        status = path.stat()
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is not None:
            raise CheckpointError(f"the weights {path} are {kind}")
        if status.st_size > LARGEST_FILE:
            raise CheckpointError(
                f"{path} has {status.st_size} bytes, more than the {LARGEST_FILE} that weights of this network "
                "can have: it is another file"
            )
        with path.open("rb") as file:
            return status.st_size, file.read(512)
    except OSError as error:
        raise CheckpointError(f"cannot read the weights file {path}: {error.strerror or error}") from error


def _read_safetensors(path: Path, size: int, header: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if header + 8 > size:
        raise CheckpointError(f"{path} is truncated ({size} bytes end inside its header): fetch it again")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            _check_version(metadata, path)
            keys = list(file.keys())
            count = sum(_count(file.get_slice(key).get_shape()) for key in keys)
            if count > LARGEST_COUNT:
                raise CheckpointError(f"{path} holds {count} values, more than the {LARGEST_COUNT} of any such network")
            stored = {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or truncated ({size} bytes): {error}; fetch it again") from error
    if DIGEST in metadata and metadata[DIGEST] != content_digest(stored, metadata):
        raise CheckpointError(f"{path} is damaged: its content is not what was written (SHA-256); fetch it again")
    return stored, metadata


def _count(shape: list[int]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _check_version(metadata: Mapping[str, str], path: Path) -> None:
    if metadata.get("format") != FORMAT:
        return
    version = metadata.get("format_version", "1")
    if not (version.isascii() and version.isdecimal()):
        raise CheckpointError(f"{path} is damaged: its format version is {version[:20]!r}; fetch it again")
    if int(version[:9]) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version[:20]}, this program reads {FORMAT_VERSION}: upgrade e2fgvi"
        )


def _read_pickle(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        _check_archive(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of what is said in the error anyway
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects other than tensors, which could run code when loaded: it is not a plain "
            "state dict"
        ) from error
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise CheckpointError(
                f"{path} asks for more memory than there is: it is damaged, or other programs hold the memory"
            ) from error
        raise CheckpointError(f"{path} is damaged: {_first_line(error)}; fetch it again") from error
    return _unwrap(loaded, path)


def _check_archive(path: Path) -> None:
    """A PyTorch archive is not compressed; torch compares no checksums, so this does."""
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is truncated ({size} bytes, the archive has no directory): the download did not finish, "
            "fetch it again"
        )
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if not any(entry.filename.endswith("data.pkl") for entry in entries):
            raise CheckpointError(
                f"{path} is a ZIP archive without a checkpoint in it: unpack it and give what is inside"
            )
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or (
            sum(entry.file_size for entry in entries) > size
        ):
            raise CheckpointError(f"{path} is a compressed archive, which PyTorch never writes: unpack or convert it")
        damaged = archive.testzip()
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: its entry {damaged} has another checksum; fetch it again")


def _unwrap(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The state dict inside whatever a training program saved around it. Keys that are no names are left out."""
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a state dict")
    for candidate in (loaded if _all_tensors(loaded) else None, *(loaded.get(name) for name in _WRAPPERS), loaded):
        if isinstance(candidate, Mapping):
            tensors = {k: v for k, v in candidate.items() if isinstance(k, str) and isinstance(v, Tensor)}
            if tensors:
                return tensors
    keys = ", ".join(str(k) for k in list(loaded)[:5]) or "nothing"
    kind = "an optimiser's state" if any("optim" in str(k).lower() for k in loaded) else "no network"
    raise CheckpointError(f"{path} holds {kind} (entries: {keys}): use the generator's file of that training run")


def _all_tensors(loaded: Mapping[Any, Any]) -> bool:
    return bool(loaded) and all(isinstance(v, Tensor) for v in loaded.values())


def _dense(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors, if each is a plain array of real numbers: not sparse, quantised by torch, complex, or without
    content."""
    for key, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            raise CheckpointError(f"{path}: {key} is no plain array of real numbers: save it as a float tensor")
    return tensors


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
