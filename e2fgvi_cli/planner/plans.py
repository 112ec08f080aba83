"""Plans: the largest steps that fit into a budget, and the sizes of crops that do."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import ceil, inf

from ..errors import UsageError
from . import costs
from .geometry import NETWORK_MULTIPLE, flow_area, largest_call

# -- the dials ---------------------------------------------------------------------------------------------------------

GRAPH_PIXELS = 480 * 864
"""Up to this size a window is launched as one CUDA graph, and so are encoding and flow: above, kernels are long enough
to hide their launches."""
SHARED_GRAPH_PIXELS = 1080 * 1944
"""The same for windows where several devices share an interpreter, for which each launch has to wait."""
MOST_KEYS, LEAST_KEYS = 1 << 18, 1 << 14
MOST_TOKENS = 1 << 14
BATCH_BYTES = 512 * costs.MIB
"""Batches of frames may need as much as the window itself needs anyway, or so much if that is more."""
LEAST_REFERENCES = 2
"""Tiles come before fewer."""
ASSUMED_REFERENCES = 20
"""Where their number is not bounded and the clip's length is not known."""
LARGEST_FRAME = (4320, 7776)
"""8K, padded. Crops with more pixels or a longer side are not considered."""
LONGEST_OVERLAP = 64
"""Of tiles (`fill.crops.TILE_OVERLAP`), in pixels: their sides are longer than that."""
TILED_SHARE = 1.3
"""Pixels of all tiles of a frame, relative to the frame's."""
CUT = 0.7
"""What a smaller plan may use of what was too much."""


@dataclass(frozen=True)
class Plan:
    """What the engine does with one size of crop. `references` None: as many as the window has. Batches None: all.

    max_keys, max_tokens: see `model.attention`. graph: the window is captured as a CUDA graph; graph_steps: encoding
    and flow, too.
    predicted: peak memory in bytes.
    """

    references: int | None = None
    encode_batch: int | None = None
    flow_batch: int | None = None
    decode_batch: int | None = None
    max_keys: int = MOST_KEYS
    max_tokens: int = MOST_TOKENS
    graph: bool = False
    graph_steps: bool = False
    predicted: int = 0


@dataclass(frozen=True)
class Planner:
    """Makes plans. A plan depends on the crops' sizes and on these fields only: every part of a clip gets the same.

    budget: bytes that may be used, None: no limit. bytes_per_value: of features and weights (2 or 4). local: frames
    filled at a time.
    references: asked for; None: every `reference_stride`-th of the clip's `frames` (None: not known). device: "cuda" or
    "cpu".
    kernels, graphs: fused kernels and CUDA graphs are used. lean: the smallest steps, whatever the budget. beside:
    bytes that other work on the device needs. devices: share this process.
    What is predicted is what torch allocates on a GPU, what the whole process has resident on a CPU.
    """

    budget: int | None = None
    bytes_per_value: int = 4
    local: int = 11
    references: int | None = 6
    device: str = "cpu"
    kernels: bool = False
    graphs: bool = False
    reference_stride: int = 10
    frames: int | None = None
    lean: bool = False
    beside: int = 0
    devices: int = 1

    def plan(self, size: tuple[int, int], others: int = 0) -> Plan:
        """The plan for crops of `size`. others: pixels of the crops of the same frames, which are stored as well.

        Given up in this order: large steps, the CUDA graph, references. What does not fit even so gets the smallest
        plan all the
        same: `max_pixels` says what should have been tiled. Raises `UsageError` if the budget has no room for any tile.
        """
        return _plan(self, size, others)

    def max_pixels(self, multiple: tuple[int, int], frame: tuple[int, int] | None = None) -> int | None:
        """Pixels up to which a crop of any shape fits, with the fewest references; None: there is room for all.

        multiple: the network's (height, width). frame: the frames' padded size, if known; then the stored features of
        all tiles that a frame is split into count. Raises `UsageError` if the budget has no room for the smallest tile.
        """
        return _max_pixels(self, multiple, frame)

    def smaller(self, size: tuple[int, int] | None = None) -> Planner | None:
        """What to go on with after running out of memory on a crop of `size`; None: nothing smaller exists.

        Without `size` only the budget is cut, which may be far above what was used: give it.
        """
        before = None if size is None else self.plan(size).predicted
        used = [b for b in (self.budget, before) if b is not None]
        following = replace(self, budget=int(min(used) * CUT) if used else None, lean=True)
        if following == self or following._shortage(NETWORK_MULTIPLE) is not None:
            return None
        if size is not None and before is not None and following.plan(size).predicted >= before:
            return None
        return following

    def summary(self) -> str:
        """Half a sentence: what bounds the plans."""
        limit = "no limit" if self.budget is None else f"at most {_gib(self.budget)}"
        return f"{limit}, {'the smallest' if self.lean else 'large'} steps"

    def describe(self, size: tuple[int, int], multiple: tuple[int, int]) -> list[str]:
        """The plan for whole frames of `size`, in lines. Raises as `max_pixels`."""
        most = self.max_pixels(multiple, size)
        tiled = most is not None and size[0] * size[1] > most
        crop = _largest_tile(size, multiple, most) if tiled and most is not None else size
        others = _others(crop, size) if tiled else 0
        plan = self.plan(crop, others)
        stages = self.stages(crop, plan, others=others)
        peak = max(stages, key=lambda stage: stages[stage])
        asked = "all" if self.references is None else str(self.references)
        steps = (
            f"{plan.encode_batch} frames encoded, {plan.flow_batch} pairs for flow, {plan.decode_batch} frames "
            f"decoded, {plan.max_keys} keys, {plan.max_tokens} tokens"
        )
        return [
            f"frame: {_by(size)} pixels, padded",
            f"tiles: of at most {most} pixels, such as {_by(crop)}" if tiled else "tiles: none, the whole frame fits",
            f"references: {asked if plan.references is None else plan.references} of {asked} asked for",
            f"at a time: {steps}{', launched as CUDA graphs' if plan.graph else ''}",
            "predicted by stage: " + ", ".join(f"{stage} {_gib(needed)}" for stage, needed in stages.items()),
            f"predicted peak: {_gib(plan.predicted)}, in the {peak}; "
            + ("no limit" if self.budget is None else f"limit {_gib(self.budget)}"),
        ]

    def stages(
        self, size: tuple[int, int], plan: Plan, *, others: int = 0, stored: int | None = None, merging: bool = True
    ) -> dict[str, int]:
        """Bytes in use at the peak of each stage of a full window, everything else that is alive then included.

        others: as for `plan`. stored: frames whose features are stored, None: as in the middle of a clip. merging:
        fills of the whole crop wait to be merged and fetched, as between the windows of a clip.
        """
        e, local = self.bytes_per_value, self.local
        references = self._most if plan.references is None else plan.references
        count = local + references
        area = size[0] * size[1] // costs.FEATURE_STRIDE**2
        tokens = area * costs.FEATURE_STRIDE**2 // costs.TOKEN_STRIDE**2
        feature = costs.CHANNELS * e * area
        picture, result = costs.RGB_BYTES * area, 3 * costs.FEATURE_STRIDE**2 * e * area
        pairs = (local - 1) * costs.PAIR_BYTES * area
        if stored is None:
            # Frames that were local stay while later windows may refer to them; half of a window's references are ahead
            # of it.
            stored = local + self._most + ceil(references / 2)

        encoded = min(plan.encode_batch or count, count)
        flows = min(plan.flow_batch or local, local - 1)
        decoded = min(plan.decode_batch or local, local)
        everywhere = area + others / costs.FEATURE_STRIDE**2
        there = (
            self.fixed
            + ceil(stored * (costs.CHANNELS * e + costs.SMALL_BYTES) * everywhere)
            + pairs
            + costs.TABLE_BYTES * area
        )
        if merging:
            there += ceil(local * (costs.RGB_BYTES + (costs.WEIGHT_BYTES if others else 0)) * everywhere)
        stack = count * feature + pairs
        # What the captured window, batch of encoded frames and batch of flows are given, and give.
        if plan.graph:
            there += stack + local * result
        if plan.graph_steps:
            there += encoded * (costs.UPLOAD_BYTES * area + feature + costs.SMALL_BYTES * area)
            there += (flows + 1) * costs.SMALL_BYTES * area + flows * costs.PAIR_BYTES * area

        converted = 0 if e == 4 else result
        encoder = (costs.ENCODER + costs.ENCODER_WORKSPACE[self.device]) * e * area + picture + converted
        if self.kernels:
            step = costs.FUSED_ALIGNMENT * e * area + min(costs.FUSED_COLUMNS * e * area, costs.FUSED_COLUMN_BYTES)
        else:
            narrow, wide = costs.PLAIN_ALIGNMENT[self.device]
            step = (narrow * e + wide * 4) * area
        propagation = max(local * costs.BOTH_PASSES * e * area, (2 * local + 1) * feature + step)

        # The features that the transformer was given, and the flows; `unit`: the tokens of the window.
        joined = stack
        unit = count * tokens * costs.EMBED * e
        pooled = 1 / (costs.WINDOW[0] * costs.WINDOW[1])
        queries, keys = largest_call(size, count, plan.max_keys)
        call = 2 * queries * costs.EMBED * e + keys * (2 * costs.EMBED * e + 8)
        attention = ceil(unit * (2 + pooled + max(4 * (1 + pooled), 3 * (1 + pooled) + 1))) + call
        together = min(count, max(1, plan.max_tokens // tokens)) * tokens
        feed_forward = together * (costs.FUSED_FEED_FORWARD if self.kernels else costs.PLAIN_FEED_FORWARD) * e
        composition = count * (2 * costs.CHANNELS + costs.COMPOSITION_WORKSPACE[self.device]) * e * area
        # Parts of decoded frames are handed out on a GPU, copies on a CPU.
        handed_out = (local - decoded) * (result if self.device == "cuda" else picture)
        return {
            "encoder": there + encoded * encoder,
            "flow": there + flows * costs.FLOW_BYTES * flow_area(size),
            "propagation": there + stack + propagation,
            "attention": there + joined + attention,
            "feed-forward": there + joined + 2 * unit + feed_forward,
            "composition": there + joined + unit + composition,
            "decoder": there
            + stack
            + decoded * (costs.DECODER + costs.DECODER_WORKSPACE[self.device]) * e * area
            + handed_out,
        }

    @property
    def _most(self) -> int:
        """References of a window at most."""
        if self.references is not None:
            return self.references
        return ASSUMED_REFERENCES if self.frames is None else ceil(self.frames / self.reference_stride)

    @property
    def _fewest(self) -> int:
        return min(LEAST_REFERENCES, self._most)

    @property
    def _limit(self) -> float:
        return inf if self.budget is None else self.budget * costs.USABLE

    @property
    def fixed(self) -> int:
        """Bytes of weights, libraries and other work, which are there all the time."""
        values = costs.OTHER_WEIGHTS + (costs.KERNEL_WEIGHTS if self.kernels else 0)
        libraries = costs.LIBRARY_BYTES[self.device] * (costs.GRAPH_STREAMS if self.graphs else 1)
        return costs.FLOW_WEIGHTS * 4 + values * self.bytes_per_value + libraries + self.beside

    def _least(self, size: tuple[int, int], references: int) -> Plan:
        """The plan with the smallest steps."""
        given = self.references if references == self._most else references
        return Plan(given, 1, 1, 1, LEAST_KEYS, size[0] * size[1] // costs.TOKEN_STRIDE**2)

    def _needed(self, size: tuple[int, int], references: int, others: int = 0) -> int:
        """Bytes without which there is no plan."""
        return max(self.stages(size, self._least(size, references), others=others).values())

    def _shortage(self, multiple: tuple[int, int], frame: tuple[int, int] | None = None) -> str | None:
        """Why there is no room even for the smallest tile; None if there is."""
        height, width = (LONGEST_OVERLAP // m * m + m for m in multiple)
        tile = height, width
        needed = self._needed(tile, self._fewest, 0 if frame is None else _others(tile, frame))
        if needed <= self._limit:
            return None
        return (
            f"a memory limit of {_gib(self.budget or 0)} is too low: the smallest tile ({_by(tile)} pixels, "
            f"{self._fewest} references) needs {_gib(ceil(needed / costs.USABLE))}, raise --max-memory"
        )


def gpu_needs() -> tuple[int, int]:
    """Bytes that a GPU needs in half precision: for whole windows of 720p, and for the smallest tile of anything."""
    planner = Planner(bytes_per_value=2, device="cuda", kernels=True, graphs=True)
    tile = (2 * NETWORK_MULTIPLE[0], NETWORK_MULTIPLE[1])
    return planner.plan((720, 1296)).predicted, planner._needed(tile, planner._fewest)


def parse_memory(text: str) -> int | None:
    """Bytes of a size such as 8GiB, 8 GB, 6000MiB or 1.5GiB; None for "auto". Raises `UsageError` for anything else."""
    if text.strip().lower() == "auto":
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([GM])(i?)B", text.strip(), re.IGNORECASE)
    size = 0
    if match is not None:
        number, prefix, binary = match.groups()
        size = int(float(number) * (1024 if binary else 1000) ** (3 if prefix in "Gg" else 2))
    if size == 0:
        raise UsageError(f"memory size {text!r} is not understood: use auto, or a size such as 8GiB or 6000MiB")
    return size


# -- plans -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _plan(planner: Planner, size: tuple[int, int], others: int) -> Plan:
    candidates = range(planner._most, planner._fewest - 1, -1)
    fitting = (n for n in candidates if planner._needed(size, n, others) <= planner._limit)
    references = next(fitting, None)
    if references is None:
        shortage = planner._shortage(NETWORK_MULTIPLE)
        if shortage is not None:
            raise UsageError(shortage)
        plan = planner._least(size, planner._fewest)
    else:
        plan = planner._least(size, references)
        if not planner.lean:
            plan = _widen(planner, size, plan, others)
    return replace(plan, predicted=max(planner.stages(size, plan, others=others).values()))


def _widen(planner: Planner, size: tuple[int, int], plan: Plan, others: int) -> Plan:
    """A plan that fits, with the largest steps that fit as well."""

    def widest(plan: Plan, dial: str, values: list[int], stage: str, limit: float) -> Plan:
        """With the first of `values` for which `stage` stays below the limit, or as it is."""
        wider = (replace(plan, **{dial: value}) for value in values)  # type: ignore[arg-type]
        fitting = (p for p in wider if planner.stages(size, p, others=others)[stage] <= limit)
        return next(fitting, plan)

    def down(most: int) -> list[int]:
        return list(range(most, 1, -1))

    limit = planner._limit
    if _graph_fits(planner, size, plan, others):
        plan = _with_graphs(plan, size)
    count = planner.local + planner._most
    tokens = size[0] * size[1] // costs.TOKEN_STRIDE**2
    keys = [MOST_KEYS >> i for i in range((MOST_KEYS // LEAST_KEYS).bit_length())]
    plan = widest(plan, "max_keys", keys, "attention", limit)
    frames = down(min(count, MOST_TOKENS // tokens))
    plan = widest(plan, "max_tokens", [n * tokens for n in frames], "feed-forward", limit)
    needed = max(planner.stages(size, plan, others=others).values())
    limit = min(limit, max(needed, planner.fixed + BATCH_BYTES))
    # A window brings half of its local frames anew: only at the start of a shot there would be more to do at once.
    hop = planner.local // 2
    plan = widest(plan, "flow_batch", down(hop), "flow", limit)
    if planner.device == "cuda" and size[0] * size[1] > GRAPH_PIXELS:
        # One picture keeps a GPU busy, and for each number of pictures cuDNN looks for its kernels anew, in each
        # thread.
        return plan
    plan = widest(plan, "encode_batch", down(hop), "encoder", limit)
    return widest(plan, "decode_batch", down(planner.local), "decoder", limit)


def _graph_fits(planner: Planner, size: tuple[int, int], plan: Plan, others: int) -> bool:
    """Whether the window is small enough for a CUDA graph, and there is room for its own pool of memory.

    No other work can use that pool, so what other stages need comes on top, and the inputs and results of other
    captured windows.
    """
    if not planner.graphs or size[0] * size[1] > (GRAPH_PIXELS if planner.devices == 1 else SHARED_GRAPH_PIXELS):
        return False
    alone, captured = (planner.stages(size, p, others=others) for p in (plan, _with_graphs(plan, size)))
    other_graphs = (costs.KEPT_GRAPHS - 1) * (captured["flow"] - alone["flow"])
    other_work = max(alone["encoder"], alone["flow"]) - planner.fixed
    return max(captured.values()) + other_graphs + other_work <= planner._limit


def _with_graphs(plan: Plan, size: tuple[int, int]) -> Plan:
    """Capturing takes as long as some windows: what is launched quickly compared with its work is not worth it."""
    return replace(plan, graph=True, graph_steps=size[0] * size[1] <= GRAPH_PIXELS)


@lru_cache(maxsize=64)
def _max_pixels(planner: Planner, multiple: tuple[int, int], frame: tuple[int, int] | None) -> int | None:
    fewest, limit = planner._fewest, planner._limit
    if limit == inf or (frame is not None and planner._needed(frame, fewest) <= limit):
        return None
    shortage = planner._shortage(multiple, frame)
    if shortage is not None:
        raise UsageError(shortage)
    heights, widths = (range(m, max(LARGEST_FRAME) + m, m) for m in multiple)
    largest = LARGEST_FRAME[0] * LARGEST_FRAME[1]

    def too_large(size: tuple[int, int]) -> bool:
        return planner._needed(size, fewest, 0 if frame is None else _others(size, frame)) > limit

    # The narrowest crop of each height that does not fit.
    firsts = ((h, bisect_left(widths, True, key=lambda w, h=h: too_large((h, w)))) for h in heights)  # type: ignore[misc]
    smallest = min((h * widths[i] for h, i in firsts if i < len(widths)), default=largest + 1)
    if smallest > largest:
        return None
    return max(h * w for h, w in product(heights, widths) if h * w < smallest)


def _others(tile: tuple[int, int], frame: tuple[int, int]) -> int:
    """Pixels of the other tiles of a frame."""
    return max(0, int(TILED_SHARE * frame[0] * frame[1]) - tile[0] * tile[1])


def _largest_tile(frame: tuple[int, int], multiple: tuple[int, int], pixels: int) -> tuple[int, int]:
    """The largest size of at most so many pixels inside the frame, the squarest of several."""
    sizes = product(range(multiple[0], frame[0] + 1, multiple[0]), range(multiple[1], frame[1] + 1, multiple[1]))
    return max((size for size in sizes if size[0] * size[1] <= pixels), key=lambda s: (s[0] * s[1], -abs(s[0] - s[1])))


def _gib(size: float) -> str:
    return f"{size / costs.GIB:.2f} GiB"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
