"""A lean training loop: what an engineer writes in torch for one model, without any library.

Two ``nn.Sequential``, a fixed variance, fused Adam and ``torch.randperm``. The maximum mean
discrepancy is that of skvim's default, by autograd.
"""

import itertools
import time
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["lean_fit", "lean_loop"]

_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def lean_loop(job: Any) -> float:
    """Time the loop for a job, without its start."""
    x = torch.from_numpy(job.data).to(job.device)
    start = time.perf_counter()
    lean_fit(x, job.sizes, job.model, job.batch, job.epochs)
    return time.perf_counter() - start


def lean_fit(
    x: Tensor, sizes: tuple[int, ...], model: str, batch: int, epochs: int, seed: int = 0
) -> float:
    """Train on rows (n_samples, n_features) and return the last epoch's mean loss."""
    torch.manual_seed(seed)
    is_vae = model == "vae"
    encoder = network((*sizes[:-1], 2 * sizes[-1] if is_vae else sizes[-1])).to(x.device)
    decoder = network(sizes[::-1]).to(x.device)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    step = vae_loss if is_vae else mmd_loss
    for _ in range(epochs):
        order = torch.randperm(len(x), device=x.device)
        total = torch.zeros((), device=x.device)
        for begin in range(0, len(x), batch):
            rows = x[order[begin : begin + batch]]
            loss = step(encoder, decoder, rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
    return float(total / len(x))


def network(sizes: tuple[int, ...]) -> nn.Sequential:
    """Return linear layers of these sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for n_inputs, n_outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(n_inputs, n_outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def vae_loss(encoder: nn.Module, decoder: nn.Module, x: Tensor) -> Tensor:
    """Return the negative evidence lower bound for variance 1, without constants."""
    mean, log_variance = encoder(x).chunk(2, dim=1)
    z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    distortion = 0.5 * (decoder(z) - x).square().sum(1)
    rate = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
    return (distortion + rate).mean()


def mmd_loss(encoder: nn.Module, decoder: nn.Module, x: Tensor) -> Tensor:
    """Return distortion and 10 times the maximum mean discrepancy, unbiased."""
    z = encoder(x)
    other = torch.randn_like(z)
    n = len(z)
    off = 1 - torch.eye(n, device=z.device)
    pairs = n * (n - 1)
    within = (kernel(z, z) * off).sum() + (kernel(other, other) * off).sum()
    mmd = within / pairs - 2 * kernel(z, other).mean()
    return 0.5 * (decoder(z) - x).square().sum(1).mean() + 10 * mmd


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return the inverse multiquadratic kernel of rows (n, k) and (m, k)."""
    squares = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp_min(0)
    total = torch.zeros_like(squares)
    for width in _WIDTHS:
        scale = width * 2 * a.shape[1]
        total = total + scale / (scale + squares)
    return total
