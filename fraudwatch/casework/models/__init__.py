"""The database's tables. Relations load only when asked (`lazy="raise"`)."""

from fraudwatch.casework.models.audit import LookRow, PendingChange, PendingLook
from fraudwatch.casework.models.base import Base
from fraudwatch.casework.models.cases import (
    OPEN_STATUSES,
    TAKES_ALERTS,
    Alert,
    Case,
    CaseEvent,
    LabelRow,
    OutcomeRow,
)
from fraudwatch.casework.models.decisions import CaseDecision, CaseLink, CaseworkRules, Dispute
from fraudwatch.casework.models.details import (
    AlertTrace,
    Attachment,
    CallBrief,
    CaseSight,
    CaseWatcher,
    FirstJudgement,
    Mention,
)
from fraudwatch.casework.models.layouts import Decider, TopicLayout
from fraudwatch.casework.models.ledger import (
    ArchivedOffsets,
    KeptRow,
    LedgerArchive,
    LedgerOffsets,
    LedgerRow,
    LedgerTableRow,
    ScoredTransaction,
)
from fraudwatch.casework.models.people import (
    ApiToken,
    AuditRow,
    KnownDevice,
    ProviderSignIn,
    RecoveryCode,
    SignInSource,
    User,
    UserSession,
)
from fraudwatch.casework.models.queues import QueueMember, QueueRulesRow, QueueWorker, SavedView
from fraudwatch.casework.models.requests import IdempotencyKey
from fraudwatch.casework.models.steering import ModelRow, PolicyRow
from fraudwatch.casework.models.stream import (
    DeadLetter,
    DeadLetterAccept,
    DeadLetterReplay,
    OutboxRow,
    ProfileVersion,
    Snapshot,
    StreamGap,
    StreamOffset,
)
from fraudwatch.casework.models.webhooks import WebhookDelivery, WebhookEndpoint

__all__ = [
    "OPEN_STATUSES",
    "TAKES_ALERTS",
    "Alert",
    "AlertTrace",
    "ApiToken",
    "ArchivedOffsets",
    "Attachment",
    "AuditRow",
    "Base",
    "CallBrief",
    "Case",
    "CaseDecision",
    "CaseEvent",
    "CaseLink",
    "CaseSight",
    "CaseWatcher",
    "CaseworkRules",
    "DeadLetter",
    "DeadLetterAccept",
    "DeadLetterReplay",
    "Decider",
    "Dispute",
    "FirstJudgement",
    "IdempotencyKey",
    "KeptRow",
    "KnownDevice",
    "LabelRow",
    "LedgerArchive",
    "LedgerOffsets",
    "LedgerRow",
    "LedgerTableRow",
    "LookRow",
    "Mention",
    "ModelRow",
    "OutboxRow",
    "OutcomeRow",
    "PendingChange",
    "PendingLook",
    "PolicyRow",
    "ProfileVersion",
    "ProviderSignIn",
    "QueueMember",
    "QueueRulesRow",
    "QueueWorker",
    "RecoveryCode",
    "SavedView",
    "ScoredTransaction",
    "SignInSource",
    "Snapshot",
    "StreamGap",
    "StreamOffset",
    "TopicLayout",
    "User",
    "UserSession",
    "WebhookDelivery",
    "WebhookEndpoint",
]
