"""``max_epochs="auto"``: how many epochs it is, and that it trains as that number does."""

import contextlib
import io
import math

import numpy as np
import pytest
from family import MODELS, normal_rows
from sklearn.base import clone
from skorch.callbacks import Callback

import skvim
from skvim import AETransformer, CapacityVAETransformer, VIMAETransformer, presets
from skvim.engine._batches import epochs_for
from skvim.exceptions import StopTraining
from skvim.model_selection import BatchedSearchCV, lam_path

X = normal_rows(60, 4, 2)
SMALL = {"hidden_layer_sizes": (4,), "batch_size": 4, "random_state": 0}
# Learning rates depend on the number of epochs, of which the first few tell.
SMALL["lr_schedule"] = "cosine"
BRIEF = {"early_stopping": True, "tol": 1e9, "n_iter_no_change": 4, "n_steps_no_change": 0}
# 14 batches of the 54 of 60 rows that early stopping leaves.
EPOCHS = 100
EPOCHS_OF_54 = math.ceil(2000 / 14)

pytestmark = [
    pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning"),
    pytest.mark.slow,  # together
]


class Stop(Callback):
    """End training after the first epoch."""

    def on_epoch_end(self, net, **kwargs):
        raise StopTraining


class Interrupt(Callback):
    """Interrupt training after five epochs."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 5:
            raise KeyboardInterrupt


def assert_same(one, other):
    """Assert that two fitted models have equal weights, losses and epochs."""
    assert one.net_.max_epochs == other.net_.max_epochs
    assert one.n_iter_ == other.n_iter_
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_loss_curve_ == other.validation_loss_curve_
    for a, b in zip(one.net_.module_.parameters(), other.net_.module_.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "min_rows", "epochs"),
    [
        (150, 100, 1, 1000),  # two batches
        (100, 100, 1, 2000),
        (2, 100, 1, 2000),
        (301, 100, 1, 667),  # the remainder of one row joins the third batch
        (302, 100, 1, 500),
        (1901, 100, 2, 106),
        (1902, 100, 2, 100),  # 20 batches
        (10**6, 100, 1, 100),
        (7, 1, 1, 286),
        (0, 100, 2, 2000),  # refused elsewhere
        (None, 100, 1, 100),  # none are set aside
    ],
)
def test_auto_is_100_epochs_or_2000_steps(n_rows, batch_size, min_rows, epochs):
    assert epochs_for(n_rows, batch_size, min_rows) == epochs


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
def test_auto_is_the_default_and_counts_the_batches_that_training_has(cls):
    small = {"hidden_layer_sizes": (4,), "random_state": 0, "validation_fraction": 0.2}
    model = cls(2, **small, early_stopping=True, callbacks=[Stop()]).fit(X)
    assert model.max_epochs == "auto"
    n_batches = model.history_[0]["train_batch_count"]
    assert model.net_.max_epochs == max(100, math.ceil(2000 / n_batches))
    assert model.n_iter_ == 1
    assert cls(2, **small, callbacks=[Stop()]).fit(X).net_.max_epochs == 100


def test_a_fit_equals_that_of_the_number():
    auto = AETransformer(2, **SMALL).fit(X)
    assert auto.n_iter_ == auto.net_.max_epochs == EPOCHS
    assert_same(auto, AETransformer(2, max_epochs=EPOCHS, **SMALL).fit(X))


def test_rows_set_aside_are_not_counted():
    auto = VIMAETransformer(2, **SMALL, **BRIEF).fit(X)
    assert auto.net_.max_epochs == EPOCHS_OF_54
    assert auto.n_iter_ == 5
    assert_same(auto, VIMAETransformer(2, max_epochs=EPOCHS_OF_54, **SMALL, **BRIEF).fit(X))


def test_a_warm_up_lasts_as_long():
    capacity = CapacityVAETransformer(2, **SMALL, **BRIEF).fit(X)
    given = clone(capacity).set_params(max_epochs=EPOCHS_OF_54)
    assert_same(capacity, given.fit(X))


def test_a_path_equals_that_of_the_number():
    auto, given = (
        lam_path(VIMAETransformer(2, max_epochs=n, **SMALL, **BRIEF), X, lams=[0.1, 1.0])
        for n in ("auto", EPOCHS_OF_54)
    )
    for one, other in zip(auto, given, strict=True):
        assert one.net_.max_epochs == EPOCHS_OF_54
        assert_same(one, other)


def test_folds_of_a_search_train_by_their_own_number_of_rows():
    """36 rows of a fold are 9 batches; the 54 rows of the last fit are 14."""
    model = VIMAETransformer(2, **SMALL, **BRIEF)
    search = BatchedSearchCV(model, {"lam": [0.1, 1.0]}, cv=3).fit(X)
    assert search.best_estimator_.net_.max_epochs == EPOCHS_OF_54
    given = clone(search).set_params(estimator__max_epochs=math.ceil(2000 / 9)).fit(X)
    for i in range(3):
        score = f"split{i}_test_score"
        np.testing.assert_array_equal(search.cv_results_[score], given.cv_results_[score])


def test_a_fit_goes_on_from_its_checkpoint(tmp_path):
    """The checkpoint of a fit with "auto" is that of the same fit with the number."""
    every = skvim.Checkpoints(tmp_path / "checkpoint", epochs=1)
    options = {**SMALL, **BRIEF, "n_iter_no_change": 9}
    interrupted = AETransformer(2, **options, checkpoint=every, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X)
    given = AETransformer(2, max_epochs=EPOCHS_OF_54, **options, checkpoint=every, verbose=1)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        given.fit(X)
    assert "Training goes on after epoch" in printed.getvalue()
    assert_same(given, AETransformer(2, **options).fit(X))


def test_a_file_keeps_the_word_and_the_number(tmp_path):
    model = AETransformer(2, **SMALL, **BRIEF).fit(X)
    model.save(tmp_path / "model")
    loaded = skvim.load(tmp_path / "model")
    assert loaded.max_epochs == "auto"
    assert_same(loaded, model)


@pytest.mark.parametrize("wrong", ["all", 0, 1.5, None])
def test_other_words_and_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="max_epochs"):
        AETransformer(2, max_epochs=wrong).fit(X)


def test_presets_name_their_epochs():
    for name in presets.names():
        assert isinstance(presets.preset(name)["max_epochs"], int)
