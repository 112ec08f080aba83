"""`check-env --error TEXT`: the field's error texts, as people pasted them into issues."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from e2fgvi_cli.doctor import cli
from e2fgvi_cli.doctor.messages import MESSAGES, WINDOWS_ERRORS, of_system
from e2fgvi_cli.doctor.pasted import LONGEST_TEXT, explain_text
from e2fgvi_cli.doctor.texts import catalogue, render

from .hosts import RTX_5090, gpu, machine, torch

EXT = "/x/site-packages/mmcv/_ext.cpython-37m-x86_64-linux-gnu.so"
TEXTS = [
    ("ImportError: DLL load failed while importing _ext: 找不到指定的程序。", "ext.symbol.win"),
    ("ImportError: DLL load failed while importing _ext: The specified procedure could not be found.", "ext.symbol.win"),
    ('OSError: [WinError 127] x. Error loading "C:\\p\\torch\\lib\\torch_python.dll" or one of its dependencies.', "ext.symbol.win"),
    ("ImportError: DLL load failed while importing _ext: 找不到指定的模块。", "ext.lib.win"),
    ("OSError: [WinError 126] The specified module could not be found. fbgemm.dll", "ext.lib.win"),
    ("OSError: [WinError 193] %1 不是有效的 Win32 应用程序", "ext.image.win"),
    ("OSError: [WinError 1114] 动态链接库(DLL)初始化例程失败。 Error loading \"c10.dll\"", "ext.init.win"),
    ("OSError: [WinError 182] O sistema operacional não pode executar %1", "ext.other.win"),
    ("OSError: [WinError 1455] 页面文件太小，无法完成操作。 Error loading \"cublas64_12.dll\"", "sys.commit"),
    (f"ImportError: {EXT}: undefined symbol: _ZNK2at6Tensor7is_cudaEv", "ext.symbol.linux"),
    ("x.so: undefined symbol: _ZN4c10d8TCPStoreC1ESsRKNS_15TCPStoreOptionsE", "ext.cxx11abi"),
    ("ImportError: libcudart.so.11.0: cannot open shared object file: No such file or directory", "ext.lib.linux"),
    ("libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /x/libtorch_python.so)", "ext.version.linux"),
    ("ImportError: dlopen(/x/_ext.so, 0x0002): symbol not found in flat namespace '__ZN2at3mps9MPSStream6commitEb'", "ext.macos"),
    ("Library not loaded: @rpath/libc++.1.dylib  Reason: image not found", "ext.macos"),
    ("OSError: /x/libtorch_cpu.so: invalid ELF header", "ext.file"),
    ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "cv2.libgl"),
    ("Could not load library libcudnn_cnn_infer.so.8. Error: libcudnn_cnn_infer.so.8: cannot open", "cudnn"),
    ("Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9} Invalid handle. Cannot load symbol cudnnCreateTensorDescriptor", "cudnn"),
    ("RuntimeError: operator torchvision::nms does not exist", "tv.mismatch"),
    ("AttributeError: partially initialized module 'cv2' has no attribute 'mat_wrapper'", "cv2.conflict"),
    ("A module that was compiled using NumPy 1.x cannot be run in NumPy 2.1.0", "numpy.abi"),
    ("OMP: Error #15: Initializing libiomp5md.dll, but found libiomp5md.dll already initialized", "omp.dup"),
    ("AttributeError: module 'pkgutil' has no attribute 'ImpImporter'. Did you mean: 'zipimporter'?", "py.unsupported"),
    ("ModuleNotFoundError: No module named 'mmcv._ext'", "mmcv.absent"),
    ("ModuleNotFoundError: No module named 'mmcv.runner'", "mmcv.absent"),
    ("ERROR: Failed building wheel for mmcv", "mmcv.build"),
    ("RuntimeError: modulated_deformable_im2col_impl: implementation for device cuda:0 not found.", "ext.nogpu"),
    ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "gpu.arch"),
    ("AssertionError: Torch not compiled with CUDA enabled", "torch.cpu_only"),
    ("Failed to initialize NVML: Driver/library version mismatch", "driver.reboot"),
    ("RuntimeError: The NVIDIA driver on your system is too old (found version 11060).", "driver.old"),
    ("torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "gpu.memory"),
    ("AttributeError: module 'torchvision.io' has no attribute 'read_video'", "torchvision.io"),
    ("ImportError: cannot import name 'compare_ssim' from 'skimage.measure'", "skimage.metrics"),
    ("RuntimeError: MPS: Unsupported Border padding mode", "mps.border"),
    ("Could not find encoder for codec_id=27", "codec"),
    ("RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory", "weights.cut"),
    ("_pickle.UnpicklingError: invalid load key, 'v'.", "weights.lfs"),
    ("_pickle.UnpicklingError: invalid load key, '<'.", "weights.page"),
    ("RuntimeError: Error(s) in loading state_dict for InpaintGenerator: Missing key(s) in state_dict: \"ss.bias\"", "weights.foreign"),
    ("_pickle.UnpicklingError: Weights only load failed.", "weights.unsafe"),
    ("OSError: [Errno 28] No space left on device", "disk.full"),
    ("ModuleNotFoundError: No module named 'einops'", "ext.absent"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "cause"), TEXTS)
def test_known_texts(text: str, cause: str, tmp_path: Path) -> None:
    found = explain_text(f'Traceback (most recent call last):\n  File "x.py", line 1\n{text}\n', machine(tmp_path))
    assert found.causes[0] == cause
    for language in ("en", "zh"):
        for line in (*found.lines, *(remedy.why for remedy in found.remedies)):
            assert render(line, language)
    assert found.remedies[-1].command == "e2fgvi check-env"
    assert len(found.remedies) > 1 or cause == "ext.absent"


def test_every_class_has_a_text_and_a_sample() -> None:
    texts, sampled = catalogue(), {cause for _, cause in TEXTS}
    for message in MESSAGES:
        names = {of_system(message.cause, system) for system in ("win", "linux", "macos")}
        assert all(texts[f"error.{name}"]["zh"] for name in names)
        assert names & sampled
    assert set(WINDOWS_ERRORS.values()) <= sampled


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    host = machine(tmp_path)
    torch(host, "2.8.0+cu126")
    found = explain_text(f"ImportError: {EXT}: undefined symbol: _ZNK2at6Tensor7is_cudaEv", host)
    said = [render(line, "en") for line in found.lines]
    assert "missing function: at::Tensor::is_cuda  [_ZNK2at6Tensor7is_cudaEv]" in said
    assert f"file: {EXT}" in said
    assert "uninstall -y mmcv" in found.remedies[0].command
    found = explain_text("libcudart.so.11.0: cannot open shared object file (torchvision)", host)
    assert "missing library: libcudart.so.11.0" in [render(line, "en") for line in found.lines]
    assert "belongs to another CUDA" in render(found.remedies[0].why, "en")


def test_remedies_are_for_the_machine_of_the_text(tmp_path: Path) -> None:
    """On Linux about a text of Windows: nothing is known of that torch, so no wheel is promised or denied."""
    host = machine(tmp_path, gpu_report=gpu("580.65", (13, 0), RTX_5090))
    torch(host)
    found = explain_text("ImportError: DLL load failed while importing _ext: 找不到指定的程序。", host)
    assert [remedy.why.key for remedy in found.remedies] == ["remedy.no_mmcv", "remedy.check_env_there"]
    here = explain_text("AssertionError: Torch not compiled with CUDA enabled", host)
    assert "cu132" in here.remedies[0].command


def test_long_texts_end_soon(tmp_path: Path) -> None:
    found = explain_text("x " * LONGEST_TEXT + "OSError: [Errno 28] No space left on device", machine(tmp_path))
    assert found.causes == ["disk.full"]


def asked(*arguments: str, stdin: str = "") -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(stdin))
        code = cli.main_with(cli.parse(list(arguments)), out, err)
    return code, out.getvalue() + err.getvalue()


def test_the_command() -> None:
    code, text = asked("--lang", "zh", "--error", TEXTS[0][0])
    assert code == 0
    assert text.startswith("找到了所需的 DLL，但其中没有该扩展要调用的函数（WinError 127）")
    code, text = asked("--lang", "en", "--error", "-", stdin=TEXTS[9][0])
    assert (code, "built for another release of torch" in text) == (0, True)
    code, text = asked("--lang", "en", "--error", "all is well")
    assert (code, text.splitlines()[0]) == (1, "this text is none of those this program knows")
    assert asked("--error", "  ")[0] == 2
    tree = json.loads(asked("--json", "--lang", "en", "--error", TEXTS[0][0])[1])
    assert (tree["causes"], tree["known"]) == (["ext.symbol.win"], True)
