"""The program in the folder of the published E2FGVI, which has a package called `model`: from the checkout, and from a wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from ..conftest import ROOT

SCRIPT = """
import sys
sys.path.insert(0, "")
import model
from e2fgvi_cli._model import E2FGVIConfig
import e2fgvi_cli, pickle, e2fgvi_cli._model.network as network
assert model.WHOSE == "theirs", model
assert pickle.loads(pickle.dumps(E2FGVIConfig())) == E2FGVIConfig()
print(e2fgvi_cli.__file__, network.__file__, sep="\\n")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As the published repository: model/e2fgvi_hq.py, model/modules/, and nothing of ours."""
    theirs = tmp_path / "E2FGVI"
    (theirs / "model" / "modules").mkdir(parents=True)
    (theirs / "model" / "__init__.py").write_text("WHOSE = 'theirs'\n")
    for name in ("config", "network", "checkpoint", "e2fgvi_hq", "modules/flow_comp"):
        (theirs / "model" / f"{name}.py").write_text("raise ImportError('this is not yours')\n")
    return theirs


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="builds the wheel")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(out.glob("*.whl"))


def python(folder: Path, path: Path, *arguments: str) -> str:
    """The working folder comes first on Python's path, then `path`."""
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def works(folder: Path, path: Path, network: Path) -> None:
    ours, loaded = python(folder, path, "-c", SCRIPT).split()
    assert Path(ours) == path / "e2fgvi_cli" / "__init__.py"
    assert Path(loaded) == network
    assert "known as: open" in python(folder, path, "-m", "e2fgvi_cli", "weights", "verify", "open")
    assert "[ok]" in python(folder, path, "-m", "e2fgvi_cli.doctor", "--only", "sys.shadow", "--lang", "en")
    (folder / "frames").mkdir(exist_ok=True)
    for index in range(2):
        picture = np.random.default_rng(index).integers(0, 256, (32, 48, 3), np.uint8)
        cv2.imwrite(str(folder / "frames" / f"{index:05d}.png"), picture)
    python(folder, path, "-m", "e2fgvi_cli", "inpaint", "-q", "-v", "frames", "--mask-box", "8,8,16,8", "-o", "out")
    assert sorted(file.name for file in (folder / "out").iterdir()) == ["00000.png", "00001.png"]


@pytest.mark.slow
def test_from_the_checkout(folder: Path) -> None:
    works(folder, ROOT, ROOT / "model" / "network.py")


@pytest.mark.slow
def test_from_a_wheel(folder: Path, wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {name.split("/")[0] for name in names} == {
        "e2fgvi_cli",
        next(n.split("/")[0] for n in names if ".dist-info" in n),
    }
    assert len(names) == len(set(names))
    works(folder, site, site / "e2fgvi_cli" / "_model" / "files" / "network.py")
