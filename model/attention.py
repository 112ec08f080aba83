"""Stage 5: temporal focal transformer blocks (E2FGVI, section 3.3; focal attention: Yang et al., NeurIPS 2021).

Each window of tokens, over all frames at once, attends to itself, to the ring of tokens around it, and to one pooled
token for each window of a neighbourhood. Which tokens a window attends to depends on the size only, so it is a
table of indices (`attention_plan`). Windows at the border have fewer pooled neighbours: they are grouped by how many
they have, so no key is ever masked and scaled_dot_product_attention needs no mask.

Shape legend: b batch, t frames, th tw token grid, d token dimension, n windows (row by row), s = 45 tokens a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import E2FGVIConfig
from .tables import table
from .tokens import FusionFeedForward

MAX_KEYS_PER_CALL = 1 << 18
"""Gathered keys (b * windows * frames * tokens) an attention call may hold at once: 0.5 GiB of keys at 512 float32."""


MAX_TOKENS_PER_CALL = 1 << 14
"""Tokens that the feed-forward part of a block sees at once: 61 MiB of hidden values in half precision."""


def rolled_indices(window: tuple[int, int], expansion: tuple[int, int]) -> list[int]:
    """Positions, in four shifted copies of a window, of the tokens that lie outside the window itself.

    The copies are shifted by (-ey, -ex), (-ey, +ex), (+ey, -ex), (+ey, +ex); an index is copy * wh * ww + row * ww +
    column. (With a window of 5 x 9 and an expansion of 2 x 4: the 120 values of the published buffer
    `valid_ind_rolled`.)
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
    """Windows with equally many keys. Rows count [tokens; pooled tokens]. `queries`: (m, s), `keys`: (m, k) row
    numbers."""

    queries: Tensor
    keys: Tensor


@dataclass(frozen=True)
class AttentionPlan:
    """Which tokens attend to which, for one token grid. `inverse`: (th tw,), where each token's result lies in the
    groups' order."""

    groups: tuple[WindowGroup, ...]
    inverse: Tensor


@table
def attention_plan(grid: tuple[int, int], config: E2FGVIConfig, device: torch.device) -> AttentionPlan:
    """Queries and keys of every window, for a token grid (th, tw). A row below th*tw is a token, above it a window's
    pooled token."""
    (th, tw), (wh, ww), (ey, ex) = grid, config.window, config.expansion
    rows, columns = th // wh, tw // ww
    shifts = list(product((ey, -ey), (ex, -ex)))
    ring = [
        (divmod(i % (wh * ww), ww), shifts[i // (wh * ww)]) for i in rolled_indices(config.window, config.expansion)
    ]
    inside = list(product(range(wh), range(ww)))
    offsets = [*inside, *((r + dy, c + dx) for (r, c), (dy, dx) in ring)]
    groups: dict[int, tuple[list[list[int]], list[list[int]]]] = {}
    for i, j in product(range(rows), range(columns)):
        tokens = [((i * wh + r) % th) * tw + (j * ww + c) % tw for r, c in offsets]
        pooled = [
            th * tw + y * columns + x
            for y, x in product(range(i - wh // 2, i + wh // 2 + 1), range(j - ww // 2, j + ww // 2 + 1))
            if 0 <= y < rows and 0 <= x < columns
        ]
        queries, keys = groups.setdefault(len(pooled), ([], []))
        queries.append(tokens[: len(inside)])
        keys.append(tokens + pooled)
    with torch.inference_mode(False):  # cached: it must also serve a later training step
        order = torch.cat([torch.tensor(queries).flatten() for queries, _ in groups.values()])
        return AttentionPlan(
            tuple(
                WindowGroup(torch.tensor(queries, device=device), torch.tensor(keys, device=device))
                for queries, keys in groups.values()
            ),
            order.argsort().to(device),
        )


def to_windows(x: Tensor, window: tuple[int, int]) -> Tensor:
    """(b, t, th, tw, d) -> (b, t, n, s, d)."""
    b, t, th, tw, d = x.shape
    wh, ww = window
    x = x.view(b, t, th // wh, wh, tw // ww, ww, d).transpose(3, 4)
    return x.reshape(b, t, -1, wh * ww, d)


class FocalAttention(nn.Module):
    """Window attention with the keys of `attention_plan`."""

    valid_ind_rolled: Tensor

    def __init__(self, config: E2FGVIConfig) -> None:
        super().__init__()
        self.config = config
        d = config.embed_dim
        self.max_keys = MAX_KEYS_PER_CALL
        # Only kept because the published checkpoint carries it; `attention_plan` derives the same from the
        # configuration.
        self.register_buffer("valid_ind_rolled", torch.tensor(rolled_indices(config.window, config.expansion)))
        self.qkv = nn.Linear(d, 3 * d)
        self.proj = nn.Linear(d, d)

    def forward(self, x: Tensor, pooled: Tensor) -> Tensor:
        """x: (b, t, th, tw, d). pooled: (b, t, n, d). Returns (b, t, th, tw, d)."""
        b, t, th, tw, d = x.shape
        # One row a token, then one row a pooled token: what the plan's numbers count.
        rows = self.qkv(torch.cat((x.flatten(2, 3), pooled), dim=2))
        query, key_value = rows.split((d, 2 * d), dim=-1)
        plan = attention_plan((th, tw), self.config, x.device)
        pieces = []
        for group in plan.groups:
            per_call = max(1, self.max_keys // (b * t * group.keys.shape[1]))
            for queries, keys in zip(group.queries.split(per_call), group.keys.split(per_call), strict=True):
                pieces.append(self._attend(query, key_value, queries, keys))
        del rows, query, key_value
        attended = torch.cat(pieces, dim=2)
        pieces.clear()
        projected: Tensor = self.proj(attended.index_select(2, plan.inverse))
        return projected.view(b, t, th, tw, d)

    def _attend(self, query: Tensor, key_value: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        """query: (b, t, rows, d), key_value: (b, t, rows, 2 d); queries (m, s), keys (m, k): rows. Returns (b, t, m *
        s, d).

        All frames of a window see each other: its sequence is (t, s) for queries and (t, k) for keys.
        """
        b, t, rows, d = query.shape
        (m, s), heads = queries.shape, self.config.num_heads
        starts = torch.arange(t, device=query.device)[:, None] * rows

        def windows(source: Tensor, numbers: Tensor) -> tuple[Tensor, ...]:
            """(b, t, rows, p d) -> p of (b * m, heads, t * numbers, d / heads): one gather, straight into the windows'
            order."""
            picked = source.flatten(1, 2)[:, numbers[:, None] + starts]
            return tuple(
                part.transpose(1, 2)
                for part in picked.view(b * m, -1, source.shape[-1] // d, heads, d // heads).unbind(2)
            )

        (q,) = windows(query, queries)
        k, v = windows(key_value, keys)
        out = softmax_attention(q, k, v)
        # (b m, heads, t s, d / heads) -> (b, t, m s, d)
        out = out.transpose(1, 2).reshape(b, m, t, s, d).transpose(1, 2)
        return out.reshape(b, t, m * s, d)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k' / sqrt(d)) v for q (n, heads, queries, d), k v (n, heads, keys, d)."""
    if q.device.type != "cpu" or q.dtype.itemsize > 2 or torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v)
    # torch's fused kernel multiplies half precision no faster than float32, also on CPUs that could.
    # One matrix of scores at a time: it stays in the cache.
    out = torch.empty_like(q)
    q = q * q.shape[-1] ** -0.5
    for n, head in product(range(q.shape[0]), range(q.shape[1])):
        torch.mm((q[n, head] @ k[n, head].t()).softmax(dim=-1), v[n, head], out=out[n, head])
    return out


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
        self.max_tokens = MAX_TOKENS_PER_CALL
        self.norm1 = nn.LayerNorm(d)
        self.attn = FocalAttention(config)
        self.norm2 = nn.LayerNorm(d)
        self.mlp = FusionFeedForward(config)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """x: (b, t, th, tw, d); `size`: the feature grid (h, w) the tokens were split from. Same shape back."""
        y = self.norm1(x)
        pooled = self.pool_layers[0](to_windows(y, self.config.window).transpose(3, 4)).squeeze(-1)
        x = x + self.attn(y, pooled)
        del y, pooled
        b, t = x.shape[:2]
        if torch.is_grad_enabled():
            return x + self.mlp(self.norm2(x).flatten(0, 1), size).unflatten(0, (b, t))
        # Frame by frame the feed-forward part is independent: few at a time need little memory, and x may be
        # overwritten.
        frames = x.flatten(0, 1)
        for part in frames.split(max(1, self.max_tokens // (x.shape[2] * x.shape[3]))):
            part += self.mlp(self.norm2(part), size)
        return x
