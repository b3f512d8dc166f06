#!/usr/bin/env bash
# torch 2.13.0: a module copied inside torch.inference_mode() can never be trained.
#
# copy.deepcopy(model) in a validation loop, to keep the best model so far, gives parameters with
# requires_grad=True. Outside inference mode the copy predicts, and backward() of a linear model
# returns without an error, with a gradient for the bias and None for the weight. Optimizers then
# fail, and so does model.double() done in inference mode, which spoils the model itself.
# load_state_dict in inference mode is harmless: it copies values into the normal parameters.
#
# Seen: weight.grad is None, bias.grad is right, step() raises; the copy of the copy trains.
# What follows: validate under torch.no_grad(), copy outside, or keep a copy of the copy.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import copy

import torch

X = torch.ones(2, 3)
model = torch.nn.Linear(3, 1)
with torch.inference_mode():
    copied = copy.deepcopy(model)
print("requires_grad:", [parameter.requires_grad for parameter in copied.parameters()])
copied(X).sum().backward()
print("gradients: weight", copied.weight.grad, "bias", copied.bias.grad)
assert copied.weight.requires_grad, "the behaviour has changed"
assert copied.weight.grad is None, "the behaviour has changed"
assert copied.bias.grad.item() == 2, "the behaviour has changed"
try:
    torch.optim.SGD(copied.parameters(), lr=0.1).step()
except RuntimeError as error:
    print("step():", str(error).split(".")[0])
else:
    raise SystemExit("the behaviour has changed")

again = copy.deepcopy(copied)
again(X).sum().backward()
print("gradient in a copy of the copy:", again.weight.grad)
with torch.inference_mode():
    model.load_state_dict(copied.state_dict())
model(X).sum().backward()
print("gradient after load_state_dict in inference mode:", model.weight.grad)
assert again.weight.grad is not None, "the behaviour has changed"
assert model.weight.grad is not None, "the behaviour has changed"
with torch.inference_mode():
    model.double()
print("after double() in inference mode, the weight is spoilt:", model.weight.is_inference())
assert model.weight.is_inference(), "the behaviour has changed"
PYTHON
