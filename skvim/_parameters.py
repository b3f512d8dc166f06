"""The constructor parameters that all autoencoders share."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import optim

from skvim._declare import estimator, parameter
from skvim._validation import HasMethods, StrOptions, integer, real
from skvim.engine import ACCELERATIONS, OPTIMIZERS, PRECISIONS, SCHEDULES
from skvim.networks import ACTIVATIONS, NORMALIZATIONS, Architecture
from skvim.objectives import Likelihood

__all__ = ["CommonParameters"]


@estimator
class CommonParameters:
    """A mixin: what every autoencoder's constructor takes."""

    n_components: int = parameter(
        default=16,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Latent dimensions: columns that ``transform`` returns.",
        kw_only=False,
    )
    likelihood: str | Likelihood = parameter(
        default="gaussian",
        kind='{"gaussian", "bernoulli"} or Likelihood',
        allowed=[StrOptions({"gaussian", "bernoulli"}), Likelihood],
        doc="""
        p(x|z). "gaussian" has one variance for all features, kept at its maximum-likelihood value;
        :class:`~skvim.objectives.Gaussian` fixes it. "bernoulli" wants every value of X in [0, 1].
        """,
    )
    network: Any = parameter(
        default="mlp",
        kind='{"mlp", "convolutional"}, Architecture or pair',
        allowed=[StrOptions({"mlp", "convolutional"}), Architecture, tuple, list],
        doc="""
        Encoder and decoder: multilayer perceptrons, to which ``hidden_layer_sizes``,
        ``activation``, ``normalization`` and ``dropout`` belong; for images
        :class:`~skvim.networks.Convolutional`, as an object with a width of its own; or a pair
        (encoder, decoder) of such names and objects, see :class:`~skvim.networks.Paired`, or of
        torch modules, classes or functions as :class:`~skvim.networks.Modules` takes them.
        """,
    )
    hidden_layer_sizes: Sequence[int] = parameter(
        default=(256, 256),
        kind="sequence of int",
        allowed=[tuple, list],
        doc="Widths of the encoder's hidden layers, mirrored in the decoder; () makes both affine.",
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
        doc="What is normalised before each activation: a unit over the batch, or a row's units.",
    )
    dropout: float = parameter(
        default=0.0,
        kind="float in [0, 1)",
        allowed=[real(0, 1)],
        doc="Probability that training sets a unit of a hidden layer to 0, in both networks.",
    )
    image_shape: Sequence[int] | None = parameter(
        default=None,
        kind="tuple (height, width[, channels]) or None",
        allowed=[tuple, list, None],
        doc="""
        Shape of the image that a flat row holds, channels last. Where X is an array of images, None
        takes it from there. Results come in the layout that ``fit`` saw.
        """,
    )
    noise: Any = parameter(
        default=None,
        kind='{"gaussian", "masking"}, noise transformer or None',
        allowed=[StrOptions({"gaussian", "masking"}), HasMethods("corrupt"), None],
        doc="""
        What corrupts the encoder's input in training, every batch afresh, beside a clean target:
        one of :mod:`skvim.noise` at its default level, or such a transformer, whose ``when`` and
        ``random_state`` play no part; any object with a method ``corrupt(batch, generator)`` on
        tensors will do. Levels are in the units of X. A corruption of images without a shape of its
        own takes the model's, see ``image_shape``. ``GaussianNoise(0.01)`` is that of the WAE
        reference, whose draws are cut off at two standard deviations where these are not.
        """,
    )
    max_epochs: int = parameter(
        default=100,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Passes over the training rows.",
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
        How learning rates change, the model's and those of critics alike: before every batch each
        is its initial value times a factor f(t), t in [0, 1) the share of the training that is
        done. "steps" is 1, from t = 0.3 on 1/2, from 0.5 on 1/10; "exponential" is 100^−t;
        "cosine" is ½ (1 + cos πt); or any callable f, whose values are finite and at least 0. The
        first two are the WAE reference's for MNIST and, nearly, for CelebA. ``history_`` then
        holds the rate at the end of each epoch as ``lr``. None leaves rates as they are, also to
        callbacks that change them.
        """,
    )
    batch_size: int = parameter(
        default=100,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Rows in a batch; a remainder of one row joins the batch before it.",
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
        Whether a random share of the rows is set aside, and training ends when the loss on them no
        longer improves. The weights kept are then those of the epoch where it was lowest, also
        when ``max_epochs`` comes first. The loss is the objective in evaluation mode, with the same
        random numbers after every epoch: without input noise, and with warm-ups and annealed
        capacities at their final values. Schedules and warm-ups go by ``max_epochs`` all the same.
        """,
    )
    validation_fraction: float = parameter(
        default=0.1,
        kind="float in (0, 1)",
        allowed=[real(0, 1, closed="neither")],
        doc="Share of the rows that ``early_stopping`` sets aside, rounded up to whole rows.",
    )
    n_iter_no_change: int = parameter(
        default=10,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="""
        Epochs in a row without an improvement by more than ``tol`` after which ``early_stopping``
        ends training.
        """,
    )
    tol: float = parameter(
        default=1e-4,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="""
        Improvement on the lowest validation loss before it, in nats per row, that does not count
        for ``early_stopping`` unless it is exceeded.
        """,
    )
    callbacks: list[Any] | None = parameter(
        default=None,
        kind="list of skorch callbacks or None",
        allowed=[list, None],
        doc="""
        Callbacks that skorch's loop notifies, for example to keep checkpoints. They
        are used as given, so that what they recorded can be read; fits that share one also share
        its memory.
        """,
    )
    net_params: dict[str, Any] | None = parameter(
        default=None,
        kind="dict or None",
        allowed=[dict, None],
        doc="""
        Further arguments of ``skorch.NeuralNet``, for example
        ``{"optimizer__weight_decay": 1e-4}``.
        """,
    )
    device: str = parameter(
        default="auto",
        kind="str",
        allowed=[str],
        doc="""
        torch device to train on; "auto" takes a GPU where torch finds one. Rows that need at most
        half of a GPU's free memory are kept there, others are brought from main memory batchwise.
        """,
    )
    precision: str = parameter(
        default="float32",
        kind='{"float32", "bfloat16"}',
        allowed=[StrOptions(set(PRECISIONS))],
        doc="""
        What the networks' products are computed in during training. "bfloat16" keeps weights,
        gradients, codes and divergences in float32 and takes torch's autocast for the networks
        between them: faster where the hardware has such units, mostly GPUs, with slightly other
        losses. The trained model works in the precision of its input as ever.
        """,
    )
    acceleration: str | None = parameter(
        default="auto",
        kind='{"auto", "capture", "compile"} or None',
        allowed=[StrOptions(set(ACCELERATIONS)), None],
        doc="""
        How training steps are run. "capture" works out once which of torch's operations a step
        comes to, gradients included, and then repeats these without autograd's and most of
        Python's cost: the same arithmetic, up to the rounding of sums, in about half the
        time where networks are small; on a GPU as a CUDA graph. It is for steps that do the same
        every time: what they do may not depend on values or on counters in Python. "auto" captures
        where every part of the model is skvim's or torch's own and some thousand steps are to
        come. "compile" has ``torch.compile`` make kernels of the operations, which wants a C++
        compiler, or Triton on a GPU, and up to a minute. Callbacks that listen to batches make
        all of them plain steps, which None always takes; ``net_.plain_because_`` says why none
        was captured.
        """,
    )
    random_state: int | np.random.RandomState | None = parameter(
        default=None,
        kind="int, RandomState or None",
        allowed=["random_state"],
        doc="""
        Seed of initialisation, shuffling and sampling. The global generators of NumPy and torch
        are never used.
        """,
    )
    verbose: int = parameter(
        default=0,
        kind="int in [0, inf)",
        allowed=["verbose"],
        doc="Positive: print a line an epoch.",
    )
