"""The field's error texts, and which failure each of them is: as people paste them into issues, in English, Chinese and
Portuguese.

Sources: the issue threads named in facts.json ("refs"). Numbers (WinError) speak no language and win over texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WINDOWS_ERRORS = {
    126: "ext.lib.win",
    127: "ext.symbol.win",
    182: "ext.other.win",
    193: "ext.image.win",
    1114: "ext.init.win",
    1455: "sys.commit",
}
OS_OF_PLATFORM = {"win32": "win", "linux": "linux", "darwin": "macos"}


@dataclass(frozen=True)
class Message:
    """A pattern of error texts. `cause` is a failure class; `ext.symbol` and `ext.lib` become those of the system.

    `loading` ones can come from importing a package, and are used to classify what an import raised.
    """

    cause: str
    pattern: str
    loading: bool = True


MESSAGES: tuple[Message, ...] = (
    # Loading a compiled file
    Message(
        "numpy.abi",
        r"Numpy is not available|numpy\.dtype size changed|compiled using NumPy 1|"
        r"_ARRAY_API not found|multiarray failed to import",
    ),
    Message(
        "ext.symbol",
        r"undefined symbol|[Ss]ymbol not found|procedure could not be found|找不到指定的程序|procedimento especificado",
    ),
    Message("cv2.libgl", r"libGL\.so|libgthread|libglib"),
    Message("ext.version.linux", r"version `[^']+' not found"),
    Message("ext.file", r"file too short|invalid ELF header|incompatible architecture"),
    Message("ext.image.win", r"not a valid Win32|不是有效的 ?Win32"),
    Message("cudnn", r"(?:load|locate).{0,40}cudnn|cuDNN version incompatibility|cudnnCreateTensorDescriptor", False),
    Message(
        "ext.lib",
        r"cannot open shared object|Library not loaded|module could not be found|"
        r"找不到指定的模块|image not found|módulo especificado",
    ),
    Message("ext.other.win", r"não pode executar %1|cannot run %1|无法运行 ?%1"),
    Message("sys.commit", r"paging file is too small|页面文件太小"),
    Message("ext.init.win", r"initialization routine|初始化例程"),
    Message("tv.mismatch", r"[Oo]perator torchvision::nms|Couldn't load custom C\+\+ ops"),
    Message("cv2.conflict", r"partially initialized module 'cv2'|has no attribute 'gapi_wip"),
    Message("omp.dup", r"OMP: Error #15", False),
    Message("py.unsupported", r"ImpImporter|pkg_resources"),
    Message(
        "mmcv.absent",
        r"No module named '?mmcv(?:\.|'|$)|cannot import name '[^']+' from 'mmcv|No module named '?mmengine",
        False,
    ),
    Message("mmcv.build", r"[Ff]ailed building wheel for mmcv|mmcv-full.{0,80}egg_info|ResolvePackageNotFound", False),
    # Working
    Message(
        "ext.nogpu",
        r"implementation for device cuda(?::\d+)? not found|ModulatedDeformConv is not implemented on CPU",
        False,
    ),
    Message(
        "gpu.arch",
        r"no kernel image is available|is not compatible with the current PyTorch installation|"
        r"Found GPU\d+ .{0,200}cuda capability",
        False,
    ),
    Message("torch.cpu_only", r"Torch not compiled with CUDA enabled", False),
    Message(
        "driver.reboot",
        r"Driver/library version mismatch|unsupported display driver ?/ ?cuda driver combination|Error 803",
        False,
    ),
    Message(
        "driver.old", r"NVIDIA driver on your system is too old|forward compatibility was attempted|Error 804", False
    ),
    Message(
        "gpu.memory",
        r"CUDA out of memory|CUDA error: out of memory|DefaultCPUAllocator: can't allocate memory|"
        r"not enough memory: you tried to allocate",
        False,
    ),
    Message(
        "torchvision.io",
        r"torchvision\.io.{0,40}(?:read_video|write_video|VideoReader)|cannot import name '(?:read_video|write_video)'",
        False,
    ),
    Message(
        "skimage.metrics",
        r"skimage\.measure.{0,40}compare_(?:ssim|psnr)|cannot import name 'compare_(?:ssim|psnr)'",
        False,
    ),
    Message("mps.border", r"MPS: Unsupported Border padding mode", False),
    Message(
        "codec", r"Could not find encoder for codec|Failed to load OpenH264|Incorrect library version loaded", False
    ),
    # Weights
    Message(
        "weights.cut",
        r"failed finding central directory|PytorchStreamReader failed reading|unexpected EOF, expected",
        False,
    ),
    Message("weights.lfs", r"invalid load key, 'v'", False),
    Message(
        "weights.page",
        r"invalid load key, '<'|Too many users have viewed or downloaded this file|"
        r"Cannot retrieve the public link of the file",
        False,
    ),
    Message("weights.foreign", r"Missing key\(s\) in state_dict|size mismatch for ", False),
    Message("weights.unsafe", r"Weights only load failed|WeightsUnpickler error", False),
    Message("disk.full", r"No space left on device|\[Errno 28\]", False),
    Message("ext.absent", r"No module named", False),
)
WINERROR = re.compile(r"WinError (\d+)")


def of_system(cause: str, system: str) -> str:
    """`ext.symbol.win` for `ext.symbol` on `win`; macOS has one class for both."""
    if cause not in ("ext.symbol", "ext.lib"):
        return cause
    return "ext.macos" if system == "macos" else f"{cause}.{system}"


def causes_in(text: str, system: str, *, loading: bool = False) -> list[str]:
    """The failure classes that a text speaks of, most telling first; [] for none."""
    numbers = [WINDOWS_ERRORS[int(n)] for n in WINERROR.findall(text) if len(n) < 6 and int(n) in WINDOWS_ERRORS]
    found = [of_system(m.cause, system) for m in MESSAGES if (m.loading or not loading) and re.search(m.pattern, text)]
    return list(dict.fromkeys([*numbers, *found]))
