"""Asking the stream: transactions go onto it, and their decisions come back to who waits.

One way in: what is asked here is decided by the worker that decides everything else. This process
only puts the transaction on the stream and looks in the ledger.

Two threads do that for all requests of a process, so that a request waits without a thread and
without a database connection:

- the **sender** takes all questions that have come in since its last turn, answers those that the
  ledger knows, and publishes the rest in one call: under load batches form by themselves, alone a
  question waits for nobody;
- the **listener** is woken by the worker's commit (`fraudwatch.casework.replies`), looks all
  waiting transactions up in one query and answers. It also looks every `LOOK_SECONDS` while
  somebody waits, so a lost notification costs time and no answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import cast

import psycopg
from sqlalchemy import Connection, Engine, text

from fraudwatch.casework import replies
from fraudwatch.casework.backlog import Backlog
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.kept_connections import always_look_up_by_index
from fraudwatch.casework.replies import Answer
from fraudwatch.domain.transaction import Transaction, encode
from fraudwatch.errors import Busy, ConfigurationError, FraudwatchError, Unavailable
from streams.source import Message, Publisher

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
RETRY_SECONDS = 0.5
_LAG_RETRY_SECONDS = 5.0
IDLE_SECONDS = 0.2


@dataclass(eq=False, slots=True)
class Question:
    """A transaction that requests wait for. `answer` is set once, or the error that came up.

    `sent` once the message is on the stream for sure.
    """

    digest: str
    transaction: Transaction
    payload: bytes
    answer: Future[Answer] = field(default_factory=Future)
    sent: bool = False
    waiters: int = 0


class Asking:
    """All questions of one process. Thread-safe; the threads start with the first question."""

    def __init__(
        self,
        *,
        engine: Engine,
        publisher: Publisher,
        topic: str,
        most_waiting: int,
        backlog: Backlog,
        most_lag: int,
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._topic = topic
        self._most_waiting = most_waiting
        self._backlog = backlog
        self._most_lag = most_lag
        self._changed = threading.Condition()
        self._waiting: dict[str, Question] = {}  # by digest
        self._unsent: list[Question] = []
        self._threads: list[threading.Thread] = []
        self._closing = False

    def waiting(self) -> int:
        """How many transactions wait for an answer."""
        return len(self._waiting)

    def ask(self, asked: Sequence[tuple[Transaction, bytes]]) -> list[Question]:
        """Wait for the decisions of transactions, each with its message as it came.

        The same content asked again while it waits is the same question. Call `leave` when the
        answers are no longer waited for. Raises `Busy` when too many wait or the workers are too
        far behind; none is asked then.
        """
        if self._backlog.largest() > self._most_lag:
            raise Busy("the workers are too far behind", retry_seconds=_LAG_RETRY_SECONDS)
        digests = [replies.digest(encode(transaction)) for transaction, _ in asked]
        with self._changed:
            if self._closing:
                raise Unavailable("this process is stopping")
            if len(self._waiting) + len(asked) > self._most_waiting:
                raise Busy("too many transactions wait for their decisions", retry_seconds=1)
            questions = [
                self._question(digest, transaction, payload)
                for digest, (transaction, payload) in zip(digests, asked, strict=True)
            ]
            self._start()
            self._changed.notify_all()
            return questions

    def _question(self, digest: str, transaction: Transaction, payload: bytes) -> Question:
        question = self._waiting.get(digest)
        if question is None:
            question = self._waiting[digest] = Question(digest, transaction, payload)
            # From now on nobody can cancel it: several may wait for it.
            question.answer.set_running_or_notify_cancel()
            self._unsent.append(question)
        question.waiters += 1
        return question

    def leave(self, questions: Iterable[Question]) -> None:
        """One waits no longer. A question that nobody waits for and that was not sent never is."""
        with self._changed:
            for question in questions:
                question.waiters -= 1
                if not question.waiters and self._waiting.get(question.digest) is question:
                    del self._waiting[question.digest]

    def close(self) -> None:
        """End the threads; what still waits is told that this process is away."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._backlog.close()
        self._fail(self._now_waiting(), Unavailable("this process is stopping"))
        self._publisher.close()

    def _start(self) -> None:
        if not self._threads:
            for work in (self._send, self._listen):
                thread = threading.Thread(target=work, name=f"asking{work.__name__}", daemon=True)
                self._threads.append(thread)
                thread.start()

    # -- answers ------------------------------------------------------------------------------

    def _take(self, question: Question) -> bool:
        """Whether this caller is the one to answer it."""
        with self._changed:
            mine = self._waiting.get(question.digest) is question
            if mine:
                del self._waiting[question.digest]
            return mine

    def _answer(self, question: Question, answer: Answer) -> None:
        if self._take(question):
            question.answer.set_result(answer)

    def _fail(self, questions: Iterable[Question], error: Exception) -> None:
        for question in questions:
            if self._take(question):
                question.answer.set_exception(error)

    def _look_up(self, connection: Connection, questions: Sequence[Question]) -> None:
        found = replies.answers(connection, [question.transaction for question in questions])
        for question, answer in zip(questions, found, strict=True):
            if answer is not None:
                self._answer(question, answer)

    # -- the two threads ----------------------------------------------------------------------

    def _run(self, work: Callable[[Connection], None]) -> None:
        """Work with a database connection of its own, again and again until the process stops."""
        while not self._closing:
            try:
                with connect_errors(), self._engine.connect() as connection:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                    connection.detach()  # kept for ever: the pool makes others instead
                    always_look_up_by_index(connection)
                    work(connection)
            except Unavailable as error:
                log.warning("asking waits for a part that is away: %s", error)
            except Exception as error:
                log.exception("asking failed")
                self._fail(self._now_waiting(), error)
            self._pause(RETRY_SECONDS)

    def _send(self) -> None:
        self._run(self._send_as_they_come)

    def _send_as_they_come(self, connection: Connection) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unsent or self._closing)
                if self._closing:
                    return
                questions, self._unsent = self._unsent, []
            try:
                self._send_all(connection, questions)
            except ConfigurationError as error:
                # Not the caller's fault, and a person must act: say so here, and "away" there.
                log.error("questions cannot be sent: %s", error)
                self._fail(questions, Unavailable(str(error)))
            except FraudwatchError as error:
                self._fail(questions, error)
            except Exception:
                # The connection, most likely: a new one, and they are sent then.
                with self._changed:
                    self._unsent = [*questions, *self._unsent]
                raise

    def _send_all(self, connection: Connection, questions: Sequence[Question]) -> None:
        self._look_up(connection, self._still_waiting(questions))
        left = self._still_waiting(questions)
        if left:
            self._publisher.send(self._topic, [_message(question) for question in left])
            for question in left:
                question.sent = True

    def _listen(self) -> None:
        self._run(self._answer_as_they_come)

    def _answer_as_they_come(self, connection: Connection) -> None:
        driver = cast(psycopg.Connection, connection.connection.dbapi_connection)
        connection.execute(text(f"LISTEN {replies.CHANNEL}"))
        while not self._closing:
            seconds = LOOK_SECONDS if self._waiting else IDLE_SECONDS
            for notice in driver.notifies(timeout=seconds, stop_after=1):
                self._hear(notice.payload)
            self._look_up(connection, self._now_waiting())

    def _still_waiting(self, questions: Iterable[Question]) -> list[Question]:
        return [q for q in questions if self._waiting.get(q.digest) is q]

    def _now_waiting(self) -> list[Question]:
        with self._changed:
            return list(self._waiting.values())

    def _hear(self, payload: str) -> None:
        rejected = replies.rejection(payload)
        question = self._waiting.get(rejected.digest) if rejected else None
        if rejected and question:
            self._answer(question, rejected)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=seconds)


def _message(question: Question) -> Message:
    transaction = question.transaction
    return Message(
        transaction.account_id.encode(),
        question.payload,
        ((replies.HEADER, question.digest.encode()),),
    )
