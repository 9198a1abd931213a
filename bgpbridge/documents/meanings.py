"""What the keys of our models mean: the docstrings behind them, read when somebody asks.

pydantic can read them itself (`use_attribute_docstrings`), of every model as it is made. That is a quarter of what the
models of the configuration take to import, and only a JSON schema and the word about a missing key want to know.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache

from pydantic import BaseModel

__all__ = ["meanings"]


@cache
def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings of a model's fields by name; those of a class that it is made of where it has none itself."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            found |= _written(one)
    return {name: text for name, text in found.items() if name in model.model_fields}


def _written(model: type[BaseModel]) -> dict[str, str]:
    try:
        source = inspect.getsource(model)
    except OSError:  # there is no source, and nothing hangs on it
        return {}
    (body,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = text.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[field.target.id] = inspect.cleandoc(value.value)
    return found
