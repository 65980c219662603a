"""What reading from and writing to Kafka share: the client below both, and its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    RetriableError,
    SaslAuthenticationFailedError,
)
from kafka.net.compat import KafkaNetClient

from fraudwatch.errors import ConfigurationError, Unavailable


def make_client(**options: object) -> KafkaNetClient:
    """A client that never creates a topic by naming it, as kafka-python does by default."""
    client = KafkaNetClient(**options)
    client.cluster.config["allow_auto_create_topics"] = False
    return client


class ClientFactory:
    """Makes the clients that consumers, producers and admins ask for, and can close them: when
    one of those fails in its constructor, its client's thread and sockets would live on.
    """

    def __init__(self) -> None:
        self.made: list[KafkaNetClient] = []

    def __call__(self, **options: object) -> KafkaNetClient:
        self.made.append(make_client(**options))
        return self.made[-1]

    @property
    def connected(self) -> bool:
        """Whether any broker is connected. Brokers that are frozen count until a request fails."""
        return any(
            client.connected(broker.node_id)
            for client in self.made
            for broker in client.cluster.brokers()
        )

    @contextmanager
    def closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            for client in self.made:
                client.close()
            raise


@contextmanager
def kafka_errors(bootstrap: str) -> Iterator[None]:
    """What passes by itself becomes `Unavailable`, what the operator must mend
    `ConfigurationError`; the rest stays what it is and ends the worker."""
    try:
        yield
    except FencedInstanceIdError as error:
        raise ConfigurationError(
            "another worker runs with the same FRAUDWATCH_WORKER_ID; give each its own"
        ) from error
    except (AuthorizationError, SaslAuthenticationFailedError) as error:
        raise ConfigurationError(f"Kafka at {bootstrap} refuses us: {error}") from error
    except (RetriableError, OSError) as error:
        raise Unavailable(f"Kafka at {bootstrap}: {error}") from error
