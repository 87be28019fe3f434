"""Saliency and Grad-CAM in PyTorch: hooks, autograd and interpolation.

Written from the papers; shares no code with the instruments.
"""

import torch
import torch.nn.functional as F


def _without_inplace(twin):
    """Let hooks see what a layer gave, not what the ReLU behind it made of that."""
    for module in twin.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return twin


def _scores(twin, images, target):
    logits = twin(images)
    if target is None:
        target = logits.argmax(dim=1)
    chosen = torch.as_tensor(target).expand(len(images))
    return logits, chosen, logits.gather(1, chosen[:, None]).sum()


def saliency(twin, x, target):
    """Return the logits, the classes and the gradient with respect to the images."""
    images = torch.tensor(x, requires_grad=True)
    logits, chosen, score = _scores(_without_inplace(twin), images, target)
    (gradient,) = torch.autograd.grad(score, images)
    return logits.detach().numpy(), chosen.numpy(), gradient.numpy()


def grad_cam(twin, x, target, layer, call=-1):
    """Return weights, the small map and the enlarged one of a named layer."""
    kept = []
    module = dict(_without_inplace(twin).named_modules())[layer]
    hook = module.register_forward_hook(lambda m, i, output: kept.append(output))
    images = torch.tensor(x, requires_grad=True)
    _, _, score = _scores(twin, images, target)
    hook.remove()
    features = kept[call]
    (gradient,) = torch.autograd.grad(score, features)
    weights = gradient.mean(dim=(2, 3))
    coarse = F.relu((weights[:, :, None, None] * features).sum(dim=1))
    size = tuple(x.shape[2:])
    return (
        weights.detach().numpy(),
        coarse.detach().numpy(),
        enlarge(coarse.detach(), size),
    )


def enlarge(maps, size):
    """Resize maps (N, h, w) bilinearly."""
    maps = torch.as_tensor(maps)[:, None]
    enlarged = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    return enlarged[:, 0].numpy()


def outputs(twin, x):
    """Return {"name#call": output} of every layer without layers inside."""
    calls, kept, hooks = {}, {}, []

    def note(name):
        def hook(module, inputs, output):
            calls[name] = calls.get(name, 0) + 1
            kept[f"{name}#{calls[name]}"] = output.detach().clone().numpy()

        return hook

    for name, module in _without_inplace(twin).named_modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(note(name)))
    with torch.no_grad():
        twin(torch.tensor(x))
    for hook in hooks:
        hook.remove()
    return kept
