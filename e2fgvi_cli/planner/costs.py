"""What the network's stages have in memory: counted from the code, and allowances for what a count does not see.
Numbers only.

`python -m measurements.memory` measures what the allowances stand for.
"""

MIB, GIB = 1 << 20, 1 << 30

# -- the network (`model.config`) --------------------------------------------------------------------------------------

FEATURE_STRIDE = 4
"""A feature pixel stands for so many pixels a side, a token for three times as many."""
TOKEN_STRIDE = 12
CHANNELS = 128
EMBED = 512
WINDOW = (5, 9)
"""Tokens of an attention window."""
RING_KEYS = 165
"""Tokens a window attends to, the pooled ones not counted."""
FLOW_WEIGHTS = 1_440_300
OTHER_WEIGHTS = 39_677_587
KERNEL_WEIGHTS = 17_564_992
"""Copies of weights in the order that the fused kernels want."""

# -- working sets: values of the engine's precision a feature pixel and frame, where nothing else is said
# ----------------

ENCODER = 1536
PLAIN_ALIGNMENT = {"cuda": (1220, 3824), "cpu": (3140, 4260), "meta": (3140, 4260)}
"""A step of the propagation without fused kernels: what follows the precision, and what is float32 always. cuda: for
torchvision's operator, an estimate; else the plain PyTorch one, counted, all groups at once, which few threads of a CPU
are below."""
FUSED_ALIGNMENT = 392 + 432 + CHANNELS
FUSED_COLUMNS = 2304 + CHANNELS
FUSED_COLUMN_BYTES = 256 * MIB
"""The same with the fused kernels, whose columns are bounded (`model.kernels.COLUMN_BYTES_PER_CALL`)."""
BOTH_PASSES = 6 * CHANNELS
"""The end of the propagation: both passes as lists, stacked, and side by side."""
PLAIN_FEED_FORWARD = 1744
FUSED_FEED_FORWARD = 4944
"""A token."""
DECODER = 2304 + CHANNELS
FLOW_BYTES = 1540
"""A pair in both directions, a feature pixel of a grid rounded up to `FLOW_MULTIPLE`. Always float32."""
FLOW_MULTIPLE = 32
PAIR_BYTES = 16
"""A stored pair's two flows."""
SMALL_BYTES = 12
"""A stored small picture."""
RGB_BYTES = 12 * FEATURE_STRIDE**2
"""A picture of float32 at full size."""
UPLOAD_BYTES = 4 * FEATURE_STRIDE**2
"""A picture of 8 bits and its hole."""
WEIGHT_BYTES = 4 * FEATURE_STRIDE**2
"""Weights of the merge, which crops that share a frame need."""
TABLE_BYTES = 24
"""Tables of a size (attention, coverage, positions), whatever the number of frames."""

# -- allowances: what a count of tensors does not see, by device ("meta": nothing, to compare with a count)
# --------------

LIBRARY_BYTES = {"cuda": 34 * MIB, "cpu": 730 * MIB, "meta": 0}
"""cuda: workspace of the matrix library, a stream. cpu: the process without its weights and tensors: what imports take,
what loading weights adds, and what the allocator keeps (`measurements.memory`)."""
ENCODER_WORKSPACE = {"cuda": 976, "cpu": 640, "meta": 0}
"""Copies that the convolution library makes in its own layout, by `measurements.memory`. Not predicted: cuDNN takes
much more for some batches of small pictures (`engine.batches.DEAR_BATCH`)."""
COMPOSITION_WORKSPACE = {"cuda": 0, "cpu": 0, "meta": 0}
"""Its maps lie as the libraries want them."""
DECODER_WORKSPACE = {"cuda": 0, "cpu": 384, "meta": 0}
"""cuda: its maps lie as cuDNN wants them. cpu: as the encoder's."""
GRAPH_STREAMS = 2
"""With CUDA graphs: the ordinary stream, and the one that captures."""
KEPT_GRAPHS = 4
"""Captured windows whose inputs and results stay, at most (`engine.graphs.GraphCache`)."""
USABLE = 0.95
"""Of a budget: blocks of memory do not fit together without gaps."""
