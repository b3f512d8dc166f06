"""A lean training loop: what an engineer writes in torch for one model, without any library.

Two ``nn.Sequential``, a fixed variance, fused Adam and ``torch.randperm``. The maximum mean
discrepancy is that of skvim's default, by autograd. Convolutional networks have the layers of the
Wasserstein autoencoder's reference code for images of 28×28 and 32×32 pixels.
"""

import itertools
import time
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["lean_fit", "lean_loop"]

_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

Networks = tuple[nn.Module, nn.Module]


def lean_loop(job: Any) -> float:
    """Time the loop for a job, without its start."""
    x = torch.from_numpy(job.data).to(job.device)
    networks = None
    if job.network != "mlp":
        torch.manual_seed(job.seed)
        n_outputs = (2 if job.model == "vae" else 1) * job.sizes[-1]
        networks = convolutions(job.shape, job.sizes[-1], n_outputs, job.width)
    start = time.perf_counter()
    lean_fit(x, job.sizes, job.model, job.batch, job.epochs, job.seed, networks)
    return time.perf_counter() - start


def lean_fit(
    x: Tensor,
    sizes: tuple[int, ...],
    model: str,
    batch: int,
    epochs: int,
    seed: int = 0,
    networks: Networks | None = None,
) -> float:
    """Train on rows (n_samples, n_features) and return the last epoch's mean loss.

    ``networks`` are encoder and decoder, by default multilayer perceptrons of these sizes.
    """
    torch.manual_seed(seed)
    is_vae = model == "vae"
    n_outputs = 2 * sizes[-1] if is_vae else sizes[-1]
    encoder, decoder = networks or (network((*sizes[:-1], n_outputs)), network(sizes[::-1]))
    encoder, decoder = encoder.to(x.device), decoder.to(x.device)
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


def convolutions(
    shape: tuple[int, ...], n_components: int, n_outputs: int, width: float
) -> Networks:
    """Return encoder and decoder of images (side, side, channels) with 128·width channels first."""
    side, _, channels = shape
    sizes = [round(128 * 2**i * width) for i in range(4)]
    encoder: list[nn.Module] = [nn.Unflatten(1, (channels, side, side))]
    for n_in, n_out in itertools.pairwise([channels, *sizes]):
        if side % 2:
            encoder.append(nn.ZeroPad2d((0, 1, 0, 1)))
        encoder += [nn.Conv2d(n_in, n_out, 4, 2, 1), nn.BatchNorm2d(n_out), nn.ReLU()]
        side = -(-side // 2)
    encoder += [nn.Flatten(), nn.Linear(side * side * sizes[-1], n_outputs)]
    sizes, side = sizes[:0:-1], shape[0] // 4
    decoder: list[nn.Module] = [
        nn.Linear(n_components, side * side * sizes[0]),
        nn.Unflatten(1, (sizes[0], side, side)),
        nn.ReLU(),
    ]
    for n_in, n_out in itertools.pairwise(sizes):
        up = nn.ConvTranspose2d(n_in, n_out, 4, 2, 1)
        decoder += [up, nn.BatchNorm2d(n_out), nn.ReLU()]
    # An even kernel gives one pixel too many.
    last = nn.Conv2d(sizes[-1], channels, 4, padding=2)
    decoder += [last, nn.ZeroPad2d((0, -1, 0, -1)), nn.Flatten()]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


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
