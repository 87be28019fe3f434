"""What autograd knows about every single call of a layer.

Each layer and block is given a copy of its input, so that the gradient of the copy is
what came back through this one call, even where the input has other uses.
"""

from collections import Counter
from typing import Any, NamedTuple

import torch


class Call(NamedTuple):
    """Gradients around one call of a module, as arrays."""

    grad_output: Any
    grad_input: Any


def calls(twin, x, labels):
    """Run one step; return {(path, which call): Call}, and gradients of parameters."""
    seen, counts, handles = {}, Counter(), []

    def before(module, inputs):
        copy = inputs[0].clone()
        copy.retain_grad()
        module.copies = [*getattr(module, "copies", []), copy]
        return (copy,)

    def after(path):
        def hook(module, inputs, output):
            output.retain_grad()
            seen[path, counts[path]] = (output, module.copies.pop())
            counts[path] += 1

        return hook

    for path, module in twin.named_modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
        if path:
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after(path)))
    images = torch.tensor(x, requires_grad=True)
    twin.zero_grad()
    torch.nn.functional.cross_entropy(twin(images), torch.tensor(labels)).backward()
    for handle in handles:
        handle.remove()
    gradients = {
        key: Call(output.grad.numpy(), copy.grad.numpy())
        for key, (output, copy) in seen.items()
    }
    parameters = {name: p.grad.numpy() for name, p in twin.named_parameters()}
    return gradients, parameters
