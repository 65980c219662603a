"""For those who run it: liveness, readiness, metrics, the API's description."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import func, select

from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.db import require_schema
from fraudwatch.casework.models import Case
from fraudwatch.casework.permissions import PUBLIC, MayReadMetrics
from fraudwatch.casework.problems import problem, respond, responses
from fraudwatch.casework.schemas import Health
from fraudwatch.domain.case import OPEN
from fraudwatch.errors import ConfigurationError
from fraudwatch.telemetry import OPEN_CASES, REGISTRY

router = APIRouter(tags=["operations"])


@router.get("/health", operation_id="health", summary="Is it alive", dependencies=[PUBLIC])
def health() -> Health:
    """The process answers. Nothing else is looked at: a restart would not help it."""
    return Health(status="ok")


@router.get(
    "/ready",
    operation_id="ready",
    summary="Can it work",
    response_model=Health,
    responses=responses(503),
    dependencies=[PUBLIC],
)
def ready(request: Request, services: ServicesDep) -> Health | Response:
    """The database answers and its schema is the one of this program."""
    try:
        require_schema(services.engine)
    except ConfigurationError as error:
        return respond(request, problem(503, "schema", str(error)))
    return Health(status="ready")


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses=responses(401, 403),
)
def metrics(_: MayReadMetrics, session: SessionDep) -> Response:
    """Prometheus text; send an API token as `Authorization: Bearer`."""
    rows = session.execute(
        select(Case.status, func.count().label("cases"))
        .where(Case.status.in_(OPEN))
        .group_by(Case.status)
    )
    counts = {row.status: row.cases for row in rows}
    for status in OPEN:
        OPEN_CASES.labels(status.value).set(counts.get(status, 0))
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


@router.get("/openapi.json", include_in_schema=False, dependencies=[PUBLIC], operation_id="openapi")
def openapi(request: Request) -> dict[str, Any]:
    """The description of this API."""
    described: dict[str, Any] = request.app.openapi()
    return described
