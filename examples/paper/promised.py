"""The claims of the paper, each with the comparisons that would bear it out."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from results import BySeed, Results, difference
from rules import Comparison, alike, exact, highest, lowest, more, noisy, within
from settings import DATA_SETS, MODELS

from skvim.objectives import Logistic, Normal

__all__ = ["CLAIMS", "Claim"]

_ELBO = ("vae", "beta-h", "beta-a")
_VIM = ("vimae-n", "vimae-l")
_IMAGES = ("mnist", "omniglot", "cifar10", "celeba")
_LABELED = ("mnist", "omniglot", "cifar10")
_COLOUR = ("cifar10", "celeba")
# The paper's noises, by strength; those of CIFAR-10 are its only ones.
_SMALL = {
    "mnist": ("clean", "gaussian 0.2", "masking 0.2"),
    "omniglot": ("clean", "gaussian 0.2", "masking 0.2"),
    "cifar10": ("clean",),
}
_LARGE = {
    "mnist": ("gaussian 0.4", "masking 0.5"),
    "omniglot": ("gaussian 0.4", "masking 0.5"),
    "cifar10": ("gaussian 0.3", "masking 0.2"),
}
_NOISY = {
    "mnist": ("gaussian 0.2", "gaussian 0.4", "masking 0.2", "masking 0.5"),
    "omniglot": ("gaussian 0.2", "gaussian 0.4", "masking 0.2", "masking 0.5"),
    "cifar10": ("gaussian 0.3", "masking 0.2"),
}
_POINTS, _CLOSE = 3.0, 2.0  # what counts as comparable accuracy, in points
_SHARE = 0.05  # what counts as a similar error, as a share of it
# What counts as a similar likelihood, in nats: the range of what the paper calls so. A share of
# log p(x) would mean nothing, which changes by a constant with the unit of the pixels.
_NATS = {"mnist": 58.0, "omniglot": 64.0}
_PIXELS = 784
_REFERENCE_VARIANCE = 10.0  # 0.05 · SSE as a gaussian's


class Claim(NamedTuple):
    """A claim of the paper."""

    where: str
    says: str
    compare: Callable[[Results], list[Comparison]]


def _title(data_set: str) -> str:
    return DATA_SETS[data_set].title


def _name(model: str) -> str:
    return MODELS[model].title


def _sse(results: Results, data_set: str, models: Iterable[str]) -> BySeed:
    return lowest(results.values(data_set, m, "reconstruction", "sse") for m in models)


def _nll(results: Results, data_set: str, model: str) -> BySeed:
    nats = results.values(data_set, model, "likelihood", "importance", "nats")
    return {seed: -value for seed, value in nats.items()}


def _known(results: Results, model: str, what: str, data_set: str = "mnist") -> BySeed:
    return results.values(data_set, model, "information", what)


def _sse_of_codes(results: Results, data_set: str, model: str) -> BySeed:
    """Return the squared error of training rows from codes as they are drawn in training.

    The distortion holds it, in nats: SSE/2σ² + n/2 · log 2πσ².
    """
    found = {}
    for seed, distortion in _known(results, model, "distortion", data_set).items():
        variance = _REFERENCE_VARIANCE
        if MODELS[model].elbo:
            learned = results.values(data_set, model, "likelihood", "variance")
            if seed not in learned:
                continue
            variance = learned[seed]
        constant = _PIXELS / 2 * math.log(2 * math.pi * variance)
        found[seed] = 2 * variance * (distortion - constant)
    return found


def _relative(first: BySeed, second: BySeed) -> BySeed:
    """Return the difference as a share of the second figure's size."""
    shared = [seed for seed in first if second.get(seed)]
    return {seed: (first[seed] - second[seed]) / abs(second[seed]) for seed in shared}


def entropy(results: Results) -> list[Comparison]:
    """Compare entropies of the priors, in nats a dimension."""
    normal, logistic = (prior.entropy for prior in (Normal(), Logistic()))
    matched = Logistic.unit_variance().entropy
    return [
        exact(
            f"nats a dimension, Logistic(0, 1) {logistic:.3f} less N(0, 1) {normal:.3f} (only at "
            f"equal variance the logistic has less, {matched:.3f})",
            logistic - normal,
            -float("inf"),
            0.0,
        )
    ]


def similar_likelihoods(results: Results) -> list[Comparison]:
    """Compare each model's likelihood with the VAE's."""
    return [
        alike(
            f"{_title(d)}, nats: {_name(m)} − VAE",
            _nll(results, d, m),
            _nll(results, d, "vae"),
            margin,
        )
        for d, margin in _NATS.items()
        for m in ("beta-h", "beta-a", *_VIM)
    ]


def best_likelihood(results: Results) -> list[Comparison]:
    """Compare β_H with the best of the others."""
    rest = [_nll(results, "mnist", m) for m in ("vae", "beta-a", *_VIM)]
    return [more("MNIST, nats: best other − β_H", lowest(rest), _nll(results, "mnist", "beta-h"))]


def blurred(results: Results) -> list[Comparison]:
    """Compare how much ink of samples is grey."""

    def grey(data_set: str, models: Iterable[str]) -> BySeed:
        return lowest(results.values(data_set, m, "blur", "samples") for m in models)

    return [
        more(
            f"{_title(d)}, grey share of the samples' ink: best ELBO − best VIM",
            grey(d, _ELBO),
            grey(d, _VIM),
        )
        for d in _NATS
    ]


def generation(results: Results) -> list[Comparison]:
    """Compare Fréchet distances of the coloured sets."""

    def least(data_set: str, models: Iterable[str]) -> BySeed:
        return lowest(results.values(data_set, m, "frechet", "value") for m in models)

    return [
        more(
            f"{_title(d)}, Fréchet distance: best ELBO − best VIM", least(d, _ELBO), least(d, _VIM)
        )
        for d in _COLOUR
    ]


def reconstruction(results: Results) -> list[Comparison]:
    """Compare squared errors."""
    return [
        more(
            f"{_title(d)}, SSE: best ELBO − best VIM",
            _sse(results, d, _ELBO),
            _sse(results, d, _VIM),
        )
        for d in ("mnist", *_COLOUR)
    ]


def omniglot_alike(results: Results) -> list[Comparison]:
    """Compare squared errors on Omniglot."""
    base = _sse(results, "omniglot", ("vae",))
    return [
        within(
            f"Omniglot, SSE of {_name(m)} relative to VAE",
            _relative(_sse(results, "omniglot", (m,)), base),
            -_SHARE,
            _SHARE,
        )
        for m in ("beta-h", "beta-a", *_VIM)
    ]


def normal_reconstructs(results: Results) -> list[Comparison]:
    """Compare the squared errors of the two priors."""
    return [
        more(
            f"{_title(d)}, SSE: VIMAE-l − VIMAE-n",
            _sse(results, d, ("vimae-l",)),
            _sse(results, d, ("vimae-n",)),
        )
        for d in _IMAGES
    ]


def beta_h_worse(results: Results) -> list[Comparison]:
    """Compare β_H with the VAE."""
    return [
        more(
            f"{_title(d)}, SSE: β_H − VAE",
            _sse(results, d, ("beta-h",)),
            _sse(results, d, ("vae",)),
        )
        for d in _IMAGES
    ]


def beta_h_generates_worse(results: Results) -> list[Comparison]:
    """Compare the Fréchet distances of β_H and the VAE."""
    return [
        more(
            f"{_title(d)}, Fréchet distance: β_H − VAE",
            results.values(d, "beta-h", "frechet", "value"),
            results.values(d, "vae", "frechet", "value"),
        )
        for d in _COLOUR
    ]


def both_at_once(results: Results) -> list[Comparison]:
    """Compare samples and clean features of the two VIMAE with the VAE's."""
    distance = lambda m: results.values("cifar10", m, "frechet", "value")
    clean = lambda m: results.accuracy("cifar10", m, "clean", "sample")
    return [
        comparison
        for m in _VIM
        for comparison in (
            more(f"CIFAR-10, Fréchet distance: VAE − {_name(m)}", distance("vae"), distance(m)),
            within(
                f"CIFAR-10, clean: {_name(m)} − VAE",
                difference(clean(m), clean("vae")),
                -_POINTS,
                math.inf,
            ),
        )
    ]


def unregularised(results: Results) -> list[Comparison]:
    """Compare the autoencoder without a prior with VIMAE-n: errors, then noisy accuracies."""
    return [
        more(
            f"{_title(d)}, SSE: VIMAE-n − AE",
            _sse(results, d, ("vimae-n",)),
            _sse(results, d, ("ae",)),
        )
        for d in _LABELED
    ] + [
        more(
            f"{_title(d)}, mean of noisy cells: VIMAE-n − AE",
            noisy(results, d, "vimae-n", _NOISY[d]),
            noisy(results, d, "ae", _NOISY[d]),
        )
        for d in _LABELED
    ]


def overfitting(results: Results) -> list[Comparison]:
    """Compare by how much errors of test rows exceed those of training rows."""

    def excess(model: str) -> BySeed:
        trained = _sse_of_codes(results, "mnist", model)
        return difference(_sse(results, "mnist", (model,)), trained)

    return [
        more(
            f"MNIST, SSE of test less training rows: {shape} of {wide} nats − of {narrow}",
            excess(first),
            excess(second),
        )
        for shape, wide, narrow, first, second in (
            ("logistic", "2.00", "1.40", "vimae-l", "prior-l-unit"),
            ("normal", "2.01", "1.42", "prior-n-wide", "vimae-n"),
        )
    ]


def beta_h_fails(results: Results) -> list[Comparison]:
    """Count the active units of β_H on faces; none where its training diverged."""
    units = _known(results, "beta-h", "active_units", "celeba")
    units |= dict.fromkeys(results.failed("celeba", "beta-h"), 0.0)
    return [within("CelebA, active units of β_H", units, -1.0, 0.5)]


def capacity_intractable(results: Results) -> list[Comparison]:
    """Measure how far the capacity VAE stays from its capacity."""
    found = []
    for d in _IMAGES:
        rate, capacity = _known(results, "capacity", "rate", d), DATA_SETS[d].capacity
        missed = {seed: abs(value - capacity) / capacity for seed, value in rate.items()}
        found.append(within(f"{_title(d)}, abs(rate − C)/C", missed, 0.25, float("inf")))
    return found


def good_when_clean(results: Results) -> list[Comparison]:
    """Compare clean accuracies."""
    clean: Callable[[str, Iterable[str]], BySeed] = lambda d, models: highest(
        results.accuracy(d, m, "clean", "sample") for m in models
    )
    return [
        # Better ones are good too.
        within(
            f"{_title(d)}, clean: best ELBO − best VIM",
            difference(clean(d, _ELBO), clean(d, _VIM)),
            -_POINTS,
            math.inf,
        )
        for d in _LABELED
    ]


def vim_robust(results: Results) -> list[Comparison]:
    """Compare mean accuracies over the paper's noises."""
    return [
        more(
            f"{_title(d)}, mean of noisy cells: {_name(m)} − best ELBO",
            noisy(results, d, m, _NOISY[d]),
            highest(noisy(results, d, e, _NOISY[d]) for e in _ELBO),
        )
        for d in _LABELED
        for m in _VIM
    ]


def masking_hurts(results: Results) -> list[Comparison]:
    """Compare what masking costs."""

    def loss(data_set: str, model: str) -> BySeed:
        column = "masking 0.2" if data_set == "cifar10" else "masking 0.5"
        clean = results.accuracy(data_set, model, "clean", "sample")
        masked = results.accuracy(data_set, model, column, "sample")
        return {seed: clean[seed] - masked[seed] for seed in clean if seed in masked}

    return [
        more(
            f"{_title(d)}, points lost to masking: {_name(e)} − VIMAE-l",
            loss(d, e),
            loss(d, "vimae-l"),
        )
        for d in _LABELED
        for e in _ELBO
    ]


def _priors(results: Results, data_set: str, column: str) -> tuple[BySeed, BySeed]:
    logistic, normal = (
        results.accuracy(data_set, m, column, "sample") for m in ("vimae-l", "vimae-n")
    )
    return logistic, normal


def comparable(results: Results) -> list[Comparison]:
    """Compare the two priors where noise is small."""
    return [
        alike(f"{_title(d)}, {c}: VIMAE-l − VIMAE-n", *_priors(results, d, c), _CLOSE)
        for d, columns in _SMALL.items()
        for c in columns
    ]


def logistic_robust(results: Results) -> list[Comparison]:
    """Compare the two priors where noise is large."""
    return [
        more(f"{_title(d)}, {c}: VIMAE-l − VIMAE-n", *_priors(results, d, c))
        for d, columns in _LARGE.items()
        for c in columns
    ]


def noise_helps(results: Results) -> list[Comparison]:
    """Compare VIMAE-l with and without noise."""
    noised, clean = (
        results.accuracy("cifar10", "vimae-l", column, "sample")
        for column in ("gaussian 0.3", "clean")
    )
    return [more("CIFAR-10, VIMAE-l: gaussian 0.3 − clean", noised, clean)]


def informative(results: Results) -> list[Comparison]:
    """Compare the bound of the information that (5) maximises: E log p(x|z), up to h(X).

    Each model has the variance that is best for it, so that half the features times the logarithm
    of the errors' ratio is left. Rates do not compare: a point posterior has none, and one of a
    fixed spread has what that spread allows.
    """
    return [
        within(
            f"{_title(d)}, bound of I(x; z) in nats, training rows: VIMAE-n − VAE",
            {
                seed: _PIXELS / 2 * math.log(paid / free[seed])
                for seed, paid in _sse_of_codes(results, d, "vae").items()
                if seed in free
            },
            0.0,
            math.inf,
        )
        for d in _NATS
        for free in (_sse_of_codes(results, d, "vimae-n"),)
    ]


def beta_uninformative(results: Results) -> list[Comparison]:
    """Compare rates over β."""
    rates = {beta: _known(results, f"beta-{beta}", "rate") for beta in ("0.1", "1", "10")}
    return [
        more("MNIST, rate: β = 0.1 less β = 1", rates["0.1"], rates["1"]),
        more("MNIST, rate: β = 1 less β = 10", rates["1"], rates["10"]),
    ]


def role_of_lam(results: Results) -> list[Comparison]:
    """Compare distance from the prior and error over λ."""
    divergence = {k: _known(results, f"lam-{k}", "aggregated_kl") for k in ("1", "100")}
    sse = {k: _sse(results, "mnist", (f"lam-{k}",)) for k in ("1", "100")}
    return [
        more("MNIST, KL(q(z)‖p): λ = 1 less λ = 100", divergence["1"], divergence["100"]),
        more("MNIST, SSE: λ = 100 less λ = 1", sse["100"], sse["1"]),
    ]


def role_of_prior(results: Results) -> list[Comparison]:
    """Compare priors of one shape and two scales, and of one scale and two shapes."""
    mean = {
        m: noisy(results, "mnist", m, _NOISY["mnist"])
        for m in ("vimae-n", "vimae-l", "prior-l-unit", "prior-n-wide")
    }
    return [
        more(
            "MNIST, mean of noisy cells: logistic of 1.40 nats − logistic of 2.00",
            mean["prior-l-unit"],
            mean["vimae-l"],
        ),
        more("normal of 1.42 nats − normal of 2.01", mean["vimae-n"], mean["prior-n-wide"]),
        more("logistic of 1.40 nats − normal of 1.42", mean["prior-l-unit"], mean["vimae-n"]),
    ]


CLAIMS = (
    Claim("III-B", "The logistic prior has less entropy than the normal one.", entropy),
    Claim(
        "III-B, VI",
        "A prior of less entropy bounds the capacity and makes codes more robust.",
        role_of_prior,
    ),
    Claim(
        "III-A", "VIM learns a maximally informative representation; ELBO does not.", informative
    ),
    Claim(
        "I, VI",
        "VIM learns a good generator and good features at once, a VAE one of them.",
        both_at_once,
    ),
    Claim("I, III-B", "A prior of more entropy is more prone to overfit.", overfitting),
    Claim("III-A", "λ holds codes close to the prior, at the cost of information.", role_of_lam),
    Claim(
        "IV-a",
        "Without a prior an autoencoder reconstructs well and is not robust to noise.",
        unregularised,
    ),
    Claim("IV-b", "The higher β, the less informative the representation.", beta_uninformative),
    Claim("IV-b", "The capacity objective (10) is often intractable.", capacity_intractable),
    Claim("V-A, Table I", "On grey sets the likelihoods are similar.", similar_likelihoods),
    Claim("V-A, Figures 1 and 2", "On grey sets samples of ELBO models are blurred.", blurred),
    Claim("V-A, Table I", "β_H-VAE has the best likelihood on MNIST.", best_likelihood),
    Claim("V-A, Table I", "The VIM models generate colour images best.", generation),
    Claim(
        "V-A, Table I", "On colours β_H-VAE generates worse than the VAE.", beta_h_generates_worse
    ),
    Claim("V-A", "On CelebA β_H-VAE with β ≫ 1 cannot be trained.", beta_h_fails),
    Claim("V-A, Table II", "VIMAE reconstructs best but for Omniglot.", reconstruction),
    Claim("V-A, Table II", "On Omniglot all models reconstruct alike.", omniglot_alike),
    Claim("V-A, Table II", "VIMAE-n reconstructs better than VIMAE-l.", normal_reconstructs),
    Claim("V-A", "β_H-VAE performs worse than the VAE.", beta_h_worse),
    Claim("V-B", "ELBO models have good features of clean data.", good_when_clean),
    Claim("V-B", "On corrupted data VIMAE's features are better than theirs.", vim_robust),
    Claim("V-B", "Masking, a noise not seen in training, hurts ELBO models more.", masking_hurts),
    Claim("V-B", "VIMAE-n and -l are alike on clean data and little noise.", comparable),
    Claim("V-B", "Under large noise VIMAE-l is more robust than VIMAE-n.", logistic_robust),
    Claim("V-B, Table III", "In some cases noise improves the accuracy.", noise_helps),
)
