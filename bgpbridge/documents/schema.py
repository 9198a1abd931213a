"""Plain values held against a pydantic model, and pydantic's errors in an operator's words.

A `Problem` is a complaint with the path of keys that it is about; `Document.place` turns the path into a line
and column when it is raised. Rooms that check more than a model can say (a name that must exist elsewhere)
make Problems of their own and raise all of them together.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, Union

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from bgpbridge.documents.meanings import meanings
from bgpbridge.documents.tree import Document, Step
from bgpbridge.errors import DocumentError, DocumentErrors

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

__all__ = [
    "Problem",
    "Strict",
    "blank_values",
    "did_you_mean",
    "errors_of",
    "known_keys",
    "raise_errors",
    "raise_problems",
    "refuse",
    "validate",
]

M = TypeVar("M", bound=BaseModel)

_SECRET = re.compile(r"password|passphrase|secret|token|md5", re.IGNORECASE)
_SHOWN = 60  # characters of a wrong value that a message quotes


class Strict(BaseModel):
    """The base of every model of ours: no unknown keys, no changes after loading.

    `synonyms` maps words of other routers to ours, for did-you-mean.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)
    synonyms: ClassVar[dict[str, str]] = {}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """With what each key means."""
        found = handler(core_schema)
        shown = handler.resolve_ref_schema(found).get("properties", {})
        for name, text in meanings(cls).items():
            if (key := cls.model_fields[name].alias or name) in shown:
                shown[key].setdefault("description", text)
        return found


@dataclass(frozen=True, slots=True)
class Problem:
    """A complaint about the value at `path` (`at_key`: about the key itself)."""

    path: tuple[Step, ...]
    problem: str
    expected: str = ""
    mend: str = ""
    at_key: bool = False


def refuse(problem: str, expected: str = "", mend: str = "") -> PydanticCustomError:
    """The exception that a validator raises: what is wrong with the value, without naming its key."""
    return PydanticCustomError("refused", "{problem}", {"problem": problem, "expected": expected, "mend": mend})


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or an empty string."""
    by_shape = {name.replace("_", "-").lower(): name for name in known}
    close = difflib.get_close_matches(word.replace("_", "-").lower(), by_shape, 1, 0.6)
    return by_shape[close[0]] if close else ""


def validate(data: Any, model: type[M], context: dict[str, Any] | None = None) -> tuple[M | None, list[Problem]]:
    """An instance and no problems, or None and everything that is wrong. Validators get `context`."""
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    misspelt = {(*d["loc"][:-1], _meant(_path(d), model)) for d in details if d["type"] == "extra_forbidden"}
    return None, [_phrase(d, model) for d in details if not _consequence(d) and d["loc"] not in misspelt]


def _consequence(detail: ErrorDetails) -> bool:
    """True for "too few" of a list whose items are there but wrong: each of them has its own complaint."""
    wanted = detail.get("ctx", {}).get("min_length", 0)
    value = detail.get("input")
    return detail["type"] == "too_short" and isinstance(value, list) and len(value) >= wanted


def blank_values(document: Document) -> list[Problem]:
    """A complaint about every key that has no value. Taken for null it could silently mean the opposite of
    what was begun: no password, no condition."""
    mend = "write its value, or remove the key; was the file cut short?"
    return [Problem(p, f"`{dotted(p)}` has no value", mend=mend, at_key=True) for p in document.blanks()]


def errors_of(document: Document, problems: Iterable[Problem]) -> list[DocumentError]:
    """The problems as errors at their places in the document."""
    return [
        DocumentError(document.place(p.path, key=p.at_key), p.problem, expected=p.expected, mend=p.mend)
        for p in problems
    ]


def raise_errors(errors: Iterable[DocumentError]) -> None:
    """Raises all of them as one, file by file in the order of lines; nothing when there are none."""
    flat = [single for error in errors for single in (error.errors if isinstance(error, DocumentErrors) else [error])]
    unique = {str(error): error for error in flat}
    files = list(dict.fromkeys(error.place.file for error in flat))
    ordered = sorted(unique.values(), key=lambda e: (files.index(e.place.file), e.place.line, e.place.column))
    if len(ordered) == 1:
        raise ordered[0]
    if ordered:
        raise DocumentErrors(ordered)


def raise_problems(document: Document, problems: Iterable[Problem]) -> None:
    """Raises all problems of one document; nothing when there are none."""
    raise_errors(errors_of(document, problems))


def known_keys(model: type[BaseModel]) -> list[str]:
    """The keys that the model takes, as they are written in YAML, those that must be there first."""
    ordered = sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())
    return [info.alias or name for name, info in ordered]


def dotted(path: Sequence[Step]) -> str:
    """A path as people write it: `peers[1].password.file`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: Any, path: Sequence[Step] = ()) -> str:
    """A wrong value as a message quotes it; never one that stands under a secret's key."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing"
    if any(isinstance(step, str) and _SECRET.search(step) for step in path):
        return "a value (not shown: it may be a secret)"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f"`{text}`"


def _path(detail: ErrorDetails) -> tuple[Step, ...]:
    """The keys and indexes of pydantic's location, without its own remarks. A key of the file that looks like a
    remark (`[` or `function-x`) is where the complaint is about the key itself."""
    place = detail["loc"]
    own = place[-1:] if detail["type"] in ("extra_forbidden", "missing") else ()
    steps = place[: len(place) - len(own)]
    return (*(step for step in steps if not (isinstance(step, str) and step.startswith(("function-", "[")))), *own)


def _phrase(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    path = _path(detail)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path, model)
    if kind == "missing":
        return _missing(path, model)
    name = dotted(path) or "the file"
    value = shown(detail.get("input"), path)
    if kind == "refused":
        return Problem(path, f"{name}: {context['problem']}", context["expected"], context["mend"])
    expected, mend = _expected(kind, context, detail.get("input"))
    return Problem(path, f"{name} is {value}", expected or detail["msg"].lower(), mend)


def _unknown(path: tuple[Step, ...], model: type[BaseModel]) -> Problem:
    parent, word = path[:-1], str(path[-1])
    meant = _meant(path, model)
    where = f" in {dotted(parent)}" if parent else ""
    if meant:
        return Problem(path, f"unknown key `{word}`{where}", mend=f"did you mean `{meant}`?", at_key=True)
    known = [key for owner in _models_at(model, parent) for key in known_keys(owner)]
    return Problem(path, f"unknown key `{word}`{where}", _either(known), "remove it", at_key=True)


def _meant(path: tuple[Step, ...], model: type[BaseModel]) -> str:
    """The key that an unknown one stands for, or an empty string."""
    owners, word = list(_models_at(model, path[:-1])), str(path[-1])
    synonyms = {k: v for owner in owners for k, v in _synonyms(owner).items()}
    known = [key for owner in owners for key in known_keys(owner)]
    return synonyms.get(word.lower().replace("-", "_")) or did_you_mean(word, known)


def _either(words: Sequence[str]) -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _synonyms(model: type[BaseModel]) -> dict[str, str]:
    return model.synonyms if issubclass(model, Strict) else {}


def _missing(path: tuple[Step, ...], model: type[BaseModel]) -> Problem:
    parent, word = path[:-1], str(path[-1])
    where = f" in {dotted(parent)}" if parent else ""
    meaning, example = "", "..."
    for owner in _models_at(model, parent):
        for name, info in owner.model_fields.items():
            if word in (name, info.alias):
                meaning = (info.description or meanings(owner).get(name, "")).split("\n")[0].rstrip(".")
                example = str(info.examples[0]) if info.examples else example
    return Problem(parent, f"the key `{word}` is missing{where}", meaning, f"add `{word}: {example}`", at_key=True)


_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list (lines that begin with `- `, or [a, b])",
    "list_type": "a list (lines that begin with `- `, or [a, b])",
    "dict_type": "a mapping (lines of `key: value`)",
    "model_type": "a mapping (lines of `key: value`)",
    "model_attributes_type": "a mapping (lines of `key: value`)",
    "string_type": "text",
}


def _expected(kind: str, context: dict[str, Any], value: Any) -> tuple[str, str]:
    """What was expected and how to mend it, from pydantic's kind of error."""
    if kind in ("literal_error", "enum"):
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        meant = did_you_mean(str(value), words)
        return _either(words), f"did you mean `{meant}`?" if meant else ""
    if kind in _KINDS:
        scalar = kind == "string_type" and isinstance(value, int | float)
        return _KINDS[kind], "put it in quotes" if scalar else ""
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    for bound, words_ in bounds.items():
        if bound in context:
            return f"{words_} {context[bound]}", ""
    things = "characters" if kind.startswith("string") else "entries"
    if "min_length" in context:
        return "not empty" if context["min_length"] == 1 else f"at least {context['min_length']} {things}", ""
    if "max_length" in context:
        return f"at most {context['max_length']} {things}", ""
    if "pattern" in context:
        return f"text like {context['pattern']}", ""
    return "", ""


def _models_at(annotation: Any, path: Sequence[Step]) -> Iterator[type[BaseModel]]:
    """The models that may stand at `path` below an annotation."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _models_at(typing.get_args(annotation)[0], path)
    elif origin in (Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _models_at(part, path)
    elif origin in (tuple, list, frozenset):
        skip = 1 if path and isinstance(path[0], int) else 0
        yield from _models_at(typing.get_args(annotation)[0], path[skip:])
    elif origin is dict:
        yield from _models_at(typing.get_args(annotation)[1], path[1:])
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            yield annotation
        for name, info in annotation.model_fields.items():
            if path and path[0] in (name, info.alias):
                yield from _models_at(info.annotation, path[1:])
