"""What users may write as a manifest, and what each mistake is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.jobs.manifest import Entry, as_bool, read_manifest, unique_names


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


CSV = "# mask_dilation: 1%\n# just a remark\nvideo,mask,max-references\na.mp4,a_mask,2\nb.mp4,b_mask,\n"
JSONL = (
    '{"defaults": {"mask-dilation": "1%"}}\n\n{"video": "a.mp4", "mask": "a_mask", "max_references": 2}\n'
    '{"video": "b.mp4", "mask": "b_mask", "max_references": null}\n'
)
YAML = """
defaults: {mask_dilation: 1%}
jobs:
  - {video: a.mp4, mask: a_mask, max_references: 2}
  - video: b.mp4
    mask: b_mask
"""


@pytest.mark.parametrize(("name", "text"), [("m.csv", CSV), ("m.jsonl", JSONL), ("m.yaml", YAML)])
def test_the_three_forms_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    a, b = read_manifest(write(tmp_path, name, text))
    assert (a.name, b.name) == ("a", "b")
    assert {k: str(v) for k, v in a.values.items()} == {
        "video": str(tmp_path / "a.mp4"),
        "mask": str(tmp_path / "a_mask"),
        "mask_dilation": "1%",
        "max_references": "2",
    }
    assert "max_references" not in b.values


def test_a_byte_order_mark_quotes_and_unicode_paths(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes('\ufeffvideo,mask_polygon\n"clip, neu é.mp4","10,10 60,10 35,50"\n'.encode())
    (entry,) = read_manifest(path)
    assert entry.name == "clip, neu é"
    assert entry.values["mask_polygon"] == "10,10 60,10 35,50"


def test_patterns_find_clips_and_placeholders_name_what_belongs_to_them(tmp_path: Path) -> None:
    for name in ("x1.mp4", "x2.mp4", ".hidden.mp4", "notes.txt"):
        (tmp_path / name).touch()
    path = write(tmp_path, "m.csv", "video,mask,output\n*.mp4,masks/{stem},out/{stem}_clean.mov\n")
    entries = read_manifest(path)
    assert [e.name for e in entries] == ["x1", "x2"]
    assert entries[1].values["mask"] == str(tmp_path / "masks" / "x2")
    assert entries[1].values["output"] == str(tmp_path / "out" / "x2_clean.mov")


def test_a_folder_pairs_clips_with_masks(tmp_path: Path) -> None:
    for name in ("a.mp4", "a_mask.png", "b.MOV", "without.mp4", "c_mask.mp4", "c.mkv"):
        (tmp_path / name).touch()
    for name in ("b_masks", "shot", "shot_mask"):
        (tmp_path / name).mkdir()
    entries = read_manifest(tmp_path)
    pairs = {e.name: Path(e.values["mask"]).name for e in entries}
    assert pairs == {"a": "a_mask.png", "b": "b_masks", "c": "c_mask.mp4", "shot": "shot_mask"}
    (tmp_path / "a_mask.mp4").touch()
    with pytest.raises(InputError, match="has several masks"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.csv", "video,mask\na.mp4\n", "line 2 has another number of cells"),
        ("m.csv", "clip,mask\na.mp4,b\n", "has no column video"),
        ("m.csv", "", "has no column video"),
        ("m.csv", "video,mask\n", "names no job"),
        ("m.csv", "video,mask\n*.none,m\n", "nothing matches the pattern"),
        ("m.jsonl", '{"video": "a"\n', "line 1 is no JSON"),
        ("m.jsonl", "[1]\n", "line 1 is no set of options"),
        ("m.txt", "", r"neither \.csv"),
    ],
)
def test_unreadable_manifests(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_manifest(write(tmp_path, name, text))


@pytest.mark.parametrize("text", ["jobs: 3", "a: [", "other: []", "- 3", "jobs: []"])
def test_unreadable_yaml(tmp_path: Path, text: str) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(InputError, match="manifest"):
        read_manifest(write(tmp_path, "m.yaml", text))


def test_missing_and_binary_manifests(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no manifest"):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path / "b.csv")
    with pytest.raises(InputError, match="holds no clip with a mask"):
        read_manifest(tmp_path)


def test_jobs_without_a_video_and_patterns_with_one_output(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 1: there is no video"):
        read_manifest(write(tmp_path, "m.jsonl", '{"mask": "m"}\n'))
    for name in ("1.mp4", "2.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"2 clips match and would all write one\.mp4"):
        read_manifest(write(tmp_path, "m.csv", "video,output\n*.mp4,one.mp4\n"))


def test_names_become_unique_and_booleans_are_words() -> None:
    entries = unique_names([Entry("x", {}, ""), Entry("x", {}, ""), Entry("y", {}, "")])
    assert [e.name for e in entries] == ["x", "x (2)", "y"]
    assert [as_bool(v, "", "k") for v in (True, "yes", "0", "False")] == [True, True, False, False]
    with pytest.raises(UsageError, match="line 4: lossless 'perhaps' is neither"):
        as_bool("perhaps", "line 4", "lossless")
