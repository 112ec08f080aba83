"""Stage 5: temporal focal transformer blocks (E2FGVI, section 3.3; focal attention: Yang et al., NeurIPS 2021).

Each window of tokens, over all frames at once, attends to itself, to the ring of tokens around it, and to one pooled
token for each window of a neighbourhood. Which tokens a window attends to depends on the size only, so it is a
table of indices (`attention_plan`). Windows at the border have fewer pooled neighbours: they are grouped by how many
they have, so no key is ever masked and scaled_dot_product_attention needs no mask.

Shape legend: b batch, t frames, th tw token grid, d token dimension, n windows (row by row), s = 45 tokens a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import E2FGVIConfig
from .tokens import FusionFeedForward

MAX_KEYS_PER_CALL = 1 << 18
"""Gathered keys (b * windows * frames * tokens) an attention call may hold at once: 0.5 GiB of keys at 512 float32."""


def rolled_indices(window: tuple[int, int], expansion: tuple[int, int]) -> list[int]:
    """Positions, in four shifted copies of a window, of the tokens that lie outside the window itself.

    The copies are shifted by (-ey, -ex), (-ey, +ex), (+ey, -ex), (+ey, +ex); an index is copy * wh * ww + row * ww + column.
    (With a window of 5 x 9 and an expansion of 2 x 4: the 120 values of the published buffer `valid_ind_rolled`.)
    """
    (wh, ww), (ey, ex) = window, expansion
    kept = []
    for copy, (dy, dx) in enumerate(product((ey, -ey), (ex, -ex))):
        for row, column in product(range(wh), range(ww)):
            if not (0 <= row + dy < wh and 0 <= column + dx < ww):
                kept.append((copy * wh + row) * ww + column)
    return kept


@dataclass(frozen=True)
class WindowGroup:
    """Windows with equally many keys. `windows`: (m,) window numbers. `keys`: (m, k) rows of [tokens; pooled tokens]."""

    windows: Tensor
    keys: Tensor


@lru_cache(maxsize=16)
def attention_plan(grid: tuple[int, int], config: E2FGVIConfig, device: torch.device) -> tuple[WindowGroup, ...]:
    """The keys of every window, for a token grid (th, tw). A key below th*tw is a token, above it a window's pooled token."""
    (th, tw), (wh, ww), (ey, ex) = grid, config.window, config.expansion
    rows, columns = th // wh, tw // ww
    shifts = list(product((ey, -ey), (ex, -ex)))
    ring = [
        (divmod(i % (wh * ww), ww), shifts[i // (wh * ww)]) for i in rolled_indices(config.window, config.expansion)
    ]
    offsets = [*product(range(wh), range(ww)), *((r + dy, c + dx) for (r, c), (dy, dx) in ring)]
    groups: dict[int, tuple[list[int], list[list[int]]]] = {}
    for number, (i, j) in enumerate(product(range(rows), range(columns))):
        tokens = [((i * wh + r) % th) * tw + (j * ww + c) % tw for r, c in offsets]
        pooled = [
            th * tw + y * columns + x
            for y, x in product(range(i - wh // 2, i + wh // 2 + 1), range(j - ww // 2, j + ww // 2 + 1))
            if 0 <= y < rows and 0 <= x < columns
        ]
        windows, keys = groups.setdefault(len(pooled), ([], []))
        windows.append(number)
        keys.append(tokens + pooled)
    with torch.inference_mode(False):  # cached: it must also serve a later training step
        return tuple(
            WindowGroup(torch.tensor(windows, device=device), torch.tensor(keys, device=device))
            for windows, keys in groups.values()
        )


def to_windows(x: Tensor, window: tuple[int, int]) -> Tensor:
    """(b, t, th, tw, d) -> (b, t, n, s, d)."""
    b, t, th, tw, d = x.shape
    wh, ww = window
    x = x.view(b, t, th // wh, wh, tw // ww, ww, d).transpose(3, 4)
    return x.reshape(b, t, -1, wh * ww, d)


def from_windows(x: Tensor, window: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The inverse of `to_windows`."""
    b, t, _, _, d = x.shape
    (wh, ww), (th, tw) = window, grid
    x = x.view(b, t, th // wh, tw // ww, wh, ww, d).transpose(3, 4)
    return x.reshape(b, t, th, tw, d)


class FocalAttention(nn.Module):
    """Window attention with the keys of `attention_plan`."""

    valid_ind_rolled: Tensor

    def __init__(self, config: E2FGVIConfig) -> None:
        super().__init__()
        self.config = config
        d = config.embed_dim
        # Only kept because the published checkpoint carries it; `attention_plan` derives the same from the configuration.
        self.register_buffer("valid_ind_rolled", torch.tensor(rolled_indices(config.window, config.expansion)))
        self.qkv = nn.Linear(d, 3 * d)
        self.proj = nn.Linear(d, d)

    def forward(self, x: Tensor, pooled: Tensor) -> Tensor:
        """x: (b, t, th, tw, d). pooled: (b, t, n, d). Returns (b, t, th, tw, d)."""
        b, t, th, tw, d = x.shape
        query, *keys_values = self.qkv(x).chunk(3, dim=-1)
        query = to_windows(query, self.config.window)
        of_pooled = self.qkv(pooled).chunk(3, dim=-1)[1:]
        # One row a token, then one row a pooled token: what the plan's indices count.
        key, value = (
            torch.cat((a.reshape(b, t, th * tw, d), p), dim=2) for a, p in zip(keys_values, of_pooled, strict=True)
        )
        pieces, order = [], []
        for group in attention_plan((th, tw), self.config, x.device):
            per_call = max(1, MAX_KEYS_PER_CALL // (b * t * group.keys.shape[1]))
            for windows, rows in zip(group.windows.split(per_call), group.keys.split(per_call), strict=True):
                pieces.append(self._attend(query[:, :, windows], key[:, :, rows], value[:, :, rows]))
                order.append(windows)
        attended = torch.cat(pieces, dim=2)
        out = attended[:, :, torch.cat(order).argsort()]
        projected: Tensor = self.proj(from_windows(out, self.config.window, (th, tw)))
        return projected

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query: (b, t, m, s, d), key and value: (b, t, m, k, d). All frames of a window see each other. As query."""
        b, t, m, s, d = query.shape
        heads = self.config.num_heads

        def split(x: Tensor) -> Tensor:
            x = x.view(b, t, m, -1, heads, d // heads).permute(0, 2, 4, 1, 3, 5)
            return x.reshape(b * m, heads, -1, d // heads)

        out = F.scaled_dot_product_attention(split(query), split(key), split(value))
        out = out.view(b, m, heads, t, s, d // heads).permute(0, 3, 1, 4, 2, 5)
        return out.reshape(b, t, m, s, d)


class FocalBlock(nn.Module):
    """Attention and fusion feed-forward, each behind a layer norm and beside a shortcut."""

    def __init__(self, config: E2FGVIConfig) -> None:
        super().__init__()
        self.config = config
        d, tokens = config.embed_dim, config.window[0] * config.window[1]
        pool = nn.Linear(tokens, 1)
        nn.init.constant_(pool.weight, 1 / tokens)
        nn.init.zeros_(pool.bias)
        self.pool_layers = nn.ModuleList([pool])  # index 0 of a list: the published key
        self.norm1 = nn.LayerNorm(d)
        self.attn = FocalAttention(config)
        self.norm2 = nn.LayerNorm(d)
        self.mlp = FusionFeedForward(config)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """x: (b, t, th, tw, d); `size`: the feature grid (h, w) the tokens were split from. Same shape back."""
        y = self.norm1(x)
        pooled = self.pool_layers[0](to_windows(y, self.config.window).transpose(3, 4)).squeeze(-1)
        x = x + self.attn(y, pooled)
        b, t = x.shape[:2]
        return x + self.mlp(self.norm2(x).flatten(0, 1), size).unflatten(0, (b, t))
