"""What files may name: public classes, and the arguments that their constructors take.

A file names classes only. Each is looked up among the public names of the packages below, so that
nothing else is ever imported or called.
"""

import importlib
import inspect
from functools import cached_property
from typing import Any

from skvim.exceptions import FileFormatError

__all__ = ["part_arguments", "part_class", "public_class", "public_name"]

_PACKAGES = (
    "skvim",
    "skvim.networks",
    "skvim.noise",
    "skvim.objectives",
    "skvim.semi_supervised",
    "torch.distributions",
    "torch.optim",
    *(
        f"sklearn.{name}"
        for name in (
            "cluster",
            "compose",
            "covariance",
            "cross_decomposition",
            "decomposition",
            "discriminant_analysis",
            "dummy",
            "feature_selection",
            "impute",
            "kernel_approximation",
            "kernel_ridge",
            "linear_model",
            "mixture",
            "multiclass",
            "naive_bayes",
            "neighbors",
            "pipeline",
            "preprocessing",
            "random_projection",
            "semi_supervised",
            "svm",
        )
    ),
)

# Parts of models that are nothing but their settings, each kept as the attribute of its name.
_PARTS = {
    *(
        f"skvim.objectives.{name}"
        for name in (
            "Adversarial",
            "Bernoulli",
            "Capacity",
            "Contraction",
            "DensityRatioKL",
            "DiracPosterior",
            "Factorised",
            "Gaussian",
            "GaussianPosterior",
            "InfoNCE",
            "KL",
            "Logistic",
            "LogisticPosterior",
            "MMD",
            "MixtureKL",
            "Normal",
            "SlicedWasserstein",
        )
    ),
    "skvim.networks.Convolutional",
    "skvim.networks.Paired",
    "skvim.networks.Perceptrons",
}

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def public_name(cls: type) -> str | None:
    """Return the name under which a file may hold a class, or None for any other class.

    Examples
    --------
    >>> from skvim._persistence._registry import public_name
    >>> from skvim.objectives import Normal
    >>> public_name(Normal), public_name(dict)
    ('skvim.objectives.Normal', None)
    """
    homes = [name for name in _PACKAGES if f"{cls.__module__}.".startswith(f"{name}.")]
    if not homes:
        return None
    home = max(homes, key=len)
    return f"{home}.{cls.__name__}" if _member(home, cls.__name__) is cls else None


def public_class(name: Any, base: type) -> type:
    """Return the class of a name, a concrete one below ``base``.

    Raises
    ------
    FileFormatError
        When it is not among those that a file may hold.
    """
    home, _, member = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    found = _member(home, member) if home in _PACKAGES else None
    if found is None or not issubclass(found, base) or inspect.isabstract(found):
        raise FileFormatError(
            f"it names {name!r}, which is no public {base.__name__} of skvim, scikit-learn or "
            "torch that files may hold. If a newer release has it, install that one"
        )
    return found


def part_arguments(part: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the class's name and the constructor's arguments of a part; None for what is none."""
    name = public_name(type(part))
    if name not in _PARTS:
        return None
    names = inspect.signature(type(part)).parameters.values()
    # Without a constructor of its own it shows that of its base, (*args, **kwargs).
    own = [parameter.name for parameter in names if parameter.kind not in _VARIADIC]
    arguments = {key: getattr(part, key) for key in own}
    return (name, arguments) if _is_as_made(part, arguments) else None


def part_class(name: Any) -> type:
    """Return the class of a part by its name; ``FileFormatError`` where there is none."""
    return public_class(name if name in _PARTS else None, object)


def _is_as_made(part: Any, arguments: dict[str, Any]) -> bool:
    """Whether nothing was added to a part that its constructor does not set."""
    made = type(part)(**arguments)
    members = inspect.getmembers_static(type(part))
    # Properties that a prior has computed follow from its settings.
    derived = {name for name, member in members if isinstance(member, cached_property)}
    return set(vars(part)) - set(vars(made)) <= derived


def _member(package: str, name: str) -> type | None:
    """Return a public class of a package, which is imported."""
    module = importlib.import_module(package)
    found = vars(module).get(name) if name in getattr(module, "__all__", dir(module)) else None
    own = isinstance(found, type) and f"{found.__module__}.".startswith(f"{package}.")
    return found if own else None
