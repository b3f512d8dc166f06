"""The parts a model is composed of: priors, posteriors, likelihoods, divergences.

A model is x → q(z|x) → z → p(x|z), trained to minimise −E log p(x|z) + Σ weight · divergence.
Every log-density is in nats, summed over features or latent dimensions and averaged over the batch.
This package knows torch alone.
"""

from skvim.objectives._divergences import KL, MMD, Capacity, Divergence
from skvim.objectives._importance import importance_log_likelihood
from skvim.objectives._likelihoods import (
    Bernoulli,
    DataStatistics,
    Gaussian,
    Likelihood,
    make_likelihood,
)
from skvim.objectives._model import Autoencoder, Objective, Outputs
from skvim.objectives._posteriors import (
    DiracPosterior,
    GaussianPosterior,
    Moments,
    Posterior,
    make_posterior,
)
from skvim.objectives._priors import Logistic, Normal, Prior, make_prior

__all__ = [
    "KL",
    "MMD",
    "Autoencoder",
    "Bernoulli",
    "Capacity",
    "DataStatistics",
    "DiracPosterior",
    "Divergence",
    "Gaussian",
    "GaussianPosterior",
    "Likelihood",
    "Logistic",
    "Moments",
    "Normal",
    "Objective",
    "Outputs",
    "Posterior",
    "Prior",
    "importance_log_likelihood",
    "make_likelihood",
    "make_posterior",
    "make_prior",
]
