"""Weights of the network: recognise, rename, load strictly, save. `tensor_files` reads the files.

Three kinds of file hold a network: the published `.pth` (a plain pickled state dict), safetensors with the same keys,
and our safetensors with 8-bit weights: a float matrix of more than `QUANTISED_ABOVE` values is int8 with one float32
scale per output channel under `NAME.scale`. What a file that is none of these might be instead is explained in the
error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import E2FGVIConfig
from .deform import DeformBackend, select_backend
from .flow import SPYNET_LEVELS, SPyNet
from .network import E2FGVIHQ, constant_buffers
from .tensor_files import (
    DIGEST,
    FORMAT,
    FORMAT_VERSION,
    CheckpointError,
    blamed_on,
    content_digest,
    dequantise,
    quantise,
    read_tensors,
)

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "dequantise",
    "load_network",
    "quantise",
    "read_checkpoint",
    "read_spynet",
    "rename_spynet",
    "save_checkpoint",
]

CONSTANT_TOLERANCE = 1e-3
"""Training in half precision rounds the stored normalisation constants by as much."""
_PROBE_KEY = "feat_prop_module.fusion.weight"
"""A key of the HQ and the non-HQ network and of no other file."""


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights as read: float32 / int64 tensors under the published keys, their configuration, what the file
    says."""

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
    tensors, metadata, storage = read_tensors(path)
    with blamed_on(path):
        config = _config_from(metadata, path)
        state = _fitting(_network_state(tensors, path), _expected_state(config), path, "E2FGVI-HQ")
        _check_constants(state, config, path)
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
    path = Path(path)
    tensors, _, _ = read_tensors(path)
    with blamed_on(path):
        found = rename_spynet(tensors)
        wanted = SPyNet().state_dict()
        # The normalisation is a constant that some files leave out.
        state = {k: found.get(k, v) if k in ("mean", "std") else found.get(k) for k, v in wanted.items()}
        missing = [k for k, v in state.items() if v is None]
        if missing:
            raise CheckpointError(f"{path} is no SPyNet: {len(missing)} tensors are missing, the first is {missing[0]}")
        return _fitting({k: v for k, v in state.items() if v is not None}, wanted, path, "SPyNet")


def rename_spynet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SPyNet tensors under our keys, whatever prefix (`spynet.`, `generator.spynet.`, ...) and naming they come in.

    BasicVSR numbers the five convolutions of a level 0, 2, 4, 6, 8 (the ReLUs between count); the published key is
    `k.conv`.
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


def save_checkpoint(
    path: Path,
    state_dict: Mapping[str, Tensor],
    config: E2FGVIConfig,
    *,
    eight_bit: bool,
    licence: str,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write weights as safetensors with everything needed to rebuild the network. `training`: a summary, any JSON
    values."""
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
    metadata[DIGEST] = content_digest(tensors, metadata)
    save_file(tensors, str(path), metadata)
    path.chmod(0o644)  # safetensors creates it for the owner only


def _config_from(metadata: Mapping[str, str], path: Path) -> E2FGVIConfig:
    """The file's own configuration. Files without one are taken for the published network, whose flow order is
    "released"."""
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
            f"{path} is the E2FGVI (non-HQ) checkpoint, fixed to 432x240: this program runs E2FGVI-HQ at any "
            "size; use E2FGVI-HQ-CVPR22.pth"
        )
    return state


def _explain_foreign(keys: list[str]) -> str:
    first = ", ".join(keys[:3])
    if any(k.endswith(("weight_orig", "weight_u")) for k in keys):
        return f"is a discriminator (entries: {first}): inpainting needs the generator, usually gen_*.pth beside it"
    if any("basic_module." in k for k in keys):
        return (
            f"holds a SPyNet only (entries: {first}): it is needed for training, not as the weights of the whole "
            "network"
        )
    return f"is not an E2FGVI-HQ checkpoint: it has {len(keys)} entries, the first are {first}"


def _expected_state(config: E2FGVIConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = E2FGVIHQ(config, deform=select_backend("torch"))  # the shapes do not depend on it
    return network.state_dict()


def _fitting(state: dict[str, Tensor], expected: Mapping[str, Tensor], path: Path, name: str) -> dict[str, Tensor]:
    """`state` in the dtypes of `expected`, if it has its keys, shapes and kinds of number, and is finite. Names some
    differences."""
    wrong = [f"{k} is missing" for k in expected if k not in state]
    wrong += [f"{k} is not part of the network" for k in state if k not in expected]
    for key, wanted in expected.items():
        have = state.get(key)
        if have is not None and have.shape != wanted.shape:
            wrong.append(f"{key} is {tuple(have.shape)} instead of {tuple(wanted.shape)}")
        elif have is not None and have.is_floating_point() is not wanted.is_floating_point():
            wrong.append(f"{key} is {have.dtype} instead of {wanted.dtype}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(f"{path} does not fit {name}: {'; '.join(wrong[:3])}{more}")
    fitted = {k: v.to(expected[k].dtype).contiguous() for k, v in state.items()}
    # Whatever is not finite is or spoils an extreme. By numpy: torch would wake a thread a core for each tensor.
    floats = ((k, v.numpy()) for k, v in fitted.items() if v.is_floating_point() and v.numel())
    bad = [k for k, v in floats if not (isfinite(v.min()) and isfinite(v.max()))]
    if bad:
        raise CheckpointError(
            f"{path} holds values that are not finite, the first in {bad[0]}: the training run diverged"
        )
    return fitted


def _check_constants(state: Mapping[str, Tensor], config: E2FGVIConfig, path: Path) -> None:
    """The values of the constant buffers."""
    for key, tensor in constant_buffers(config).items():
        if not torch.allclose(state[key].double(), tensor.double(), atol=CONSTANT_TOLERANCE):
            raise CheckpointError(
                f"{path}: the constant {key} differs from that of the network: the file is damaged or foreign"
            )
