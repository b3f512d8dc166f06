"""Constructor parameters of all autoencoders."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import optim

from skvim._declare import estimator, parameter
from skvim._validation import HasMethods, StrOptions, integer, real
from skvim.engine import ACCELERATIONS, OPTIMIZERS, PRECISIONS, SCHEDULES
from skvim.engine._checkpoints import Checkpoints
from skvim.networks import ACTIVATIONS, NORMALIZATIONS, Architecture
from skvim.objectives import Likelihood
from skvim.tables import Columns

__all__ = ["CommonParameters"]


@estimator
class CommonParameters:
    """Mixin that declares the constructor parameters of all autoencoders."""

    n_components: int | str = parameter(
        default=16,
        kind='int in [1, inf) or "auto"',
        allowed=[integer(1), StrOptions({"auto"})],
        doc="""
        Number of latent dimensions, the columns that ``transform`` returns. "auto": as many as
        principal components explain 90 % of the variance of what the encoder sees, at most 64 and
        fewer than columns.
        """,
        kw_only=False,
    )
    likelihood: str | Likelihood | Columns = parameter(
        default="gaussian",
        kind='{"gaussian", "bernoulli", "auto"}, Likelihood or Columns',
        allowed=[StrOptions({"gaussian", "bernoulli", "auto"}), Likelihood, Columns],
        doc="""
        Likelihood p(x|z). "gaussian" has one variance for all features, its maximum-likelihood
        estimate; :class:`~skvim.objectives.Gaussian` offers others. "bernoulli" needs every value
        of X in [0, 1]. "auto" is for tables with mixed columns and missing cells: each column has
        a density of its own, found from its dtype and values;
        :class:`~skvim.tables.Columns` sets kinds of columns. See :doc:`/tables`.
        """,
    )
    code_density: Any = parameter(
        default="auto",
        kind='{"auto", "gaussian-mixture"}, density estimator or None',
        allowed=[StrOptions({"auto", "gaussian-mixture"}), HasMethods(["fit", "sample"]), None],
        doc="""
        Density to fit to the codes of training rows, for ``sample(codes="fitted")``.
        "gaussian-mixture" chooses the number of components, a power of 2 up to 32, by the
        likelihood of held-out codes; or an estimator with ``fit`` and ``sample``, such as one of
        scikit-learn's. "auto" is "gaussian-mixture" for tables (``likelihood="auto"``) and None
        otherwise.
        """,
    )
    network: Any = parameter(
        default="mlp",
        kind='{"mlp", "convolutional"}, Architecture or pair',
        allowed=[StrOptions({"mlp", "convolutional"}), Architecture, tuple, list],
        doc="""
        Encoder and decoder. "mlp": multilayer perceptrons with ``hidden_layer_sizes``,
        ``activation``, ``normalization`` and ``dropout``. "convolutional": for images, see
        :class:`~skvim.networks.Convolutional`, an object of which sets the width. Or a pair
        (encoder, decoder) of such names and objects, see :class:`~skvim.networks.Paired`, or of
        torch modules, classes or functions, see :class:`~skvim.networks.Modules`.
        """,
    )
    hidden_layer_sizes: Sequence[int] = parameter(
        default=(256, 256),
        kind="sequence of int",
        allowed=[tuple, list],
        doc="Widths of the encoder's hidden layers; the decoder has them reversed. () is affine.",
    )
    activation: str = parameter(
        default="relu",
        kind='{"elu", "gelu", "relu", "silu", "softplus", "tanh"}',
        allowed=[StrOptions(set(ACTIVATIONS))],
        doc="Activation after each hidden layer.",
    )
    normalization: str | None = parameter(
        default=None,
        kind='{"batch", "layer"} or None',
        allowed=[StrOptions(set(NORMALIZATIONS)), None],
        doc="Batch or layer normalisation before each activation.",
    )
    dropout: float = parameter(
        default=0.0,
        kind="float in [0, 1)",
        allowed=[real(0, 1)],
        doc="Dropout probability of hidden units, in encoder and decoder.",
    )
    image_shape: Sequence[int] | None = parameter(
        default=None,
        kind="tuple (height, width[, channels]) or None",
        allowed=[tuple, list, None],
        doc="""
        Shape of the image that a flat row contains, channels last. None takes it from X if X is an
        array of images. Results have the layout of the X that ``fit`` got.
        """,
    )
    noise: Any = parameter(
        default=None,
        kind='{"gaussian", "masking", "swap"}, noise transformer or None',
        allowed=[StrOptions({"gaussian", "masking", "swap"}), HasMethods("corrupt"), None],
        doc="""
        Corruption of the encoder's input in training, drawn anew for every batch; the
        reconstruction target stays clean. A name stands for a transformer of :mod:`skvim.noise` at
        its default level. Of a transformer, ``when`` and ``random_state`` are ignored; any object
        with a method ``corrupt(batch, generator)`` on tensors is accepted. Levels are in the units
        of X. Corruptions of images whose ``image_shape`` is None take that of the model.
        ``GaussianNoise(0.01)`` is that of the WAE reference, except that the reference truncates
        draws at two standard deviations.
        """,
    )
    max_epochs: int | str = parameter(
        default="auto",
        kind='int in [1, inf) or "auto"',
        allowed=[integer(1), StrOptions({"auto"})],
        doc="""
        Greatest number of epochs; all of them without ``early_stopping``. "auto" is 100; with
        ``early_stopping``, which keeps the best weights, it is as many as have 2,000 steps, one per
        batch, if that is more: an epoch of a small table has few steps. The number is
        ``net_.max_epochs``; ``n_iter_`` is that of the epochs trained.
        """,
    )
    lr: float = parameter(
        default=1e-3,
        kind="float in (0, inf)",
        allowed=[real(0, closed="neither")],
        doc="Learning rate of the optimizer.",
    )
    lr_schedule: str | Callable[[float], float] | None = parameter(
        default=None,
        kind='{"steps", "exponential", "cosine"}, callable or None',
        allowed=[StrOptions(set(SCHEDULES)), callable, None],
        doc="""
        Schedule of the learning rates of model and critics. Before every batch each is set to its
        initial value times a factor f(t), where t in [0, 1) is the share of the training that is
        done. "steps" is 1, from t = 0.3 on 1/2, from 0.5 on 1/10; "exponential" is 100^−t;
        "cosine" is ½ (1 + cos πt); a callable f returns finite values of at least 0. "steps" and,
        nearly, "exponential" are those of the WAE reference for MNIST and CelebA. ``history_``
        then contains the rate at the end of each epoch as ``lr``. None keeps rates constant,
        unless callbacks change them.
        """,
    )
    batch_size: int = parameter(
        default=100,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Rows of a batch; a remainder of a single row joins the batch before it.",
    )
    optimizer: str | type[optim.Optimizer] = parameter(
        default="adam",
        kind='{"adam", "adamw", "sgd"} or optimizer class',
        allowed=[StrOptions(set(OPTIMIZERS)), type],
        doc="Optimizer, by name in torch's fused form or a class of ``torch.optim``'s kind.",
    )
    early_stopping: bool = parameter(
        default=False,
        kind="bool",
        allowed=["boolean"],
        doc="""
        Whether to set aside a random share of the rows for validation and to stop when the loss on
        them no longer improves. The weights are then those of the epoch with the lowest validation
        loss, even if training runs to ``max_epochs``. The validation loss is the objective in
        evaluation mode, without input noise, with warm-ups and annealed capacities at their final
        values and with the same random numbers after every epoch. Learning-rate schedules and
        warm-ups are still relative to ``max_epochs``.
        """,
    )
    validation_fraction: float = parameter(
        default=0.1,
        kind="float in (0, 1)",
        allowed=[real(0, 1, closed="neither")],
        doc="Share of the rows that ``early_stopping`` sets aside; their number is rounded up.",
    )
    n_iter_no_change: int = parameter(
        default=10,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="""
        Consecutive epochs without an improvement by more than ``tol`` after which
        ``early_stopping`` stops training, if they have ``n_steps_no_change`` steps.
        """,
    )
    n_steps_no_change: int = parameter(
        default=2000,
        kind="int in [0, inf)",
        allowed=[integer(0)],
        doc="""
        Steps, one per batch, that the epochs without an improvement have at least, unless they are
        30 epochs: with few rows an epoch has few steps, and ``n_iter_no_change`` epochs are too few
        to learn in. They are also as many epochs as there were up to the last improvement, unless
        the validation loss rises clearly, see :doc:`/early_stopping`. With 0 only
        ``n_iter_no_change`` counts.
        """,
    )
    tol: float = parameter(
        default=1e-4,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="""
        Decrease of the lowest validation loss, in nats per row, that has to be exceeded to count as
        an improvement for ``early_stopping``.
        """,
    )
    callbacks: list[Any] | None = parameter(
        default=None,
        kind="list of skorch callbacks or None",
        allowed=[list, None],
        doc="""
        Callbacks of the training loop, for example to save checkpoints. They are used as given, not
        copied, so that their records can be read; fits that share one also share its state. Most
        turn captured steps off, see ``acceleration``.
        """,
    )
    checkpoint: str | os.PathLike[str] | Checkpoints | None = parameter(
        default=None,
        kind="str, path-like, Checkpoints or None",
        allowed=[str, os.PathLike, Checkpoints, None],
        doc="""
        Folder for checkpoints of the training, written every 30 seconds;
        :class:`~skvim.Checkpoints` sets other intervals. After an interruption, even if the
        process was killed, the same ``fit`` (equal parameters, rows and ``random_state``) goes on
        from the last checkpoint and ends with the same model as a fit without interruption. It is
        removed when ``fit`` succeeds. See :doc:`/checkpoints`.
        """,
    )
    net_params: dict[str, Any] | None = parameter(
        default=None,
        kind="dict or None",
        allowed=[dict, None],
        doc="""
        Further arguments of ``skorch.NeuralNet``, such as ``{"optimizer__weight_decay": 1e-4}``.
        """,
    )
    device: str = parameter(
        default="auto",
        kind="str",
        allowed=[str],
        doc="""
        torch device to train on; "auto" is a GPU if torch finds one, else the CPU. Rows that need
        at most half of a GPU's free memory are kept there; others are copied from main memory in
        batches.
        """,
    )
    precision: str = parameter(
        default="float32",
        kind='{"float32", "bfloat16"}',
        allowed=[StrOptions(set(PRECISIONS))],
        doc="""
        Precision of the matrix products of the networks in training. "bfloat16" runs the networks
        under torch's autocast and keeps weights, gradients, codes and divergences in float32:
        faster on hardware with bfloat16 units, mostly GPUs, with slightly different losses.
        Inference uses the precision of its input in any case.
        """,
    )
    acceleration: str | None = parameter(
        default="auto",
        kind='{"auto", "capture", "compile"} or None',
        allowed=[StrOptions(set(ACCELERATIONS)), None],
        doc="""
        How training steps are run. "capture" records the torch operations of one step, gradients
        included, and repeats them without autograd and most of Python's overhead: the same
        arithmetic, up to the rounding of sums, in about half the time for small networks; on a
        GPU as a CUDA graph. All steps must consist of the same operations, whatever the values of
        tensors and of counters in Python. "auto" captures if all parts of the model are skvim's or
        torch's and at least 100 steps with batches of one size follow. "compile" compiles the
        recorded operations with ``torch.compile``, which needs a C++ compiler, or Triton on a GPU,
        and up to a minute. None never captures. ``callbacks`` turn captured steps off, except
        skorch's ``Checkpoint``, ``EarlyStopping``, ``LoadInitState``, ``PrintLog``, ``EpochTimer``
        and ``TrainEndCheckpoint`` (not subclasses of them). If a capture fails, "capture" and
        "compile" warn and "auto" prints the error if ``verbose`` is at least 1; training goes on
        with eager steps. ``net_.plain_because_`` is the reason why no step was captured, or "".
        """,
    )
    random_state: int | np.random.RandomState | None = parameter(
        default=None,
        kind="int, RandomState or None",
        allowed=["random_state"],
        doc="""
        Seed of initialisation, shuffling and sampling. The global generators of NumPy and torch
        are not used.
        """,
    )
    verbose: int = parameter(
        default=0,
        kind="int in [0, inf)",
        allowed=["verbose"],
        doc="If positive, print a line after every epoch.",
    )
