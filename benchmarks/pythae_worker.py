"""Time pythae in a separate environment: reads a JSON job a line, answers its seconds."""

import json
import logging
import sys
import tempfile
import time
from itertools import pairwise

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, WAE_MMD, VAEConfig, WAE_MMD_Config
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from rows import make_rows
from torch import nn


def mlp(sizes):
    """Return a multilayer perceptron with ReLU between its layers."""
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Encoder(BaseEncoder):
    """Encoder with the layers of the other implementations."""

    def __init__(self, sizes, stochastic):
        super().__init__()
        self.stochastic = stochastic
        self.net = mlp([*sizes[:-1], sizes[-1] * (2 if stochastic else 1)])

    def forward(self, x):
        """Return embedding and, if stochastic, log-variance."""
        out = self.net(x)
        if not self.stochastic:
            return ModelOutput(embedding=out)
        loc, log_var = out.chunk(2, dim=-1)
        return ModelOutput(embedding=loc, log_covariance=log_var)


class Decoder(BaseDecoder):
    """Decoder with the encoder's layers in reverse order."""

    def __init__(self, sizes):
        super().__init__()
        self.net = mlp(sizes[::-1])

    def forward(self, z):
        """Return the reconstruction."""
        return ModelOutput(reconstruction=self.net(z))


def run(job):
    """Train once and return the seconds."""
    torch.set_num_threads(job["threads"])
    sizes = job["sizes"]
    torch.manual_seed(0)
    x = torch.from_numpy(make_rows(job["rows"], sizes[0]))
    if job["model"] == "vae":
        config = VAEConfig(input_dim=(sizes[0],), latent_dim=sizes[-1])
        model = VAE(config, encoder=Encoder(sizes, True), decoder=Decoder(sizes))
    else:
        config = WAE_MMD_Config(input_dim=(sizes[0],), latent_dim=sizes[-1])
        model = WAE_MMD(config, encoder=Encoder(sizes, False), decoder=Decoder(sizes))
    with tempfile.TemporaryDirectory() as folder:
        training = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=job["epochs"],
            learning_rate=1e-3,
            per_device_train_batch_size=job["batch"],
            no_cuda=True,
        )
        trainer = BaseTrainer(
            model, BaseDataset(x, torch.ones(len(x))), training_config=training, callbacks=None
        )
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps({"seconds": run(json.loads(line))}), file=answers, flush=True)
