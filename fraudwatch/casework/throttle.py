"""What slows those who guess passwords and codes, and does not lock out whom they guess at.

Three counters, each with the same rule: after so many failures it is shut for 30 seconds, doubling
with each further one to 15 minutes.

* **A known device**: a browser in which the person has signed in before holds a cookie. Its
  attempts are counted on the device alone (5 free). Whatever others do elsewhere, the person
  signs in from it.
* **The account**, for all attempts from devices it does not know (5 free).
* **The source**, the address that such attempts come from, for all accounts together and for names
  that do not exist (20 free: many people share an address). Success does not clear it, or whoever
  has one account could guess at the others for ever; an hour without failures does.

Rows are locked while a password is checked: guesses in parallel count one by one. A shut counter
answers like a wrong password.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework.models import KnownDevice, SignInSource, User

FREE_ATTEMPTS = 5
FREE_OF_SOURCE = 20
FIRST_LOCK = timedelta(seconds=30)
LONGEST_LOCK = timedelta(minutes=15)
_FORGOTTEN = timedelta(hours=1)  # failures of a source count together within this
_KEPT = timedelta(days=1)

Counter = User | KnownDevice | SignInSource


@dataclass(frozen=True, slots=True)
class Attempt:
    """The counters of one attempt, their rows locked."""

    counters: Sequence[Counter]
    now: datetime

    @property
    def shut(self) -> bool:
        """Whether no answer may be tried for now, not even the right one."""
        return any(c.locked_until is not None and c.locked_until > self.now for c in self.counters)

    def failed(self) -> None:
        """Count a wrong answer."""
        for counter in self.counters:
            free = FREE_OF_SOURCE if isinstance(counter, SignInSource) else FREE_ATTEMPTS
            counter.failed_logins += 1
            counter.locked_until = _locked(counter.failed_logins - free, self.now)
            if isinstance(counter, SignInSource):
                counter.failed_at = self.now

    def passed(self) -> None:
        """The person is signed in, all factors given: what they mistyped is forgotten."""
        for counter in self.counters:
            if not isinstance(counter, SignInSource):
                counter.failed_logins, counter.locked_until = 0, None


def attempt(
    session: Session,
    user: User | None,
    *,
    device_sha256: bytes | None,
    address: str,
    key: bytes,
    now: datetime,
) -> Attempt:
    """Lock the counters of an attempt to sign in as this user (None: there is no such).

    A known device is locked alone: flooding an account must not make its owner wait in the queue.
    """
    if user is not None and device_sha256 is not None:
        device = session.scalar(
            select(KnownDevice)
            .where(
                KnownDevice.token_sha256 == device_sha256,
                KnownDevice.user_id == user.id,
                KnownDevice.expires_at > now,
            )
            .with_for_update()
        )
        if device is not None:
            return Attempt([device], now)
    if user is not None:
        session.refresh(user, with_for_update=True)
    source = _source(session, source_of(address, key), now)
    return Attempt([source] if user is None else [user, source], now)


def source_of(address: str, key: bytes) -> bytes:
    """A keyed hash of where an attempt comes from; of IPv6 the network, which one person has."""
    try:
        parsed = ipaddress.ip_address(address)
        if isinstance(parsed, ipaddress.IPv6Address):
            parsed = parsed.ipv4_mapped or parsed
        if parsed.version == 6:
            address = str(ipaddress.ip_network((parsed, 64), strict=False))
        else:
            address = str(parsed)
    except ValueError:  # no address: a socket's path, a test's name
        pass
    return hmac.digest(key, b"source:" + address.encode(), hashlib.sha256)


def forget_old(session: Session, now: datetime) -> None:
    """Remove sources that were quiet for a day, and devices whose cookie has ended."""
    quiet = select(SignInSource.source).where(SignInSource.failed_at <= now - _KEPT)
    ended = select(KnownDevice.token_sha256).where(KnownDevice.expires_at <= now)
    # Rows that others hold are left for the next time: waiting for them could go round in a circle.
    session.execute(
        delete(SignInSource).where(SignInSource.source.in_(quiet.with_for_update(skip_locked=True)))
    )
    session.execute(
        delete(KnownDevice).where(
            KnownDevice.token_sha256.in_(ended.with_for_update(skip_locked=True))
        )
    )


def _source(session: Session, source: bytes, now: datetime) -> SignInSource:
    fresh = upsert(SignInSource).values(source=source, failed_logins=0, failed_at=now)
    session.execute(fresh.on_conflict_do_nothing())
    row = session.scalars(
        select(SignInSource)
        .where(SignInSource.source == source)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    if row.failed_at <= now - _FORGOTTEN:
        row.failed_logins = 0
    return row


def _locked(over: int, now: datetime) -> datetime | None:
    if over < 0:
        return None
    wait: timedelta = min(LONGEST_LOCK, FIRST_LOCK * (1 << min(over, 10)))
    return now + wait
