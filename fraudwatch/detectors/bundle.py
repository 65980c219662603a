"""A model as a folder: manifest.json, arrays without pickle, trees as LightGBM text.

Nothing in a bundle can be executed. Hashes are compared before anything is parsed; the bytes that
are hashed are the bytes that are parsed. The same model gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fraudwatch.detectors import manifest as manifests
from fraudwatch.detectors.calibration import Reference
from fraudwatch.detectors.compiled import KINDS
from fraudwatch.detectors.labelled import LabelledPart, read_booster
from fraudwatch.detectors.model import LABELLED, Model, Part
from fraudwatch.detectors.preparation import Preparation
from fraudwatch.detectors.sketch import Sketch
from fraudwatch.errors import BundleError

MANIFEST = "manifest.json"
MOST_BYTES = 1 << 30
FILE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\.(npz|txt)")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold


def save(model: Model, folder: Path) -> str:
    """Write the model and return the SHA-256 of its manifest, which vouches for every other file.

    The folder appears complete or not at all. Raises `BundleError` when it exists already.
    """
    folder = Path(folder)
    if folder.exists():
        raise BundleError(f"{folder} exists already: choose another name, bundles never change")
    contents = _contents(model)
    facts = {
        name: manifests.FileFact(sha256=_digest(data), size=len(data))
        for name, data in contents.items()
    }
    text = msgspec.structs.replace(model.manifest, files=facts).encode()
    try:
        _write(folder, contents | {MANIFEST: text})
    except OSError as error:
        raise BundleError(f"the model cannot be written to {folder}: {error}") from error
    return _digest(text)


def load(folder: Path, sha256: str | None = None) -> Model:
    """Read a bundle. `sha256` is the manifest's hash as registered; None trusts the manifest.

    Raises `BundleError` when a hash differs (before anything is parsed), a file is missing or too
    many, or the contents do not fit each other or this program.
    """
    folder = Path(folder)
    text = _read(folder / MANIFEST)
    if sha256 is not None and _digest(text) != sha256:
        raise BundleError(
            f"{folder / MANIFEST} is not the registered one (SHA-256 differs): restore the bundle "
            "from a backup or train the model again"
        )
    manifest = manifests.decode(text)
    for name in manifest.files:
        if not FILE_NAME.fullmatch(name):
            raise BundleError(f"the manifest names a file that no bundle has: {name[:80]!r}")
    present = {entry.name for entry in folder.iterdir()}
    odd = sorted(present.symmetric_difference({MANIFEST, *manifest.files}))
    if odd:
        raise BundleError(f"{folder}: files missing or unknown: {', '.join(odd[:5])}")
    contents = {}
    for name, fact in manifest.files.items():
        data = _read(folder / name)
        if len(data) != fact.size or _digest(data) != fact.sha256:
            raise BundleError(
                f"{folder / name} was changed or damaged (SHA-256 differs): restore the bundle "
                "from a backup or train the model again"
            )
        contents[name] = data
    return _model(manifest, contents)


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """All files durably, in a folder beside the final one, which then takes its name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, data in contents.items():
            with (staging / name).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        staging.chmod(0o755)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _contents(model: Model) -> dict[str, bytes]:
    contents = {
        "preparation.npz": _pack(model.preparation.arrays()),
        "sketch.npz": _pack(model.sketch.arrays()),
        "calibration.npz": _pack(model.calibration.arrays()),
    }
    for name, part in model.parts.items():
        contents[f"{name}.npz"] = _pack(part.detector.arrays())
        contents[f"{name}-reference.npz"] = _pack(part.reference.arrays())
    if model.labelled is not None:
        contents[f"{LABELLED}.txt"] = model.labelled.text().encode()
        contents[f"{LABELLED}-reference.npz"] = _pack(model.labelled.reference.arrays())
    return contents


def _model(manifest: manifests.Manifest, contents: Mapping[str, bytes]) -> Model:
    expected = {"preparation.npz", "sketch.npz", "calibration.npz"}
    expected |= {f"{name}{end}.npz" for name in manifest.parts for end in ("", "-reference")}
    with_labels = manifest.label_weight > 0
    if with_labels:
        expected |= {f"{LABELLED}.txt", f"{LABELLED}-reference.npz"}
    if set(contents) != expected or not manifest.parts or len(manifest.feature_names) < 1:
        raise BundleError("the files of the bundle are not those of its parts: train again")
    unknown = [name for name in manifest.parts if name not in KINDS]
    if unknown or not 0 <= manifest.label_weight <= 1:
        raise BundleError(f"the manifest names unknown detectors or weights: {unknown}")
    preparation = Preparation.from_arrays(_unpack("preparation.npz", contents))
    sketch = Sketch.from_arrays(_unpack("sketch.npz", contents))
    width = len(manifest.feature_names)
    if preparation.width != width or sketch.knots.shape[0] != width:
        raise BundleError("the bundle's arrays are not made for its features: train again")
    parts = {}
    for name in manifest.parts:
        detector = KINDS[name].from_arrays(_unpack(f"{name}.npz", contents))
        if detector.width != preparation.columns.shape[0]:
            raise BundleError(f"detector {name} is not made for the bundle's columns: train again")
        parts[name] = Part(
            detector, Reference.from_arrays(_unpack(f"{name}-reference.npz", contents))
        )
    labelled = None
    if with_labels:
        labelled = LabelledPart(
            booster=read_booster(_text(contents[f"{LABELLED}.txt"]), width),
            reference=Reference.from_arrays(_unpack(f"{LABELLED}-reference.npz", contents)),
            weight=manifest.label_weight,
        )
    return Model(
        manifest=manifest,
        preparation=preparation,
        parts=parts,
        sketch=sketch,
        calibration=Reference.from_arrays(_unpack("calibration.npz", contents)),
        labelled=labelled,
    )


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BundleError("the label-trained part is not text: train again") from error


def _read(path: Path) -> bytes:
    """The bytes of a plain file: no link that leads elsewhere, nothing beyond the limit."""
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path} is missing or not a plain file: restore the bundle")
    if path.stat().st_size > MOST_BYTES:
        raise BundleError(f"{path} is larger than any bundle file may be ({MOST_BYTES} bytes)")
    return path.read_bytes()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An npz (numpy can read it too) with fixed times and order, uncompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            npy.write_array(member, np.asarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), member.getvalue())
    return buffer.getvalue()


def _unpack(file: str, contents: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    data = contents[file]
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(data):
                    raise BundleError(f"{file} is compressed: bundles hold plain arrays")
                with archive.open(info) as member:
                    arrays[info.filename.removesuffix(".npy")] = npy.read_array(
                        member, allow_pickle=False
                    )
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError) as error:
        raise BundleError(f"{file} cannot be read: {error}; train the model again") from error
    return arrays
