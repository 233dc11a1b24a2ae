"""From a TOML file and the command line to a checked recipe: defaults < file < command line. Knows no stage."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from longfold_training.errors import RecipeError
from longfold_training.recipes.schema import Recipe

KINDS: Mapping[str, type[BaseModel]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind for kind in get_args(get_args(Recipe)[0])
}
_RECIPE: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def shipped() -> tuple[str, ...]:
    """Names of the recipes that come with the package, "demo/memory" and so on."""
    return tuple(sorted(f"{folder.name}/{file.name.removesuffix('.toml')}" for folder, file in _files()))


def load(source: str, settings: Sequence[str] = ()) -> Recipe:
    """The recipe `source`, a path or a shipped name, with `settings` ("aepo.low=0.2", values as in TOML) over it.

    Paths in it are relative to the working directory. Raises `RecipeError` for a file that cannot be read, a key that
    does not exist, a value that does not fit, each with its place.
    """
    values = _read(source)
    for setting in settings:
        _put(values, setting)
    try:
        return _RECIPE.validate_python(values)
    except ValidationError as error:
        told = "\n".join(f"  {_tell(one, values)}" for one in error.errors(include_url=False))
        raise RecipeError(f"{source} is no recipe that can be run:\n{told}") from None


def _files() -> list[tuple[Any, Any]]:
    home = resources.files("longfold_training.recipes")
    folders = [folder for folder in home.iterdir() if folder.is_dir()]
    return [(folder, file) for folder in folders for file in folder.iterdir() if file.name.endswith(".toml")]


def _read(source: str) -> dict[str, Any]:
    own = next((file for folder, file in _files() if f"{folder.name}/{file.name}" == f"{source}.toml"), Path(source))
    try:
        return tomllib.loads(own.read_text(encoding="utf-8"))
    except OSError as error:
        hint = get_close_matches(source, shipped(), 1)
        also = f"; did you mean {hint[0]}?" if hint else f"; shipped recipes: {', '.join(shipped())}"
        raise RecipeError(f"cannot read the recipe {source}: {error.strerror}{also}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{source} is not TOML: {error}") from error


def _put(values: dict[str, Any], setting: str) -> None:
    """Set one dotted key. A value that is not TOML is taken as a string, so that paths need no quotes."""
    name, equals, text = setting.partition("=")
    if not equals or not all(name.strip().split(".")):
        raise RecipeError(f"{setting!r} is no setting: write KEY=VALUE, for example aepo.low=0.2")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *tables, key = name.strip().split(".")
    for table in tables:
        inner = values.setdefault(table, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"{setting!r}: {table} is a value, not a table")
        values = inner
    values[key] = value


def _tell(error: ErrorDetails, values: Mapping[str, Any]) -> str:
    """One fault as a person reads it. pydantic puts the recipe's kind before the key's place."""
    place = [str(part) for part in error["loc"]]
    if error["type"].startswith("union_tag"):
        return f"kind: must be one of {', '.join(KINDS)}" + (f", not {values['kind']!r}" if "kind" in values else "")
    kind, *keys = place
    where = ".".join(keys) or kind
    if error["type"] == "extra_forbidden":
        near = get_close_matches(keys[-1], _keys(KINDS[kind], keys[:-1]), 1)
        return f"{where}: unknown key" + (f"; did you mean {near[0]}?" if near else "")
    if error["type"] == "missing":
        return f"{where}: missing"
    return f"{where}: {error['msg']}"


def _keys(model: type[BaseModel], tables: Sequence[str]) -> list[str]:
    for table in tables:
        annotation = model.model_fields[table].annotation
        kinds = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
        model = next((one for one in kinds if issubclass(one, BaseModel)), model)
    return list(model.model_fields)
