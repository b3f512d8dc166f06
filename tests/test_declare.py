"""Declarations: constructor, constraints and docstring of a class and of its subclass."""

import inspect
from numbers import Integral

import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import Interval

from skvim._declare import estimator, parameter
from skvim._validation import check_parameters, integer


@estimator
class Base(BaseEstimator):
    """A base.

    Attributes
    ----------
    seen_ : int
        Of the base.
    """

    size: int = parameter(
        default=3, kind="int", allowed=[integer(1)], doc="How many.", kw_only=False
    )
    mode: str = parameter(
        default="a",
        kind="str",
        allowed=[str],
        doc="""
        First line.
          Indented line.
        """,
    )


@estimator
class Child(Base):
    """A child.

    Attributes
    ----------
    own_ : int
        Of the child.

    Notes
    -----
    Text.
    """

    extra: float = parameter(default=0.5, kind="float", allowed=[float], doc="Only here.")
    mode: str = parameter(default="b", kind="str", allowed=[str], doc="Redefined.")


def test_signature_is_explicit_and_inherited():
    parameters = inspect.signature(Child).parameters
    assert list(parameters) == ["size", "mode", "extra"]
    assert parameters["size"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert parameters["extra"].kind is inspect.Parameter.KEYWORD_ONLY
    assert [p.default for p in parameters.values()] == [3, "b", 0.5]
    assert Base().mode == "a"


def test_docstring_has_parameters_and_the_attributes_of_the_base():
    assert Child.__doc__ == (
        "A child.\n\n"
        "Parameters\n----------\n"
        "size : int, default=3\n    How many.\n"
        "mode : str, default='b'\n    Redefined.\n"
        "extra : float, default=0.5\n    Only here.\n\n"
        "Attributes\n----------\n"
        "seen_ : int\n    Of the base.\n"
        "own_ : int\n    Of the child.\n\n"
        "Notes\n-----\nText.\n"
    )
    assert "    First line.\n      Indented line.\n" in Base.__doc__


def test_scikit_learn_can_clone_compare_and_print():
    child = Child(5, extra=0.1)
    assert clone(child).get_params() == {"size": 5, "mode": "b", "extra": 0.1}
    assert repr(child) == "Child(extra=0.1, size=5)"
    assert child != clone(child)
    assert len({child, clone(child)}) == 2


def test_constraints_are_inherited_and_checked_on_request():
    assert isinstance(Child._parameter_constraints["size"][0], Interval)
    assert Child._parameter_constraints["size"][0].type is Integral
    wrong = Child(0)
    with pytest.raises(ValueError, match=r"'size' parameter of Child must be an int .* Got 0"):
        check_parameters(wrong)
