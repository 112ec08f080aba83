"""Readable names for mangled C++ symbols, without a compiler's tools.

Only the qualified name is decoded (`caffe2::TypeMeta::toScalarType`), not the argument list: it is what a person
searches for, and it stays right where a full demangler would need hundreds of rules. Sources: Itanium C++ ABI 5.1 and
the observed grammar of Microsoft's mangling.
"""

from __future__ import annotations

import re

_STANDARD = {"St": "std", "Sa": "std::allocator", "Ss": "std::string", "Sb": "std::basic_string", "So": "std::ostream"}
_LENGTH = re.compile(r"\d+")
_OPERATORS = {
    "pl": "+",
    "mi": "-",
    "ml": "*",
    "dv": "/",
    "aS": "=",
    "eq": "==",
    "ne": "!=",
    "cl": "()",
    "ix": "[]",
    "ls": "<<",
}


def readable(symbol: str) -> str:
    """`caffe2::TypeMeta::toScalarType` for its Itanium or Microsoft form; the symbol itself when it is not C++."""
    if symbol.startswith("?"):
        return _microsoft(symbol) or symbol
    plain = symbol[1:] if symbol.startswith("__Z") else symbol  # Mach-O puts one underscore before every name
    return (_itanium(plain)[0] or symbol) if plain.startswith("_Z") else symbol


def stem(symbol: str) -> str:
    """The part of a mangled name before its argument list: overloads and old signatures share it. "" if unknown."""
    if symbol.startswith("?"):
        end = symbol.find("@@")
        return symbol[: end + 2] if end > 0 else ""
    lead = 1 if symbol.startswith("__Z") else 0
    name, length = _itanium(symbol[lead:])
    return symbol[: lead + length] if name else ""


def namespace(symbol: str) -> str:
    """The outermost namespace or class, "" for C symbols."""
    name = readable(symbol)
    return name.split("::")[0] if name != symbol and "::" in name else ""


def uses_old_strings(symbol: str) -> bool:
    """True if an Itanium name passes std::string of the ABI before GCC 5 (`Ss`, `RKSs`)."""
    return bool(re.search(r"Ss", symbol)) and "__cxx11" not in symbol and "_Z" in symbol[:3] and _has_string(symbol)


def _has_string(symbol: str) -> bool:
    """`Ss` as a type, not as part of an identifier such as `8ClassSsX`."""
    text, at = symbol, 0
    while at < len(text):
        digits = _LENGTH.match(text, at)
        if digits and int(digits.group()) <= len(text) - digits.end():
            at = digits.end() + int(digits.group())
            continue
        if text.startswith("Ss", at):
            return True
        at += 1
    return False


def _itanium(symbol: str) -> tuple[str, int]:
    """(qualified name, length up to the argument list) of `_Z...`; ("", 0) when it is of a shape not handled."""
    if not symbol.startswith("_Z"):
        return "", 0
    at = 2
    prefix = ""
    for special, words in (
        ("TV", "vtable for "),
        ("TI", "typeinfo for "),
        ("TS", "typeinfo name for "),
        ("GV", "guard variable for "),
    ):
        if symbol.startswith(special, at):
            prefix, at = words, at + 2
    nested = symbol.startswith("N", at)
    if nested:
        at += 1
        while at < len(symbol) and symbol[at] in "rVKRO":
            at += 1
    parts: list[str] = []
    while at < len(symbol):
        part, step = _component(symbol, at, parts[-1] if parts else "", nested)
        if not step:
            break
        parts.append(part)
        at += step
        if not nested and parts != ["std"]:
            break
    if nested and symbol.startswith("E", at):
        at += 1
    return (prefix + "::".join(parts), at) if parts else ("", 0)


def _component(symbol: str, at: int, previous: str, nested: bool) -> tuple[str, int]:
    """One element of a qualified name at `at`, and its length; ("", 0) where the name ends."""
    digits = _LENGTH.match(symbol, at)
    if digits:
        end = digits.end() + int(digits.group())
        tag = len("B5cxx11") if symbol.startswith("B5cxx11", end) else 0
        return symbol[digits.end() : end], end + tag - at
    code = symbol[at : at + 2]
    if code in _STANDARD:
        return _STANDARD[code], 2
    if previous and code in ("C1", "C2", "C3", "D0", "D1", "D2"):
        return ("~" if code[0] == "D" else "") + previous, 2
    if nested and code in _OPERATORS:
        return "operator" + _OPERATORS[code], 2
    return "", 0


def _microsoft(symbol: str) -> str:
    """Qualified name of `?name@inner@outer@@...`."""
    end = symbol.find("@@")
    if end < 0:
        return ""
    body, template = symbol[1:end], "?$" in symbol[1:end]
    special = ""
    if body.startswith("?") and not body.startswith("?$"):
        code, body = body[1:2], body[2:]
        special = {"0": "constructor", "1": "destructor"}.get(code, "operator")
    if template:
        body = body.replace("?$", "")
    parts = [part for part in body.split("@") if part]
    if not parts:
        return ""
    if special == "constructor":
        parts.insert(0, parts[0])
    elif special == "destructor":
        parts.insert(0, "~" + parts[0])
    elif special:
        parts.insert(0, "operator")
    return "::".join(reversed(parts))
