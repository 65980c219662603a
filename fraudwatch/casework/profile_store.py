"""Merchant profiles, one version a day, as stored for all workers."""

from __future__ import annotations

import hashlib

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from fraudwatch.casework.models import ProfileVersion
from fraudwatch.errors import BundleError, NotFound
from fraudwatch.features.profiles import MerchantProfiles


def save(session: Session, profiles: MerchantProfiles) -> bool:
    """Store a version; the first one wins. Returns whether it was stored."""
    data = profiles.dump()
    stored = session.scalar(
        upsert(ProfileVersion)
        .values(version=profiles.version, sha256=hashlib.sha256(data).hexdigest(), data=data)
        .on_conflict_do_nothing()
        .returning(ProfileVersion.version)
    )
    return stored is not None


def load(session: Session, version: str) -> MerchantProfiles:
    """A version by its ISO date. Raises `NotFound`, or `BundleError` when it is damaged."""
    row = session.scalar(select(ProfileVersion).where(ProfileVersion.version == version))
    if row is None:
        raise NotFound(f"no merchant profiles of version {version}")
    if hashlib.sha256(row.data).hexdigest() != row.sha256:
        raise BundleError(f"merchant profiles {version}: the stored hash does not match")
    return MerchantProfiles.load(row.data)
