"""Modulated deformable convolution (Zhu et al., "Deformable ConvNets v2", CVPR 2019): one function, several backends.

The published program takes it from a compiled mmcv-full. Here a backend is chosen once, by name, before the network
runs; nothing is tried or caught inside a forward pass. Every backend computes

    out(p) = bias + sum over taps k:  weight_k . (modulation_k(p) * x(p + k + offset_k(p)))

with bilinear sampling and zeros outside. Shape legend: b batch, C D channels in / out, G deform groups, K = kh * kw
taps, H W input, h w output. Offsets are (dy, dx) pairs, tap by tap, group by group: (b, G * K * 2, h, w).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class DeformConv(Protocol):
    """What every backend is: a plain function of tensors.

    x (b, C, H, W), offset (b, 2 G K, h, w), modulation (b, G K, h, w), weight (D, C / groups, kh, kw), bias (D,) or
    None. stride, padding and dilation are the same in both directions. Returns (b, D, h, w).
    """

    def __call__(
        self,
        x: Tensor,
        offset: Tensor,
        modulation: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ) -> Tensor: ...


@dataclass(frozen=True)
class DeformBackend:
    """A chosen backend. `exact` is False only for `approximate`; `reason` says why it was chosen, for reports."""

    name: str
    function: DeformConv
    exact: bool
    reason: str


class BackendUnavailableError(RuntimeError):
    """The backend that was asked for cannot run here. The message is one sentence with the cause."""


def _torchvision(
    x: Tensor,
    offset: Tensor,
    modulation: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """torchvision's compiled operator: the same arithmetic as mmcv's."""
    from torchvision.ops import deform_conv2d

    # The operator knows one dtype. Positions decide: in half precision they would be off by up to a quarter of a pixel.
    precise = torch.promote_types(x.dtype, offset.dtype)
    source, modulation, weight = x.to(precise), modulation.to(precise), weight.to(precise)
    bias = None if bias is None else bias.to(precise)
    out: Tensor = deform_conv2d(source, offset.to(precise), weight, bias, stride, padding, dilation, modulation)
    return out.to(x.dtype)


def _torch(
    x: Tensor,
    offset: Tensor,
    modulation: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """Plain PyTorch: sample every tap with `grid_sample`, then one matrix product. Any device, any float dtype."""
    b, channels, height, width = x.shape
    out_channels, per_group, kh, kw = weight.shape
    taps, (h, w) = kh * kw, offset.shape[-2:]
    groups = offset.shape[1] // (2 * taps)
    precise = torch.promote_types(offset.dtype, torch.float32)

    def axis(n: int, step: int, start: int) -> Tensor:
        return torch.arange(n, device=x.device, dtype=precise) * step + start

    tap_y = axis(kh, dilation, -padding).repeat_interleave(kw).view(1, 1, taps, 1, 1)
    tap_x = axis(kw, dilation, -padding).repeat(kh).view(1, 1, taps, 1, 1)
    base_y, base_x = axis(h, stride, 0).view(1, 1, 1, h, 1) + tap_y, axis(w, stride, 0).view(1, 1, 1, 1, w) + tap_x
    displacement = offset.to(precise).view(b, groups, taps, 2, h, w)
    planes = x.reshape(b, groups, channels // groups, height, width)
    modulation = modulation.view(b, groups, 1, taps, h, w)

    def sample(some: slice) -> Tensor:
        """(b, some groups, C / G, K, h, w): their taps, modulated."""
        there = planes[:, some].to(precise)
        y, x_ = displacement[:, some, :, 0] + base_y, displacement[:, some, :, 1] + base_x
        # Two pixels outside is as far as outside gets; larger numbers would overflow the sampler's integers.
        # align_corners=False is the convention that is also defined for an input one pixel wide.
        y = (2 * y.clamp(-2, height + 1) + 1) / height - 1
        x_ = (2 * x_.clamp(-2, width + 1) + 1) / width - 1
        grid = torch.stack((x_, y), dim=-1).view(-1, taps * h, w, 2)
        flat = there.flatten(0, 1)
        found = F.grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=False).to(x.dtype)
        return found.view(*there.shape[:3], taps, h, w) * modulation[:, some]

    # A CPU is faster with what its caches hold. The sampler shares planes among its threads, so each has two.
    together = 2 * torch.get_num_threads() if x.device.type == "cpu" else groups
    if together >= groups:
        sampled = sample(slice(None))
    else:
        sampled = x.new_empty(b, groups, channels // groups, taps, h, w)
        for first in range(0, groups, together):
            some = slice(first, first + together)
            sampled[:, some] = sample(some)
    conv_groups = channels // per_group
    columns = sampled.reshape(b, conv_groups, per_group * taps, h * w)
    kernels = weight.reshape(conv_groups, out_channels // conv_groups, per_group * taps)
    out = torch.matmul(kernels, columns).view(b, out_channels, h, w)
    return out if bias is None else out + bias.view(1, -1, 1, 1)


def _approximate(
    x: Tensor,
    offset: Tensor,
    modulation: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """NOT the network: a plain convolution. Offsets are ignored, the modulation (mean of the taps) scales the input.

    This is the emergency patch that circulates among users of the published program (docs/deform-backends.md: what it
    costs).
    """
    b, channels, height, width = x.shape
    taps = weight.shape[-1] * weight.shape[-2]
    scale = modulation.view(b, -1, taps, *modulation.shape[-2:]).mean(dim=2)
    if scale.shape[-2:] != (height, width):
        scale = F.interpolate(scale, size=(height, width), mode="nearest")
    scaled = x * scale.repeat_interleave(channels // scale.shape[1], dim=1)
    return F.conv2d(scaled, weight, bias, stride, padding, dilation, groups=channels // weight.shape[1])


def _load_mmcv() -> DeformConv:
    """mmcv's operator, if its compiled part loads. A broken `_ext` raises ImportError or OSError: both become a
    reason."""
    try:
        modulated: Any = import_module("mmcv.ops").modulated_deform_conv2d
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackendUnavailableError(f"mmcv's operator does not load: {type(error).__name__}: {first_line}") from error

    def mmcv_backend(
        x: Tensor,
        offset: Tensor,
        modulation: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ) -> Tensor:
        groups = x.shape[1] // weight.shape[1]
        deform_groups = offset.shape[1] // (2 * weight.shape[-1] * weight.shape[-2])
        out: Tensor = modulated(x, offset, modulation, weight, bias, stride, padding, dilation, groups, deform_groups)
        return out

    return mmcv_backend


def _load_torchvision() -> DeformConv:
    try:
        import_module("torchvision.ops")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackendUnavailableError(f"torchvision does not load: {type(error).__name__}: {first_line}") from error
    return _torchvision


_LOADERS: dict[str, Callable[[], DeformConv]] = {
    "torchvision": _load_torchvision,
    "mmcv": _load_mmcv,
    "torch": lambda: _torch,
    "approximate": lambda: _approximate,
}
BACKENDS = tuple(_LOADERS)
_AUTO_ORDER = ("torchvision", "mmcv", "torch")


def _probe(function: DeformConv, device: torch.device) -> None:
    """Run the operator once on `device`: an extension built without CUDA imports well and fails at the first call."""
    one = torch.ones(1, 1, 3, 3, device=device)
    try:
        out = function(one, one.new_zeros(1, 18, 3, 3), one.new_ones(1, 9, 3, 3), one, None, padding=1)
        centre = float(out[0, 0, 1, 1])
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise BackendUnavailableError(
            f"the operator fails on {device}: {str(error).strip().splitlines()[0]}"
        ) from error
    if centre != 9.0:
        raise BackendUnavailableError(f"the operator computes {centre} instead of 9 on {device}")


def _load(name: str, device: torch.device) -> DeformConv:
    function = _LOADERS[name]()
    _probe(function, device)
    return function


def select_backend(name: str = "auto", device: torch.device | str = "cpu") -> DeformBackend:
    """Choose a backend, once, and run it once on `device`.

    "auto" takes the first of torchvision, mmcv, torch that works and never the approximation; `reason` then says what
    was wrong with the ones before it. Raises ValueError for an unknown name and BackendUnavailableError if
    the named backend cannot run here. Warns (UserWarning) when `approximate` is chosen.
    """
    device = torch.device(device)
    if name != "auto":
        if name not in _LOADERS:
            raise ValueError(f"deformable convolution backend {name!r} is unknown: use auto, {', '.join(BACKENDS)}")
        function = _load(name, device)
        if name == "approximate":
            warnings.warn(
                "the approximate deformable convolution ignores all offsets: the result is not that of the network",
                stacklevel=2,
            )
        return DeformBackend(name, function, exact=name != "approximate", reason="asked for")
    failures: list[str] = []
    for candidate in _AUTO_ORDER:
        try:
            function = _load(candidate, device)
        except BackendUnavailableError as error:
            failures.append(str(error))
            continue
        reason = "; ".join(failures) or "the default"
        return DeformBackend(candidate, function, exact=True, reason=reason)
    raise BackendUnavailableError("; ".join(failures))


def available_backends(device: torch.device | str = "cpu") -> dict[str, str | None]:
    """Every backend's name with None if it works on `device`, else the one-line reason why it does not."""
    result: dict[str, str | None] = {}
    for name in BACKENDS:
        try:
            _load(name, torch.device(device))
        except BackendUnavailableError as error:
            result[name] = str(error)
        else:
            result[name] = None
    return result
