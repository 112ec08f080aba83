"""What users may write as a manifest, and what each mistake is answered with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.jobs import manifest_text
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
    (tmp_path / "b.csv").write_bytes(b"video\nv\xe9lo.mp4\n")
    with pytest.raises(InputError, match=r"line 2 is no text in UTF-8 \(byte 0xe9\): save it as UTF-8"):
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


SHEET = [
    ["Video", "MASK", "Mask-Dilation", "name", ""],
    ["a.mp4", "m, 1.png", "2px", "é\u2028\x0cx", ""],
    ["", "", "", "", ""],
    ["b.mp4", "m.png", "", "", ""],
]


def sheet(separator: str, end: str = "\r\n") -> str:
    """A table as a spreadsheet saves it: quotes only where they are needed, empty cells and rows kept."""
    quoted = [[f'"{cell}"' if separator in cell else cell for cell in row] for row in SHEET]
    return end.join(separator.join(row) for row in quoted) + end


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("commas, UTF-8 with a mark", sheet(",").encode("utf-8-sig")),
        ("semicolons", sheet(";").encode("utf-8-sig")),
        ("tabs in UTF-16, as Unicode text", sheet("\t").encode("utf-16")),
        ("UTF-16, high byte first", b"\xfe\xff" + sheet(";").encode("utf-16-be")),
        ("lines ended by CR alone", sheet(",", "\r").encode()),
        ("the separator named", b"sep=;\r\n" + sheet(";").encode()),
        ("comments filled up with empty cells", b"# crf: 12,,,,\r\n,,,,\r\n" + sheet(",").encode()),
        ("a comment that was quoted", b'"# crf: 12";;;;\r\n' + sheet(";").encode()),
    ],
)
def test_csv_as_spreadsheets_save_it(tmp_path: Path, what: str, data: bytes) -> None:
    (tmp_path / "m.csv").write_bytes(data)
    a, b = read_manifest(tmp_path / "m.csv")
    common = {"crf": "12"} if b"crf" in data else {}
    own = {"video": str(tmp_path / "a.mp4"), "mask": str(tmp_path / "m, 1.png"), "mask_dilation": "2px"}
    assert (a.name, a.values) == ("é\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}x", {**own, **common}), what
    assert (b.name, b.values) == ("b", {"video": str(tmp_path / "b.mp4"), "mask": str(tmp_path / "m.png"), **common})


LAUGHS = "\n".join(f"  k{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]" for n in range(10))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.csv", "video,Video\na,b\n", "two columns video"),
        ("m.csv", "video,mask_dilation,mask-dilation\na,1,2\n", "two columns mask_dilation"),
        ("m.csv", "video,mask,\na,b,c\n", "line 2 has a value in a column without a name"),
        ("m.csv", "video,mask\na,b,c\n", "another number of cells than the header .3 and 2, separated by commas"),
        ("m.csv", 'video,mask\n"a,b\n', "line 2: unexpected end of data"),
        ("m.csv", "video,mask\n" + "x" * 200_000 + ",m\n", "field larger than field limit"),
        ("m.csv", "video,mask\n" + "x" * 5_000 + ",m\n", "line 2: .*… cannot be looked at: File name too long"),
        ("m.csv", "clip,mask\na,b\n", "no column video .it has 'clip', 'mask'.*semicolons or tabs"),
        ("m.csv", "video,mask\na\0.mp4,m\n", r"video 'a\\x00.mp4' holds a character that no file name can have"),
        ("m.jsonl", '{"video": "a", "video": "b"}', "line 1: 'video' is given twice"),
        ("m.jsonl", '{"video": "a", "Mask-Box": "1", "mask_box": "2"}', "'mask_box' is given twice"),
        ("m.jsonl", '{"video": "a\\ud800.mp4"}', "holds a character that no file name can have"),
        ("m.jsonl", '{"video": "a", "crf": {"a": 1}}', "'crf' is nested"),
        ("m.jsonl", "[" * 100_000, "nested too deeply"),
        ("m.jsonl", '{"video": "a", "crf": ' + "9" * 5000 + "}", "line 1 is no JSON: Exceeds the limit"),
        ("m.yaml", "[" * 3_000, "nested too deeply"),
        ("m.yaml", "- " + "{a: " * 2000 + "1" + "}" * 2000, "nested too deeply"),
        ("m.yaml", f"defaults:\n{LAUGHS}\njobs: [{{video: a.mp4}}]\n", "defaults: 'k1' is nested"),
        ("m.yaml", "- {video: a.mp4, mask_box: &b [*b]}\n", "'mask_box' is nested"),
        ("m.yaml", "- &a {<<: *a, video: a.mp4}\n", "merges itself"),
        (
            "m.yaml",
            f"- &a {{video: a, mask_box: [{'x, ' * 9999}]}}\n" + "- *a\n" * 100,
            "asks for 1010000 values in all, and at most 1000000",
        ),
        ("m.yaml", "- {video: a.mp4, video: b.mp4}\n", "'video' is given twice"),
        ("m.yaml", "jobs: [{video: a}]\njobs: [{video: b}]\n", "each once"),
        ("m.yaml", "- !!python/object/apply:os.system ['touch x']\n", "job 1 is no set of options"),
        ("m.yaml", "- {video: !!binary YS5tcDQ=}\n", "has the tag tag:yaml.org,2002:binary"),
        ("m.yaml", "- video: a.mp4\n\tmask: m.png\n", "is no YAML: while scanning"),
    ],
)
def test_manifests_of_the_hostile_and_the_unlucky(tmp_path: Path, name: str, text: str, words: str) -> None:
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    with pytest.raises(UsageError if "is nested" in words else InputError, match=words):
        read_manifest(write(tmp_path, name, text))


def test_what_yaml_would_turn_into_something_else_stays_as_written(tmp_path: Path) -> None:
    """YAML 1.1 reads no as false, 12:30 as 750 and 2026-11-26 as a date; merges and nulls mean what they mean."""
    pytest.importorskip("yaml")
    text = (
        "defaults: &common {mask: no, crf: 18, cuts: off}\n"
        "jobs:\n - {<<: *common, video: 12:30, crf: null}\n - {video: 2026-11-26, mask: 'null', mask_box: [1e3, "
        "~, 0x10]}\n"
    )
    a, b = read_manifest(write(tmp_path, "m.yaml", text))
    mask = str(tmp_path / "no")
    assert a.values == {"video": str(tmp_path / "12:30"), "mask": mask, "crf": "18", "cuts": "off"}
    assert b.values["video"] == str(tmp_path / "2026-11-26")
    assert (b.values["mask"], b.values["mask_box"]) == (str(tmp_path / "null"), ["1e3", "0x10"])


def test_a_manifest_that_never_ends_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("m.csv", "zero.csv"):
        with pytest.raises(InputError, match="is no regular file"):
            read_manifest(tmp_path / name)
    with pytest.raises(InputError, match="is larger than 1 MiB: split it"):
        manifest_text.read_text(write(tmp_path, "large.csv", "video\n" + "a.mp4\n" * 200_000), 1 << 20)


def test_signs_of_patterns_in_the_folder_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "reel [2] #1 100%?*"
    folder.mkdir()
    for name in ("x.mp4", "y [1].mp4"):
        (folder / name).touch()
    entries = read_manifest(write(folder, "m.csv", "video,output\n*.mp4,{stem}.mkv\ny [1].mp4,z.mkv\n"))
    assert [Path(e.values["video"]).name for e in entries] == ["x.mp4", "y [1].mp4", "y [1].mp4"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"video": ["a", "b"]}', r"line 1: video \['a', 'b'\] is no path"),
        ('{"video": true}', "line 1: video True is no path"),
        ('{"video": ""}', "line 1: there is no video"),
    ],
)
def test_a_path_is_one_text(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_manifest(write(tmp_path, "m.jsonl", line))


def test_homes_and_weights_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "own.safetensors").touch()
    text = "video,mask,output,weights\n~/a.mp4,~nobody-here/m,~/o.mp4,own.safetensors\nb.mp4,,,open\n"
    a, b = read_manifest(write(tmp_path, "m.csv", text))
    assert a.values == {
        "video": str(tmp_path / "home" / "a.mp4"),
        "mask": str(tmp_path / "~nobody-here" / "m"),
        "output": str(tmp_path / "home" / "o.mp4"),
        "weights": str(tmp_path / "own.safetensors"),
    }
    assert b.values["weights"] == "open"
