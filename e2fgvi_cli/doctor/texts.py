"""The catalogue of everything the doctor says, in English and Chinese (`texts.json`), and the choice of a language."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .model import Text

LANGUAGES = ("en", "zh")
CHINESE = 0x04  # primary language identifier of Windows


@functools.lru_cache(maxsize=1)
def catalogue() -> dict[str, dict[str, str]]:
    """key -> {"en": ..., "zh": ...}."""
    with open(Path(__file__).with_name("texts.json"), encoding="utf-8") as handle:
        texts: dict[str, dict[str, str]] = json.load(handle)
    return texts


def render(text: Text, language: str) -> str:
    """The sentence in `language`; nested texts are rendered too. Raises KeyError for an unknown key."""
    values = {name: _value(value, language) for name, value in text.values.items()}
    return catalogue()[text.key][language].format(**values)


def _value(value: Any, language: str) -> str:
    if isinstance(value, Text):
        return render(value, language)
    if isinstance(value, list | tuple):
        return ("、" if language == "zh" else ", ").join(_value(item, language) for item in value)
    return str(value)


def choose_language(asked: str, environ: Mapping[str, str], encoding: str = "utf-8") -> str:
    """`en` or `zh` for --lang auto|en|zh: as asked, else the user's locale; English where the terminal cannot print
    Chinese."""
    if asked == "en" or not prints_chinese(encoding):
        return "en"
    if asked != "auto":
        return asked
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environ.get(name):
            return "zh" if environ[name].lower().startswith("zh") else "en"
    return "zh" if _windows_speaks_chinese() else "en"


def prints_chinese(encoding: str) -> bool:
    """Whether a stream of this encoding can show the Chinese sentences."""
    try:
        "缺".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _windows_speaks_chinese() -> bool:
    if sys.platform != "win32" or os.name != "nt":
        return False
    import ctypes

    return bool(ctypes.windll.kernel32.GetUserDefaultUILanguage() & 0x3FF == CHINESE)
