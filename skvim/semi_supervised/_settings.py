"""The parameters of the transductive machine."""

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from skvim._declare import estimator, parameter
from skvim._validation import StrOptions, integer, real
from skvim.semi_supervised._solver import SOLVERS

__all__ = ["TransductiveSettings"]


@estimator
class TransductiveSettings:
    """A mixin: what the constructor takes."""

    C: float = parameter(
        default=1.0,
        kind="float in (0, inf)",
        allowed=[real(0.0, closed="neither")],
        doc="Weight of the squared slack of a labelled row; less is smoother.",
        kw_only=False,
    )
    C_unlabeled: float | str = parameter(
        default="auto",
        kind='float in [0, inf) or "auto"',
        allowed=[real(0.0), StrOptions({"auto"})],
        doc="""Weight of an unlabelled row. ``"auto"`` is C · min(1, √(n_labeled / n_unlabeled)):
        the more rows there are without a label, the less each weighs. 0 ignores them.""",
    )
    kernel: str | Callable[[Any, Any], Any] = parameter(
        default="rbf",
        kind='{"rbf", "linear", "poly"} or callable',
        allowed=[StrOptions({"rbf", "linear", "poly"}), callable],
        doc="""The kernel. ``"linear"`` works on the features as they are, without landmarks. A
        callable receives two arrays of rows and returns the kernel matrix between them.""",
    )
    gamma: float | str = parameter(
        default="scale",
        kind='{"scale", "auto"} or float in (0, inf)',
        allowed=[StrOptions({"scale", "auto"}), real(0.0, closed="neither")],
        doc="""Coefficient of the kernels "rbf" and "poly". ``"scale"`` is
        1 / (n_features · X.var()) over all rows, ``"auto"`` 1 / n_features.""",
    )
    degree: float = parameter(
        default=3,
        kind="float in [1, inf)",
        allowed=[real(1.0)],
        doc='Degree of the kernel "poly".',
    )
    coef0: float = parameter(
        default=0.0,
        kind="float",
        allowed=[real(None, closed="neither")],
        doc='Constant of the kernel "poly".',
    )
    n_components: int | str = parameter(
        default="auto",
        kind='int in [1, inf), "auto" or "all"',
        allowed=[integer(1), StrOptions({"auto", "all"})],
        doc="""Number of landmarks of the kernel; more is more exact and slower. ``"auto"`` is a
        tenth of the rows, but between 500 and 1,000. They are centres of clusters where there
        are ten rows to each, else rows, and rows always where these are sparse or the kernel is
        a function. ``"all"``, or a number not below n_samples, uses the exact kernel, with
        memory for n_samples² numbers. The kernel "linear" needs none.""",
    )
    class_prior: ArrayLike | str | None = parameter(
        default=None,
        kind='array-like of shape (n_classes,), "free" or None',
        allowed=["array-like", StrOptions({"free"}), None],
        doc="""Share of each class of ``classes_`` among all rows, with sum 1. None estimates it
        from the labels: their frequencies, drawn towards equal shares as far as chance explains
        the difference. Give it if the labelled rows were chosen by class. ``"free"`` does not
        hold the classes to any share; every unlabelled row may then end in one class.""",
    )
    solver: str = parameter(
        default="gradient",
        kind='{"gradient", "switching"}',
        allowed=[StrOptions(set(SOLVERS))],
        doc="""How a small objective is looked for: by L-BFGS on a smooth stand-in whose weight
        of the unlabelled rows rises in stages [2]_, or by switching supposed labels between
        supervised fits [1]_, many pairs at once.""",
    )
    max_iter: int = parameter(
        default=1000,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Steps of L-BFGS allowed in each stage.",
    )
    tol: float = parameter(
        default=1e-4,
        kind="float in (0, inf)",
        allowed=[real(0.0, closed="neither")],
        doc="Size of the gradient, relative to the square root of all weights, that ends a stage.",
    )
    probability: bool = parameter(
        default=False,
        kind="bool",
        allowed=["boolean"],
        doc="""Whether ``predict_proba`` is there: up to five further fits leave a part of the
        labels out, and the scores there calibrate one temperature.""",
    )
    warm_start: bool = parameter(
        default=False,
        kind="bool",
        allowed=["boolean"],
        doc="""Whether ``fit`` starts from the solution of the fit before and solves the last
        stage only, for a path of values of C. It does where kernel, landmarks and classes are
        the same, for which ``random_state`` has to be an int, and else starts anew.""",
    )
    random_state: Any = parameter(
        default=None,
        kind="int, RandomState instance or None",
        allowed=["random_state"],
        doc="""Seeds the choice of landmarks, of the 10,000 unlabelled rows that annealing looks
        at where there are more, and of the labels that ``probability`` leaves out. Without
        effect where all rows are used.""",
    )
