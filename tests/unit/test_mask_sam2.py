"""SAM 2 as a follower, with random weights in a small configuration: everything but how well it follows."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from e2fgvi_cli.commands.weights import weights_app
from e2fgvi_cli.errors import UsageError, WeightsError
from e2fgvi_cli.mask_tools import sam2
from e2fgvi_cli.mask_tools.engines import build_engine
from e2fgvi_cli.mask_tools.follower import PromptedFollower, Prompts
from e2fgvi_cli.mask_tools.walking import KnownMask, walk

from .test_mask_tracking import SIZE, frame, truth

transformers = pytest.importorskip("transformers")

SIDE = 128


def configuration() -> Any:
    made = copy.deepcopy(sam2.settings(SIDE))
    made["vision_config"]["backbone_config"] |= {
        "hidden_size": 8,
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "blocks_per_stage": [1, 1, 2, 1],
        "global_attention_blocks": [3],
    }
    made["vision_config"]["backbone_channel_list"] = [64, 32, 16, 8]
    made |= {"memory_attention_num_layers": 1, "memory_attention_feed_forward_hidden_size": 64}
    return transformers.Sam2VideoConfig(**made)


@pytest.fixture(scope="module")
def network() -> Any:
    import torch

    torch.manual_seed(0)
    return transformers.Sam2VideoModel(configuration()).eval()


def test_it_walks_both_ways_with_memory_that_stays_flat(network: Any) -> None:
    made: list[sam2.Sam2Follower] = []

    def make() -> sam2.Sam2Follower:
        made.append(sam2.Sam2Follower(network))
        return made[-1]

    anchors = {2: KnownMask(truth(2)), 5: KnownMask(truth(5))}
    steps = list(walk(lambda index: frame(index % 20), 27, anchors, make))
    assert sorted(step.frame for step in steps) == list(range(27))
    assert all(step.mask.shape == SIZE and 0 <= step.confidence <= 1 for step in steps)
    assert [one.held() for one in made] == [17, 3, 3]  # the mark and 16 frames; twice a mark and the two before it
    assert not made[0]._session.processed_frames


def test_points_and_boxes_are_prompts(network: Any) -> None:
    follower = sam2.Sam2Follower(network)
    assert isinstance(follower, PromptedFollower)
    seen = []
    for prompts in (
        Prompts(((30.0, 40.0, True), (90.0, 80.0, False))),
        Prompts(box=(15.0, 24.0, 46.0, 56.0)),
        Prompts(((30.0, 40.0, True),), (15.0, 24.0, 46.0, 56.0)),
    ):
        assert follower.prompt(frame(0), prompts).shape == SIZE
        given = follower._session.point_inputs_per_obj[0][0]
        seen.append((given["point_labels"].flatten().tolist(), given["point_coords"].reshape(-1, 2)[0].tolist()))
    assert [labels for labels, _ in seen] == [[1, 0], [2, 3], [2, 3, 1]]
    assert seen[0][1] == pytest.approx([30 * SIDE / 128, 40 * SIDE / 96])


def test_weights_are_read_whole_or_refused(network: Any, tmp_path: Path) -> None:
    tensors = {name: value.contiguous().clone() for name, value in network.state_dict().items()}
    save_file(tensors, tmp_path / "good.safetensors")
    again = sam2.read_network(tmp_path / "good.safetensors", SIDE, configuration())
    assert np.array_equal(
        sam2.Sam2Follower(again).prompt(frame(0), Prompts(((30.0, 40.0, True),))),
        sam2.Sam2Follower(network).prompt(frame(0), Prompts(((30.0, 40.0, True),))),
    )
    lacking = "mask_decoder.iou_token.weight"
    del tensors[lacking]
    save_file(tensors, tmp_path / "short.safetensors")
    with pytest.raises(WeightsError, match=rf"no file of SAM 2\.1 tiny: it lacks 1 tensors, such as {lacking}"):
        sam2.read_network(tmp_path / "short.safetensors", SIDE, configuration())
    (tmp_path / "other.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match=r"is no file of SAM 2\.1 tiny"):
        sam2.read_network(tmp_path / "other.safetensors", SIDE, configuration())


def test_imported_weights_are_known_by_their_recorded_hash(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E2FGVI_WEIGHTS_DIR", str(tmp_path / "w"))
    with pytest.raises(WeightsError) as caught:
        build_engine("sam2", device="cpu")
    advice = "then run `e2fgvi weights import FILE --name sam2-tiny`, or use --engine classic"
    assert str(caught.value).endswith(advice)
    fetched = CliRunner().invoke(weights_app, ["fetch", "sam2-tiny"])
    assert str(fetched.exception).endswith(advice)
    read = sam2.read_network
    monkeypatch.setattr(sam2, "read_network", lambda path, side: read(path, SIDE, configuration()))
    save_file({name: value.contiguous().clone() for name, value in network.state_dict().items()}, tmp_path / "m.st")
    done = CliRunner().invoke(weights_app, ["import", str(tmp_path / "m.st"), "--name", "sam2-tiny"])
    assert done.exit_code == 0, done.exception
    assert build_engine("sam2", device="cpu").make().prompt(frame(0), Prompts(((30.0, 40.0, True),))).shape == SIZE
    file = tmp_path / "w" / "sam2.1-hiera-tiny.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="is damaged or was not imported: its SHA-256 is"):
        build_engine("sam2", device="cpu")


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(sam2.importlib, "import_module", lacking)
    with pytest.raises(UsageError) as caught:
        sam2.sam2_followers("cpu")
    assert str(caught.value) == "--engine sam2 needs transformers; run: pip install 'e2fgvi-cli[sam]'"
