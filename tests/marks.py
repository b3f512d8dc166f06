"""What each part of scikit-learn does to -1 in y, observed on small data sets.

``CASES`` has a function for each name of the table in ``docs/partly_labelled.rst``. It returns the
table's word for what it saw.
"""

import numpy as np
from sklearn import feature_selection, model_selection, preprocessing
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFE, RFECV, SelectFromModel, SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline, make_union
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier
from sklearn.utils.class_weight import compute_class_weight

from skvim.model_selection import MaskedStratifiedKFold, mask_labels

FOLDS = MaskedStratifiedKFold(3)
GRAPH = LabelSpreading(gamma=0.1)
LINEAR = SelfTrainingClassifier(LogisticRegression())
SELECTOR = {"importance_getter": "estimator_.coef_"}


def data(n_classes=3, n_labeled=30):
    """Rows, their labels, and these with most of them masked; values of rows are counts."""
    X, y = make_blobs(120, centers=n_classes, n_features=4, cluster_std=1.5, random_state=0)
    return np.rint(2 * (X - X.min())), y, mask_labels(y, n_labeled, random_state=0)


def word(predicted, y):
    """Say what predictions of all rows mean."""
    if np.mean(predicted == -1) > 0.5:
        return "class"
    return "correct" if np.mean(predicted == y) > 0.9 else "wrong"


def fitted(model, n_classes=3):
    """Fit to a partly labelled y and look at the predictions."""
    X, y, partial = data(n_classes)
    try:
        return word(model.fit(X, partial).predict(X), y)
    except ValueError:
        return "error"


def transformed(step):
    """Look at predictions from features that a step learned with y."""
    return fitted(make_pipeline(step, GRAPH))


def renamed(learn):
    """Say "class" if -1 is no other than any name of a class, and labels alone give another result.

    ``learn`` takes rows and labels and returns numbers.
    """
    X, _, partial = data()
    given = partial != -1
    result = learn(X, partial)
    same = np.allclose(learn(X, np.where(given, partial, -7)), result)
    alone = learn(X[given], partial[given])
    other = np.shape(alone) != np.shape(result) or not np.allclose(alone, result)
    return "class" if same and other else "correct"


def attribute(transformer, name):
    """Look at what a transformer learns with y."""
    return renamed(lambda X, y: getattr(transformer.fit(X, y), name))


def scored(score):
    """Say "correct" if the score of a good model is high, "tested" if unlabelled rows lower it."""
    X, _, partial = data()
    try:
        value = float(np.mean(score(X, partial)))
    except ValueError:
        return "error"
    return "correct" if value > 0.9 else "tested" if value < 0.3 else "wrong"


def searched(make):
    """Look at a search whose folds have labelled rows only, and at its score."""
    X, _, partial = data()
    search = make(FOLDS).fit(X, partial)
    return fitted(search) if search.best_score_ > 0.9 else "wrong"


def tested(splitter):
    """Look at the test sets of a splitter."""
    X, _, partial = data()
    groups = np.arange(len(X)) % 4
    tests = [partial[test] for _, test in splitter.split(X, partial, groups)]
    return "tested" if np.mean(np.concatenate(tests) == -1) > 0.5 else "correct"


def predicted_out_of_fold(method, cv):
    """Look at predictions of all rows, of which most are unlabelled."""
    X, y, partial = data()
    try:
        found = model_selection.cross_val_predict(LINEAR, X, partial, cv=cv, method=method)
    except ValueError:
        return "error"
    return word(found if method == "predict" else np.unique(partial)[found.argmax(axis=1)], y)


def halved(search, **options):
    """Look at a search whose first round has fewer labels than classes in some fold.

    The estimator is useless with two of the three candidates.
    """
    X, _, partial = data()
    fit = search(LINEAR, STRENGTHS, cv=FOLDS, random_state=0, min_resources=12, **options)
    fit.fit(X, partial)
    first = fit.cv_results_["mean_test_score"][fit.cv_results_["iter"] == 0]
    return "wrong" if np.isnan(first).all() and fit.best_score_ < 0.5 else "correct"


def chained():
    """Look at the features of the second estimator of a chain."""
    X, _, partial = data()
    chain = ClassifierChain(GRAPH).fit(X, np.column_stack([partial, partial]))
    return "class" if np.any(chain.estimators_[1].X_[:, -1] == -1) else "correct"


def multioutput():
    X, y, partial = data()
    model = MultiOutputClassifier(GRAPH).fit(X, np.column_stack([partial, partial]))
    return word(model.predict(X)[:, 1], y)


def displayed(display, *args, **options):
    X, _, partial = data()
    drawn = display.from_estimator(LINEAR, X, partial, *args, cv=FOLDS, **options)
    return scored(lambda X, y: drawn.test_scores[-1])


def importances():
    """Importances of features are drops of a score that counts unlabelled rows as errors."""
    X, _, partial = data()
    found = permutation_importance(LINEAR.fit(X, partial), X, partial, random_state=0)
    return "tested" if found.importances.max() < np.mean(partial != -1) else "correct"


THRESHOLDS = {"threshold": [0.6, 0.8, 0.95]}
STRENGTHS = {"estimator__C": [1.0, 1e-8, 1e-9]}
SPLITTERS = {
    "KFold": model_selection.KFold(3),
    "StratifiedKFold": model_selection.StratifiedKFold(3),
    "RepeatedKFold": model_selection.RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
    "RepeatedStratifiedKFold": model_selection.RepeatedStratifiedKFold(n_splits=3, n_repeats=2),
    "LeaveOneOut": model_selection.LeaveOneOut(),
    "LeavePOut": model_selection.LeavePOut(2),
    "PredefinedSplit": model_selection.PredefinedSplit(np.arange(120) % 3),
    "TimeSeriesSplit": model_selection.TimeSeriesSplit(3),
    "GroupKFold": model_selection.GroupKFold(3),
    "StratifiedGroupKFold": model_selection.StratifiedGroupKFold(3),
    "GroupShuffleSplit": model_selection.GroupShuffleSplit(3, random_state=0),
    "LeaveOneGroupOut": model_selection.LeaveOneGroupOut(),
    "LeavePGroupsOut": model_selection.LeavePGroupsOut(2),
    "ShuffleSplit": model_selection.ShuffleSplit(3, random_state=0),
    "StratifiedShuffleSplit": model_selection.StratifiedShuffleSplit(3, random_state=0),
}
# Functions of an estimator, rows and labels that have a parameter cv.
VALIDATION = {
    "cross_validate": lambda X, y, cv: model_selection.cross_validate(LINEAR, X, y, cv=cv)[
        "test_score"
    ],
    "cross_val_score": lambda X, y, cv: model_selection.cross_val_score(LINEAR, X, y, cv=cv),
    "validation_curve": lambda X, y, cv: model_selection.validation_curve(
        LINEAR, X, y, param_name="threshold", param_range=[0.7, 0.8], cv=cv
    )[1],
    "learning_curve": lambda X, y, cv: model_selection.learning_curve(
        LINEAR, X, y, train_sizes=[0.8, 1.0], shuffle=True, random_state=0, cv=cv
    )[2],
    "permutation_test_score": lambda X, y, cv: model_selection.permutation_test_score(
        LINEAR, X, y, n_permutations=2, random_state=0, cv=cv
    )[0],
}
SELECTORS = (
    "SelectKBest",
    "SelectPercentile",
    "SelectFpr",
    "SelectFdr",
    "SelectFwe",
    "GenericUnivariateSelect",
)
CASES = {
    "SelfTrainingClassifier": lambda: fitted(LINEAR),
    "LabelPropagation": lambda: fitted(LabelPropagation(gamma=0.1)),
    "LabelSpreading": lambda: fitted(GRAPH),
    "Pipeline": lambda: fitted(make_pipeline(PCA(2), GRAPH)),
    "FeatureUnion": lambda: transformed(make_union(PCA(2), PCA(1))),
    "FrozenEstimator": lambda: fitted(FrozenEstimator(GRAPH.fit(*data()[::2]))),
    "RFE": lambda: fitted(RFE(LINEAR, **SELECTOR)),
    "SelectFromModel": lambda: transformed(
        SelectFromModel(LINEAR, threshold=-np.inf, max_features=3, **SELECTOR)
    ),
    "MultiOutputClassifier": multioutput,
    "GridSearchCV": lambda: searched(lambda cv: GridSearchCV(LINEAR, THRESHOLDS, cv=cv)),
    "RandomizedSearchCV": lambda: searched(
        lambda cv: RandomizedSearchCV(LINEAR, THRESHOLDS, n_iter=2, cv=cv, random_state=0)
    ),
    "RFECV": lambda: scored(
        lambda X, y: (
            RFECV(LINEAR, cv=FOLDS, **SELECTOR).fit(X, y).cv_results_["mean_test_score"][-1]
        )
    ),
    "SequentialFeatureSelector": lambda: transformed(
        SequentialFeatureSelector(LINEAR, n_features_to_select=3, cv=FOLDS)
    ),
    "HalvingGridSearchCV": lambda: halved(HalvingGridSearchCV),
    "HalvingRandomSearchCV": lambda: halved(HalvingRandomSearchCV, n_candidates=3),
    "ValidationCurveDisplay": lambda: displayed(
        model_selection.ValidationCurveDisplay, param_name="threshold", param_range=[0.7, 0.8]
    ),
    "LearningCurveDisplay": lambda: displayed(
        model_selection.LearningCurveDisplay, train_sizes=[0.8, 1.0], shuffle=True, random_state=0
    ),
    "cross_val_predict": lambda: predicted_out_of_fold("predict", FOLDS),
    'cross_val_predict(method="predict_proba")': lambda: predicted_out_of_fold("predict_proba", 3),
    "BaggingClassifier": lambda: fitted(BaggingClassifier(GRAPH, n_estimators=3, random_state=0)),
    "VotingClassifier": lambda: fitted(VotingClassifier([("graph", GRAPH)])),
    "StackingClassifier": lambda: fitted(StackingClassifier([("graph", GRAPH)])),
    "OneVsRestClassifier": lambda: fitted(OneVsRestClassifier(GRAPH)),
    "OneVsOneClassifier": lambda: fitted(OneVsOneClassifier(GRAPH)),
    "OutputCodeClassifier": lambda: fitted(OutputCodeClassifier(GRAPH, random_state=0)),
    "AdaBoostClassifier": lambda: fitted(AdaBoostClassifier(n_estimators=3, random_state=0)),
    "ClassifierChain": chained,
    "CalibratedClassifierCV(ensemble=True)": lambda: fitted(
        CalibratedClassifierCV(GRAPH, cv=FOLDS), n_classes=2
    ),
    "CalibratedClassifierCV(ensemble=False)": lambda: fitted(
        CalibratedClassifierCV(GRAPH, cv=3, ensemble=False)
    ),
    "FixedThresholdClassifier": lambda: fitted(FixedThresholdClassifier(GRAPH), n_classes=2),
    "TunedThresholdClassifierCV": lambda: fitted(
        TunedThresholdClassifierCV(GRAPH, cv=FOLDS), n_classes=2
    ),
    "LinearDiscriminantAnalysis": lambda: attribute(LinearDiscriminantAnalysis(), "xbar_"),
    "NeighborhoodComponentsAnalysis": lambda: attribute(
        NeighborhoodComponentsAnalysis(max_iter=2, random_state=0), "components_"
    ),
    **{
        name: (lambda name=name: attribute(getattr(feature_selection, name)(), "scores_"))
        for name in SELECTORS
    },
    "TargetEncoder": lambda: renamed(
        lambda X, y: np.concatenate(preprocessing.TargetEncoder().fit(X > 9, y).encodings_)
    ),
    "LabelEncoder": lambda: renamed(lambda X, y: preprocessing.LabelEncoder().fit_transform(y)),
    "LabelBinarizer": lambda: renamed(lambda X, y: preprocessing.LabelBinarizer().fit_transform(y)),
    "f_classif": lambda: renamed(lambda X, y: feature_selection.f_classif(X, y)[0]),
    "chi2": lambda: renamed(lambda X, y: feature_selection.chi2(X, y)[0]),
    "mutual_info_classif": lambda: renamed(
        lambda X, y: feature_selection.mutual_info_classif(X, y, random_state=0)
    ),
    "compute_class_weight": lambda: renamed(
        lambda X, y: compute_class_weight("balanced", classes=np.unique(y), y=y)
    ),
    "permutation_importance": importances,
    "get_scorer": lambda: scored(lambda X, y: get_scorer("accuracy")(GRAPH.fit(X, y), X, y)),
    "train_test_split": lambda: scored(
        lambda X, y: model_selection.train_test_split(X, y, stratify=y, random_state=0)[3] != -1
    ),
    **{name: (lambda name=name: tested(SPLITTERS[name])) for name in SPLITTERS},
    **{
        name: (lambda name=name: scored(lambda X, y: VALIDATION[name](X, y, FOLDS)))
        for name in VALIDATION
    },
}
