"""Residual blocks in PyTorch whose two ways can be opened and closed for gradients.

Autograd does the backward pass and shares no code with the instruments; the blocks
are those of tests/oracle/resnet.py, run here layer by layer.
"""

import itertools

import torch
import torch.nn.functional as F

from tests.oracle.resnet import BasicBlock, Bottleneck, PlainBlock


def blocks_of(twin):
    """List (name, block), first to last."""
    kinds = BasicBlock | Bottleneck
    return [(n, m) for n, m in twin.named_modules() if isinstance(m, kinds)]


def branch(block, x):
    layers = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    if isinstance(block, Bottleneck):
        layers.append((block.conv3, block.bn3))
    for conv, bn in layers[:-1]:
        x = F.relu(bn(conv(x)))
    conv, bn = layers[-1]
    return bn(conv(x))


def shortcut(block, x):
    if isinstance(block, PlainBlock):
        return None
    return block.downsample(x) if hasattr(block, "downsample") else x


def run(twin, x, labels, ways):
    """Run a network whose blocks let gradients through certain ways only.

    Parameters
    ----------
    ways : dict of str to set of {"branch", "shortcut"}
        Per block. The forward pass is the same whatever it says.

    Returns
    -------
    images, loss, visits
        Leaf tensor, scalar, and per block a dict of tensors in the graph.
    """
    visits = {}

    def make_forward(name, block):
        def forward(x):
            after_branch, around = branch(block, x), shortcut(block, x)
            if "branch" not in ways[name]:
                after_branch = after_branch.detach()
            if around is not None and "shortcut" not in ways[name]:
                around = around.detach()
            total = after_branch if around is None else after_branch + around
            visits[name] = {"x": x, "sum": total, "out": F.relu(total)}
            return visits[name]["out"]

        return forward

    for name, block in blocks_of(twin):
        block.forward = make_forward(name, block)
    images = torch.tensor(x, requires_grad=True)
    loss = F.cross_entropy(twin(images), torch.tensor(labels))
    for _, block in blocks_of(twin):
        del block.forward
    return images, loss, visits


def books(twin, x, labels):
    """Return, per block, the gradients that a ledger is about, by autograd."""
    both = {name: {"branch", "shortcut"} for name, _ in blocks_of(twin)}
    images, loss, visits = run(twin, x, labels, both)
    for visit in visits.values():
        for tensor in visit.values():
            tensor.retain_grad()
    loss.backward()
    result = {}
    for name, block in blocks_of(twin):
        visit = visits[name]
        entry = {
            "grad_output": visit["out"].grad,
            "grad_sum": visit["sum"].grad,
            "grad_input": visit["x"].grad,
            "open": visit["out"] > 0,
        }
        for way, function in (("branch", branch), ("shortcut", shortcut)):
            leaf = visit["x"].detach().requires_grad_()
            out = function(block, leaf)
            if out is not None:
                out.backward(visit["sum"].grad)
                entry[f"grad_{way}"] = leaf.grad
        result[name] = {key: value.numpy() for key, value in entry.items()}
    return result, images.grad.numpy(), loss.item()


def path_gradients(twin, x, labels):
    """Go through all 2**L paths one by one; yield (branches crossed, gradient)."""
    twin.requires_grad_(False)  # only the images' gradient is asked for
    named = blocks_of(twin)
    choices = [
        ["branch"] if isinstance(block, PlainBlock) else ["branch", "shortcut"]
        for _, block in named
    ]
    for choice in itertools.product(*choices):
        ways = {name: {way} for (name, _), way in zip(named, choice, strict=True)}
        images, loss, _ = run(twin, x, labels, ways)
        loss.backward()
        yield choice.count("branch"), images.grad.numpy()
