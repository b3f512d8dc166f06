"""Pipelines of skvim and scikit-learn in files, and estimators of scikit-learn alone."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn import (
    decomposition,
    discriminant_analysis,
    ensemble,
    feature_selection,
    impute,
    linear_model,
    mixture,
    naive_bayes,
    neighbors,
    preprocessing,
    semi_supervised,
    svm,
)
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.kernel_approximation import Nystroem
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.random_projection import GaussianRandomProjection
from test_common import X

import skvim
from skvim import VAETransformer, VIMAETransformer
from skvim._persistence import _archive
from skvim.exceptions import FileFormatError, UnsavableError
from skvim.noise import GaussianNoise
from skvim.semi_supervised import TransductiveSVC

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
CLASSES = np.digitize(X[:, 0], [-0.5, 0.5])
NAMES = np.array(["rot", "grün", "blau"], dtype=object)[CLASSES]
METHODS = (
    "transform",
    "predict",
    "predict_proba",
    "decision_function",
    "score_samples",
)


@pytest.fixture
def reopen(tmp_path):
    """Return what saves an estimator and opens the file."""

    def reopen(estimator):
        skvim.save(estimator, tmp_path / "model.skvim")
        return skvim.load(tmp_path / "model.skvim", device="cpu")

    return reopen


def outputs(estimator, data=X):
    """Everything that it computes, by method."""
    found = {}
    for name in METHODS:
        if hasattr(estimator, name):
            # Distances from the very array of fit to itself are rounded differently.
            parts = getattr(estimator, name)(data.copy())
            found[name] = list(parts) if isinstance(parts, tuple) else [parts]
    return found


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert first
    for name in first:
        for a, b in zip(first[name], second[name], strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


# What newer releases of scikit-learn ask for, and older ones do not know.
NO_LEGACY = {"use_legacy_attributes": False}
if "use_legacy_attributes" not in linear_model.LogisticRegressionCV().get_params():
    NO_LEGACY = {}
FOREIGN = [
    decomposition.PCA(2),
    decomposition.PCA(2, whiten=True, svd_solver="randomized", random_state=0),
    decomposition.FastICA(2, random_state=0, max_iter=1000),
    decomposition.TruncatedSVD(2, random_state=0),
    decomposition.KernelPCA(2, kernel="rbf"),
    discriminant_analysis.LinearDiscriminantAnalysis(),
    feature_selection.VarianceThreshold(0.1),
    impute.SimpleImputer(),
    impute.SimpleImputer(strategy="constant", fill_value=1.0, add_indicator=True),
    impute.KNNImputer(),
    linear_model.LogisticRegression(class_weight={0: 1.0, 1: 2.0, 2: 0.5}),
    linear_model.LogisticRegressionCV(Cs=2, cv=2, **NO_LEGACY),
    linear_model.RidgeClassifier(),
    mixture.GaussianMixture(2, random_state=0),
    naive_bayes.GaussianNB(),
    neighbors.NearestCentroid(),
    preprocessing.KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    preprocessing.MaxAbsScaler(),
    preprocessing.MinMaxScaler(),
    preprocessing.Normalizer(),
    preprocessing.OrdinalEncoder(),
    preprocessing.PolynomialFeatures(),
    preprocessing.PowerTransformer(),
    preprocessing.QuantileTransformer(n_quantiles=10),
    preprocessing.RobustScaler(),
    preprocessing.StandardScaler(),
    semi_supervised.LabelSpreading(),
    svm.LinearSVC(),
    GaussianRandomProjection(2, random_state=0),
    Nystroem(n_components=5, random_state=0),
    OneVsRestClassifier(linear_model.LogisticRegression()),
]


@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
@pytest.mark.parametrize("estimator", FOREIGN, ids=str)
def test_estimators_of_scikit_learn_compute_the_same_to_the_last_bit(estimator, reopen):
    fitted = clone(estimator).fit(X, CLASSES)
    loaded = reopen(fitted)
    assert_same(outputs(fitted), outputs(loaded))
    assert str(loaded) == str(fitted)
    assert_same(outputs(fitted), outputs(clone(loaded).fit(X, CLASSES)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", FOREIGN, ids=str)
def test_changed_arrays_raise_or_change_results_and_never_crash(estimator, tmp_path):
    path = tmp_path / "model.skvim"
    rows = X.copy()
    if "Imputer" in str(estimator):
        rows[0, 0] = np.nan  # complete rows need none of their arrays
    skvim.save(clone(estimator).fit(rows, CLASSES), path)
    expected = outputs(skvim.load(path), rows)
    was_noticed = []
    for name in _archive.read_archive(path)[1]:
        for change in (lambda a: a[..., :1], lambda a: a[:1], lambda a: a + a.dtype.type(100)):
            document, arrays = _archive.read_archive(path)
            if arrays[name].ndim == 0 or arrays[name].dtype == bool:
                continue
            arrays[name] = np.ascontiguousarray(change(arrays[name]))
            _archive.write_archive(tmp_path / "changed.skvim", document, arrays)
            try:
                assert_same(outputs(skvim.load(tmp_path / "changed.skvim"), rows), expected)
                was_noticed.append(False)
            except Exception:  # an error of loading, of use or of the comparison
                was_noticed.append(True)
    assert any(was_noticed) or not was_noticed  # some estimators have no arrays


@pytest.mark.parametrize(
    "classifier",
    [linear_model.LogisticRegression(), TransductiveSVC(random_state=0, safe=False)],
    ids=str,
)
@pytest.mark.parametrize(
    "labels", [NAMES, NAMES.astype("U"), CLASSES.astype(np.uint8), CLASSES > 0]
)
def test_classes_of_any_type_come_back(classifier, labels, reopen):
    fitted = clone(classifier).fit(X, labels)
    loaded = reopen(fitted)
    assert loaded.classes_.dtype == fitted.classes_.dtype
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))


def test_unlabelled_rows_come_back(reopen):
    labels = NAMES.copy()
    labels[10:] = -1
    fitted = TransductiveSVC(random_state=0, safe=False).fit(X, labels)
    loaded = reopen(fitted)
    assert list(loaded.transduction_) == list(fitted.transduction_)


PIPELINES = {
    "steps": lambda: make_pipeline(
        impute.SimpleImputer(),
        preprocessing.StandardScaler(),
        VIMAETransformer(2, prior="logistic", **SMALL),
        naive_bayes.GaussianNB(),
    ),
    "noise": lambda: Pipeline(
        [
            ("scale", preprocessing.MinMaxScaler()),
            ("noise", GaussianNoise(0.1, random_state=0)),
            ("nothing", "passthrough"),
            ("vae", VAETransformer(2, **SMALL)),
            ("svc", TransductiveSVC(random_state=0, safe=False)),
        ]
    ),
    "union": lambda: make_pipeline(
        FeatureUnion([("pca", decomposition.PCA(2)), ("vae", VAETransformer(2, **SMALL))]),
        svm.LinearSVC(),
    ),
    "nested": lambda: make_pipeline(
        make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(3)),
        VAETransformer(2, **SMALL),
        linear_model.LogisticRegression(),
    ),
    "columns": lambda: make_pipeline(
        make_column_transformer(
            (preprocessing.StandardScaler(), ["a", "b"]), remainder="passthrough"
        ),
        VAETransformer(2, **SMALL),
        linear_model.LogisticRegression(),
    ),
}
FRAME = pd.DataFrame(X, columns=["a", "b", "c", "d"])


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_compute_the_same_to_the_last_bit(name, reopen):
    fitted = PIPELINES[name]().fit(FRAME, CLASSES)
    loaded = reopen(fitted)
    assert_same(outputs(fitted, FRAME), outputs(loaded, FRAME))
    assert str(loaded) == str(fitted)
    assert_same(outputs(fitted, FRAME), outputs(clone(loaded).fit(FRAME, CLASSES), FRAME))
    assert list(loaded.feature_names_in_) == list(FRAME.columns)


def test_output_configured_for_a_pipeline_comes_back(reopen):
    pipeline = make_pipeline(preprocessing.StandardScaler(), VAETransformer(2, **SMALL))
    loaded = reopen(pipeline.set_output(transform="pandas").fit(FRAME))
    frame = loaded.transform(FRAME)
    assert list(frame.columns) == ["vaetransformer0", "vaetransformer1"]


def test_the_folder_of_a_cache_stays_behind(reopen, tmp_path):
    steps = [("scale", preprocessing.StandardScaler()), ("pca", decomposition.PCA(2))]
    fitted = Pipeline(steps, memory=str(tmp_path / "cache")).fit(X)
    assert reopen(fitted).memory is None
    assert fitted.memory is not None


UNSAVABLE = {
    "function": (preprocessing.FunctionTransformer(np.log1p), r"parameters\.func is <"),
    "trees": (ensemble.RandomForestClassifier(2), r"RandomForestClassifier is .*another estimator"),
    "libsvm": (
        make_pipeline(preprocessing.StandardScaler(), svm.SVC()),
        r"Pipeline\.parameters\.steps\[1\]\[1\] is SVC\(\).*compiled code that does not check it"
        r".*Use skvim\.semi_supervised\.TransductiveSVC or .*LinearSVC, or fit it again after",
    ),
    "neighbours": (neighbors.KNeighborsClassifier(), r"Use .*TransductiveSVC or .*NearestCentroid"),
    "sparse matrix": (
        linear_model.LogisticRegression().fit(X, CLASSES).sparsify(),
        r"state\.coef_ is (.|\n)*csr",
    ),
}


@pytest.mark.parametrize("name", UNSAVABLE)
def test_what_only_code_can_make_again_is_refused_by_its_place(name, tmp_path):
    estimator, message = UNSAVABLE[name]
    with pytest.raises(UnsavableError, match=rf"{message}(.|\n)*pickle the model"):
        skvim.save(estimator, tmp_path / "model.skvim")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def open_under(tmp_path, monkeypatch):
    """Return what opens a file with another scikit-learn, as far as its version tells."""

    def open_under(estimator, release):
        skvim.save(estimator, tmp_path / "model.skvim")
        monkeypatch.setattr(sklearn, "__version__", release)
        return skvim.load(tmp_path / "model.skvim")

    return open_under


def test_estimators_of_a_scikit_learn_that_is_not_tested_are_refused_by_name(open_under):
    pipeline = make_pipeline(preprocessing.StandardScaler(), VAETransformer(2, **SMALL)).fit(X)
    message = (
        rf"holds Pipeline, StandardScaler, fitted by scikit-learn {sklearn.__version__}, and this "
        r"is 2\.34\.5\. Between releases, skvim reads those of 1\.7 to 1\.9\. It was written by "
        rf"skvim {skvim.__version__} with scikit-learn {sklearn.__version__} and torch .*: open it "
        "with these, or fit and save the model again"
    )
    with pytest.raises(FileFormatError, match=message):
        open_under(pipeline, "2.34.5")


def test_own_estimators_open_under_any_scikit_learn(open_under):
    named = pd.DataFrame(X, columns=["sklearn.a", "b", "c", "d"])
    fitted = VAETransformer(2, **SMALL).fit(named)
    np.testing.assert_array_equal(
        open_under(fitted, "2.34.5").transform(named), fitted.transform(named)
    )


def test_estimators_whose_attributes_changed_are_refused_by_name(open_under):
    pipeline = make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler()).fit(X)
    other = "1.9.0" if sklearn.__version__ < "1.8" else "1.7.0"
    with pytest.raises(FileFormatError, match="holds SimpleImputer, fitted by scikit-learn 1"):
        open_under(pipeline, other)


def test_a_parameter_of_another_release_matters_only_if_it_was_set(tmp_path):
    path = tmp_path / "model.skvim"
    skvim.save(preprocessing.StandardScaler(with_std=False).fit(X), path)
    document, arrays = _archive.read_archive(path)
    model = document["model"]["$estimator"]
    assert model["defaults"] == ["copy", "with_mean"]
    model["parameters"]["with_more"] = "deprecated"
    model["defaults"].append("with_more")
    _archive.write_archive(path, document, arrays)
    np.testing.assert_array_equal(skvim.load(path).transform(X), X - X.mean(axis=0))
    model["defaults"].remove("with_more")
    _archive.write_archive(path, document, arrays)
    with pytest.raises(FileFormatError, match=r"StandardScaler of this .* no parameters with_more"):
        skvim.load(path)
