"""What a training run is asked, as frozen dataclasses read from a small TOML file. No torch: a mistake costs no time.

Defaults are the published numbers where the paper gives one (Li et al., CVPR 2022, section 4 and its supplement): L1 on
hole and valid pixels and on the completed flow with weight 1, T-PatchGAN hinge with weight 0.01, Adam(0, 0.99) at 1e-4,
8 clips of 5 local + 3 reference frames of 240x432. Exceptions, each with its reason: `backward_flow_order` is "aligned"
(the published order is a defect), and a run's length is minutes, not iterations.
"""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .._model import E2FGVIConfig
from ..errors import UsageError
from .ranges import EVERY, RANGES

LicenceClass = Literal["A", "B1", "B2", "SA", "own"]
LARGEST_FILE = 1 << 20
"""Bytes of a configuration; examples have one or two thousand."""
LONGEST_VALUE = 120
CompiledPart = Literal["encoder", "decoder", "flow", "propagation", "feedforward"]


@dataclass(frozen=True)
class DataConfig:
    """Which material, and how clips are cut from it. Paths are relative to the configuration's file.

    `manifest` names sources with their licences below `root`; `clips` and `photos` are one's own videos, folders of
    frames, folders of either, or pictures; `panoramas` are equirectangular pictures (360 by 180 degrees) or folders of
    them; each of `scenes` is a folder of photographs of one place in their order. All may be left out. Sizes are
    (height, width) that material is stored at.
    """

    manifest: str = ""
    root: str = ""
    classes: tuple[LicenceClass, ...] = ("A", "B1")
    clips: tuple[str, ...] = ()
    photos: tuple[str, ...] = ()
    panoramas: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    silhouettes: tuple[str, ...] = ()
    """Masks (255 = object) whose outlines become holes and foregrounds; outlines are also cut from clips of fixed
    cameras."""
    own_licence: str = "not stated"
    clip_size: tuple[int, int] = (240, 432)
    photo_size: tuple[int, int] = (400, 720)
    """Of photographs and of the pictures of scenes."""
    panorama_size: tuple[int, int] = (2048, 4096)
    max_frames: int = 300
    """Frames kept of one clip (from its start)."""
    photo_share: float = 0.5
    """Part of the samples that are photographs under a moving camera. Clips get what the three shares leave of 1; the
    share of a kind that there is no material of is divided among the others."""
    panorama_share: float = 0.1
    """Part of the samples that a camera sees which turns inside a panorama."""
    scene_share: float = 0.05
    """Part of the samples whose local frames are one photograph of a scene and whose references are its neighbours."""
    source_cap: float = 1.0
    """No source of the manifest gives more than this part of a kind's samples (or an equal part, if there are too few
    sources for that)."""
    foreground_share: float = 0.4
    """Part of the samples that get a moving foreground cut from a photograph."""
    reference_reach: int = 40
    """Reference frames lie at most so many frames outside the local ones."""
    max_stride: int = 2
    """Clips are also played up to so many times faster."""
    storage: Literal["auto", "device", "host"] = "auto"
    """Where decoded frames lie. auto: on the device if they take less than half of its free memory."""


@dataclass(frozen=True)
class AugmentConfig:
    """What a real camera does to a recording; all of it is part of the truth that is to be filled in. Each is a part of
    the samples."""

    motion_blur: float = 0.0
    shutter: float = 0.7
    """Of blurred samples the shutter is open for at most this part of a frame's time."""
    exposure: float = 0.0
    """The gain swings by up to a sixth, jumps once, or runs over the picture in bands (a rolling shutter under mains
    light)."""
    noise: float = 0.0
    compression: float = 0.0
    """Blocks of 8 x 8 quantised as JPEG does, at qualities from 35 to 90."""
    zoom: float = 0.0
    """The camera zooms up to five times as fast as it does otherwise."""
    moving_clips: float = 0.0
    """Clips, too, are seen by a moving camera, in front of their own motion."""
    behind_hole: float = 0.0
    """A foreground that changes its shape passes behind the hole."""


@dataclass(frozen=True)
class HoleConfig:
    """How holes are drawn. Shares are relative and need not add up to 1. Areas are parts of the frame."""

    blob: float = 3.0
    stroke: float = 2.0
    box: float = 2.0
    caption: float = 1.0
    silhouette: float = 2.0
    still_share: float = 0.45
    second_share: float = 0.3
    """Part of the samples that have two holes at once."""
    min_area: float = 0.02
    max_area: float = 0.18
    max_speed: float = 6.0
    """Pixels a frame, at a frame height of 240."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses."""

    hole: float = 1.0
    valid: float = 1.0
    flow: float = 1.0
    flow_in_hole: float = 0.0
    """The flow loss of the holes' pixels alone, beside the one of all pixels, of which holes are few. Not published."""
    squared: float = 0.0
    """Mean squared error in the hole, beside the mean absolute one: what PSNR counts. Not published."""
    steady: float = 0.0
    """Flicker: how much the error in the hole changes from frame to frame. Not published."""
    adversarial: float = 0.01
    discriminator_warmup: int = 100
    """Steps that a new discriminator learns alone before the generator listens to it."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, or Muon with Adam for what Muon cannot move, and the schedule over the run's minutes."""

    kind: Literal["adam", "muon"] = "adam"
    learning_rate: float = 1e-4
    matrix_factor: float = 1.0
    """muon: the rate of the matrices, as a multiple of `learning_rate`, which is Adam's."""
    betas: tuple[float, float] = (0.0, 0.99)
    discriminator_betas: tuple[float, float] = (0.0, 0.99)
    """Of the discriminator's Adam. Without momentum it does not chase a generator that is gone."""
    discriminator_factor: float = 1.0
    """The discriminator's rate, as a multiple of `learning_rate`. Published: the same rate, which short runs are too
    short for."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup_steps: int = 100
    final_factor: float = 0.05
    """Where the cosine ends, as a part of the learning rate."""
    step_at: float = 0.8
    """step: the part of the minutes after which the rate falls to a tenth (published: 400k of 500k iterations)."""
    clip_norm: float = 10.0
    """Gradients are scaled down to this norm. 0: never."""
    ema: float = 0.999
    """Decay a step of the moving average of the weights, which is what is validated and exported."""
    only: tuple[str, ...] = ()
    """Parts of the network that learn, by the first names of their weights (decoder, encoder, feat_prop_module, sc, ss,
    transformer, update_spynet); the others stay as they start. Empty: all."""
    max_skipped: int = 10
    """A step whose gradient is not finite is skipped; after so many in a row the run stops and says so."""


@dataclass(frozen=True)
class SpeedConfig:
    """Switches of speed, each measured by `e2fgvi train benchmark`."""

    precision: Literal["auto", "bf16", "float32"] = "auto"
    """auto: bf16 autocast on a GPU that has it, else float32. Flow, sampling and losses stay in float32."""
    compile: tuple[CompiledPart, ...] = ()
    cuda_graph: bool = False
    channels_last: bool = False
    fused_optimizer: bool = True
    tf32: bool = True
    batches_per_draw: int = 8
    """Batches made at once: their kernels are launched once for all of them."""
    deform: str = "auto"


@dataclass(frozen=True)
class ValidationConfig:
    """Held-out clips: names (glob patterns) of items of the material that are taken out of training and scored.

    0 `every_minutes`: only at the end.
    """

    clips: tuple[str, ...] = ()
    frames: int = 24
    size: tuple[int, int] = (240, 432)
    every_minutes: float = 3.0
    max_references: int = 4


@dataclass(frozen=True)
class PhaseConfig:
    """A part of the run: `share` of its minutes with one size, batch (a GPU) and window."""

    name: str = "joint"
    share: float = 1.0
    mode: Literal["joint", "autoencoder"] = "joint"
    """autoencoder: encoder and decoder alone, on frames without holes; the quick first minute of a run from scratch."""
    size: tuple[int, int] = (240, 432)
    batch: int = 8
    local: int = 5
    reference: int = 3
    adversarial: bool = True
    rate_factor: float = 1.0
    """Multiplies the learning rate in this phase."""


@dataclass(frozen=True)
class TrainingConfig:
    """One run. `folder` is where all it writes goes; `start` is "scratch", a known weights name or a file.

    `teacher` is the frozen SPyNet: "start" (that of the starting weights) or a file. `minutes` is training time: the
    sum over all calls, without validation.
    """

    folder: str = "runs/default"
    minutes: float = 25.0
    seed: int = 0
    start: str = "open"
    teacher: str = "start"
    log_every: int = 20
    save_every_minutes: float = 4.0
    sheet_every_minutes: float = 4.0
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    holes: HoleConfig = field(default_factory=HoleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    network: E2FGVIConfig = field(default_factory=lambda: E2FGVIConfig(backward_flow_order="aligned"))
    """Used when starting from scratch; else the starting weights bring their own (except the flow order, which is
    always this one)."""
    phase: tuple[PhaseConfig, ...] = (PhaseConfig(),)
    base: Path = Path()
    """Folder that relative paths start from: the configuration file's."""

    def __post_init__(self) -> None:
        _check(self)

    def path(self, value: str) -> Path:
        """A path of the configuration, relative to its file."""
        try:
            given = Path(value).expanduser()
        except RuntimeError as error:
            raise UsageError(
                f"the configuration's path {value} names a user that does not exist: give another"
            ) from error
        return given if given.is_absolute() else self.base / given

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        values["base"] = str(self.base)
        return values


def _check(config: TrainingConfig) -> None:
    """Rules that one field alone cannot break. Raises UsageError."""
    if config.minutes <= 0:
        raise UsageError(f"minutes is {config.minutes:g}: give the run's training time in minutes, more than 0")
    if not config.phase:
        raise UsageError("the configuration has no [[phase]]: give at least one, or leave the key out for the default")
    if sum(p.share for p in config.phase) <= 0:
        raise UsageError("the shares of all phases add up to 0: give at least one of them a share of the minutes")
    for phase in config.phase:
        _check_size(f"phase {phase.name!r}: size", phase.size, config.network.size_multiple)
        if phase.batch < 1 or phase.local < 1 or phase.reference < 0 or phase.share < 0:
            raise UsageError(f"phase {phase.name!r}: batch and local must be 1 or more, reference and share 0 or more")
        if phase.mode == "joint" and phase.local < 2:
            raise UsageError(f"phase {phase.name!r}: local is {phase.local}, flow needs at least 2 frames")
    if not 0 < config.holes.min_area <= config.holes.max_area < 1:
        raise UsageError(
            f"holes: min_area {config.holes.min_area:g} and max_area {config.holes.max_area:g} "
            "must be above 0, in this order, below 1"
        )
    data = config.data
    if not (data.manifest or data.clips or data.photos or data.panoramas or data.scenes):
        raise UsageError("[data] names no material: give clips = [...], photos = [...] or a manifest with its root")
    if config.speed.batches_per_draw < 1:
        raise UsageError(f"speed: batches_per_draw is {config.speed.batches_per_draw}, use 1 or more")


def _check_size(what: str, size: tuple[int, int], multiple: tuple[int, int]) -> None:
    if size[0] % multiple[0] or size[1] % multiple[1] or min(size) < 1:
        raise UsageError(
            f"{what} is {size[0]}x{size[1]} (height x width): use multiples of {multiple[0]} and {multiple[1]}"
        )


def read_config(path: Path, overrides: tuple[str, ...] = ()) -> TrainingConfig:
    """The configuration in `path`, with `overrides` such as "minutes=5" or "data.root='/tmp/x'" applied.

    Raises UsageError for a file that cannot be read or parsed, an unknown key, or a value of the wrong type.
    """
    values = _read_toml(path)
    for override in overrides:
        _override(values, override)
    network = values.pop("network", {})
    if not isinstance(network, dict):
        raise UsageError(f"{path}: network is {network!r}: write [network] and its keys below")
    network = {"backward_flow_order": "aligned", **network}
    phases = values.pop("phase", None)
    if phases is not None:
        if not isinstance(phases, list):
            raise UsageError(f"{path}: phase must be written [[phase]], with double brackets")
        values["phase"] = phases
    config: TrainingConfig = _build(TrainingConfig, {**values, "network": network}, "", path)
    return replace(config, base=path.resolve().parent)


def _read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Only a regular file of at most `LARGEST_FILE` bytes is read: a pipe could be waited for, for
    ever."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"the configuration {path} is no file: give a TOML file, not a folder, pipe or device")
        if status.st_size > LARGEST_FILE:
            raise UsageError(
                f"the configuration {path} has {status.st_size} bytes, more than {LARGEST_FILE}: it is another file"
            )
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror or error}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is not valid TOML: its values are nested too deep") from error
    except ValueError as error:  # not TOML, not UTF-8, a number of thousands of digits
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def _override(values: dict[str, Any], override: str) -> None:
    """Set `a.b=VALUE` in place; VALUE is TOML, or plain text."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"--set {override} is not KEY=VALUE: write for instance --set minutes=5")
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        value = text
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {override}: {parent} is not a section")
    values[leaf] = value


def _build(cls: type[Any], values: Mapping[str, Any], where: str, path: Path) -> Any:
    hints = get_type_hints(cls)
    known = {f.name for f in fields(cls)} - {"base"}
    unknown = sorted(set(values) - known)
    if unknown:
        place = f"section [{where}]" if where else "the top"
        raise UsageError(f"{path}: unknown key {unknown[0]!r} in {place}; known are {', '.join(sorted(known))}")
    prefix = f"{where}." if where else ""
    converted = {key: _convert(value, hints[key], prefix + key, path) for key, value in values.items()}
    try:
        return cls(**converted)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}: [{where or 'top'}] {error}") from error


def _convert(value: Any, hint: Any, where: str, path: Path) -> Any:
    """`value` as the annotated type; ints stand for floats, lists for tuples. Raises UsageError."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(value, Mapping):
        return _build(hint, value, where, path)  # type: ignore[arg-type]
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) == len(value):
            return tuple(_convert(v, k, where, path) for v, k in zip(value, kinds, strict=True))
    if origin in (Union, UnionType):
        raise AssertionError(f"{where}: the configuration has no optional fields")
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(_in_range(value, where, path))
    if hint is int and type(value) is int:
        return _in_range(value, where, path)
    if hint in (str, bool) and type(value) is hint:
        return value
    wanted = f"one of {', '.join(map(repr, arguments))}" if origin is Literal else getattr(hint, "__name__", str(hint))
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST_VALUE else shown[:LONGEST_VALUE] + "..."
    raise UsageError(f"{path}: {where} is {shown}, expected {wanted}")


def _in_range(value: float, where: str, path: Path) -> float:
    """A number, if it is one that `RANGES` allows: TOML also has nan and inf, and whole numbers of any length."""
    low, high = RANGES.get(where, EVERY)
    if not low <= value <= high:  # also true for nan
        shown = f"{value:g}" if isinstance(value, float) or abs(value) < 10**15 else "a number of very many digits"
        raise UsageError(f"{path}: {where} is {shown}: use a number from {low:g} to {high:g}")
    return value
