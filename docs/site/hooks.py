"""What MkDocs needs beyond the pages: the reference of the commands, and links that lead out of the documents."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add `reference/commands.md`, as the command line describes itself."""
    from mkdocs.structure.files import File

    command = [
        sys.executable,
        "-m",
        "typer",
        "e2fgvi_cli.app",
        "utils",
        "docs",
        "--name",
        "e2fgvi",
        "--title",
        "Commands",
    ]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files.append(File.generated(config, "reference/commands.md", content=text.replace("<path>", "PATH")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Say where a file of the checkout lies that is no page of this site, instead of linking to it."""
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def told(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        path = (folder / target).resolve()
        if "://" in target or path.is_relative_to(ROOT / "docs") or not path.is_relative_to(ROOT):
            return found[0]
        return f"{words} (`{path.relative_to(ROOT)}`)"

    return _LINK.sub(told, markdown)
