"""Time JAX in a separate environment: reads a JSON job a line, answers its seconds.

The networks, losses and Adam are those of ``lean.py``. An epoch is one compiled function with a
scan over its batches; the time to compile it is reported apart.
"""

import json
import sys
import time
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
from jax import lax, random
from rows import make_rows

_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def initial(key, sizes):
    """Return weights and biases, uniform in ±1/√fan-in."""
    layers = []
    for n_in, n_out in pairwise(sizes):
        key, of_weight, of_bias = random.split(key, 3)
        draw = partial(random.uniform, minval=-(n_in**-0.5), maxval=n_in**-0.5)
        layers.append([draw(of_weight, (n_in, n_out)), draw(of_bias, (n_out,))])
    return layers


def network(layers, x):
    """Apply linear layers with ReLU between them."""
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def vae_loss(networks, x, key):
    """Return the negative evidence lower bound for variance 1, without constants."""
    encoder, decoder = networks
    mean, log_variance = jnp.split(network(encoder, x), 2, axis=1)
    z = mean + jnp.exp(0.5 * log_variance) * random.normal(key, mean.shape)
    distortion = 0.5 * jnp.square(network(decoder, z) - x).sum(1)
    rate = 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - log_variance - 1).sum(1)
    return (distortion + rate).mean()


def mmd_loss(networks, x, key):
    """Return distortion and 10 times the maximum mean discrepancy, unbiased."""
    encoder, decoder = networks
    z = network(encoder, x)
    other = random.normal(key, z.shape)
    n = len(z)
    off = 1 - jnp.eye(n)
    within = (kernel(z, z) * off).sum() + (kernel(other, other) * off).sum()
    mmd = within / (n * (n - 1)) - 2 * kernel(z, other).mean()
    return 0.5 * jnp.square(network(decoder, z) - x).sum(1).mean() + 10 * mmd


def kernel(a, b):
    """Return the inverse multiquadratic kernel of rows (n, k) and (m, k)."""
    products = 2 * a @ b.T
    squares = jnp.maximum(jnp.square(a).sum(1)[:, None] + jnp.square(b).sum(1) - products, 0)
    scales = [width * 2 * a.shape[1] for width in _WIDTHS]
    return sum(scale / (scale + squares) for scale in scales)


def step(loss, state, x, key):
    """Take a step of Adam on a batch; return state and loss."""
    networks, first, second, t = state
    value, gradients = jax.value_and_grad(loss)(networks, x, key)
    t = t + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    rate, root = 1e-3 / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
    move = lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + 1e-8)
    return (jax.tree.map(move, networks, first, second), first, second, t), value


def epoch(loss, batch, state, x, key):
    """Train on all rows in random order; return state and mean loss."""
    key, shuffle, last = random.split(key, 3)
    order = random.permutation(shuffle, len(x))
    n_batches = len(x) // batch
    places = order[: n_batches * batch].reshape(n_batches, batch)
    keys = random.split(key, n_batches)
    take = lambda state, at: step(loss, state, x[at[0]], at[1])
    state, values = lax.scan(take, state, (places, keys))
    total, rest = batch * values.sum(), order[n_batches * batch :]
    if len(rest):
        state, value = step(loss, state, x[rest], last)
        total = total + len(rest) * value
    return state, total / len(x)


def run(job):
    """Train once and return the seconds, and those of the compilation."""
    sizes, key = job["sizes"], random.key(job["seed"])
    is_vae = job["model"] == "vae"
    x = jnp.asarray(make_rows(job["rows"], sizes[0], job["seed"]))
    keys = random.split(key, 2)
    outputs = (2 if is_vae else 1) * sizes[-1]
    networks = [initial(keys[0], [*sizes[:-1], outputs]), initial(keys[1], sizes[::-1])]
    zeros = partial(jax.tree.map, jnp.zeros_like)
    state = (networks, zeros(networks), zeros(networks), jnp.zeros(()))
    function = partial(epoch, vae_loss if is_vae else mmd_loss, job["batch"])
    start = time.perf_counter()
    compiled = jax.jit(function, donate_argnums=0).lower(state, x, key).compile()
    compilation, start = time.perf_counter() - start, time.perf_counter()
    for number in range(job["epochs"]):
        state, value = compiled(state, x, random.fold_in(key, number))
        value = float(value)
    return {"seconds": time.perf_counter() - start, "compilation": compilation, "loss": value}


if __name__ == "__main__":
    # As torch's default, a generator that is fast rather than the same on all machines.
    jax.config.update("jax_default_prng_impl", "rbg")
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
