"""Bundles: lossless, the same bytes for the same model, and nothing foreign gets in."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fraudwatch.detectors.bundle import load, save
from fraudwatch.detectors.model import Model
from fraudwatch.detectors.training import LabelledRows, TrainingConfig, fit
from fraudwatch.errors import BundleError
from tests.detector_rows import SPEC, made_up, strange

CONFIG = TrainingConfig(detectors=("iforest", "pca", "loda", "hbos"))


def trained(seed: int = 5) -> Model:
    X = np.vstack([made_up(3, 400), strange(4, 60, factor=3.0)])
    return fit(
        made_up(1, 800),
        made_up(2, 600),
        SPEC,
        seed=seed,
        config=CONFIG,
        labels=LabelledRows(X, np.arange(len(X)) >= 400, np.ones(len(X))),
        window=("2026-01-01", "2026-01-31"),
        name="champion",
        created_at=datetime(2026, 2, 1, tzinfo=UTC),
        metrics={"average_precision": 0.5},
    )


@pytest.fixture(scope="module")
def model() -> Model:
    return trained()


@pytest.fixture
def bundle(model: Model, tmp_path: Path) -> Path:
    save(model, tmp_path / "bundle")
    return tmp_path / "bundle"


def rehash(bundle: Path, file: str) -> None:
    """Make the manifest vouch for a file as it is now: an attacker who rewrites both."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    data = (bundle / file).read_bytes()
    manifest["files"][file] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    path.write_text(json.dumps(manifest))


def rewrite(bundle: Path, **changes: object) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_loaded_model_scores_and_explains_the_same(model: Model, bundle: Path) -> None:
    back = load(bundle)
    X = np.vstack([made_up(11, 200), strange(12, 20)])
    unknown = np.full(X.shape, np.nan)
    assert (back.score(X).anomaly == model.score(X).anomaly).all()
    assert (back.score(X).risk == model.score(X).risk).all()
    assert back.reasons(X, unknown, unknown) == model.reasons(X, unknown, unknown)
    assert back.name == "champion"
    assert back.manifest.spec == SPEC
    assert back.manifest.window == ("2026-01-01", "2026-01-31")
    assert back.manifest.metrics == {"average_precision": 0.5}
    assert back.manifest.rows["labelled_fraud"] == 60


def test_same_training_gives_the_same_bytes(model: Model, bundle: Path, tmp_path: Path) -> None:
    """Equal hash means equal model: a retraining can be audited by repeating it."""
    digest = save(trained(), tmp_path / "again")
    assert digest == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    for path in bundle.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    assert save(load(bundle), tmp_path / "copy") == digest


def test_registered_hash_is_required(model: Model, bundle: Path) -> None:
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert load(bundle, digest).name == "champion"
    with pytest.raises(BundleError, match="not the registered one"):
        load(bundle, "0" * 64)


def test_every_changed_file_is_refused(bundle: Path) -> None:
    for path in sorted(bundle.iterdir()):
        if path.name == "manifest.json":
            continue
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(BundleError, match="SHA-256 differs"):
            load(bundle)
        path.write_bytes(data)
    load(bundle)


def test_missing_and_extra_files_are_refused(bundle: Path) -> None:
    (bundle / "extra.py").write_text("raise SystemExit")
    with pytest.raises(BundleError, match=r"extra\.py"):
        load(bundle)
    (bundle / "extra.py").unlink()
    (bundle / "loda.npz").unlink()
    with pytest.raises(BundleError, match=r"loda\.npz"):
        load(bundle)


def test_missing_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="missing"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["../outside.npz", "/etc/passwd", "a/b.npz", "x.pkl", ".npz", ""])
def test_manifest_cannot_name_files_elsewhere(bundle: Path, name: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    rewrite(bundle, files=manifest["files"] | {name: {"sha256": "0" * 64, "size": 0}})
    with pytest.raises(BundleError, match="no bundle has"):
        load(bundle)


def test_link_to_a_file_elsewhere_is_refused(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "outside.npz"
    target.write_bytes((bundle / "loda.npz").read_bytes())
    (bundle / "loda.npz").unlink()
    (bundle / "loda.npz").symlink_to(target)
    with pytest.raises(BundleError, match="plain file"):
        load(bundle)


def test_pickle_is_never_read(bundle: Path) -> None:
    """Even with hashes that fit, an object array must not be unpickled."""
    np.savez(bundle / "calibration.npz", scores=np.array([{"any": "object"}], dtype=object))
    rehash(bundle, "calibration.npz")
    with pytest.raises(BundleError, match="calibration"):
        load(bundle)


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06", b"not a zip", b"\x80\x04N."])
def test_file_that_is_no_archive_is_refused(bundle: Path, data: bytes) -> None:
    (bundle / "sketch.npz").write_bytes(data)
    rehash(bundle, "sketch.npz")
    with pytest.raises(BundleError):
        load(bundle)


def test_compressed_archive_is_refused(bundle: Path) -> None:
    """A few bytes must not unfold into gigabytes."""
    np.savez_compressed(bundle / "calibration.npz", scores=np.zeros(10_000_000))
    rehash(bundle, "calibration.npz")
    with pytest.raises(BundleError, match="compressed"):
        load(bundle)


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("loda.npz", "terms", np.full((500, 8), 9999, dtype=np.int32)),
        ("loda.npz", "columns", np.array(3, dtype=np.int32)),
        ("pca.npz", "centre", np.zeros(3)),
        ("pca.npz", "shares", np.zeros((4, 4))),
        ("calibration.npz", "scores", np.array([2.0, 1.0])),
        ("calibration.npz", "scores", np.array([np.nan])),
        ("calibration.npz", "scores", np.zeros(0)),
        ("preparation.npz", "columns", np.array([-1], dtype=np.int32)),
        ("preparation.npz", "nullable", np.zeros(2, dtype=np.bool_)),
        ("sketch.npz", "knots", np.zeros((2, 1024))),
        ("sketch.npz", "shares", np.linspace(0, 1, 1024)),
        ("iforest.npz", "child", np.full(3, 10**6, dtype=np.int32)),
        ("iforest.npz", "threshold", np.full(3, -np.inf, dtype=np.float32)),
        ("iforest.npz", "roots", np.array([-1], dtype=np.int32)),
        ("hbos.npz", "edges", np.zeros((66, 51), dtype=np.float32)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    bundle: Path, file: str, name: str, value: np.ndarray
) -> None:
    """Compiled kernels do not check bounds: an index out of range would read foreign memory."""
    with np.load(io.BytesIO((bundle / file).read_bytes())) as stored:
        arrays = dict(stored)
    np.savez(bundle / file, **(arrays | {name: value}))
    rehash(bundle, file)
    with pytest.raises(BundleError):
        load(bundle)


def test_forest_whose_last_node_leads_on_is_refused(bundle: Path) -> None:
    """Its right child would lie one past the end of the table."""
    with np.load(bundle / "iforest.npz") as stored:
        arrays = dict(stored)
    arrays["threshold"][-1] = -np.inf
    np.savez(bundle / "iforest.npz", **arrays)
    rehash(bundle, "iforest.npz")
    with pytest.raises(BundleError, match="child"):
        load(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"features_version": "0" * 16},
        {"feature_names": ["amount"]},
        {"features": {"attributes": ["other"], "rates": {}}},
        {"features": {}},
        {"parts": []},
        {"parts": ["pca", "loda", "oracle"]},
        {"label_weight": 0.0},
        {"label_weight": 7.0},
        {"surprise": 1},
        {"seed": "five"},
    ],
)
def test_manifest_that_does_not_fit_is_refused(bundle: Path, changes: dict[str, object]) -> None:
    rewrite(bundle, **changes)
    with pytest.raises(BundleError):
        load(bundle)


@pytest.mark.parametrize("text", [b"", b"tree\nversion=v4\n", b"\xff\xfe", b"garbage"])
def test_label_part_that_is_no_model_is_refused(bundle: Path, text: bytes) -> None:
    (bundle / "labelled.txt").write_bytes(text)
    rehash(bundle, "labelled.txt")
    with pytest.raises(BundleError):
        load(bundle)


def test_bundles_never_change(model: Model, bundle: Path) -> None:
    with pytest.raises(BundleError, match="exists already"):
        save(model, bundle)


def test_failed_save_leaves_nothing_behind(model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="cannot be written"):
        save(model, tmp_path / "file" / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_serving_does_not_import_pyod() -> None:
    """PyOD takes seconds to import and the worker has no use for it."""
    code = (
        "import sys, fraudwatch.detectors.bundle, fraudwatch.detectors.model\n"
        "sys.exit('pyod' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == 0
