"""Forms: read by the same models as REST bodies; what is wrong comes back beside its field."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from fraudwatch.domain.reason_codes import REASON_CODES

T = TypeVar("T", bound=BaseModel)

_MESSAGES = {
    ("resolution", ""): "Choose fraud, legitimate or inconclusive.",
    ("reason_codes", ""): "Tick at least one reason for the decision.",
    ("text", ""): "Write the note first.",
    ("reason", ""): "Say why.",
    ("until", ""): "Say until when.",
    ("name", ""): "Enter your user name.",
    ("password", ""): "Enter your password.",
    ("current", ""): "Enter your current password.",
    ("new", ""): "Enter a new password.",
    ("comment", ""): "Say why you propose this.",
    ("code", ""): "Enter the code: six digits, or a recovery code.",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a field, as a sentence; the page links it to the field's id."""

    field: str
    message: str


class Faulty(Exception):
    """A form that cannot be carried out as it stands."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Filled:
    """What a person has put into a form, to show it again, and what is wrong with it."""

    values: Mapping[str, list[str]] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    act: str = ""  # which of the forms on the page

    def text(self, name: str, act: str) -> str:
        """The field's text; empty in the page's other forms."""
        return (self.values.get(name) or [""])[0] if act == self.act else ""

    def ticked(self, name: str, value: str) -> bool:
        """Whether a box or a choice was taken."""
        return value in self.values.get(name, [])

    def fault(self, name: str, act: str) -> str | None:
        """What is wrong with the field."""
        if act != self.act:
            return None
        return next((fault.message for fault in self.faults if fault.field == name), None)


async def _form(request: Request) -> AsyncIterator[FormData]:
    async with request.form() as form:  # closes the files that came along
        yield form


FormDep = Annotated[FormData, Depends(_form)]


def texts(form: FormData) -> dict[str, list[str]]:
    """The fields of a form; files are left out. Line ends are those of our own text."""
    found: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            found.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return found


def read(model: type[T], form: FormData) -> T:
    """The form as the body of the REST route that does the same. Raises `Faulty`.

    Empty fields count as missing: browsers send every text field, filled or not.
    """
    given = {name: values for name, values in texts(form).items() if any(values)}
    body: dict[str, object] = {}
    for name, info in model.model_fields.items():
        if name in given:
            many = _is_list(info.annotation)
            body[name] = given[name] if many else given[name][0]
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise Faulty(
            [_fault(str(part["loc"][0]), part["type"], part["msg"]) for part in error.errors()]
        ) from error


def check_resolution(resolution: str, codes: Sequence[str], note: str) -> None:
    """Name the field that does not fit the decision; the service holds the rules themselves."""
    faults = []
    for code in codes:
        known = REASON_CODES.get(code)
        if known is not None and known.resolution != resolution:
            faults.append(
                Fault("reason_codes", f"“{known.title}” is a reason for {known.resolution.value}.")
            )
        elif known is not None and known.note_required and not note.strip():
            faults.append(Fault("note", f"“{known.title}” needs a note that says what was found."))
    if faults:
        raise Faulty(faults)


def sentence(text: str) -> str:
    """An error's words as a sentence of a page."""
    return f"{text[0].upper()}{text[1:]}."


def local_path(given: str | None) -> str:
    """A path of this console to go on to, or the start: never another site."""
    if not given or not given.startswith("/") or "\\" in given or not given.isprintable():
        return "/"
    parts = urlsplit(given)
    return given if not parts.scheme and not parts.netloc and not given.startswith("//") else "/"


def _is_list(annotation: object) -> bool:
    """Whether a field takes several values: a list, or a list or nothing."""
    return get_origin(annotation) is list or any(_is_list(part) for part in get_args(annotation))


def _fault(name: str, kind: str, message: str) -> Fault:
    empty = kind in {"missing", "too_short", "string_too_short", "enum"}
    known = _MESSAGES.get((name, "")) if empty else None
    return Fault(name, known or f"{name.replace('_', ' ').capitalize()}: {message}.")
