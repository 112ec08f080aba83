"""What the documents promise a reader: links that lead somewhere, a README of five minutes, a Python example that
runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from e2fgvi_cli.app import app
from e2fgvi_cli.commands.mask import mask_app
from e2fgvi_cli.errors import InputError

from ..conftest import ROOT

DOCUMENTS = sorted(
    path
    for folder in (ROOT, *(ROOT / name for name in ("docs", "examples", "release_model")))
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(path: Path) -> set[str]:
    """Names that headings of a document get: lower case, without punctuation, hyphens for spaces."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = [re.sub(r"\]\([^)]*\)", "", line) for line in re.findall(r"^#+ +(.+?)\s*$", text, flags=re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(path: Path) -> None:
    broken = []
    for link in _LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_chinese_readme_has_the_same_commands() -> None:
    """Up to the figures, which it leaves to the other."""

    def code(name: str, end: str) -> tuple[list[str], set[str]]:
        text = (ROOT / name).read_text(encoding="utf-8").split(end)[0]
        fenced = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
        return fenced, set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))

    assert code("README.zh-CN.md", "## 更多") == code("README.md", "## Speed")


def commands_in(path: Path) -> list[list[str]]:
    """The words of every `e2fgvi` line in the fenced blocks of a document, and of what stands in code marks."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:bash)?\n(.*?)```", text, re.DOTALL)
    marked = re.findall(r"`(e2fgvi [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = "\n".join([*blocks, *marked]).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.strip().startswith("e2fgvi ")]


def test_commands_in_the_documents_have_options_that_are_there() -> None:
    seen = 0
    for path in DOCUMENTS:
        for words in commands_in(path):
            command = get_command(app)
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            known = {"--help", *(opt for p in command.params for opt in (*p.opts, *p.secondary_opts))}
            given = {word for word in words if re.match(r"--?[a-z]", word)}
            assert given <= known, f"{path.name}: {command.name} has no {given - known}"
            seen += 1
    assert seen > 100


def test_every_option_of_the_published_program_is_told_apart() -> None:
    text = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|", text, re.MULTILINE))
    told = set(re.findall(r"--\w+", " ".join(rows)))
    known = {opt for p in get_command(app).commands["inpaint"].params for opt in p.opts}
    assert told == {
        "--video", "--mask", "--ckpt", "--model", "--step", "--num_ref", "--neighbor_stride", "--savefps", "--set_size",
        "--width", "--height",
    }  # fmt: skip
    assert told <= known
    assert set(re.findall(r"--[\w-]+", " ".join(rows.values()))) <= known


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 900


def test_masks_are_read_in_five_minutes_and_every_command_for_them_is_named() -> None:
    text = (ROOT / "docs" / "masks.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 1300
    assert set(re.findall(r"`e2fgvi mask (\w+)", text)) == {
        one.name or one.callback.__name__ for one in mask_app.registered_commands if one.callback
    }


def test_the_python_example_of_the_readme_runs_as_far_as_its_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"clip\.mp4"):
        exec(compile(code[1], "README.md", "exec"), {})


def test_the_map_names_files_that_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w/])[\w/]+(?:\.py|/)(?=[`\s<,\"(])", text))
    assert len(named) > 40
    assert [
        name for name in sorted(named) if not ((ROOT / name).exists() or (ROOT / "e2fgvi_cli" / name).exists())
    ] == []


def test_the_map_names_functions_that_are_there() -> None:
    """Names in code marks that look like Python's are defined or used somewhere."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    code = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "e2fgvi_cli").rglob("*.py"))
    code += (ROOT / "tests" / "unit" / "test_layers.py").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", code))
    named = {part for name in re.findall(r"`([A-Za-z_]\w*(?:\.\w+)*)`", text) for part in name.split(".")}
    assert named - words - {"py"} == set()
