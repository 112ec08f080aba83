"""Which files a run uses: by class, without what is scored on, with nothing forgotten."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.training.config import DataConfig, TrainingConfig, ValidationConfig
from e2fgvi_cli.training.manifest import select
from e2fgvi_cli.training.material import fit, load_material, moving_outlines

from ..conftest import ROOT, shared
from ..factories import clip, texture, write_folder
from .conftest import CPU

MANIFEST = ROOT / "examples" / "train" / "manifest.json"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Four empty clips and a photograph under a manifest."""
    for name in ("clips/a__1.mp4", "clips/a__eval.mp4", "clips/b__1.mp4", "clips/stranger.mp4", "photos/a-1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sources = [
        {"name": "first", "kind": "clips", "class": "A", "licence": "CC0", "files": ["clips/a__*"]},
        {"name": "second", "kind": "clips", "class": "B2", "licence": "?", "files": ["clips/b__*"], "weight": 0.5},
        {"name": "third", "kind": "photos", "class": "A", "licence": "CC0", "files": ["photos/a-*"]},
    ]
    excluded = [{"files": ["clips/*eval*"], "reason": "scored on"}]
    (tmp_path / "m.json").write_text(json.dumps({"sources": sources, "excluded": excluded}))
    return tmp_path


def of(tree: Path, **data: object) -> TrainingConfig:
    return TrainingConfig(data=DataConfig(manifest="m.json", **data), base=tree)  # type: ignore[arg-type]


def test_classes_choose_and_exclusions_and_strangers_stay_out(tree: Path) -> None:
    chosen = select(of(tree))
    assert [i.name for i in chosen.clips] == ["clips/a__1.mp4"]
    assert [i.name for i in chosen.photos] == ["photos/a-1.jpg"]
    assert chosen.notices == ("left out (scored on): clips/a__eval.mp4",)
    more = select(of(tree, classes=("A", "B2")))
    assert [(i.name, i.weight) for i in more.clips] == [("clips/a__1.mp4", 1.0), ("clips/b__1.mp4", 0.5)]
    assert more.licences == {"A: CC0 (first)": 1, "A: CC0 (third)": 1, "B2: ? (second)": 1}


def test_held_out_clips_leave_training(tree: Path) -> None:
    config = replace(of(tree, classes=("A", "B2")), validation=ValidationConfig(clips=("b__*",)))
    chosen = select(config)
    assert [i.name for i in chosen.validation] == ["clips/b__1.mp4"]
    assert [i.name for i in chosen.clips] == ["clips/a__1.mp4"]
    with pytest.raises(InputError, match=r"no clip matches .*a__1"):
        select(replace(config, validation=ValidationConfig(clips=("none",))))


def test_what_is_missing_is_named(tree: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        select(of(tree, root="elsewhere"))
    with pytest.raises(InputError, match="no file of the classes SA"):
        select(of(tree, classes=("SA",)))
    (tree / "m.json").write_text('{"sources": [{"name": "x"}]}')
    with pytest.raises(InputError, match="'x' needs"):
        select(of(tree))
    with pytest.raises(InputError, match="does not exist"):
        select(TrainingConfig(data=DataConfig(clips=("gone",)), base=tree))


def test_the_manifest_names_every_file_of_the_shared_material_once() -> None:
    root = shared("train")
    manifest = json.loads(MANIFEST.read_text())
    files = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix in (".mp4", ".jpg")]
    from fnmatch import fnmatch

    def names(entries: list[dict[str, list[str]]], name: str) -> int:
        return sum(any(fnmatch(name, p) for p in e["files"]) for e in entries)

    sources = Counter({f: names(manifest["sources"], f) for f in files})
    assert [f for f, n in sources.items() if n > 1] == []
    assert [f for f, n in sources.items() if not n and not names(manifest["excluded"], f)] == []


def test_what_is_scored_on_is_never_trained_on() -> None:
    data = DataConfig(manifest=str(MANIFEST), root=str(shared("train")), classes=("A", "B1", "B2", "SA"))
    chosen = select(TrainingConfig(data=data))
    names = [i.name for i in (*chosen.clips, *chosen.photos)]
    assert len(names) > 700
    assert [n for n in names if "chair" in n or "01_dog" in n] == []


def test_folders_of_frames_and_photographs_are_decoded(tmp_path: Path) -> None:
    write_folder(tmp_path / "clips" / "one", clip(12, 40, 64))
    write_folder(tmp_path / "clips" / "short", clip(3, 40, 64))
    write_folder(tmp_path / "photos", texture(50, 90)[None])
    data = DataConfig(clips=("clips",), photos=("photos",), clip_size=(40, 64), photo_size=(48, 60))
    config = TrainingConfig(data=data, base=tmp_path)
    said: list[str] = []
    loaded = load_material(select(config), config, CPU, said.append)
    assert loaded.frames.shape == (12, 3, 40, 64)
    assert loaded.photos.shape == (1, 3, 48, 60)
    assert (loaded.frames[5].permute(1, 2, 0).numpy() == clip(12, 40, 64)[5]).all()
    assert said == ["1 clips have fewer than 10 frames and are left out"]


def test_panoramas_and_scenes_are_decoded(tmp_path: Path) -> None:
    write_folder(tmp_path / "around", texture(30, 60)[None])
    for name, count in (("scenes/b", 3), ("scenes/a", 4)):
        write_folder(tmp_path / name, clip(count, 40, 64))
    data = DataConfig(
        panoramas=("around",), scenes=("scenes/b", "scenes/a"), panorama_size=(40, 80), photo_size=(40, 64)
    )
    config = TrainingConfig(data=data, base=tmp_path)
    loaded = load_material(select(config), config, CPU)
    assert loaded.panoramas.shape == (1, 3, 40, 80)
    assert loaded.panorama_detail.tolist() == [60.0], "what it was made of, not what it is stored at"
    assert loaded.scenes.shape == (7, 3, 40, 64)
    assert loaded.scene_first.tolist() == [0, 3]
    assert loaded.scene_length.tolist() == [3, 4]
    assert loaded.scene_weight.tolist() == pytest.approx([3 / 7, 4 / 7])
    assert (loaded.scenes[3].permute(1, 2, 0).numpy() == clip(4, 40, 64)[0]).all(), "pictures of a scene are in order"
    assert "1 panoramas, 2 scenes (7 pictures)" in loaded.summary()


def test_a_panorama_of_another_shape_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "around", texture(40, 60)[None])
    config = TrainingConfig(data=DataConfig(panoramas=("around",)), base=tmp_path)
    with pytest.raises(InputError, match=r"panorama .* is 60x40: it must be equirectangular, .* twice as wide as high"):
        load_material(select(config), config, CPU)


def test_no_source_is_seen_more_than_its_share(tree: Path) -> None:
    write_folder(tree / "pictures", np.stack([texture(20, 30, seed=i) for i in range(5)]))
    names = sorted(p.name for p in (tree / "pictures").iterdir())
    sources = [
        {
            "name": "many",
            "kind": "photos",
            "class": "A",
            "licence": "CC0",
            "files": [f"pictures/{n}" for n in names[:4]],
        },
        {"name": "one", "kind": "photos", "class": "A", "licence": "CC0", "files": [f"pictures/{names[4]}"]},
    ]
    (tree / "m.json").write_text(json.dumps({"sources": sources}))
    config = of(tree, source_cap=0.6, photo_size=(20, 30))
    weights = load_material(select(config), config, CPU).photo_weight
    assert weights.tolist() == pytest.approx([0.15] * 4 + [0.4])


def test_an_undecodable_clip_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    config = TrainingConfig(data=DataConfig(clips=("bad.mp4",)), base=tmp_path)
    with pytest.raises(InputError, match=r"bad\.mp4 cannot be decoded"):
        load_material(select(config), config, CPU)


def test_fitting_covers_and_crops_evenly() -> None:
    picture = np.zeros((20, 80, 3), np.uint8)
    picture[:, 30:50] = 255
    out = fit(picture, (20, 20))
    assert out.shape == (20, 20, 3)
    assert out.min() == 255


def test_outlines_are_cut_from_a_fixed_camera() -> None:
    frames = np.full((60, 120, 160, 3), 60, np.uint8)
    for i, frame in enumerate(frames):
        frame[40:80, 2 * i : 2 * i + 20] = 220
    outlines = moving_outlines(frames)
    assert len(outlines) >= 3
    filled = outlines[1] > 127
    rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
    assert (rows[-1] - rows[0]) / (columns[-1] - columns[0]) == pytest.approx(2.0, rel=0.25)
