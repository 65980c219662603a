"""The manifest of a model: where it comes from, what it takes, and the hash of every file."""

from __future__ import annotations

from typing import Any

import msgspec

from fraudwatch.errors import BundleError
from fraudwatch.features.catalogue import FeatureSpec

FORMAT = 1


class FileFact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a bundle."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that is known about a model besides its arrays.

    `window` is the first and last moment of the training rows (ISO, "" unknown), `created_at` ISO
    or "". `rows` counts training, calibration and labelled rows. `files` is filled on saving.
    """

    format: int = FORMAT
    name: str
    created_at: str
    features: dict[str, Any]  # FeatureSpec.to_dict()
    feature_names: tuple[str, ...]
    features_version: str
    parts: tuple[str, ...]
    label_weight: float  # of the label-trained part in the score, 0 without
    rows: dict[str, int]
    window: tuple[str, str]
    seed: int
    config: dict[str, Any]
    libraries: dict[str, str]
    metrics: dict[str, float]
    files: dict[str, FileFact] = {}

    @property
    def spec(self) -> FeatureSpec:
        """The features the model takes."""
        return FeatureSpec.from_dict(self.features)

    def encode(self) -> bytes:
        """Readable JSON; the same manifest gives the same bytes."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=2) + b"\n"


def decode(data: bytes) -> Manifest:
    """Read a manifest. Raises `BundleError` unless it fits this program's features and format."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        spec = manifest.spec
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"the manifest of the model cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise BundleError(
            f"the bundle has format {manifest.format}, this program reads {FORMAT}: train again"
        )
    if manifest.feature_names != spec.names or manifest.features_version != spec.version:
        raise BundleError(
            f"model {manifest.name!r} was trained on features {manifest.features_version}, this "
            f"program computes {spec.version}: train the model again"
        )
    return manifest
