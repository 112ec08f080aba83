"""The network's own promises: stages compose, gradients flow, sizes are checked, equivalences hold against slow
definitions."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from e2fgvi_cli._model.attention import FocalAttention, rolled_indices, softmax_attention, to_windows
from e2fgvi_cli._model.config import E2FGVIConfig
from e2fgvi_cli._model.flow import SPyNet, warp
from e2fgvi_cli._model.network import E2FGVIHQ
from e2fgvi_cli._model.tokens import FusionFeedForward, SoftComposition, SoftSplit

SMALL = {"embed_dim": 64, "num_heads": 2, "num_blocks": 2, "mlp_dim": 98}
"""A narrower transformer: the structure is the same, the tests are quicker. Parity is checked at full width."""


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights far from zero everywhere, so that no term of a formula can hide."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 16
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) / fan_in**0.5
    return module


@pytest.fixture(scope="module")
def network() -> E2FGVIHQ:
    net = randomised(E2FGVIHQ(E2FGVIConfig(backward_flow_order="aligned", **SMALL)).double())  # type: ignore[arg-type]
    assert isinstance(net, E2FGVIHQ)
    return net.eval().requires_grad_(False)


def frames(count: int, height: int = 60, width: int = 108, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, count, 3, height, width, generator=generator, dtype=torch.float64) * 2 - 1


def once_each(network: E2FGVIHQ, x: torch.Tensor, num_local: int) -> torch.Tensor:
    """Features frame by frame, flows pair by pair, only local frames decoded: what the engine caches."""
    features = torch.cat([network.encode(x[:, i : i + 1]) for i in range(x.shape[1])], dim=1)
    pairs = [network.flow(x[:, i : i + 2]) for i in range(num_local - 1)]
    empty = features.new_zeros(1, 0, 2, *features.shape[-2:])
    flow_fwd, flow_bwd = (torch.cat([p[k] for p in pairs], dim=1) if pairs else empty for k in (0, 1))
    local = network.propagate(features[:, :num_local], flow_fwd, flow_bwd)
    transformed = network.transform(torch.cat((local, features[:, num_local:]), dim=1))
    return torch.cat([network.decode(transformed[:, i : i + 1]) for i in range(num_local)], dim=1)


@pytest.mark.parametrize(
    ("count", "num_local", "size"), [(4, 3, (60, 108)), (1, 1, (60, 108)), (3, 1, (60, 216)), (2, 2, (120, 108))]
)
def test_cached_stages_equal_the_whole_network(
    network: E2FGVIHQ, count: int, num_local: int, size: tuple[int, int]
) -> None:
    x = frames(count, *size)
    whole = network(x, num_local)
    assert whole.shape == x.shape
    assert (once_each(network, x, num_local) - whole[:, :num_local]).abs().max() <= 1e-10


def test_a_batch_is_independent_clips(network: E2FGVIHQ) -> None:
    a, b = frames(3, seed=1), frames(3, seed=2)
    both = network(torch.cat((a, b)), 2)
    assert (both - torch.cat((network(a, 2), network(b, 2)))).abs().max() <= 1e-10


def test_flow_order_matters_from_three_local_frames_on() -> None:
    outputs = {}
    for order in ("released", "aligned"):
        net = randomised(E2FGVIHQ(E2FGVIConfig(backward_flow_order=order, **SMALL)).double()).eval()  # type: ignore[arg-type]
        with torch.inference_mode():
            outputs[order] = [net(frames(3), local) for local in (2, 3)]
    (released_2, released_3), (aligned_2, aligned_3) = outputs.values()
    assert torch.equal(released_2, aligned_2)
    assert (released_3 - aligned_3).abs().max() > 1e-6


def test_gradients_reach_every_weight() -> None:
    net = randomised(E2FGVIHQ(E2FGVIConfig(**SMALL)))  # type: ignore[arg-type]
    net(frames(4).float(), 3).square().mean().backward()
    without = [k for k, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_training_works_after_inference_on_the_same_size() -> None:
    """Cached index tables and grids are made in inference mode first, then used by autograd."""
    net = randomised(E2FGVIHQ(E2FGVIConfig(**SMALL)))  # type: ignore[arg-type]
    with torch.inference_mode():
        net(frames(3, 60, 324).float(), 2)
    net(frames(3, 60, 324).float(), 2).mean().backward()


@pytest.mark.parametrize(("height", "width", "named"), [(61, 108, "height 61"), (60, 100, "width 100")])
def test_sizes_that_do_not_fit_are_named(network: E2FGVIHQ, height: int, width: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        network(frames(1, height, width), 1)


@pytest.mark.parametrize("num_local", [0, 4])
def test_local_count_must_fit(network: E2FGVIHQ, num_local: int) -> None:
    with pytest.raises(ValueError, match=f"num_local is {num_local}"):
        network(frames(3), num_local)


def slow_attention(attention: FocalAttention, x: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
    """The published definition: rolled copies, zero-padded pooled neighbourhood, -100 on padded keys, explicit
    softmax."""
    config = attention.config
    b, t, th, tw, d = x.shape
    (wh, ww), heads = config.window, config.num_heads
    rows, columns = th // wh, tw // ww
    q, k, v = attention.qkv(x).chunk(3, dim=-1)
    _, pk, pv = attention.qkv(pooled).chunk(3, dim=-1)

    def keys(full: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
        ey, ex = config.expansion
        own = to_windows(full, config.window)
        copies = [
            to_windows(full.roll((dy, dx), (2, 3)), config.window) for dy, dx in itertools.product((-ey, ey), (-ex, ex))
        ]
        rolled = torch.cat(copies, dim=3)[:, :, :, attention.valid_ind_rolled]
        grid = small.view(b * t, rows, columns, d).permute(0, 3, 1, 2)
        around = F.unfold(grid, config.window, padding=(wh // 2, ww // 2)).view(b, t, d, wh * ww, rows * columns)
        return torch.cat((own, rolled, around.permute(0, 1, 4, 3, 2)), dim=3)

    present = F.unfold(torch.ones(1, 1, rows, columns, dtype=x.dtype), config.window, padding=(wh // 2, ww // 2))[0].t()
    bias = torch.cat((torch.zeros(rows * columns, wh * ww + 120, dtype=x.dtype), (present - 1) * 100), dim=1).repeat(
        1, t
    )

    def split(a: torch.Tensor) -> torch.Tensor:
        return a.permute(0, 2, 1, 3, 4).reshape(b, rows * columns, -1, heads, d // heads).transpose(2, 3)

    query, key, value = split(to_windows(q, config.window)), split(keys(k, pk)), split(keys(v, pv))
    scores = query @ key.transpose(-1, -2) * (d // heads) ** -0.5 + bias[None, :, None, None]
    out = (scores.softmax(-1) @ value).transpose(2, 3).reshape(b, rows * columns, t, wh * ww, d).transpose(1, 2)
    out = out.view(b, t, rows, columns, wh, ww, d).transpose(3, 4).reshape(b, t, th, tw, d)
    return torch.as_tensor(attention.proj(out))


@pytest.mark.parametrize("grid", [(5, 9), (10, 18), (20, 9), (35, 18)])
@pytest.mark.parametrize("keys_per_call", [1 << 18, 500])
def test_attention_without_masks_equals_the_definition(
    grid: tuple[int, int], keys_per_call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.attention.MAX_KEYS_PER_CALL", keys_per_call)
    config = E2FGVIConfig(embed_dim=32, mlp_dim=49)
    attention = randomised(FocalAttention(config).double())
    assert isinstance(attention, FocalAttention)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, *grid, 32, generator=generator, dtype=torch.float64)
    windows = grid[0] // 5 * (grid[1] // 9)
    pooled = torch.randn(2, 3, windows, 32, generator=generator, dtype=torch.float64)
    assert (attention(x, pooled) - slow_attention(attention, x, pooled)).abs().max() <= 1e-10


def test_attention_in_half_precision_on_a_cpu_is_as_near_as_its_rounding() -> None:
    """It has a path of its own there, without gradients."""
    generator = torch.Generator().manual_seed(4)
    # As in a window: heads side by side, keys and values interleaved, so nothing is contiguous.
    q = torch.randn(3, 50, 2, 16, generator=generator).transpose(1, 2)
    k, v = (t.transpose(1, 2) for t in torch.randn(3, 70, 2, 2, 16, generator=generator).unbind(2))
    expected = (q @ k.transpose(-1, -2) / 4).softmax(dim=-1) @ v
    half = [t.bfloat16() for t in (q, k, v)]
    with torch.inference_mode():
        own = softmax_attention(*half)
        assert (softmax_attention(q, k, v) - expected).abs().max() <= 1e-5
    assert own.dtype == torch.bfloat16
    assert (own.float() - expected).norm() <= 0.01 * expected.norm()
    with_gradients = softmax_attention(*(t.requires_grad_() for t in half))
    with_gradients.sum().backward()
    assert (with_gradients.detach().float() - expected).norm() <= 0.01 * expected.norm()
    assert half[0].grad is not None


def test_rolled_indices_leave_the_window_out() -> None:
    kept = rolled_indices((5, 9), (2, 4))
    assert len(kept) == 120
    assert kept[:4] == [
        5,
        6,
        7,
        8,
    ]  # the first copy shows the tokens two down and four right: its top left is the window


@pytest.mark.parametrize("size", [(15, 27), (30, 27), (16, 29), (7, 7)])
def test_patches_as_convolutions_equal_unfold_and_fold(size: tuple[int, int]) -> None:
    config = E2FGVIConfig(channels=6, deform_groups=2, embed_dim=16, num_heads=2, mlp_dim=98)
    k, options = config.split_kernel, {"stride": config.split_stride, "padding": config.split_padding}
    grid = config.token_grid(size)
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    split, compose, mlp = (
        randomised(m(config).double(), i) for i, m in enumerate((SoftSplit, SoftComposition, FusionFeedForward))
    )
    expected = split.embedding(F.unfold(x, k, **options).transpose(1, 2)).view(2, *grid, 16)
    tokens = split(x)
    assert (tokens - expected).abs().max() <= 1e-10
    folded = F.fold(compose.embedding(tokens.flatten(1, 2)).transpose(1, 2), size, k, **options)
    assert (compose(tokens, size) - compose.bias_conv(folded)).abs().max() <= 1e-10
    hidden = mlp.conv1(tokens.flatten(1, 2)).transpose(1, 2)
    count = F.fold(torch.ones_like(hidden), size, k, **options)
    mixed = F.unfold(F.fold(hidden, size, k, **options) / count, k, **options).transpose(1, 2)
    assert (mlp(tokens, size) - mlp.conv2(mixed).view_as(tokens)).abs().max() <= 1e-10


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("size", [(7, 9), (2, 5)])
def test_warp_equals_a_loop(padding: str, size: tuple[int, int]) -> None:
    h, w = size
    x, flow = torch.randn(1, 1, h, w, dtype=torch.float64), torch.randn(1, 2, h, w, dtype=torch.float64) * 3
    out = warp(x, flow, padding=padding)  # type: ignore[arg-type]

    def value(row: int, column: int) -> float:
        if padding == "border":
            row, column = min(max(row, 0), h - 1), min(max(column, 0), w - 1)
        return float(x[0, 0, row, column]) if 0 <= row < h and 0 <= column < w else 0.0

    for r, c in itertools.product(range(h), range(w)):
        px, py = c + float(flow[0, 0, r, c]), r + float(flow[0, 1, r, c])
        x0, y0 = int(px // 1), int(py // 1)
        expected = sum(
            value(y0 + j, x0 + i) * (1 - abs(py - y0 - j)) * (1 - abs(px - x0 - i))
            for j, i in itertools.product((0, 1), (0, 1))
        )
        assert float(out[0, 0, r, c]) == pytest.approx(expected, abs=1e-9)


def test_warp_refuses_two_grids() -> None:
    with pytest.raises(ValueError, match="share one grid"):
        warp(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 5))


@pytest.mark.parametrize("size", [(15, 27), (60, 108), (1, 1), (33, 64)])
def test_spynet_takes_any_size(size: tuple[int, int]) -> None:
    net = SPyNet().eval()
    with torch.inference_mode():
        assert net(torch.rand(2, 3, *size), torch.rand(2, 3, *size)).shape == (2, 2, *size)


def test_unknown_flow_order_is_refused() -> None:
    with pytest.raises(ValueError, match="backward_flow_order is 'sideways'"):
        E2FGVIConfig(backward_flow_order="sideways")  # type: ignore[arg-type]


def test_config_survives_json_and_refuses_the_future() -> None:
    import json

    config = E2FGVIConfig(backward_flow_order="aligned")
    assert E2FGVIConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.size_multiple == (60, 108)
    with pytest.raises(ValueError, match="new_thing"):
        E2FGVIConfig.from_dict({**config.to_dict(), "new_thing": 1})
