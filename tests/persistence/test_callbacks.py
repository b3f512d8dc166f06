"""Callbacks of scikit-learn are left out of files, and a warning says so."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_common import X

import skvim
from skvim import VAETransformer
from skvim._persistence import _archive
from skvim.exceptions import CallbacksLeftOutWarning, FileFormatError

pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 introduced callbacks")
LABELS = np.digitize(X[:, 0], [-0.5, 0.5])


class Interrupting:
    """A callback that breaks a fit off."""

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **values):
        raise KeyboardInterrupt

    def on_fit_task_end(self, estimator, context, **values):
        pass

    def teardown(self, estimator, context):
        pass


def pipeline():
    vae = VAETransformer(2, hidden_layer_sizes=(4,), max_epochs=2, random_state=0)
    return make_pipeline(StandardScaler(), vae, LogisticRegression())


@pytest.mark.filterwarnings("ignore:The estimator VAETransformer does not support callbacks")
def test_a_pipeline_with_callbacks_is_saved_without_them(capsys, tmp_path):
    from sklearn.callback import ProgressBar

    fitted = pipeline().set_callbacks(ProgressBar()).fit(X, LABELS)
    with pytest.warns(CallbacksLeftOutWarning, match="callbacks of Pipeline were not") as caught:
        skvim.save(fitted, tmp_path / "model.skvim")
    assert caught[0].filename == __file__
    loaded = skvim.load(tmp_path / "model.skvim")
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    skvim.save(loaded, tmp_path / "model.skvim")
    assert "callback" not in str(vars(loaded).keys())
    capsys.readouterr()


def test_callbacks_of_a_step_and_what_a_broken_fit_left_of_them_are_left_out_too(tmp_path):
    fitted = pipeline().fit(X, LABELS)
    fitted.steps[-1][1].set_callbacks(Interrupting())
    with pytest.raises(KeyboardInterrupt):
        fitted.steps[-1][1].fit(fitted[:-1].transform(X), LABELS)
    with pytest.warns(CallbacksLeftOutWarning, match=r"of Pipeline\.parameters\.steps\[2\]\[1\]"):
        skvim.save(fitted, tmp_path / "model.skvim")
    loaded = skvim.load(tmp_path / "model.skvim")
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


def test_a_file_that_holds_callbacks_is_refused(tmp_path):
    path = tmp_path / "model.skvim"
    skvim.save(StandardScaler().fit(X), path)
    document, arrays = _archive.read_archive(path)
    document["model"]["$estimator"]["state"]["_skl_callbacks"] = []
    _archive.write_archive(path, document, arrays)
    with pytest.raises(FileFormatError, match="it holds callbacks, which are code"):
        skvim.load(path)
