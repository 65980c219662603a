"""Settings, all from the environment (`FRAUDWATCH_…`). Each is described in docs/settings.md."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fraudwatch.errors import ConfigurationError


class Settings(BaseSettings):
    """One flat list. Secrets have no defaults: the demo makes its own, others must give them."""

    model_config = SettingsConfigDict(env_prefix="FRAUDWATCH_", extra="ignore", frozen=True)

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
    partitions: int = Field(
        4, ge=1, le=1024, description="Partitions of topics that `fraudwatch topics` creates."
    )
    replication: int = Field(1, ge=1, le=7, description="Replicas of topics that are created.")
    consumer_group: str = Field("fraudwatch", description="Kafka consumer group of the workers.")
    worker_id: str = Field("", description="Static member id of a worker. Empty: a dynamic member.")
    batch_rows: int = Field(2000, ge=1, le=50_000, description="Most transactions in one batch.")
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
        200_000, ge=1, description="Rows between two snapshots of a partition's account state."
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
    lease_minutes: float = Field(15, gt=0, description="How long a claim holds without renewal.")
    cookie_secure: bool = Field(
        True, description="Send cookies over HTTPS only (browsers exempt localhost)."
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")

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
    """Read the environment; a wrong value becomes a `ConfigurationError` naming the variable."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(
            f"FRAUDWATCH_{'_'.join(str(p) for p in e['loc']).upper()}: {e['msg']}"
            for e in error.errors(include_input=False)
        )
        raise ConfigurationError(f"settings: {faults} (see docs/settings.md)") from None
