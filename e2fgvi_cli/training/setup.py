"""What a run begins with: network, teacher, discriminator, optimizers. Weights come from a file, or from
`initialise`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from .._model import E2FGVIHQ, DeformBackend, SPyNet, load_network
from ..engine import choose_deform, read_spynet_weights, read_weights
from ..errors import UsageError, WeightsError
from ..weights.known import resolve
from .config import OptimizerConfig, TrainingConfig
from .initialise import initialise
from .muon import Muon, hidden_matrices

SCRATCH = "scratch"


def starting_file(config: TrainingConfig) -> str:
    """`start` as a path if a file lies there (relative to the configuration's or the current folder), else as it is: a
    known name."""
    relative = config.path(config.start)
    return str(relative) if relative.is_file() else config.start


def in_float32(backend: DeformBackend) -> DeformBackend:
    """The backend outside autocast: half precision rounds where it samples, and torchvision's operator has no bf16 on
    the CPU."""

    def function(
        x: Tensor,
        offset: Tensor,
        modulation: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            values = (
                x.float(),
                offset.float(),
                modulation.float(),
                weight.float(),
                None if bias is None else bias.float(),
            )
            return backend.function(*values, stride=stride, padding=padding, dilation=dilation)

    return replace(backend, function=function)


def build_network(config: TrainingConfig, device: torch.device) -> E2FGVIHQ:
    """The network with its starting weights, in training mode. Raises WeightsError, DeviceError or UsageError."""
    # torchvision's operator launches on the legacy stream: a CUDA graph leaves it out without a word.
    graphed = config.speed.cuda_graph and device.type == "cuda" and config.speed.deform == "auto"
    deform = in_float32(choose_deform("torch" if graphed else config.speed.deform, device))
    if config.start == SCRATCH:
        # Seeded here, so that every process of a run begins with the same weights.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = E2FGVIHQ(config.network, deform=deform)
            initialise(network)
    else:
        checkpoint = read_weights(resolve(starting_file(config)))
        order = config.network.backward_flow_order
        checkpoint = replace(checkpoint, config=replace(checkpoint.config, backward_flow_order=order))
        for phase in config.phase:
            for size, multiple in zip(phase.size, checkpoint.config.size_multiple, strict=True):
                if size % multiple:
                    raise UsageError(
                        f"phase {phase.name!r}: size {size} is not a multiple of {multiple} (of {config.start})"
                    )
        network = load_network(checkpoint, deform=deform)
    network = network.to(device).requires_grad_(not config.optimizer.only).train()
    for part in config.optimizer.only:
        if part not in (known := dict(network.named_children())):
            raise UsageError(f"optimizer.only: the network has no part {part!r}, use {', '.join(sorted(known))}")
        known[part].requires_grad_(True)
    if config.optimizer.only and not {"encoder", "decoder"} & set(config.optimizer.only):
        for phase in config.phase:
            if phase.mode == "autoencoder":
                raise UsageError(f"phase {phase.name!r} trains encoder and decoder, and optimizer.only names neither")
    if config.speed.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network


def build_teacher(config: TrainingConfig, network: E2FGVIHQ, device: torch.device) -> SPyNet:
    """The frozen SPyNet whose flow on whole frames the network's has to match. From scratch the network's own starts as
    it, too.

    Raises UsageError if there is neither a teacher's file nor starting weights that hold one.
    """
    teacher = SPyNet()
    if config.teacher == "start":
        if config.start == SCRATCH and config.loss.flow > 0 and any(p.mode == "joint" for p in config.phase):
            raise UsageError(
                "start is 'scratch' and teacher is 'start': from scratch there is no trained flow; set `teacher` "
                "to a SPyNet's file (`e2fgvi weights fetch spynet`), or loss.flow to 0"
            )
        teacher.load_state_dict(network.update_spynet.state_dict())
    else:
        path = config.path(config.teacher)
        if not path.is_file() and config.teacher != "spynet":
            raise WeightsError(f"the teacher {path} does not exist: give a SPyNet's file, or 'start'")
        teacher.load_state_dict(read_spynet_weights(path if path.is_file() else resolve(config.teacher)))
        if config.start == SCRATCH:
            network.update_spynet.load_state_dict(teacher.state_dict())
    return teacher.to(device).requires_grad_(False).eval()


def build_adam(
    parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float], *, fused: bool
) -> torch.optim.Adam:
    """`fused`: one kernel for all parameters, where the device has it."""
    parameters = list(parameters)
    usable = fused and parameters[0].device.type == "cuda"
    return torch.optim.Adam(parameters, lr=learning_rate, betas=betas, fused=usable or None)


def build_optimizers(network: E2FGVIHQ, config: OptimizerConfig, *, fused: bool) -> list[torch.optim.Optimizer]:
    """What moves the network's weights, each of them once. A group's "factor" multiplies the schedule's rate."""
    matrices = hidden_matrices(network) if config.kind == "muon" else []
    taken = {id(m.parameter) for m in matrices}
    others = (p for p in network.parameters() if id(p) not in taken)
    adam = build_adam(others, config.learning_rate, config.betas, fused=fused)
    if not matrices:
        return [adam]
    muon = Muon(matrices, config.learning_rate * config.matrix_factor)
    muon.param_groups[0]["factor"] = config.matrix_factor
    return [adam, muon]


class MovingAverage:
    """An exponential moving average of a network's weights, kept in a second network that can be validated as it is."""

    def __init__(self, network: E2FGVIHQ, average: E2FGVIHQ) -> None:
        self.network = average.requires_grad_(False).eval()
        self._of = network

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """own = decay * own + (1 - decay) * the network's weights."""
        # Asked for each time: whoever converts a network gives its parameters other memory, and an alias would go on
        # with the old one.
        own, others = ([p.detach() for p in n.parameters()] for n in (self.network, self._of))
        torch._foreach_lerp_(own, others, 1 - decay)
