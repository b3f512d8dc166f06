"""The warning of a model that overfits, where rows are set aside."""

import warnings

import numpy as np
import pytest
from skorch.callbacks import Checkpoint
from skorch.dataset import ValidSplit
from skorch.history import History

from skvim import AETransformer, VAETransformer, VIMAETransformer
from skvim.engine._overfitting import check_overfitting, share_carried_over
from skvim.engine._stopping import Stopping
from skvim.exceptions import OverfittingWarning
from skvim.model_selection import lam_path

# Without anything that rows have in common, a large network learns them by heart.
NOISE = np.random.default_rng(0).normal(size=(40, 30))
LEARNED = {"max_epochs": 60, "early_stopping": True, "random_state": 0}
STOPPING = Stopping(0.1, 10, 1e-4)

pytestmark = [
    pytest.mark.slow,  # together
    pytest.mark.filterwarnings("ignore::skvim.exceptions.DeadDimensionsWarning"),
    pytest.mark.filterwarnings("ignore::skvim.exceptions.PosteriorCollapseWarning"),
    pytest.mark.filterwarnings("ignore::skvim.exceptions.PriorMismatchWarning"),
]


def plane_rows(n=300):
    """Return rows of 8 features around a plane."""
    source = np.random.default_rng(0)
    return source.normal(size=(n, 2)) @ source.normal(size=(2, 8)) + source.normal(size=(n, 8)) / 5


def overfitting_warnings(function):
    """Return the warnings of overfitting that a call gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [each for each in caught if issubclass(each.category, OverfittingWarning)]


def history(train, valid):
    """Return the record of a training with these losses of training and validation rows."""
    made = History()
    for one, other in zip(train, valid, strict=True):
        made.append(
            {
                "train_loss": one,
                "train_distortion": one,
                "valid_loss": other,
                "valid_distortion": other,
            }
        )
    return made


@pytest.mark.parametrize("cls", [AETransformer, VAETransformer, VIMAETransformer])
def test_a_large_network_on_a_few_rows_of_noise_is_warned_of(cls):
    with pytest.warns(OverfittingWarning, match=r"until epoch \d+, whose weights are kept"):
        cls(4, **LEARNED).fit(NOISE)


@pytest.mark.parametrize("cls", [AETransformer, VAETransformer, VIMAETransformer])
def test_a_model_of_rows_that_have_much_in_common_is_not(cls):
    model = cls(2, **LEARNED, hidden_layer_sizes=(32,))
    assert overfitting_warnings(lambda: model.fit(plane_rows())) == []
    assert model.n_iter_ >= 10  # enough to be judged


def test_nothing_is_said_without_rows_set_aside_or_after_few_epochs():
    for options in ({"max_epochs": 60, "random_state": 0}, LEARNED | {"max_epochs": 9}):
        model = AETransformer(4, **options)
        assert overfitting_warnings(lambda model=model: model.fit(NOISE)) == []


def test_fits_in_one_batch_are_warned_of():
    with pytest.warns(OverfittingWarning) as found:
        lam_path(VIMAETransformer(4, **LEARNED), NOISE, lams=[0.1, 1.0])
    assert sum(issubclass(w.category, OverfittingWarning) for w in found) == 2


def test_a_split_of_skorch_keeps_the_last_weights_and_is_told_so(tmp_path):
    options = {"max_epochs": 60, "random_state": 0, "net_params": {"train_split": ValidSplit(4)}}
    with pytest.warns(OverfittingWarning, match="weights are those of the last epoch.*early_stop"):
        AETransformer(4, **options).fit(NOISE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OverfittingWarning)
        AETransformer(2, **options).fit(plane_rows())
        best = Checkpoint(monitor="valid_loss_best", dirname=tmp_path, load_best=True)
        AETransformer(4, callbacks=[best], **options).fit(NOISE)


@pytest.mark.parametrize(
    ("valid", "stopping", "message"),
    [
        # Training rows gain 40 nats of 4 features: 9 of it here, 7 there.
        ([20.0 - 0.9 * i for i in range(11)], STOPPING, ""),
        ([20.0 - 0.7 * i for i in range(11)], STOPPING, "gained 36 nats .* 7 until epoch 11"),
        ([20.0, 14.0, *[30.0] * 9], STOPPING, "gained 36 nats .* 6 until epoch 2"),
        ([20.0] * 11, STOPPING, "aside 0 until epoch 1"),
        # The lowest is 10: half a nat above it, a twentieth of the decrease, is clear.
        ([20.0, *[10.6] * 19, 10.0], None, ""),
        ([20.0, 10.0, *[10.6] * 20], None, "10.6 nats .*10 after epoch 2"),
        ([20.0, 10.0, *[10.6] * 19], None, ""),
        ([20.0, 10.0, *[30.0] * 19, 10.4], None, ""),
        # Of a smaller decrease, 0.05 nats of each of 4 features.
        ([10.1, 10.0, *[10.21] * 20], None, "10.21 nats"),
        ([10.1, 10.0, *[10.19] * 20], None, ""),
    ],
)
def test_the_criterion_is_the_one_that_is_documented(valid, stopping, message):
    n = len(valid)
    train = [20.0 - 40.0 * i / (n - 1) for i in range(n)]
    found = check_overfitting(history(train, valid), 4, stopping, [])
    assert len(found) == bool(message)
    if found:
        assert isinstance(found[0], OverfittingWarning)
        with pytest.raises(OverfittingWarning, match=message):
            raise found[0]


def test_what_is_learned_in_the_first_epoch_counts_for_neither():
    """With many steps an epoch, the first one's mean is far above the losses of its end."""
    train, valid = [4.42, *np.linspace(0.6, 0.43, 11)], np.linspace(0.68, 0.42, 12)
    assert check_overfitting(history(train, valid), 1, STOPPING, []) == []


def test_little_gained_in_training_is_no_overfitting():
    """A twentieth of a nat per feature, of 4: 0.2 nats."""
    for gain, n_found in ((0.19, 0), (0.21, 1)):
        train = [1.0, *[1.0 - gain * i / 9 for i in range(10)]]
        assert len(check_overfitting(history(train, [1.0] * 11), 4, STOPPING, [])) == n_found


def test_the_share_is_of_the_best_training_loss():
    assert share_carried_over([10.0, 4.0, 6.0], [8.0, 5.0]) == 0.5
    assert share_carried_over([10.0, 4.0], [8.0, 11.0]) == -0.5
    assert share_carried_over([10.0, 11.0], [8.0, 5.0]) == 1.0
