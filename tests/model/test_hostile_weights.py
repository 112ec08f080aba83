"""Weights files that were cut, flipped, or made to hurt: each is refused in one printable line, soon and in little
memory."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from e2fgvi_cli._model.checkpoint import CheckpointError, read_checkpoint, read_spynet, save_checkpoint
from e2fgvi_cli._model.config import MOST, E2FGVIConfig
from e2fgvi_cli._model.flow import SPyNet
from e2fgvi_cli._model.network import E2FGVIHQ
from e2fgvi_cli._model.tensor_files import LARGEST_COUNT, LARGEST_FILE, LONGEST_MESSAGE

from e2fgvi_cli.weights.known import LARGEST_FILE as LARGEST_NAMED

CONFIG = E2FGVIConfig(embed_dim=32, num_blocks=1, num_heads=2, mlp_dim=98, window=(3, 3))
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return {k: v.clone() for k, v in E2FGVIHQ(CONFIG).state_dict().items()}


@pytest.fixture(scope="module")
def good(state: State, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Our own file, in 8 bits, as bytes."""
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    save_checkpoint(path, state, CONFIG, eight_bit=True, licence="Apache-2.0")
    return path.read_bytes()


def refused(path: Path, read: Callable[[Path], object] = read_checkpoint) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) <= LONGEST_MESSAGE + 10
    return message


def with_header(path: Path, good: bytes, change: Callable[[dict[str, Any]], object]) -> Path:
    """The good file with another header; its content digest is left out, as in files of earlier versions."""
    length = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + length])
    header["__metadata__"].pop("content_sha256")
    change(header)
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + good[8 + length :])
    return path


def meta(**values: str) -> Callable[[dict[str, Any]], object]:
    return lambda header: header["__metadata__"].update(values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (meta(format_version="abc"), "format version is 'abc'"),
        (meta(format_version=""), "format version is ''"),
        (meta(format_version="9" * 5000), "upgrade e2fgvi"),
        (meta(config="{{{"), "configuration this program cannot use"),
        (meta(config="[1, 2]"), "is list, not a table"),
        (meta(config="null"), "is NoneType, not a table"),
        (meta(config="[" * 100_000), "damaged or foreign"),
        (meta(config='{"embed_dim": 0}'), "embed_dim is 0: use a whole number from 1 to 8192"),
        (meta(config='{"embed_dim": "512"}'), "embed_dim is '512'"),
        (meta(config='{"embed_dim": 512.5}'), "embed_dim is 512.5"),
        (meta(config='{"embed_dim": 1000000000}'), "embed_dim is 1000000000: use a whole number from 1 to 8192"),
        (meta(config='{"embed_dim": 1' + "0" * 30 + "}"), "from 1 to 8192"),
        (meta(config='{"num_blocks": 1000000}'), "num_blocks is 1000000: use a whole number from 1 to 64"),
        (meta(config='{"num_heads": 0}'), "num_heads is 0"),
        (meta(config='{"split_kernel": true}'), "split_kernel is True"),
        (meta(config='{"window": [0, 0]}'), "window is 0"),
        (meta(config='{"window": [1000000, 9]}'), "window is 1000000: use a whole number from 1 to 32"),
        (meta(config='{"window": 7}'), "window is 7: use two whole numbers"),
        (meta(config='{"max_offset": NaN}'), "max_offset is nan"),
        (meta(config='{"\\u001b[2J\\n": 1}'), "unknown configuration"),
        (lambda h: h.update({"a\nb": h.pop("ss.embedding.bias")}), "ss.embedding.bias is missing"),
    ],
)
def test_hostile_headers(change: Callable[[dict[str, Any]], object], words: str, good: bytes, tmp_path: Path) -> None:
    assert words in refused(with_header(tmp_path / "x.safetensors", good, change))


def test_the_unchanged_header_is_read(good: bytes, tmp_path: Path) -> None:
    assert read_checkpoint(with_header(tmp_path / "x.safetensors", good, lambda _: None)).config == CONFIG


def test_every_number_of_the_architecture_has_a_limit() -> None:
    for name, most in MOST.items():
        for value in (most + 1, -1, 10**30, 2.5, "7", None):
            with pytest.raises(ValueError, match=name):
                E2FGVIConfig.from_dict({name: value})


def test_cut_anywhere(good: bytes, tmp_path: Path) -> None:
    rng, path = random.Random(0), tmp_path / "cut.safetensors"
    for end in [*range(10), *(rng.randrange(len(good)) for _ in range(30)), len(good) - 1]:
        path.write_bytes(good[:end])
        refused(path)
    path.write_bytes(good + b"\0")
    assert "damaged or truncated" in refused(path)


def test_a_flipped_bit_anywhere(good: bytes, state: State, tmp_path: Path) -> None:
    """In our own files by the content's hash, in PyTorch's by the archive's checksums, which torch does not compare."""
    torch.save(state, tmp_path / "good.pth")
    pth = (tmp_path / "good.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "good.pth") as archive:
        entry = max(archive.infolist(), key=lambda e: e.file_size)
        inside = range(entry.header_offset + 200, entry.header_offset + entry.file_size)
    rng = random.Random(1)
    for name, content, places, words in (
        ("x.safetensors", good, range(len(good)), ""),
        ("x.pth", pth, inside, "has another checksum"),
    ):
        for _ in range(12):
            broken = bytearray(content)
            broken[rng.choice(places)] ^= 1 << rng.randrange(8)
            (tmp_path / name).write_bytes(broken)
            assert words in refused(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t * float("nan"), "not finite"),
        (lambda t: torch.full_like(t, 1e300, dtype=torch.float64), "not finite"),
        (lambda t: t > 0, "is torch.bool instead of torch.float32"),
        (lambda t: t.long(), "is torch.int64 instead of torch.float32"),
        (lambda t: t[:0], "is (0,) instead of (32,)"),
    ],
)
def test_numbers_that_are_no_weights(change: Callable[..., Any], words: str, state: State, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    key = "ss.embedding.bias"
    config = {"config": json.dumps(CONFIG.to_dict())}
    save_file({**state, key: change(state[key])}, str(tmp_path / "x.safetensors"), config)
    assert words in refused(tmp_path / "x.safetensors")


@pytest.mark.filterwarnings("ignore")  # torch's own, of making such tensors
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: torch.complex(t, t), "no plain array"),
        (lambda t: t.to_sparse(), "no plain array"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "no plain array"),
        (lambda t: t.to("meta"), "no plain array"),
        (lambda t: t[:2].as_strided((1 << 14, 1 << 14), (0, 0)), "does not fit"),
    ],
)
def test_tensors_that_are_no_numbers(make: Callable[..., Any], words: str, tmp_path: Path) -> None:
    torch.save({"feat_prop_module.fusion.weight": make(torch.ones(128))}, tmp_path / "x.pth")
    assert words in refused(tmp_path / "x.pth")


def test_half_precision_is_read_as_float32(state: State, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    half = {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}
    save_file(half, str(tmp_path / "half.safetensors"), {"config": json.dumps(CONFIG.to_dict())})
    found = read_checkpoint(tmp_path / "half.safetensors").state_dict
    assert {k: v.dtype for k, v in found.items()} == {k: v.dtype for k, v in state.items()}


@pytest.mark.parametrize("scale", [torch.ones(3), torch.tensor(1.0), torch.ones(2, 2), torch.ones(128).long()])
def test_scales_that_do_not_fit(scale: torch.Tensor, good: bytes, tmp_path: Path) -> None:
    from safetensors.torch import load, save_file

    tensors = load(good)
    tensors["decoder.2.weight.scale"] = scale
    save_file(tensors, str(tmp_path / "x.safetensors"), {"config": json.dumps(CONFIG.to_dict())})
    message = refused(tmp_path / "x.safetensors")
    assert "the scales of decoder.2.weight" in message or "does not fit" in message


def test_pickles_that_ask_for_too_much(tmp_path: Path, state: State) -> None:
    def write(content: bytes) -> Path:
        (tmp_path / "x.pth").write_bytes(content)
        return tmp_path / "x.pth"

    refused(write(b"\x80"))
    refused(write(b"\x80\x02\x8b\xff\xff\xff\x7f."))  # a number of 2 GiB
    refused(write(b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"."))  # a string of 1 EiB
    refused(write(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."))
    refused(write(pickle.dumps({i: i for i in range(1000)}, 2)))
    torch.save({("a", 1): torch.zeros(1), 5: torch.zeros(2), None: torch.zeros(1)}, tmp_path / "x.pth")
    assert "no network" in refused(tmp_path / "x.pth")
    torch.save({"feat_prop_module.fusion.weight": torch.zeros(1), 5: torch.zeros(2)}, tmp_path / "x.pth")
    assert "does not fit" in refused(tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", b"\0" * (1 << 24))
    assert "compressed archive" in refused(tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as other:
        other.writestr("E2FGVI-HQ-CVPR22.pth", b"inside")
    assert "unpack it" in refused(tmp_path / "x.pth")
    broken = SPyNet().state_dict()
    broken["basic_module.0.basic_module.0.conv.bias"] = torch.full((32,), float("inf"))
    torch.save(broken, tmp_path / "x.pth")
    assert "not finite" in refused(tmp_path / "x.pth", read_spynet)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert "named pipe" in refused(tmp_path / "pipe.pth")
    assert "folder" in refused(tmp_path)
    assert "device" in refused(Path("/dev/zero"))
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot read" in refused(tmp_path / "loop")
    assert "cannot read" in refused(tmp_path / ("x" * 5000))


def test_files_too_large_are_not_read(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.pth"
    with sparse.open("wb") as file:
        file.truncate(1 << 42)
    assert f"more than the {LARGEST_FILE}" in refused(sparse)
    assert LARGEST_FILE == LARGEST_NAMED
    header = json.dumps({"a": {"dtype": "I8", "shape": [LARGEST_COUNT + 1], "data_offsets": [0, LARGEST_COUNT + 1]}})
    with sparse.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header.encode())
        file.truncate(8 + len(header) + LARGEST_COUNT + 1)
    assert f"more than the {LARGEST_COUNT}" in refused(sparse)
