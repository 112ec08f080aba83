"""One contract for every exact backend of the deformable convolution, and the rules of choosing one."""

from __future__ import annotations

import itertools
import sys
import types

import pytest
import torch
from e2fgvi_cli._model.deform import BACKENDS, BackendUnavailableError, available_backends, select_backend
from torch import Tensor

EXACT = ["torchvision", "torch"]
Case = tuple[int, int, int, int, int, int, int, int, int, float]
# b, C, D, H, W, deform groups, convolution groups, stride, padding, offset scale
CASES: list[Case] = [
    (1, 4, 3, 7, 9, 2, 1, 1, 1, 2.0),
    (2, 6, 4, 5, 5, 3, 2, 1, 1, 1.0),
    (1, 2, 2, 1, 1, 1, 1, 1, 1, 1.0),
    (1, 4, 4, 6, 1, 4, 4, 1, 1, 3.0),
    (1, 4, 2, 9, 8, 2, 1, 2, 0, 1.0),
    (1, 2, 2, 6, 7, 1, 1, 1, 1, 1e6),
    (1, 2, 2, 6, 7, 1, 1, 1, 2, 0.0),
]


def make(case: Case, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], dict[str, int]]:
    b, channels, out, height, width, groups, conv_groups, stride, padding, scale = case
    generator = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    h, w = ((n + 2 * padding - 3) // stride + 1 for n in (height, width))
    tensors = [
        normal(b, channels, height, width),
        normal(b, 2 * groups * 9, h, w) * scale,
        normal(b, groups * 9, h, w).sigmoid(),
        normal(out, channels // conv_groups, 3, 3),
        normal(out),
    ]
    return tensors, {"stride": stride, "padding": padding}


def definition(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor, *, stride: int, padding: int
) -> Tensor:
    """Deformable ConvNets v2, equation 1, with loops."""
    b, channels, height, width = x.shape
    out_channels, per_group = weight.shape[:2]
    h, w = offset.shape[-2:]
    groups = offset.shape[1] // 18
    result = torch.zeros(b, out_channels, h, w, dtype=x.dtype)

    def sample(n: int, c: int, y: float, col: float) -> float:
        y0, x0 = int(y // 1), int(col // 1)
        total = 0.0
        for j, i in itertools.product((0, 1), (0, 1)):
            if 0 <= y0 + j < height and 0 <= x0 + i < width:
                total += float(x[n, c, y0 + j, x0 + i]) * (1 - abs(y - y0 - j)) * (1 - abs(col - x0 - i))
        return total

    for n, o, r, s in itertools.product(range(b), range(out_channels), range(h), range(w)):
        total = float(bias[o])
        first = o // (out_channels // (channels // per_group)) * per_group
        for c, tap in itertools.product(range(per_group), range(9)):
            group = (first + c) // (channels // groups)
            at = group * 9 + tap
            y = r * stride - padding + tap // 3 + float(offset[n, 2 * at, r, s])
            col = s * stride - padding + tap % 3 + float(offset[n, 2 * at + 1, r, s])
            total += (
                float(weight[o, c, tap // 3, tap % 3]) * float(modulation[n, at, r, s]) * sample(n, first + c, y, col)
            )
        result[n, o, r, s] = total
    return result


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("case", CASES)
def test_equals_the_definition(name: str, case: Case) -> None:
    tensors, options = make(case)
    actual = select_backend(name).function(*tensors, **options)
    assert (actual - definition(*tensors, **options)).abs().max() <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_exact_backends_agree(case: Case) -> None:
    tensors, options = make(case)
    first, second = (select_backend(name).function(*tensors, **options) for name in EXACT)
    assert (first - second).abs().max() <= 1e-5


@pytest.mark.parametrize("name", EXACT)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    tensors, options = make((1, 2, 2, 4, 3, 1, 1, 1, 1, 0.3))
    inputs = tuple(t.requires_grad_() for t in tensors)
    function = select_backend(name).function
    assert torch.autograd.gradcheck(lambda *a: function(*a, **options), inputs, eps=1e-6, atol=1e-5, fast_mode=True)


def test_gradients_agree_between_backends() -> None:
    grads = []
    for name in EXACT:
        tensors, options = make(CASES[0])
        inputs = [t.requires_grad_() for t in tensors]
        select_backend(name).function(*inputs, **options).square().sum().backward()
        grads.append([t.grad for t in inputs])
    for a, b in zip(*grads, strict=True):
        assert (a - b).abs().max() <= 1e-8


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_groups_are_sampled_some_at_a_time_on_few_threads(threads: int) -> None:
    """Seven groups: two, four, or all at once; values and gradients are the same."""
    tensors, options = make((2, 14, 3, 5, 4, 7, 1, 1, 1, 1.0))
    before = torch.get_num_threads()
    grads, values = [], []
    try:
        for name in EXACT:
            inputs = [t.clone().requires_grad_() for t in tensors]
            torch.set_num_threads(threads)
            values.append(select_backend(name).function(*inputs, **options))
            values[-1].square().sum().backward()
            grads.append([t.grad for t in inputs])
    finally:
        torch.set_num_threads(before)
    assert (values[0] - values[1]).abs().max() <= 1e-10
    for a, b in zip(*grads, strict=True):
        assert (a - b).abs().max() <= 1e-8


def test_the_approximation_is_a_plain_convolution_and_says_so() -> None:
    tensors, options = make(CASES[0])
    with pytest.warns(UserWarning, match="not that of the network"):
        backend = select_backend("approximate")
    assert not backend.exact
    x, offset, modulation, weight, bias = tensors
    with_ones = backend.function(x, offset, torch.ones_like(modulation), weight, bias, **options)
    assert (with_ones - torch.nn.functional.conv2d(x, weight, bias, padding=1)).abs().max() <= 1e-10
    assert (with_ones - definition(x, offset, torch.ones_like(modulation), weight, bias, **options)).abs().max() > 0.1


def test_auto_takes_torchvision() -> None:
    assert select_backend("auto").name == "torchvision"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="'cudnn' is unknown: use auto, torchvision, mmcv, torch, approximate"):
        select_backend("cudnn")


@pytest.mark.parametrize(
    "error",
    [
        ImportError("DLL load failed while importing _ext: 找不到指定的程序。"),
        OSError("[WinError 126] 找不到指定的模块。"),
    ],
)
def test_a_broken_mmcv_becomes_a_reason(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            raise error

    package = types.ModuleType("mmcv")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "mmcv", package)
    monkeypatch.setitem(sys.modules, "mmcv.ops", Broken("mmcv.ops"))
    with pytest.raises(BackendUnavailableError) as caught:
        select_backend("mmcv")
    assert str(error) in str(caught.value)
    reasons = available_backends()
    assert list(reasons) == list(BACKENDS)
    assert reasons["torchvision"] is None
    assert str(error) in str(reasons["mmcv"])


def fake_mmcv(monkeypatch: pytest.MonkeyPatch, operator: object) -> None:
    package, ops = types.ModuleType("mmcv"), types.ModuleType("mmcv.ops")
    package.__path__ = []
    ops.modulated_deform_conv2d = operator  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmcv", package)
    monkeypatch.setitem(sys.modules, "mmcv.ops", ops)


def break_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.ops", None)  # import_module then raises ModuleNotFoundError


def test_mmcv_gets_its_own_argument_order_and_serves_when_torchvision_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = select_backend("torch").function

    def operator(
        x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None,
        stride: int, padding: int, dilation: int, groups: int, deform_groups: int,
    ) -> Tensor:  # fmt: skip
        assert groups == x.shape[1] // weight.shape[1]
        assert deform_groups == offset.shape[1] // 18
        return exact(x, offset, mask, weight, bias, stride=stride, padding=padding, dilation=dilation)

    fake_mmcv(monkeypatch, operator)
    break_torchvision(monkeypatch)
    backend = select_backend("auto")
    assert backend.name == "mmcv"
    assert "torchvision does not load" in backend.reason
    tensors, options = make(CASES[1])
    assert torch.equal(backend.function(*tensors, **options), exact(*tensors, **options))


def test_without_any_compiled_operator_plain_pytorch_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu(*_: object) -> Tensor:
        raise RuntimeError("modulated_deformable_im2col_impl: implementation for device cuda:0 not found.")

    fake_mmcv(monkeypatch, no_gpu)
    break_torchvision(monkeypatch)
    backend = select_backend("auto")
    assert backend.name == "torch"
    assert "implementation for device cuda:0 not found" in backend.reason


def test_an_operator_that_computes_nonsense_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_mmcv(monkeypatch, lambda x, *_: x * 0)
    with pytest.raises(BackendUnavailableError, match=r"computes 0\.0 instead of 9"):
        select_backend("mmcv")
