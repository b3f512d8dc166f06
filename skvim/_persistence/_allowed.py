"""Names of the classes that a file may hold."""

__all__ = ["MODULES", "PARTS", "SKLEARN", "alternative"]

#: scikit-learn's estimators by module. Their fitted state is plain, and whatever it is changed to,
#: it cannot make compiled code read or write out of bounds: they compute with NumPy, or check sizes
#: in Python first. Left out are, among others,
#: - libsvm, KMeans and neighbours, which read fitted arrays without checking their sizes;
#: - OneHotEncoder and MultiLabelBinarizer, which take column numbers of sparse matrices from them;
#: - covariances, whose ``mahalanobis`` passes a matrix to SciPy that does not check its shape;
#: - Lasso, ElasticNet and SGD, which do so when they continue from fitted coefficients.
SKLEARN = {
    f"sklearn.{module}": frozenset(names.split())
    for module, names in {
        "cluster": "AffinityPropagation AgglomerativeClustering DBSCAN MeanShift OPTICS "
        "SpectralClustering",
        "compose": "ColumnTransformer TransformedTargetRegressor",
        "cross_decomposition": "CCA PLSCanonical PLSRegression PLSSVD",
        "decomposition": "DictionaryLearning FactorAnalysis FastICA IncrementalPCA KernelPCA "
        "LatentDirichletAllocation MiniBatchDictionaryLearning MiniBatchNMF MiniBatchSparsePCA "
        "NMF PCA SparseCoder SparsePCA TruncatedSVD",
        "discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
        "feature_selection": "RFE RFECV SelectFromModel SequentialFeatureSelector "
        "VarianceThreshold",
        "impute": "KNNImputer MissingIndicator SimpleImputer",
        "kernel_approximation": "AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler "
        "SkewedChi2Sampler",
        "kernel_ridge": "KernelRidge",
        "linear_model": "ARDRegression BayesianRidge ElasticNetCV HuberRegressor Lars LarsCV "
        "LassoCV LassoLars LassoLarsCV LassoLarsIC LinearRegression LogisticRegression "
        "LogisticRegressionCV MultiTaskElasticNetCV MultiTaskLassoCV OrthogonalMatchingPursuit "
        "OrthogonalMatchingPursuitCV QuantileRegressor RANSACRegressor Ridge RidgeCV "
        "RidgeClassifier RidgeClassifierCV TheilSenRegressor",
        "mixture": "BayesianGaussianMixture GaussianMixture",
        "multiclass": "OneVsOneClassifier OneVsRestClassifier OutputCodeClassifier",
        "naive_bayes": "BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB",
        "neighbors": "NearestCentroid NeighborhoodComponentsAnalysis",
        "pipeline": "FeatureUnion Pipeline",
        "preprocessing": "Binarizer FunctionTransformer KBinsDiscretizer KernelCenterer "
        "LabelBinarizer LabelEncoder MaxAbsScaler MinMaxScaler Normalizer OrdinalEncoder "
        "PolynomialFeatures PowerTransformer QuantileTransformer RobustScaler StandardScaler "
        "TargetEncoder",
        "random_projection": "GaussianRandomProjection",
        "semi_supervised": "LabelPropagation LabelSpreading SelfTrainingClassifier",
        "svm": "LinearSVC LinearSVR",
    }.items()
}

#: All modules that are searched for public classes.
MODULES = (
    "skvim",
    "skvim.networks",
    "skvim.noise",
    "skvim.objectives",
    "skvim.semi_supervised",
    "skvim.tables",
    "torch.distributions",
    "torch.optim",
    *SKLEARN,
)

#: Parts of models that their constructor's arguments determine, each kept as an attribute.
PARTS = frozenset(
    {
        *(
            f"skvim.objectives.{name}"
            for name in (
                "Adversarial",
                "Bernoulli",
                "Capacity",
                "Categorical",
                "Cells",
                "Continuous",
                "Contraction",
                "DensityRatioKL",
                "DiracPosterior",
                "Factorised",
                "Gaussian",
                "GaussianPosterior",
                "InfoNCE",
                "Interval",
                "KL",
                "Logistic",
                "LogisticPosterior",
                "MMD",
                "MixtureKL",
                "Normal",
                "SlicedWasserstein",
                "Value",
            )
        ),
        "skvim.networks.Convolutional",
        "skvim.networks.Paired",
        "skvim.networks.Perceptrons",
        "skvim.tables.Columns",
    }
)
_ALTERNATIVES = {
    "EllipticEnvelope KernelDensity OneClassSVM": "sklearn.mixture.GaussianMixture",
    "BisectingKMeans KMeans MiniBatchKMeans": "sklearn.mixture.GaussianMixture",
    "ElasticNet Lasso": "sklearn.linear_model.LassoLars or ElasticNetCV",
    "KNeighborsClassifier RadiusNeighborsClassifier": "skvim.semi_supervised.TransductiveSVC or "
    "sklearn.neighbors.NearestCentroid",
    "KNeighborsRegressor NuSVR RadiusNeighborsRegressor SVR": "sklearn.kernel_ridge.KernelRidge",
    "NuSVC SVC": "skvim.semi_supervised.TransductiveSVC or sklearn.svm.LinearSVC",
    "OneHotEncoder": "sklearn.preprocessing.OrdinalEncoder or TargetEncoder",
    "Perceptron SGDClassifier": "sklearn.linear_model.LogisticRegression",
    "SGDRegressor": "sklearn.linear_model.Ridge",
}


def alternative(name: str) -> str:
    """Return the estimators to use in place of one that files do not hold."""
    for names, others in _ALTERNATIVES.items():
        if name in names.split():
            return others
    return "another estimator"
