"""The network at work. The only importer of `model` besides training and benchmarks; numpy frames in, pictures out.

`devices`: what there is and what it is called. `precision`: which stage computes in which dtype. `core`: the engine,
with the stores that let every feature and flow be computed once. `graphs`: whole windows as one launch. `blending`: the
merge on the device.
"""

from .assembly import Assembled, assemble, plan_only
from .core import Engine, EngineSettings, FrameSource, build_engine
from .devices import begin_with_triton, choose_deform, describe_device, peak_memory, select_device, total_memory
from .precision import PRECISIONS, Precision, choose_precision, cpu_multiplies_bf16, products
from .process import run_settings, settle
from .reading import read_spynet_weights, read_weights

__all__ = [
    "PRECISIONS",
    "Assembled",
    "Engine",
    "EngineSettings",
    "FrameSource",
    "Precision",
    "assemble",
    "begin_with_triton",
    "build_engine",
    "choose_deform",
    "choose_precision",
    "cpu_multiplies_bf16",
    "describe_device",
    "peak_memory",
    "plan_only",
    "products",
    "read_spynet_weights",
    "read_weights",
    "run_settings",
    "select_device",
    "settle",
    "total_memory",
]
