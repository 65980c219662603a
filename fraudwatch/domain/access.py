"""Who may do what: named permissions, and roles as sets of them. Closed by default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """One right. Each route, page and topic names the one it needs."""

    CASES_READ = "cases:read"
    CASES_WORK = "cases:work"  # claim, note, resolve
    CASES_REOPEN = "cases:reopen"
    CASES_REASSIGN = "cases:reassign"  # end another person's claim, or take it over
    CASES_ESCALATED = "cases:escalated"  # take what others escalated or disagree about
    QUEUES_MANAGE = "queues:manage"  # rules of queues, who works in them
    BOARD_READ = "board:read"  # open work, and throughput by person
    DISPUTES_WRITE = "disputes:write"  # open disputes for customers and read how they stand
    TRANSACTIONS_READ = "transactions:read"
    TRANSACTIONS_WRITE = "transactions:write"  # ask for decisions
    PERSONAL_READ = "personal:read"  # see account, device and address data unmasked
    PERSONAL_UNMASK = "personal:unmask"  # see one masked field, with a reason
    LABELS_WRITE = "labels:write"  # truth from outside, e.g. chargebacks
    POLICIES_READ = "policies:read"
    POLICIES_PROPOSE = "policies:propose"
    POLICIES_ACTIVATE = "policies:activate"
    MODELS_READ = "models:read"
    MODELS_PROMOTE = "models:promote"
    AUDIT_READ = "audit:read"
    USERS_READ = "users:read"
    USERS_MANAGE = "users:manage"
    DEAD_LETTERS_READ = "dead-letters:read"
    DEAD_LETTERS_REVEAL = "dead-letters:reveal"  # see the bytes of one, with a reason
    DEAD_LETTERS_REPLAY = "dead-letters:replay"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_MANAGE = "webhooks:manage"
    METRICS_READ = "metrics:read"


class Role(StrEnum):
    """What a person or service does here."""

    ANALYST = "analyst"
    SENIOR = "senior"
    RISK_OFFICER = "risk_officer"
    AUDITOR = "auditor"
    SERVICE = "service"
    PAYMENT_SYSTEM = "payment_system"
    CUSTOMER_PORTAL = "customer_portal"
    ADMIN = "admin"


SERVICES = frozenset({Role.SERVICE, Role.PAYMENT_SYSTEM, Role.CUSTOMER_PORTAL})
"""Roles of programs: they sign in with tokens and decide no case."""

_READ = {Permission.CASES_READ, Permission.TRANSACTIONS_READ}
_ANALYST = _READ | {Permission.CASES_WORK, Permission.PERSONAL_READ}

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ANALYST: frozenset(_ANALYST),
    Role.SENIOR: frozenset(
        _ANALYST
        | {
            Permission.CASES_REOPEN,
            Permission.CASES_REASSIGN,
            Permission.CASES_ESCALATED,
            Permission.QUEUES_MANAGE,
            Permission.BOARD_READ,
        }
    ),
    Role.RISK_OFFICER: frozenset(
        _READ
        | {
            Permission.QUEUES_MANAGE,
            Permission.BOARD_READ,
            Permission.POLICIES_READ,
            Permission.POLICIES_PROPOSE,
            Permission.POLICIES_ACTIVATE,
            Permission.MODELS_READ,
            Permission.MODELS_PROMOTE,
            Permission.DEAD_LETTERS_READ,
            Permission.DEAD_LETTERS_REVEAL,
            Permission.DEAD_LETTERS_REPLAY,
            Permission.METRICS_READ,
            Permission.PERSONAL_UNMASK,
        }
    ),
    Role.AUDITOR: frozenset(
        _READ
        | {
            Permission.BOARD_READ,
            Permission.POLICIES_READ,
            Permission.MODELS_READ,
            Permission.AUDIT_READ,
            Permission.WEBHOOKS_READ,
            Permission.USERS_READ,
            Permission.DEAD_LETTERS_READ,
            Permission.METRICS_READ,
            Permission.PERSONAL_UNMASK,
        }
    ),
    Role.SERVICE: frozenset(
        {Permission.TRANSACTIONS_READ, Permission.LABELS_WRITE, Permission.METRICS_READ}
    ),
    Role.PAYMENT_SYSTEM: frozenset({Permission.TRANSACTIONS_WRITE}),
    Role.CUSTOMER_PORTAL: frozenset({Permission.DISPUTES_WRITE}),
    Role.ADMIN: frozenset(
        {
            Permission.USERS_READ,
            Permission.USERS_MANAGE,
            Permission.AUDIT_READ,
            Permission.WEBHOOKS_READ,
            Permission.WEBHOOKS_MANAGE,
        }
    ),
}


class Hurdle(StrEnum):
    """What a person must do, once signed in, before they hold any permission."""

    CODE = "second-factor"  # give the code of the second factor
    PASSWORD = "password-change"  # noqa: S105 - choose a password of their own
    ENROL = "second-factor-enrolment"  # set up a second factor, which their role must have


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts: a person or a service, with the permissions of this request."""

    user_id: int
    name: str
    role: Role
    person: bool
    permissions: frozenset[Permission]
    units: frozenset[str] | None = None  # of the institution, whose cases they see; None: all

    def may(self, permission: Permission) -> bool:
        """Whether the actor holds the permission."""
        return permission in self.permissions
