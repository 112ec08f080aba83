"""Commands whose options come in groups: each a frozen dataclass whose fields say, typed, what `typer.Option` is
told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar, get_type_hints

R = TypeVar("R")
G = TypeVar("G")


def grouped(command: Callable[..., R]) -> Callable[..., R]:
    """`command(group: SomeArguments, ...)` as Typer wants it: with the fields of every dataclass as options of their
    own.

    A field is written `name: Annotated[type, typer.Option(...)] = default`. Parameters that are no dataclass stay as
    they are.
    """
    hints = get_type_hints(command, include_extras=True)
    plain: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind):
            groups[parameter.name] = kind
        else:
            plain.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def with_options(**given: Any) -> R:
        made = {name: group_from(kind, given) for name, kind in groups.items()}
        return command(**made, **{p.name: given[p.name] for p in plain})

    options = [option for kind in groups.values() for option in _parameters(kind)]
    signature = inspect.Signature([*options, *plain])
    with_options.__signature__ = signature  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return with_options


def group_from(kind: type[G], given: Mapping[str, Any]) -> G:
    """The group `kind` from parsed values by the names of its fields; others in `given` are not its."""
    return kind(**{field.name: given[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def _parameters(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[field.name]
        )
        for field in fields(kind)
    ]


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default
