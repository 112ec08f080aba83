"""SAM 2 (Ravi et al. 2024) as a follower, by the implementation in transformers (the extra `[sam]`).

A frame is given to the network as it comes, and what its memory no longer reads is dropped, so that memory stays flat.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import UsageError, WeightsError
from ..types import HoleArray, PixelArray
from ..weights import trackers
from .follower import MakeFollower, Prompts

SIDE_ON_CPU, SIDE = 512, 1024
"""Height and width of the pictures the network sees."""

_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_SPREAD = np.array((0.229, 0.224, 0.225), np.float32)
_KEPT = 16  # frames whose object pointers the network reads


def sam2_followers(device: str) -> MakeFollower:
    """Followers of SAM 2.1 tiny. Raises `UsageError` without the extra, `WeightsError` without or with wrong weights,
    `DeviceError`."""
    from ..engine import select_device

    _transformers()
    path = trackers.resolve("sam2-tiny")
    target = select_device(device)
    network = read_network(path, SIDE_ON_CPU if target.type == "cpu" else SIDE).to(target)
    return lambda: Sam2Follower(network)


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise UsageError("--engine sam2 needs transformers; run: pip install 'e2fgvi-cli[sam]'") from error


def settings(side: int) -> dict[str, Any]:
    """What a configuration says of pictures of this size; the weights do not depend on it."""
    features = [[side // step, side // step] for step in (4, 8, 16)]
    backbone = {"model_type": "sam2_hiera_det_model", "image_size": [side, side]}
    return {
        "image_size": side,
        "memory_attention_rope_feat_sizes": features[2],
        "prompt_encoder_config": {"image_size": side},
        "vision_config": {
            "model_type": "sam2_vision_model",
            "backbone_feature_sizes": features,
            "backbone_config": backbone,
        },
    }


def read_network(path: Path, side: int, configuration: Any = None) -> Any:
    """The network from a safetensors file, for pictures of `side`. configuration: SAM 2.1 tiny unless given.

    Raises `WeightsError` for a file of another network.
    """
    from safetensors.torch import load_file

    library = _transformers()
    network = library.Sam2VideoModel(configuration or library.Sam2VideoConfig(**settings(side)))
    try:
        missing, unknown = network.load_state_dict(load_file(path), strict=False)
    except Exception as error:  # safetensors and torch have each its own for a file of another kind
        raise WeightsError(f"{path} is no file of SAM 2.1 tiny: {str(error).splitlines()[0]}") from error
    if missing:
        raise WeightsError(
            f"{path} is no file of SAM 2.1 tiny: it lacks {len(missing)} tensors, such as {missing[0]} "
            f"({len(unknown)} others are unknown)"
        )
    return network.eval()


class Sam2Follower:
    """A `PromptedFollower`. Its confidence is what the network gives for the object being there at all."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._side = int(network.config.image_size)
        size = {"height": self._side, "width": self._side}
        library = _transformers()
        self._processor = library.Sam2VideoProcessor(
            library.Sam2ImageProcessor(size=size), library.Sam2VideoVideoProcessor(size=size), target_size=self._side
        )
        self._session: Any = None
        self._next = 0

    def start(self, rgb: PixelArray, mask: HoleArray) -> None:
        self._begin()
        self._processor.add_inputs_to_inference_session(self._session, 0, 1, input_masks=mask)
        self.step(rgb)

    def prompt(self, rgb: PixelArray, prompts: Prompts) -> HoleArray:
        self._begin()
        points = [[x, y] for x, y, _ in prompts.points]
        labels = [int(inside) for _, _, inside in prompts.points]
        self._processor.add_inputs_to_inference_session(
            self._session,
            0,
            1,
            input_points=[[points]] if points else None,
            input_labels=[[labels]] if points else None,
            input_boxes=[[list(prompts.box)]] if prompts.box is not None else None,
            original_size=rgb.shape[:2],
        )
        return self.step(rgb)[0]

    def step(self, rgb: PixelArray) -> tuple[HoleArray, float]:
        import torch

        small = cv2.resize(rgb, (self._side, self._side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        picture = torch.from_numpy((small - _MEAN) / _SPREAD).permute(2, 0, 1)
        with torch.inference_mode():
            found = self._network(
                inference_session=self._session, frame_idx=self._next, frame=picture.to(self._network.device)
            )
        self._forget()
        levels = found.pred_masks[0, 0].float().cpu().numpy()
        enlarged = cv2.resize(levels, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        sure = float(torch.sigmoid(found.object_score_logits.float()).max())
        mask = (enlarged > 0).astype(np.uint8)
        return mask, sure if mask.any() else 0.0

    def held(self) -> int:
        """Frames whose results the network's memory holds."""
        outputs = self._session.output_dict_per_obj[0]
        return len(outputs["cond_frame_outputs"]) + len(outputs["non_cond_frame_outputs"])

    def _begin(self) -> None:
        self._session = self._processor.init_video_session(inference_device=self._network.device)
        self._next = 0

    def _forget(self) -> None:
        """Drop the picture, and what is older than the network reads."""
        self._session.processed_frames.pop(self._next, None)
        self._session.output_dict_per_obj[0]["non_cond_frame_outputs"].pop(self._next - _KEPT, None)
        self._session.frames_tracked_per_obj[0].pop(self._next - _KEPT, None)
        self._next += 1
