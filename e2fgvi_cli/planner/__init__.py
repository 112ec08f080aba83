"""How much of a window to compute at a time, and what to give up where memory is short. Pure: numbers in, a plan out.

Peak memory = what is there all the time (weights, libraries, stored frames) + the largest working set of any stage.
Working sets
are counted from the code: tensors alive at the same moment, in values a feature pixel (`costs`). What a count cannot
see (workspaces of convolutions, the process itself) are allowances. `python -m measurements.memory` compares with
measurements.

Sizes are (height, width) of a crop, padded to the network's multiples, in pixels.
"""

from .costs import FEATURE_STRIDE, GIB, MIB
from .geometry import NETWORK_MULTIPLE, padded_size
from .plans import Plan, Planner, gpu_needs, parse_memory

__all__ = [
    "FEATURE_STRIDE",
    "GIB",
    "MIB",
    "NETWORK_MULTIPLE",
    "Plan",
    "Planner",
    "gpu_needs",
    "padded_size",
    "parse_memory",
]
