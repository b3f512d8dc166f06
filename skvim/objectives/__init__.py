"""Parts of a model: priors, posteriors, likelihoods, divergences, penalties; and the model itself.

A model is x → q(z|x) → z → p(x|z), trained to minimise −E log p(x|z) + Σ weight · divergence.
Every log-density is in nats, summed over features or latent dimensions and averaged over the batch.
Posteriors, likelihoods and terms are settings that compare by value; :class:`LikelihoodModule` and
:class:`TermModule` hold what training adds to them. It imports no third-party package but torch.
"""

from skvim.objectives._adversarial import Adversarial, DensityRatioKL
from skvim.objectives._aggregated import (
    DIVERGENCES,
    MixtureKL,
    SlicedWasserstein,
    make_divergence,
)
from skvim.objectives._annealed import Annealing, annealed_log_weights
from skvim.objectives._autoencoder import Autoencoder, Outputs
from skvim.objectives._cells import Cells
from skvim.objectives._chain import markov_chain
from skvim.objectives._contraction import Contraction
from skvim.objectives._contrastive import InfoNCE, contrastive_loss
from skvim.objectives._decoding import values_of_draws
from skvim.objectives._distributions import Factorised, make_prior
from skvim.objectives._divergences import KL, MMD, Capacity
from skvim.objectives._estimates import (
    Estimate,
    InformationEstimates,
    count_active_units,
    effective_rank,
    estimate_information,
)
from skvim.objectives._importance import (
    ImportanceSampler,
    LogMean,
    importance_log_weights,
    log_mean,
)
from skvim.objectives._likelihood import DataStatistics, Likelihood, LikelihoodModule
from skvim.objectives._likelihoods import Bernoulli, Gaussian, make_likelihood
from skvim.objectives._objective import Losses, Objective, TermModule
from skvim.objectives._parts import Categorical, Continuous, Interval, Part, Value
from skvim.objectives._posteriors import (
    DiracPosterior,
    GaussianPosterior,
    LogisticPosterior,
    Moments,
    Posterior,
    make_posterior,
)
from skvim.objectives._priors import Logistic, Normal, Prior
from skvim.objectives._support import is_unbounded
from skvim.objectives._terms import Divergence, Penalty, Term

__all__ = [
    "DIVERGENCES",
    "KL",
    "MMD",
    "Adversarial",
    "Annealing",
    "Autoencoder",
    "Bernoulli",
    "Capacity",
    "Categorical",
    "Cells",
    "Continuous",
    "Contraction",
    "DataStatistics",
    "DensityRatioKL",
    "DiracPosterior",
    "Divergence",
    "Estimate",
    "Factorised",
    "Gaussian",
    "GaussianPosterior",
    "ImportanceSampler",
    "InfoNCE",
    "InformationEstimates",
    "Interval",
    "Likelihood",
    "LikelihoodModule",
    "LogMean",
    "Logistic",
    "LogisticPosterior",
    "Losses",
    "MixtureKL",
    "Moments",
    "Normal",
    "Objective",
    "Outputs",
    "Part",
    "Penalty",
    "Posterior",
    "Prior",
    "SlicedWasserstein",
    "Term",
    "TermModule",
    "Value",
    "annealed_log_weights",
    "contrastive_loss",
    "count_active_units",
    "effective_rank",
    "estimate_information",
    "importance_log_weights",
    "is_unbounded",
    "log_mean",
    "make_divergence",
    "make_likelihood",
    "make_posterior",
    "make_prior",
    "markov_chain",
    "values_of_draws",
]
