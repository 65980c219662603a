"""Files that belong to a case: what may come in, where it lies, who gets it out again.

A file's type is found from its content and must agree with the end of its name; nothing else is
believed. The content lies in a folder that no web server serves, under its SHA-256, and is checked
against it whenever it is read. It goes out only as something to be saved, never to be shown.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fraudwatch.casework.case_rows import Act, begin, log, tell
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Attachment, Case
from fraudwatch.errors import Conflict, Invalid, NotAllowed, NotFound, Unavailable

MOST_BYTES = 10 * 2**20
MOST_FILES = 50  # of one case
_LONGEST_NAME = 120

_BEGINNINGS = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
)
_ENDINGS = {
    "application/pdf": {"pdf"},
    "image/png": {"png"},
    "image/jpeg": {"jpg", "jpeg"},
    "text/plain": {"txt", "csv", "log"},
}
_ACTIVE_PDF = re.compile(rb"/(JavaScript|JS|Launch|EmbeddedFile|OpenAction|XFA)\b")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")


class PersonalNeeded(NotAllowed):
    """Files hold personal data, and this reader sees those masked."""

    code = "personal-data"


@dataclass(frozen=True, slots=True)
class FileStore:
    """Files by their hash, below a folder. Written once, never changed."""

    folder: Path

    def put(self, content: bytes) -> str:
        """Write the content, unless it is there; its SHA-256. Durable when this returns."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._path(sha256)
        if path.exists():
            return sha256
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f"{sha256}.{secrets.token_hex(4)}.part")
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        return sha256

    def get(self, sha256: str) -> bytes:
        """The content. Raises `Unavailable` where it is missing or is not what was written."""
        try:
            content = self._path(sha256).read_bytes()
        except OSError as error:
            raise Unavailable(f"attachments: {sha256[:12]} cannot be read") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Unavailable(f"attachments: {sha256[:12]} is not what was written")
        return content

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256


def add(
    session: Session,
    case_id: int,
    act: Act,
    lens: Lens,
    store: FileStore,
    name: str,
    content: bytes,
) -> Attachment:
    """Add a file to a case. Raises `Invalid` for what may not come in, `Conflict` for a file that
    the case has, or when it has `MOST_FILES`."""
    _require_personal(lens)
    name = checked_name(name)
    media_type = checked_type(name, content)
    case = begin(session, case_id, act)
    sha256 = hashlib.sha256(content).hexdigest()
    _check_room(session, case, sha256)
    store.put(content)
    row = Attachment(
        case_id=case.id,
        name=name,
        media_type=media_type,
        size=len(content),
        sha256=sha256,
        added_by=act.actor.user_id,
        added_at=act.now,
    )
    session.add(row)
    case.version += 1
    case.updated_at = act.now
    session.flush()
    tell(session, case, act, "attached", {"text": name, "attachment_id": row.id})
    # Without the name, which may tell of a person.
    log(session, case, act, "attach", {"id": row.id, "sha256": sha256, "size": len(content)})
    return row


def find(session: Session, lens: Lens, case_id: int, attachment_id: int) -> Attachment:
    """The row of a file. Raises `NotFound`, or `PersonalNeeded`."""
    row = session.scalar(
        select(Attachment)
        .join(Case, Case.id == Attachment.case_id)
        .where(Attachment.id == attachment_id, Attachment.case_id == case_id)
    )
    if row is None:
        raise NotFound("there is no such file")
    _require_personal(lens)
    return row


def checked_name(name: str) -> str:
    """The last part of the name, of plain characters. Raises `Invalid`."""
    last = re.split(r"[/\\]", name)[-1]
    kept = re.sub(r"[^\w.,()+ -]", "_", last).strip(" .")
    if "." not in kept or len(kept) > _LONGEST_NAME:
        raise Invalid(f"a file needs a name with an ending, of at most {_LONGEST_NAME} characters")
    return kept


def checked_type(name: str, content: bytes) -> str:
    """The type found in the content. Raises `Invalid` for any other than PDF, PNG, JPEG and plain
    text, for a name that says otherwise, and for a PDF that does things when it is opened."""
    if not content:
        raise Invalid("the file is empty")
    if len(content) > MOST_BYTES:
        raise Invalid(f"a file has at most {MOST_BYTES // 2**20} MiB")
    found = next((kind for begin, kind in _BEGINNINGS if content.startswith(begin)), None)
    if found is None and _is_text(content):
        found = "text/plain"
    if found is None:
        raise Invalid("files are PDF, PNG, JPEG or plain text (UTF-8)")
    if name.rpartition(".")[2].lower() not in _ENDINGS[found]:
        raise Invalid(f"the name does not go with the content, which is {found}")
    if found == "application/pdf" and _ACTIVE_PDF.search(content):
        raise Invalid("the PDF holds a script, a form or a file: print it to a plain one")
    return found


def _is_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _CONTROL.search(text) is None


def _check_room(session: Session, case: Case, sha256: str) -> None:
    count, same = session.execute(
        select(func.count(), func.count().filter(Attachment.sha256 == sha256)).where(
            Attachment.case_id == case.id
        )
    ).one()
    if same:
        raise Conflict("the case has this file already")
    if count >= MOST_FILES:
        raise Conflict(f"a case has at most {MOST_FILES} files")


def _require_personal(lens: Lens) -> None:
    if not lens.personal:
        raise PersonalNeeded("files hold personal data: this needs personal:read")
