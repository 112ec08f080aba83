"""Image propagation's lookups as Triton kernels: interpreted they give what torch's operators give, and they compile
for GPUs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ..conftest import ROOT

INTERPRETED = """
from dataclasses import replace
import numpy as np, torch
from e2fgvi_cli.propagation.gpu import kernels as lookup_kernels, tone_kernels
from e2fgvi_cli.propagation.gpu.lookup import DeviceLookup, lookup_fails
from e2fgvi_cli.propagation.lookup import look_up
from e2fgvi_cli.propagation.propagate import propagate
from tests.engine.test_device_lookup import CASES, OPTIONS

# The interpreter takes its time for each program, however much there is in it.
lookup_kernels._POSITIONS = lookup_kernels._PIXELS = tone_kernels._POSITIONS = tone_kernels._SAMPLES = 4096
lookup_kernels._MERGED = 512
device = torch.device("cpu")
assert lookup_fails(device, fused=True) is None
compared = 0
del CASES["moving camera"]  # that of 16 bits, in 8, as "exposure" is
for name, make in CASES.items():
    asked = []

    def noted(query):
        asked.append(replace(query, others=list(query.others)))
        return look_up(asked[-1])

    list(propagate(make(), OPTIONS, lookup=noted))
    query = asked[len(asked) // 2]
    query = replace(query, others=query.others[::2])
    # Few candidates at a time, so that later ones are added to those before.
    from e2fgvi_cli.propagation.gpu import lookup as device_lookup
    device_lookup.COARSE_BYTES = 1 << 20
    there, expected = DeviceLookup(device, fused=True)(query), DeviceLookup(device)(query)
    same = there.count == expected.count
    assert same.mean() >= 0.999, (name, (~same).sum())
    both = same & (there.count > 0)
    assert both.sum() > 100, name
    assert np.array_equal(np.isinf(there.spread), there.count == 0)
    assert np.abs(there.spread[both] - expected.spread[both]).max() <= 2, name
    apart = np.abs(there.colours[both].astype(int) - expected.colours[both])
    assert apart.max() <= 1 and apart.mean() < 0.01, (name, apart.max(), apart.mean())
    compared += both.sum()
print(compared, "pixels")
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from e2fgvi_cli.propagation.gpu import kernels, tone_kernels

POINTERS = dict.fromkeys(("slots", "place", "got", "chosen"), "*i32") | dict.fromkeys(("visible", "seen"), "*u8")
POINTERS |= dict.fromkeys(("moves", "outside", "both", "near", "sums", "most", "across", "down", "answer"), "*fp32")
POINTERS |= dict.fromkeys(("differences", "planes", "start"), "*fp32")
POINTERS |= {"coarse": PICTURE, "pictures": PICTURE}
POINTERS |= {"places": "*i32"}
REALS = dict.fromkeys(("parameter", "peak", "far", "distant", "first_limit", "limit", "stiffness", "floor"), "fp32")
for kernel, fixed in (
    (kernels._compare, {"BLOCK": 128}),
    (kernels._choose, {"BLOCK": 128}),
    (kernels._merge, {"BLOCK": 32, "TAKEN": 8}),
    (tone_kernels._fit_tone, {"BLOCK": 512, "EVERY": 2, "ROUNDS": 2}),
    (tone_kernels._errors, {"BLOCK": 128}),
):
    signature = {name: POINTERS.get(name, REALS.get(name, "i32")) for name in kernel.arg_names}
    signature |= dict.fromkeys(fixed, "constexpr")
    constants = {(kernel.arg_names.index(name),): value for name, value in fixed.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]
"""


def run(code: str, **environment: str) -> None:
    """In a process of its own: whether Triton interprets is decided when it is imported."""
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Triton is for Linux")
def test_interpreted_they_find_what_the_operators_find() -> None:
    run(INTERPRETED, TRITON_INTERPRET="1")


@pytest.mark.skipif(sys.platform != "linux", reason="Triton is for Linux")
@pytest.mark.parametrize("picture", ["*u8", "*i16"])
def test_they_compile_for_a_gpu_that_is_not_here(picture: str) -> None:
    run(COMPILED.replace("PICTURE", repr(picture)))
