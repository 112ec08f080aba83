"""Weights in files: read, recognise, rename, load strictly; and our own 8-bit storage.

Three kinds of file hold a network: the published `.pth` (a plain pickled state dict, read with `weights_only=True`, so no
code in it can run), safetensors with the same keys, and our safetensors with 8-bit weights: a float matrix of more than
`QUANTISED_ABOVE` values is int8 with one float32 scale per output channel under `NAME.scale`. What a file that is none of these
might be instead is explained in the error.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import E2FGVIConfig
from .deform import DeformBackend, select_backend
from .flow import SPYNET_LEVELS, SPyNet
from .network import E2FGVIHQ, constant_buffers

FORMAT = "e2fgvi-weights"
FORMAT_VERSION = 1
QUANTISED_ABOVE = 4096
SCALE_SUFFIX = ".scale"
CONSTANT_TOLERANCE = 1e-3
"""Training in half precision rounds the stored normalisation constants by as much."""
_WRAPPERS = ("state_dict", "params_ema", "params", "model", "netG", "generator", "ema", "weights")
_PROBE_KEY = "feat_prop_module.fusion.weight"
"""A key of the HQ and the non-HQ network and of no other file."""


class CheckpointError(ValueError):
    """A file that cannot be used as weights. The message is one sentence: what it is and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights as read: float32 / int64 tensors under the published keys, their configuration, what the file says."""

    state_dict: dict[str, Tensor]
    config: E2FGVIConfig
    storage: str
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def licence(self) -> str:
        """The licence the file states; the published checkpoint states none but is CC BY-NC 4.0."""
        return self.metadata.get("licence", "not stated in the file (the published checkpoint is CC BY-NC 4.0)")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read weights of E2FGVI-HQ from `path`. Raises CheckpointError with the reason if it holds anything else."""
    path = Path(path)
    tensors, metadata, storage = _read_tensors(path)
    config = _config_from(metadata, path)
    state = _network_state(tensors, path)
    _check_shapes(state, config, path)
    return Checkpoint(state, config, storage, metadata)


def load_network(checkpoint: Checkpoint, *, deform: DeformBackend | None = None) -> E2FGVIHQ:
    """Build the network of `checkpoint` on the CPU and load it strictly. The tensors are taken over, not copied."""
    with torch.device("meta"):  # no random initialisation that would be overwritten at once
        network = E2FGVIHQ(checkpoint.config, deform=deform)
    network.load_state_dict(checkpoint.state_dict, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def read_spynet(path: Path) -> dict[str, Tensor]:
    """A SPyNet's own state dict (keys of `flow.SPyNet`), from a file in published, BasicVSR or mmcv naming.

    Raises CheckpointError if the file holds no complete SPyNet. Needed only to start a training run.
    """
    tensors, _, _ = _read_tensors(Path(path))
    found = rename_spynet(tensors)
    wanted = SPyNet().state_dict()
    # The normalisation is a constant that some files leave out.
    state = {k: found.get(k, v) if k in ("mean", "std") else found.get(k) for k, v in wanted.items()}
    missing = [k for k, v in state.items() if v is None]
    if missing:
        raise CheckpointError(f"{path} is no SPyNet: {len(missing)} tensors are missing, the first is {missing[0]}")
    complete = {k: v for k, v in state.items() if v is not None}
    wrong = [k for k, v in complete.items() if v.shape != wanted[k].shape]
    if wrong:
        raise CheckpointError(f"{path} is another SPyNet: {wrong[0]} is {tuple(complete[wrong[0]].shape)}")
    return complete


def rename_spynet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SPyNet tensors under our keys, whatever prefix (`spynet.`, `generator.spynet.`, ...) and naming they come in.

    BasicVSR numbers the five convolutions of a level 0, 2, 4, 6, 8 (the ReLUs between count); the published key is `k.conv`.
    """
    numbered = {
        f"basic_module.{level}.basic_module.{2 * k}": f"basic_module.{level}.basic_module.{k}.conv"
        for level in range(SPYNET_LEVELS)
        for k in range(5)
    }
    renamed = {}
    for key, tensor in tensors.items():
        _, separator, rest = key.partition("basic_module.")
        if separator:
            stem, _, leaf = (separator + rest).rpartition(".")
            renamed[f"{numbered.get(stem, stem)}.{leaf}"] = tensor
        elif key.rsplit(".", 1)[-1] in ("mean", "std"):
            renamed[key.rsplit(".", 1)[-1]] = tensor
    return renamed


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
    """The inverse of `quantise`, up to its rounding."""
    state = {}
    for key, tensor in stored.items():
        if key.endswith(SCALE_SUFFIX) and key[: -len(SCALE_SUFFIX)] in stored:
            continue
        scale = stored.get(key + SCALE_SUFFIX)
        if scale is not None:
            tensor = tensor.float() * scale.view(-1, *([1] * (tensor.dim() - 1)))
        elif tensor.is_floating_point():
            tensor = tensor.float()
        state[key] = tensor
    return state


def save_checkpoint(
    path: Path,
    state_dict: Mapping[str, Tensor],
    config: E2FGVIConfig,
    *,
    eight_bit: bool,
    licence: str,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write weights as safetensors with everything needed to rebuild the network. `training`: a summary, any JSON values."""
    from safetensors.torch import save_file

    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "architecture": "E2FGVI-HQ",
        "config": json.dumps(config.to_dict(), sort_keys=True),
        "backward_flow_order": config.backward_flow_order,
        "storage": "int8" if eight_bit else "float32",
        "licence": licence,
        "training": json.dumps(dict(training or {}), sort_keys=True),
    }
    tensors = quantise(state_dict) if eight_bit else {k: v.detach().cpu().contiguous() for k, v in state_dict.items()}
    save_file(tensors, str(path), metadata)
    path.chmod(0o644)  # safetensors creates it for the owner only


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """(tensors, metadata, storage) of any readable weights file; what it cannot be is explained."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f"cannot read the weights file {path}: {error.strerror or error}") from error
    if not size:
        raise CheckpointError(f"{path} is empty: the download did not finish, fetch it again")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is a git-LFS pointer ({size} bytes), not the weights: run `git lfs pull`, or download the file itself"
        )
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path} is a web page, not weights: the download needs a browser or hit a quota; see `e2fgvi weights fetch`"
        )
    if head.startswith((b"PK", b"\x80")):
        return _read_pickle(path), {}, "pth"
    if len(head) > 8 and head[8:9] == b"{":
        return _read_safetensors(path, size, int.from_bytes(head[:8], "little"))
    raise CheckpointError(f"{path} is neither a PyTorch checkpoint nor safetensors (it begins with {head[:8]!r})")


def _read_safetensors(path: Path, size: int, header: int) -> tuple[dict[str, Tensor], dict[str, str], str]:
    from safetensors import SafetensorError, safe_open

    if header + 8 > size:
        raise CheckpointError(f"{path} is truncated ({size} bytes end inside its header): fetch it again")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or truncated ({size} bytes): {error}; fetch it again") from error
    if metadata.get("format") == FORMAT and int(metadata.get("format_version", "1")) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {metadata['format_version']}, this program reads {FORMAT_VERSION}: upgrade e2fgvi"
        )
    eight_bit = any(t.dtype == torch.int8 for t in stored.values())
    return dequantise(stored), metadata, "int8" if eight_bit else "safetensors"


def _read_pickle(path: Path) -> dict[str, Tensor]:
    import pickle

    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip and not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is truncated ({path.stat().st_size} bytes, the archive has no directory): the download did not finish, fetch it again"
        )
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects other than tensors, which could run code when loaded: it is not a plain state dict"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is damaged: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    return _unwrap(loaded, path)


def _unwrap(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The state dict inside whatever a training program saved around it."""
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not a state dict")
    if loaded and all(isinstance(v, Tensor) for v in loaded.values()):
        return dict(loaded)
    for name in _WRAPPERS:
        inner = loaded.get(name)
        if isinstance(inner, Mapping) and inner and any(isinstance(v, Tensor) for v in inner.values()):
            return {k: v for k, v in inner.items() if isinstance(v, Tensor)}
    tensors = {k: v for k, v in loaded.items() if isinstance(v, Tensor)}
    if tensors:
        return tensors
    keys = ", ".join(str(k) for k in list(loaded)[:5]) or "nothing"
    kind = "an optimiser's state" if any("optim" in str(k).lower() for k in loaded) else "no network"
    raise CheckpointError(f"{path} holds {kind} (entries: {keys}): use the generator's file of that training run")


def _config_from(metadata: Mapping[str, str], path: Path) -> E2FGVIConfig:
    """The file's own configuration. Files without one are taken for the published network, whose flow order is "released"."""
    try:
        if "config" in metadata:
            return E2FGVIConfig.from_dict(json.loads(metadata["config"]))
        order: Any = metadata.get("backward_flow_order", "released")
        return E2FGVIConfig(backward_flow_order=order)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} has a configuration this program cannot use: {error}") from error


def _network_state(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The network's entries without the prefix a wrapper gave them, or the reason why there are none."""
    keys = list(tensors)
    prefix = next((k[: -len(_PROBE_KEY)] for k in keys if k.endswith(_PROBE_KEY)), None)
    if prefix is None:
        raise CheckpointError(f"{path} {_explain_foreign(keys)}")
    state = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    if "sc.bias" in state:
        raise CheckpointError(
            f"{path} is the E2FGVI (non-HQ) checkpoint, fixed to 432x240: this program runs E2FGVI-HQ at any size; use E2FGVI-HQ-CVPR22.pth"
        )
    return state


def _explain_foreign(keys: list[str]) -> str:
    first = ", ".join(keys[:3])
    if any(k.endswith(("weight_orig", "weight_u")) for k in keys):
        return f"is a discriminator (entries: {first}): inpainting needs the generator, usually gen_*.pth beside it"
    if any("basic_module." in k for k in keys):
        return f"holds a SPyNet only (entries: {first}): it is needed for training, not as the weights of the whole network"
    return f"is not an E2FGVI-HQ checkpoint: it has {len(keys)} entries, the first are {first}"


def _expected_state(config: E2FGVIConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = E2FGVIHQ(config, deform=select_backend("torch"))  # the shapes do not depend on it
    return {**network.state_dict(), **constant_buffers(config)}


def _check_shapes(state: dict[str, Tensor], config: E2FGVIConfig, path: Path) -> None:
    """Every key, every shape, and the values of the constant buffers; the first few differences are named."""
    expected = _expected_state(config)
    wrong = [f"{k} is missing" for k in expected if k not in state]
    wrong += [f"{k} is not part of the network" for k in state if k not in expected]
    wrong += [
        f"{k} is {tuple(state[k].shape)} instead of {tuple(t.shape)}"
        for k, t in expected.items()
        if k in state and state[k].shape != t.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(f"{path} does not fit E2FGVI-HQ: {'; '.join(wrong[:3])}{more}")
    for key, tensor in expected.items():
        if not tensor.is_meta and not torch.allclose(state[key].double(), tensor.double(), atol=CONSTANT_TOLERANCE):
            raise CheckpointError(
                f"{path}: the constant {key} differs from that of the network: the file is damaged or foreign"
            )
    bad = [k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise CheckpointError(
            f"{path} holds values that are not finite, the first in {bad[0]}: the training run diverged"
        )
