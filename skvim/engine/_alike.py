"""Which models can train together."""

import pickle
from dataclasses import fields
from typing import Any

from skvim.engine._batches import batch_bounds
from skvim.engine._build import ModelSettings, TrainingSettings
from skvim.engine._capture import is_own
from skvim.networks import Perceptrons

__all__ = ["likeness", "n_batches", "obstacle"]


def obstacle(model: ModelSettings, training: TrainingSettings) -> str:
    """Say why a model cannot train together with others; nothing if it can.

    Parameters
    ----------
    model, training : ModelSettings, TrainingSettings
        What it is made of and how it is trained.
    """
    parts: list[Any] = [model.posterior, model.prior, model.likelihood]
    parts += [getattr(model.prior, "distribution", None), *(term for _, term in model.terms)]
    parts.append(getattr(model.corruption, "__self__", model.corruption))
    beyond = [k for k in training.net_params if not k.startswith("optimizer__")]
    stands = {
        "its divergence has a critic": any(term.adversarial for _, term in model.terms),
        "its networks are not multilayer perceptrons": not _is_mlp(model),
        "parts of it are neither skvim's nor torch's": not all(map(is_own, parts)),
        "it has callbacks": bool(training.callbacks),
        "it prints its epochs (verbose)": bool(training.verbose),
        "its optimizer is not one of those with a name": not isinstance(training.optimizer, str),
        "net_params asks for more than a setting of the optimizer": bool(beyond)
        or "optimizer__param_groups" in training.net_params,
        "its products are not computed in float32": model.precision != "float32",
        "acceleration is None": training.acceleration is None,
    }
    return next((reason for reason, is_so in stands.items() if is_so), "")


def _is_mlp(model: ModelSettings) -> bool:
    """Whether encoder and decoder are multilayer perceptrons."""
    return isinstance(model.architecture, Perceptrons)


def likeness(model: ModelSettings, training: TrainingSettings, n_rows: int) -> bytes:
    """Return what models have in common that can train together, as bytes to compare.

    They may differ in weights and numbers of the objective, in their seeds and, as long as an
    epoch has as many batches, in the number of rows.

    Parameters
    ----------
    model, training : ModelSettings, TrainingSettings
        Without an obstacle.
    n_rows : int
        Rows to train on.

    Raises
    ------
    Exception
        Of any kind, when a part cannot be pickled.
    """
    parts = {field.name: getattr(model, field.name) for field in fields(model)}
    parts["terms"] = [(type(term), _fixed(term)) for _, term in model.terms]
    parts["likelihood"] = (type(model.likelihood), _fixed(model.likelihood))
    noise = model.corruption
    parts["corruption"] = getattr(noise, "__self__", noise)
    own = {field.name: getattr(training, field.name) for field in fields(training)}
    del own["seed"], own["acceleration"]
    own["device"] = str(training.device)
    return pickle.dumps((parts, own, n_batches(model, training, n_rows)))


def n_batches(model: ModelSettings, training: TrainingSettings, n_rows: int) -> int:
    """Return the number of batches of an epoch; without those set aside for validation."""
    if training.stopping is not None:
        n_rows -= training.stopping.n_valid(n_rows)
    needed = max((term.min_rows for _, term in model.terms), default=1)
    return len(batch_bounds(n_rows, training.batch_size, max(needed, model.min_rows)))


def _fixed(part: Any) -> list[tuple[str, Any]]:
    """Return the settings of a part; of those that may vary, whether they are 0."""
    variable = getattr(part, "variable", ())
    plain = (bool, int, float, str, tuple, list, type(None))
    found = sorted(vars(part).items())
    return [
        (name, bool(value) if name in variable else value)
        for name, value in found
        if isinstance(value, plain) or name in variable
    ]
