"""Captured and plain training, side by side."""

import copy
import warnings

import pytest
import torch
from family import SMALL, X

from skvim.exceptions import AccelerationWarning, SkvimWarning

# 45 rows in a batch leave a remainder, and so two shapes of batches.
OPTIONS = {**SMALL, "batch_size": 45, "max_epochs": 4}


def fitted(model, rows=X, **options):
    """A copy of the model, trained; warnings about the fit itself are of no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkvimWarning)
        warnings.simplefilter("error", AccelerationWarning)
        return copy.deepcopy(model).set_params(**{**OPTIONS, **options}).fit(rows)


def assert_same_training(one, other, tolerance=1e-5):
    """Every value of the history, every weight and the noise to come must agree."""
    for a, b in zip(one.history_, other.history_, strict=True):
        names = [name for name in a if name.startswith(("train_", "valid_"))]
        expected = {name: a[name] for name in names}
        found = {name: b[name] for name in names}
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    weights = [model.net_.module_.state_dict().values() for model in (one, other)]
    for a, b in zip(*weights, strict=True):
        torch.testing.assert_close(b, a, rtol=10 * tolerance, atol=tolerance)
    if one.device_.type == "cpu":
        assert torch.equal(*(model.net_.streams_.noise.get_state() for model in (one, other)))


def assert_captured_as_plain(model, rows=X, tolerance=1e-5, **options):
    """Train both ways, compare, and return the captured one."""
    plain = fitted(model, rows, acceleration=None, **options)
    captured = fitted(model, rows, acceleration="capture", **options)
    assert_same_training(plain, captured, tolerance)
    assert captured.net_.plain_because_ == ""
    return captured
