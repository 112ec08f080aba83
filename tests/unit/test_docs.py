"""What the documents promise a reader: links that lead somewhere, a README of five minutes, a Python example that
runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 900


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
