"""Settings, all from the environment (`FRAUDWATCH_…`). Each is described in docs/settings.md."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fraudwatch.errors import ConfigurationError

PREFIX = "FRAUDWATCH_"


class Settings(BaseSettings):
    """One flat list. Secrets have no defaults: the demo makes its own, others must give them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    data_dir: Path = Field(
        Path(".fraudwatch"),
        description="Folder for the embedded database, model bundles and stream files.",
    )
    database_url: str = Field(
        "", description="PostgreSQL URL (`postgresql://…`). Empty: the embedded server in data_dir."
    )
    stream_url: str = Field(
        "",
        description="`kafka://host:port[,host:port]` or `file:///folder`. "
        "Empty: `data_dir/stream`.",
    )
    topic_transactions: str = Field("transactions", description="Topic of transactions to decide.")
    topic_labels: str = Field(
        "fraudwatch.labels", description="Topic that late truth (chargebacks) comes from."
    )
    topic_decisions: str = Field("fraudwatch.decisions", description="Topic of every decision.")
    topic_outcomes: str = Field(
        "fraudwatch.outcomes", description="Topic of what people decided: release or decline."
    )
    topic_dead_letters: str = Field(
        "fraudwatch.dead-letters", description="Topic of messages that could not be used."
    )
    topic_audit_heads: str = Field(
        "fraudwatch.audit-heads", description="Topic that the heads of the audit log leave by."
    )
    partitions: int = Field(
        4, ge=1, le=1024, description="Partitions of topics that `fraudwatch topics` creates."
    )
    replication: int = Field(1, ge=1, le=7, description="Replicas of topics that are created.")
    min_isr: int = Field(
        1,
        ge=1,
        le=7,
        description="Replicas in sync that a message needs to be taken, of topics that are "
        "created. At most `replication`.",
    )
    stream_retention_days: float = Field(
        14, gt=0, description="How long Kafka keeps transactions and decisions."
    )
    stream_rare_retention_days: float = Field(
        90, gt=0, description="How long Kafka keeps labels, outcomes and dead letters."
    )
    audit_heads_retention_days: float = Field(
        400, gt=0, description="How long Kafka keeps the heads of the audit log."
    )
    audit_heads_seconds: float = Field(
        60, gt=0, description="How often the heads of the audit log leave, while it grows."
    )
    audit_heads_file: str = Field(
        "",
        description="A file that the API adds these heads to as well, best where the database's "
        "operator cannot write. Empty: none.",
    )
    consumer_group: str = Field("fraudwatch", description="Kafka consumer group of the workers.")
    worker_id: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,200}$",
        description="Static member id of a worker, its own for each. Empty: a dynamic member.",
    )
    session_seconds: float = Field(
        45,
        ge=6,
        le=1800,
        description="A worker silent for this long loses its partitions; one with a worker_id "
        "that is back before then keeps them.",
    )
    watchdog_seconds: float = Field(
        30,
        ge=0,
        description="A worker without a sign of life for this long writes down where it hangs and "
        "ends, to be started again. 0: never.",
    )
    kafka_security_protocol: str = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."
    )
    kafka_ca_file: str = Field(
        "",
        description="Certificates (PEM) of the authorities that brokers are trusted by. "
        "Empty: the system's.",
    )
    kafka_cert_file: str = Field(
        "", description="Our certificate (PEM) for brokers that ask for one (mTLS)."
    )
    kafka_key_file: str = Field(
        "", description="Its key (PEM). Empty: it stands in the certificate's file."
    )
    kafka_key_password: SecretStr = Field(SecretStr(""), description="Password of that key.")
    kafka_sasl_mechanism: str = Field(
        "", description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."
    )
    kafka_username: str = Field("", description="User name for PLAIN and SCRAM.")
    kafka_password: SecretStr = Field(SecretStr(""), description="Password for PLAIN and SCRAM.")
    kafka_password_file: str = Field("", description="A file with that password, instead.")
    kafka_oauth_token_url: str = Field(
        "", description="Token endpoint for OAUTHBEARER (client credentials), `https://…`."
    )
    kafka_oauth_client_id: str = Field("", description="Client id at that endpoint.")
    kafka_oauth_client_secret: SecretStr = Field(
        SecretStr(""), description="Client secret at that endpoint."
    )
    kafka_oauth_client_secret_file: str = Field("", description="A file with that secret, instead.")
    kafka_oauth_scope: str = Field("", description="Scope to ask for, if the endpoint wants one.")
    kafka_oauth_ca_file: str = Field(
        "",
        description="Certificates (PEM) that the endpoint is trusted by. Empty: the system's.",
    )
    key_hash: Literal["murmur2", "other"] = Field(
        "murmur2",
        description="How producers choose an account's partition. `murmur2` is Kafka's own way; an "
        "account that comes elsewhere gives an alarm. `other`: no check, and partitions cannot "
        "be added.",
    )
    batch_rows: int = Field(5000, ge=1, le=50_000, description="Most transactions in one batch.")
    dead_letter_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of bad messages (of the last 1,000) that stops a worker.",
    )
    dead_letter_consecutive: int = Field(
        200, ge=1, description="Bad messages in a row, per partition, that stop a worker."
    )
    max_message_bytes: int = Field(
        65_536, ge=256, description="A larger transaction message becomes a dead letter."
    )
    max_future_seconds: float = Field(
        300, ge=0, description="How far ahead of our clock an event time may be."
    )
    snapshot_rows: int = Field(
        200_000,
        ge=1,
        description="Rows between two snapshots of an account's state; at least one per account.",
    )
    archive_dir: str = Field(
        "",
        description="Folder of the ledger's archive, under the same path wherever fraudwatch runs. "
        "Empty: `data_dir/archive`.",
    )
    ledger_days: int = Field(
        0,
        ge=0,
        description="Days that `fraudwatch ledger archive` leaves in the database. 0: all of them.",
    )
    archive_days: int = Field(
        0,
        ge=0,
        description="Days after which `fraudwatch ledger archive` deletes files of the archive. "
        "0: never.",
    )
    ask_wait_ms: int = Field(
        300,
        ge=0,
        le=10_000,
        description="How long `POST /v1/transactions` waits for the decision, unless it says.",
    )
    request_rate: float = Field(
        200,
        gt=0,
        description="Requests a second that one session or token may send, in each API process.",
    )
    request_burst: int = Field(
        1000, ge=1, description="Requests that one session or token may send at once."
    )
    ask_rate: float = Field(
        200,
        gt=0,
        description="Transactions a second that one token may ask about, in each API process.",
    )
    ask_burst: int = Field(
        400, ge=1, description="Transactions that one token may ask about at once."
    )
    ask_most_waiting: int = Field(
        1000, ge=1, description="Transactions that may wait in one API process; beyond: 429."
    )
    ask_most_lag: int = Field(
        20_000,
        ge=1,
        description="Messages not read yet in one partition, beyond which asking is refused (429).",
    )
    retain_notes_days: int = Field(
        0,
        ge=0,
        description="Days after which `fraudwatch privacy retain` empties the notes of a closed "
        "case. 0: never.",
    )
    retain_sessions_days: int = Field(
        30, ge=0, description="Days after which it deletes sessions that have ended. 0: never."
    )
    retain_looks_days: int = Field(
        0, ge=0, description="Days after which it deletes looks at personal data. 0: never."
    )
    retain_audit_days: int = Field(
        0, ge=0, description="Days after which it deletes rows of the audit log. 0: never."
    )
    webhook_networks: str = Field(
        "",
        description="Networks besides the public internet, with commas between, that webhooks may "
        "go to, e.g. `10.1.0.0/16`. There also without TLS.",
    )
    webhook_seconds: float = Field(
        10, gt=0, le=60, description="How long a webhook's receiver may take to answer."
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port that the API listens on.")
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Port of the worker's /metrics on 127.0.0.1. 0: none."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of the worker's /metrics.")
    secret_key: SecretStr = Field(
        SecretStr(""),
        description="Key of the blind-spot draw and of pseudonyms (32 characters or more). "
        "Required outside the demo, which makes its own in data_dir.",
    )
    session_hours: float = Field(10, gt=0, description="Absolute life of a console session.")
    session_idle_minutes: float = Field(30, gt=0, description="A session idle for longer ends.")
    second_factor_roles: str = Field(
        "",
        description="Roles, with commas between, whose people must have a second factor: without "
        "one they can do nothing but set it up. People of a provider are its business.",
    )
    public_url: str = Field(
        "",
        description="Where browsers reach the console, e.g. `https://fraud.example.org`. Needed by "
        "sign-in with a provider.",
    )
    oidc_issuer: str = Field(
        "",
        description="Issuer of OpenID Connect that people may sign in with, `https://…`, exactly "
        "as the provider writes it. Empty: passwords alone ([sign-in](sign-in.md)).",
    )
    oidc_client_id: str = Field("", description="Our client id at the provider.")
    oidc_client_secret: SecretStr = Field(
        SecretStr(""), description="Our client secret at the provider."
    )
    oidc_client_secret_file: str = Field("", description="A file with that secret, instead.")
    oidc_label: str = Field("the provider", description="What the sign-in page calls the provider.")
    oidc_scopes: str = Field("openid profile", description="Scopes to ask the provider for.")
    oidc_name_claim: str = Field(
        "preferred_username", description="Claim that holds the name of a new user."
    )
    oidc_role_claim: str = Field(
        "groups",
        description="Claim of the id token that holds a person's groups; dots lead into it, e.g. "
        "`realm_access.roles`.",
    )
    oidc_roles: str = Field(
        "",
        description="Which group gives which role, `group=role,…`. The first that a person is in "
        "counts; without one they are refused.",
    )
    oidc_units_claim: str = Field(
        "",
        description="Claim that holds a person's units, `*` for all; without one they are refused. "
        "Empty: administrators set units here.",
    )
    oidc_ca_file: str = Field(
        "",
        description="Certificates (PEM) that the provider is trusted by. Empty: the system's.",
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="Addresses or networks, with commas between, of proxies whose "
        "`X-Forwarded-For` is believed: sign-in counts wrong passwords by address.",
    )
    unit_attribute: str = Field(
        "",
        description="Attribute of transactions that names the institution's unit, for people who "
        "see the cases of their units alone. Empty: cases have no unit.",
    )
    first_judgement_queues: str = Field(
        "",
        description="Queues, with commas between, in which the machine's outcome and risk are "
        "hidden until whoever works on the case has given a first judgement. `*`: all.",
    )
    search_rate: float = Field(
        1, gt=0, description="Searches a second that one person may make, in each API process."
    )
    search_burst: int = Field(20, ge=1, description="Searches that one person may make at once.")
    lease_minutes: float = Field(15, gt=0, description="How long a claim holds without renewal.")
    cookie_secure: bool = Field(
        True, description="Send cookies over HTTPS only (browsers exempt localhost)."
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @property
    def judge_first(self) -> frozenset[str]:
        """The queues of `first_judgement_queues`."""
        return frozenset(filter(None, map(str.strip, self.first_judgement_queues.split(","))))

    @property
    def attachments_dir(self) -> Path:
        """Folder of files that belong to cases, by their hash. No web server may serve it."""
        return self.data_dir / "attachments"

    @property
    def archive_folder(self) -> Path:
        """Folder of the ledger's archive."""
        return Path(self.archive_dir) if self.archive_dir else self.data_dir / "archive"

    @property
    def models_dir(self) -> Path:
        """Folder of model bundles, one sub-folder each."""
        return self.data_dir / "models"

    @property
    def stream(self) -> tuple[str, str]:
        """`("kafka", "host:port,…")` or `("file", "/folder")`."""
        if not self.stream_url:
            return "file", str((self.data_dir / "stream").resolve())
        parts = urlsplit(self.stream_url)
        if parts.scheme == "kafka" and parts.netloc:
            return "kafka", parts.netloc
        if parts.scheme == "file" and parts.path and not parts.netloc:
            return "file", parts.path
        raise ConfigurationError(
            "FRAUDWATCH_STREAM_URL must be kafka://host:port[,host:port] or file:///folder"
        )

    def require_secret(self) -> bytes:
        """The secret key, or a `ConfigurationError` that says how to make one."""
        value = self.secret_key.get_secret_value()
        if len(value) < 32:
            raise ConfigurationError(
                "FRAUDWATCH_SECRET_KEY must have 32 characters or more; make one with "
                "`python -c 'import secrets; print(secrets.token_hex(32))'`"
            )
        return value.encode()


def load_settings(**overrides: object) -> Settings:
    """Read the environment. A wrong value, or a variable that is no setting, becomes a
    `ConfigurationError` naming the variable."""
    faults = unknown_variables(os.environ)
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        faults += [
            f"{_variable('_'.join(map(str, e['loc'])))}: {e['msg']}"
            for e in error.errors(include_input=False)
        ]
    if faults:
        raise ConfigurationError(f"settings: {'; '.join(faults)} (see docs/settings.md)")
    return settings


def unknown_variables(names: Iterable[str]) -> list[str]:
    """What is wrong with variables that look like settings and are none: a mistyped one would
    otherwise leave the default in force, without a word. Upper and lower case are the same."""
    faults = []
    for name in sorted(names):
        field = name.lower().removeprefix(PREFIX.lower())
        if name.upper().startswith(PREFIX) and field not in Settings.model_fields:
            near = get_close_matches(field, Settings.model_fields, 1)
            advice = f", did you mean {_variable(near[0])}?" if near else ": unset it"
            faults.append(f"{name} is no setting{advice}")
    return faults


def _variable(field: str) -> str:
    return f"{PREFIX}{field}".upper()
