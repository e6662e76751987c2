"""Slow references of joint attribution: Integrated Gradients of a function of inputs and constants, FullGrad."""

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class PlainBatchNorm(TorchFunctionMode):
    """Norms by running statistics as sums and products, so that running means have gradients."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        names = ("input", "mean", "var", "weight", "bias")
        if func in (F.batch_norm, F.instance_norm):
            given = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
            given = {{"running_mean": "mean", "running_var": "var"}.get(k, k): v for k, v in given.items()}
            x = given["input"].movedim(1, -1)
            y = (x - given["mean"]) / (given["var"] + given.get("eps", 1e-5)).sqrt()
            y = y if given.get("weight") is None else y * given["weight"]
            return (y if given.get("bias") is None else y + given["bias"]).movedim(-1, 1)
        return func(*args, **(kwargs or {}))


def set_value(model, name, value):
    """Let every place that holds the tensor of this name hold another."""
    path, _, key = name.rpartition(".")
    module = model.get_submodule(path)
    old = getattr(module, key)
    for other in model.modules():
        for holder in (other._parameters, other._buffers, vars(other)):
            for k, held in list(holder.items()):
                if held is old:
                    holder[k] = value
    return old


def joint_path_integral(model, x, names, target, steps):
    """IG over (x, constants) from (0, 0), example by example: the midpoint rule."""
    own = {name: getattr(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names}
    inputs, constants = torch.zeros_like(x), {n: torch.zeros(len(x), *c.shape, dtype=x.dtype) for n, c in own.items()}
    for i in range(len(x)):
        for alpha in (torch.arange(steps, dtype=torch.float64) + 0.5) / steps:
            at = (alpha * x[i : i + 1]).requires_grad_()
            values = {n: (alpha * c.detach()).requires_grad_() for n, c in own.items()}
            try:
                for n, value in values.items():
                    set_value(model, n, value)
                with PlainBatchNorm():
                    out = model(at)[0, target]
            finally:
                for n in values:
                    set_value(model, n, own[n])
            gradients = torch.autograd.grad(out, [at, *values.values()], allow_unused=True)
            inputs[i] += x[i] * gradients[0][0] / steps
            for (n, c), g in zip(own.items(), gradients[1:], strict=True):
                if g is not None:
                    constants[n][i] += c.detach() * g / steps
    return inputs, constants


def full_grad(model, x, target):
    """FullGrad's picture by its published formula, of a network of Conv2d with biases and whatever else has none."""
    outputs, handles = [], []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            handles.append(module.register_forward_hook(lambda m, _, y: outputs.append((m.bias, y))))
    x = x.clone().requires_grad_()
    values = model(x)[:, target].sum()
    for handle in handles:
        handle.remove()
    gradient, *others = torch.autograd.grad(values, [x, *(y for _, y in outputs)])

    def rescaled(a):
        a = a.abs()
        flat = a.flatten(1)
        low = flat.min(1).values[:, None, None, None]
        high = (flat - flat.min(1, keepdim=True).values).max(1).values[:, None, None, None]
        return (a - low) / (high + 1e-6)

    picture = rescaled(x.detach() * gradient).sum(1)
    for (bias, _), g in zip(outputs, others, strict=True):
        one = rescaled(bias.detach()[:, None, None] * g)
        picture += F.interpolate(one, size=x.shape[2:], mode="bilinear", align_corners=True).sum(1)
    return picture
