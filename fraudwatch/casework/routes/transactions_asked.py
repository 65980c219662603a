"""Asking for decisions: for payment systems that want to wait."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fraudwatch.casework import idempotency, replies
from fraudwatch.casework.asking import Asking, Question
from fraudwatch.casework.auth import Identity
from fraudwatch.casework.context import Services, SessionDep, open_session
from fraudwatch.casework.ledger import DecisionMessage
from fraudwatch.casework.params import KeyPath
from fraudwatch.casework.permissions import MayAsk, MayReadDecisions
from fraudwatch.casework.problems import problem_of, responses
from fraudwatch.casework.rate_limits import RateLimits
from fraudwatch.casework.replies import Answer, NotUsed, Taken
from fraudwatch.casework.schemas_asking import (
    ASKED,
    BatchOut,
    DecisionOut,
    DecisionReasonOut,
    ItemOut,
    PendingOut,
)
from fraudwatch.domain.transaction import Transaction, decode
from fraudwatch.errors import (
    Busy,
    Conflict,
    FraudwatchError,
    InputError,
    Invalid,
    NotFound,
    Unavailable,
)

MOST_ITEMS = 100
LONGEST_WAIT_MS = 10_000

router = APIRouter(prefix="/v1", tags=["asking"])

WaitMs = Annotated[
    int | None,
    Query(
        ge=0,
        le=LONGEST_WAIT_MS,
        description="How long to wait for the decision; `FRAUDWATCH_ASK_WAIT_MS` if absent.",
    ),
]
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=255,
        pattern=r"^[!-~]+$",
        description="The same key with another request is refused, for 24 hours.",
    ),
]
Outcome = DecisionOut | PendingOut | FraudwatchError


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    transactions: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]


_BATCHES = msgspec.json.Decoder(_Batch)


def _takes(schema: Mapping[str, Any], example: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a body that is read as bytes."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/transactions",
    operation_id="askDecision",
    summary="Ask for a decision",
    response_model=DecisionOut,
    responses={
        202: {"model": PendingOut, "description": "On the stream, not decided in time"},
        **responses(401, 403, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=_takes({"$ref": "#/components/schemas/Transaction"}, ASKED),
)
async def ask_decision(
    request: Request,
    caller: MayAsk,
    wait_ms: WaitMs = None,
    idempotency_key: IdempotencyKeyHeader = None,
) -> DecisionOut | Response:
    """Puts the transaction on the stream and waits for its decision.

    200: the decision, at once if it was made before. 202: the transaction is on the stream, and
    `link` will answer. The same transaction sent again, here or on the stream, has the same
    decision; other content under a known id is a conflict (409). After 503 it is not known whether
    the transaction is on the stream: send it again.
    """
    body = await _json_body(request)
    found = (await _ask(request, caller, [body], body, wait_ms, idempotency_key))[0]
    if isinstance(found, FraudwatchError):
        raise found
    if isinstance(found, PendingOut):
        headers = {"Location": found.link, "Retry-After": "1"}
        return JSONResponse(found.model_dump(), 202, headers)
    return found


@router.post(
    "/transactions/batch",
    operation_id="askDecisions",
    summary=f"Ask for up to {MOST_ITEMS} decisions",
    responses=responses(401, 403, 413, 415, 422, 429, 503),
    openapi_extra=_takes(
        {
            "type": "object",
            "required": ["transactions"],
            "additionalProperties": False,
            "properties": {
                "transactions": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MOST_ITEMS,
                    "items": {"$ref": "#/components/schemas/Transaction"},
                }
            },
        },
        {"transactions": [ASKED]},
    ),
)
async def ask_decisions(
    request: Request,
    caller: MayAsk,
    wait_ms: WaitMs = None,
    idempotency_key: IdempotencyKeyHeader = None,
) -> BatchOut:
    """The same for several: each has its own status, all wait together. 429 refuses all."""
    body = await _json_body(request)
    try:
        payloads = [bytes(item) for item in _BATCHES.decode(body).transactions]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the body must be an object with 1 to {MOST_ITEMS} transactions") from error
    found = await _ask(request, caller, payloads, body, wait_ms, idempotency_key)
    request_id = request.scope["request_id"]
    return BatchOut(items=[_item(outcome, request_id) for outcome in found])


@router.get(
    "/decisions/{transaction_id:path}",
    operation_id="readDecision",
    summary="Read a decision",
    responses=responses(401, 403, 404, 422),
)
def read_decision(
    transaction_id: KeyPath,
    _: MayReadDecisions,
    session: SessionDep,
    event_time: Annotated[
        datetime | None, Query(description="The transaction's own: makes finding it fast.")
    ] = None,
) -> DecisionOut:
    """What was decided, once it is; 404 before."""
    decision = replies.decision(session, transaction_id, event_time)
    if decision is None:
        raise NotFound("no decision on this transaction, or not yet")
    return _decision_out(decision)


async def _json_body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "application/json")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")
    return await request.body()


async def _ask(
    request: Request,
    caller: Identity,
    payloads: Sequence[bytes],
    body: bytes,
    wait_ms: int | None,
    key: str | None,
) -> list[Outcome]:
    """What became of each transaction, in order. Raises what refuses the request as a whole."""
    services: Services = request.app.state.services
    asking: Asking = request.app.state.asking
    if wait_ms is None:
        wait_ms = services.settings.ask_wait_ms
    until = time.monotonic() + wait_ms / 1000
    _respect_rate(request, caller, len(payloads))
    decoded = [_decoded(services, payload) for payload in payloads]
    if key is not None:
        await run_in_threadpool(_claim, services, caller, key, request.url.path, body, decoded)
    questions = iter(
        asked := asking.ask(
            [
                (transaction, payload)
                for transaction, payload in zip(decoded, payloads, strict=True)
                if isinstance(transaction, Transaction)
            ]
        )
    )
    try:
        await _wait(asked, until)
        return [
            _outcome(next(questions)) if isinstance(item, Transaction) else item for item in decoded
        ]
    finally:
        asking.leave(asked)


def _respect_rate(request: Request, caller: Identity, count: int) -> None:
    limits: RateLimits = request.app.state.rate_limits
    seconds = limits.take(caller.token_id or 0, count)
    if seconds == float("inf"):
        raise Invalid("the batch is larger than FRAUDWATCH_ASK_BURST: send smaller ones")
    if seconds:
        raise Busy("this token asks too often", retry_seconds=seconds)


def _decoded(services: Services, payload: bytes) -> Transaction | InputError:
    """The transaction, by the rules that the worker has."""
    settings = services.settings
    try:
        return decode(
            payload,
            now=services.clock.now(),
            max_bytes=settings.max_message_bytes,
            max_future_seconds=settings.max_future_seconds,
        )
    except InputError as error:
        return error


def _claim(
    services: Services,
    caller: Identity,
    key: str,
    path: str,
    body: bytes,
    decoded: Sequence[Transaction | InputError],
) -> None:
    sha256 = hashlib.sha256(path.encode() + b"\n" + body).digest()
    ids = [item.transaction_id for item in decoded if isinstance(item, Transaction)]
    if ids:
        with open_session(services) as session:
            idempotency.claim(session, caller.actor.user_id, key, sha256, ids, services.clock.now())


async def _wait(questions: Sequence[Question], until: float) -> None:
    """Until all are answered, or the time is over."""
    answers = [asyncio.wrap_future(question.answer) for question in questions]
    if answers:
        _, late = await asyncio.wait(answers, timeout=max(0.0, until - time.monotonic()))
        for answer in late:
            answer.cancel()


def _outcome(question: Question) -> Outcome:
    if not question.answer.done():
        if question.sent:
            return PendingOut(
                transaction_id=question.transaction.transaction_id,
                link=_link(question.transaction.transaction_id, question.transaction.event_time),
            )
        return Unavailable("the stream did not take the transaction in time")
    error = question.answer.exception()
    if isinstance(error, FraudwatchError):
        return error
    return _answered(question.answer.result())


def _answered(answer: Answer) -> Outcome:
    if isinstance(answer, Taken):
        return Conflict(
            "another transaction was decided under this id",
            {
                "transaction_id": answer.transaction_id,
                "link": _link(answer.transaction_id, answer.event_time),
            },
        )
    if isinstance(answer, NotUsed):
        return InputError(answer.reason, answer.field, answer.detail)
    return _decision_out(answer.decision)


def _link(transaction_id: str, event_time: datetime) -> str:
    moment = event_time.isoformat().replace("+00:00", "Z")
    return f"/v1/decisions/{quote(transaction_id, safe='')}?{urlencode({'event_time': moment})}"


def _decision_out(decision: DecisionMessage) -> DecisionOut:
    return DecisionOut.model_validate(
        {name: getattr(decision, name) for name in DecisionOut.model_fields if name != "reasons"}
        | {
            "reasons": [
                DecisionReasonOut(feature=reason.feature, sentence=reason.sentence)
                for reason in decision.reasons
            ]
        }
    )


def _item(outcome: Outcome, request_id: str) -> ItemOut:
    if isinstance(outcome, DecisionOut):
        return ItemOut(status=200, decision=outcome)
    if isinstance(outcome, PendingOut):
        return ItemOut(status=202, pending=outcome)
    found = problem_of(outcome).model_copy(update={"request_id": request_id})
    return ItemOut(status=found.status, problem=found)
