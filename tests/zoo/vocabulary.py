"""The steps that random programs are made of, registered with ``programs.py``.

*Harmless* steps keep a degree (of which they keep book); *breaking* ones do not, unless what they are applied to is
scale-free; *escaping* ones take values out of PyTorch.
"""

# ruff: noqa: E501  expressions are easier to read on one line

from __future__ import annotations

import math

from programs import Generator, RejectedError, Var, common, step, times, total, unless_free

# ------------------------------------------------------------------------------------------ one value, in its own shape

# Expression, and the factor on the degree.
UNARY: dict[str, tuple[str, float]] = {
    "relu": ("F.relu({a})", 1),
    "relu in place": ("F.relu({a}.clone(), inplace=True)", 1),
    "nn.ReLU": ("nn.ReLU()({a})", 1),
    "abs": ("{a}.abs()", 1),
    "neg": ("-{a}", 1),
    "leaky_relu": ("F.leaky_relu({a}, 0.2)", 1),
    "rrelu": ("F.rrelu({a}, training=False)", 1),
    "clamp(min=0)": ("{a}.clamp(min=0)", 1),
    "clamp(max=0)": ("{a}.clamp(max=0)", 1),
    "clamp(0, inf)": ("{a}.clamp(0, inf)", 1),
    "clamp_min": ("torch.clamp_min({a}, 0.0)", 1),
    "threshold": ("F.threshold({a}, 0.0, 0.0)", 1),
    "maximum with zeros": ("torch.maximum({a}, torch.zeros_like({a}))", 1),
    "clamp by a tensor": ("{a}.clamp(min=-{a}.abs().mean())", 1),
    "where positive": ("torch.where({a} > 0, {a}, 0.3 * {a})", 1),
    "where positive, else 0": ("torch.where({a} > 0, {a}, 0.0)", 1),
    "times mask": ("{a} * ({a} > 0)", 1),
    "times mask of detached": ("{a} * ({a}.detach() > {a}.detach().mean())", 1),
    "masked_fill(0)": ("{a}.masked_fill({a} < 0, 0.0)", 1),
    "square": ("{a}.square()", 2),
    "cube": ("{a}**3", 3),
    "pow(2)": ("torch.pow({a}, 2.0)", 2),
    "pow(1.5) of abs": ("{a}.abs() ** 1.5", 1.5),
    "pow(third) of abs": ("{a}.abs().pow(1 / 3)", 1 / 3),
    "pow(tensor) of abs": ("{a}.abs().pow(torch.tensor(1.5))", 1.5),
    "float_power": ("torch.float_power({a}.abs(), 0.75)", 0.75),
    "sqrt of abs": ("{a}.abs().sqrt()", 0.5),
    "signed root": ("{a}.sign() * {a}.abs().pow(0.5)", 0.5),
    "reciprocal": ("1 / ({a}.abs() + {a}.norm())", -1),
    "rsqrt": ("torch.rsqrt({a}.square() + {a}.square().sum())", -1),
    "pow(-1)": ("({a}.abs() + {a}.abs().amax()) ** -1", -1),
    "add 0": ("{a} + 0.0", 1),
    "add zeros": ("{a} + torch.zeros({a}.shape[-1:], dtype=torch.float64)", 1),
    "affine without offset": ("2.5 * {a} - 0", 1),
    "divide by 3": ("{a} / 3", 1),
    "to float32 and back": ("{a}.to(LOW).double()", 1),
    "clone": ("{a}.clone()", 1),
    "contiguous": ("{a}.contiguous()", 1),
    "flip": ("{a}.flip(-1)", 1),
    "roll": ("{a}.roll(1, -1)", 1),
    "cumsum": ("{a}.cumsum(-1)", 1),
    "sort": ("{a}.sort(-1, descending=True).values", 1),
    "cummax": ("{a}.cummax(-1).values", 1),
    "minus its mean": ("{a} - {a}.mean()", 1),
    "minus its largest": ("{a} - {a}.amax(-1, keepdim=True)", 1),
    "by its norm": ("{a} / {a}.norm()", 0),
    "by its largest": ("{a} / {a}.abs().amax(-1, keepdim=True)", 0),
    "by its sum": ("{a}.square() / {a}.square().sum(-1, keepdim=True)", 0),
    "by its deviation": ("{a} / {a}.std()", 0),
    "normalize(eps=0)": ("F.normalize({a}, dim=-1, eps=0.0)", 0),
    "layer_norm(eps=0)": ("F.layer_norm({a}, {a}.shape[-1:], eps=0.0)", 0),
    "dropout in evaluation": ("F.dropout({a}, 0.5, training=False)", 1),
    "nan_to_num of infinities": ("{a}.nan_to_num(nan=0.0, posinf=inf, neginf=-inf)", 1),
    "lerp": ("torch.lerp({a}, {a}.flip(0), 0.3)", 1),
    "hypot": ("torch.hypot({a}, {a}.flip(-1))", 1),
    "addcmul": ("torch.addcmul({a}, {a}.sign(), {a}, value=0.5)", 1),
    "addcdiv": ("torch.addcdiv({a}, {a}.square(), {a}.abs() + {a}.norm(), value=0.5)", 1),
    "atan2": ("torch.atan2({a}, {a}.roll(1, -1))", 0),
    "copysign": ("torch.copysign({a}, {a}.flip(-1))", 1),
    "remainder": ("torch.remainder({a}, {a}.norm() / 3)", 1),
    "fmod": ("torch.fmod({a}, {a}.abs().mean())", 1),
    "sgn times": ("{a}.sgn() * {a}", 1),
    "complex modulus": ("torch.complex({a}, {a}.flip(-1)).abs()", 1),
    "complex angle": ("torch.complex({a}, {a}.roll(1, -1)).angle()", 0),
    "fft modulus": ("torch.fft.fft({a}, dim=-1).abs()", 1),
    "fft and back": ("torch.fft.ifft(torch.fft.fft({a}, dim=-1)).real", 1),
    "rfft and back": ("torch.fft.irfft(torch.fft.rfft({a}, dim=-1), n={a}.shape[-1], dim=-1)", 1),
    "complex square": ("(torch.fft.fft({a}, dim=-1) ** 2).real", 2),
    "tanh of a direction": ("{a} * torch.tanh({a} / {a}.norm())", 1),
    "gate of a direction": ("{a} * torch.sigmoid({a} / {a}.abs().mean())", 1),
    "gate by softmax of logarithm": ("{a} * F.softmax({a} / {a}.norm(), -1)", 1),
    "times exp of zeros": ("{a} * torch.exp(torch.zeros_like({a}))", 1),
    "median removed": ("{a} - {a}.median()", 1),
    "clamp by fresh infinities": ("{a}.clamp(-inf, inf)", 1),
    "stack and mean": ("torch.stack([{a}, {a}.abs()]).mean(0)", 1),
    "through int mask": ("{a} * ({a} > 0).long()", 1),
    "masked by rank": ("{a} * ({a}.argsort(-1) % 2)", 1),
    "no_grad mask inlined": ("{a} * ({a}.data > 0).double()", 1),
    "ldexp": ("torch.ldexp({a}, torch.tensor(2))", 1),
    "mul by tensor": ("{a} * torch.tensor(0.7, dtype=torch.float64)", 1),
    "squeeze and back": ("{a}.unsqueeze(0).squeeze(0)", 1),
    "nn.Dropout": ("nn.Dropout(0.3).eval()({a})", 1),
    "nn.Identity": ("nn.Identity()({a})", 1),
    "view as its shape": ("{a}.contiguous().view({a}.shape)", 1),
    "times a logarithm": ("{a} * torch.log1p({a}.abs() / {a}.norm())", 1),
}  # fmt: skip


@step(weight=14)
def unary(g: Generator) -> None:
    name = g.random.choice(list(UNARY))
    a = g.pick()
    expression, power = UNARY[name]
    g.let(expression.format(a=a), a, k=times(a.k, power))


STEPWISE = {
    "positive": "({a} > 0).double()",
    "above mean": "({a} >= {a}.mean()).double()",
    "sign": "{a}.sign()",
    "sign of detached": "{a}.detach().sign()",
    "heaviside": "torch.heaviside({a}, torch.ones_like({a}))",
    "one-hot of argmax": "torch.zeros_like({a}).scatter(-1, {a}.argmax(-1, keepdim=True), 1.0)",
    "ranks": "{a}.argsort(-1).double()",
    "count": "({a} > {a}.flip(-1)).sum(-1, keepdim=True).double()",
    "to bool": "{a}.bool().double()",
    "signbit": "torch.signbit({a}).double()",
    "isfinite": "{a}.isfinite().double()",
    "rounded direction": "(3 * {a} / {a}.norm()).round()",
    "and": "(({a} > 0) & ({a} < {a}.abs().mean())).double()",
    "xor": "(({a} > 0) ^ ({a}.flip(-1) > 0)).double()",
    "logical_not": "torch.logical_not({a}).double()",
    "searchsorted": "torch.searchsorted({a}.sort(-1).values.contiguous(), {a}.contiguous()).double()",
    "no_grad": "({a}.data > 0).to(torch.float64)",
    "integer floor": "({a} / {a}.abs().amax() * 4).floor()",
    "to int64": "({a} / {a}.abs().amax() * 4).long().double()",
    "any": "({a} > 0).any(-1, keepdim=True).double()",
    "argmin": "{a}.argmin(-1, keepdim=True).double()",
    "topk indices": "{a}.topk(1, -1).indices.double()",
    "where of steps": "torch.where({a} > 0, 2.0, -1.0).double()",
}  # fmt: skip


@step(weight=2)
def stepwise(g: Generator) -> None:
    a = g.pick()
    g.let(STEPWISE[g.random.choice(list(STEPWISE))].format(a=a), a, k=times(a.k, 0), steps=a.k is not None)


# ----------------------------------------------------------------------------------------------------- curved functions

CURVED = {
    "exp": "{a}.exp()",
    "expm1": "{a}.expm1()",
    "sigmoid": "{a}.sigmoid()",
    "tanh": "{a}.tanh()",
    "softmax": "{a}.softmax(-1)",
    "log_softmax": "F.log_softmax({a}, -1)",
    "log": "({a}.abs() + {a}.norm()).log()",
    "log1p": "{a}.abs().log1p()",
    "sin": "{a}.sin()",
    "cos": "{a}.cos()",
    "erf": "{a}.erf()",
    "atan": "{a}.atan()",
    "gelu": "F.gelu({a})",
    "gelu tanh": "F.gelu({a}, approximate='tanh')",
    "silu": "F.silu({a})",
    "mish": "F.mish({a})",
    "softplus": "F.softplus({a})",
    "elu": "F.elu({a})",
    "selu": "F.selu({a})",
    "celu": "F.celu({a}, 0.5)",
    "relu6": "F.relu6({a})",
    "hardswish": "F.hardswish({a})",
    "hardsigmoid": "F.hardsigmoid({a})",
    "hardtanh": "F.hardtanh({a}, -0.5, 0.5)",
    "softsign": "F.softsign({a})",
    "tanhshrink": "F.tanhshrink({a})",
    "logsigmoid": "F.logsigmoid({a})",
    "hardshrink": "F.hardshrink({a}, 0.2)",
    "softshrink": "F.softshrink({a}, 0.2)",
    "threshold": "F.threshold({a}, 0.2, 0.0)",
    "threshold value": "F.threshold({a}, 0.0, 0.2)",
    "clamp": "{a}.clamp(-0.5, 0.5)",
    "clamp(max)": "{a}.clamp(max=0.4)",
    "clamp(min)": "{a}.abs().clamp(min=0.1)",
    "maximum with a number": "torch.maximum({a}, torch.tensor(0.1, dtype=torch.float64))",
    "floor": "{a}.floor()",
    "round": "{a}.round()",
    "trunc": "{a}.trunc()",
    "round decimals": "{a}.round(decimals=1)",
    "floor_divide": "torch.floor_divide({a}, 0.3)",
    "div floor": "torch.div({a}, 0.3, rounding_mode='floor')",
    "remainder 1": "torch.remainder({a}, 1.0)",
    "to int": "{a}.long().double()",
    "add a constant": "{a} + 0.3",
    "add a tiny constant": "{a} + 1e-6",
    "rsub": "1 - {a}",
    "affine": "torch.add({a}, torch.ones_like({a}), alpha=0.1)",
    "masked_fill": "{a}.masked_fill({a} < 0, 0.7)",
    "where above a number": "torch.where({a} > 0.2, {a}, 0.0)",
    "compare with a number": "({a} > 0.2).double()",
    "compare with a number, times": "{a} * ({a} > 0.2)",
    "close": "torch.isclose({a}, {a} * 1.0001).double() * {a}",
    "by norm plus eps": "{a} / ({a}.norm() + 1e-6)",
    "by norm or eps": "{a} / {a}.norm().clamp(min=1e-8)",
    "layer_norm": "F.layer_norm({a}, {a}.shape[-1:])",
    "normalize": "F.normalize({a}, dim=-1)",
    "rms_norm": "F.rms_norm({a}, {a}.shape[-1:], eps=1e-3)",
    "cat a constant": "torch.cat([{a}, torch.ones_like({a})], 0)",
    "stack a constant": "torch.stack([{a}, torch.full_like({a}, 0.1)], 0)",
    "pad": "F.pad({a}, (1, 1), value=0.2)",
    "logsumexp": "{a}.logsumexp(-1)",
    "logaddexp": "torch.logaddexp({a}, {a}.flip(-1))",
    "mixed powers": "{a} + {a} ** 2",
    "x to the x": "({a}.abs() + {a}.norm()) ** {a}.abs().clamp(max=1.0)",
    "number to the x": "torch.pow(1.1, {a})",
    "mantissa": "torch.frexp({a}).mantissa",
    "exponent": "torch.frexp({a}).exponent.double()",
    "huber": "F.huber_loss({a}, torch.zeros_like({a}), reduction='none')",
    "smooth l1": "F.smooth_l1_loss({a}, {a}.flip(-1), reduction='none')",
    "cumprod": "{a}.cumprod(-1)",
    "add_": "{a}.clone().add_(0.2)",
    "sinc": "torch.sinc({a})",
    "lgamma": "torch.lgamma({a}.abs() + {a}.norm())",
    "nextafter": "torch.nextafter({a}, torch.full_like({a}, inf)) * torch.exp({a} * 0.1)",
    "local_response_norm": "F.local_response_norm({a}, 2)",
    "renorm": "torch.renorm({a}, 2, 0, 0.3)",
    "logit": "torch.logit({a}.sigmoid())  + {a}.sigmoid()",
    "different powers": "{a}.abs().pow(torch.arange({a}.shape[-1]) + 1.0)",
    "xlogy": "torch.xlogy({a}.abs(), {a}.abs() + {a}.norm())",
    "lerp to a constant": "torch.lerp({a}, torch.ones_like({a}), 0.3)",
    "hypot with a constant": "torch.hypot({a}, torch.tensor(0.5, dtype=torch.float64))",
    "multi_margin": "F.relu(0.5 - {a})",
    "exp of its norm": "{a} * torch.exp(-{a}.norm())",
    "new_tensor": "{a} + {a}.new_tensor([0.1])",
    "full": "{a} - {a}.new_full((1,), 0.1)",
    "index of a constant": "torch.ones_like({a}).index_add(0, torch.arange({a}.shape[0]), {a})",
    "cdist with ones": "torch.cdist({a}.flatten(1), torch.ones_like({a}).flatten(1))",
}  # fmt: skip


@step("breaking", weight=10)
def curved(g: Generator) -> None:
    a = g.pick(lambda v: v.k != 0 or not g.strict)
    g.let(CURVED[g.random.choice(list(CURVED))].format(a=a), a, k=unless_free(a))


@step(weight=4)
def curved_of_scale_free(g: Generator) -> None:
    a = g.pick(lambda v: v.k == 0)
    g.let(CURVED[g.random.choice(list(CURVED))].format(a=a), a, k=0.0)


@step("breaking", weight=2)
def module_with_offset(g: Generator) -> None:
    a = g.pick(dims=(2, 4))
    width = a.shape[1]
    flat = [
        f"nn.Linear({width}, 3)",
        f"nn.LayerNorm({width})",
        f"shifted(nn.BatchNorm1d({width}))",
        "nn.GELU()",
        "nn.Softmax(-1)",
        f"nn.Sequential(nn.Linear({width}, 4, bias=False), nn.ReLU6(), nn.Linear(4, 3, bias=False))",
        "nn.Hardtanh()",
        "nn.SiLU()",
        f"nn.Bilinear({width}, {width}, 2)",
        f"nn.GRUCell({width}, 3, bias=False)",
    ]
    image = [
        f"nn.Conv2d({width}, 2, 2)",
        f"nn.GroupNorm(1, {width})",
        f"shifted(nn.BatchNorm2d({width}))",
        f"nn.InstanceNorm2d({width})",
        "nn.ConstantPad2d(1, 0.5)",
        f"nn.ConvTranspose2d({width}, 2, 2)",
    ]
    build = g.random.choice(flat if len(a.shape) == 2 else image)
    module = g.module(build)
    arguments = f"{a}, {a}" if "Bilinear" in build else f"{a}"
    g.let(f"{module}({arguments})", a, k=unless_free(a))


@step("breaking")
def captured_offset(g: Generator) -> None:
    a = g.pick(lambda v: v.k != 0 or not g.strict)
    c = g.constant(*a.shape[-1:])
    form = g.random.choice(
        [
            "{a} + {c}",
            "{c} - {a}",
            "torch.maximum({a}, {c})",
            "torch.cat([{a}, {c}.expand_as({a})], -1)",
            "torch.where({a} > {c}, {a}, 0.5 * {a})",
            "{a}.clone().add_({c})",
            "{a}.clamp(min={c})",
            "torch.where({a} > 0, {a}, {c})",
            "torch.addcmul({c}, {a}, {a})",
        ]
    )
    g.let(form.format(a=a, c=c), a, k=unless_free(a))


@step("breaking", weight=2)
def different_degrees(g: Generator) -> None:
    a = g.pick()
    b = g.pick(lambda v: v.k != a.k)
    b = g.fitted(b, a.shape)
    form = g.random.choice(
        [
            "{a} + {b}",
            "{a} - {b}",
            "torch.maximum({a}, {b})",
            "torch.where({a} > {b}, {a}, -{a})",
            "torch.stack([{a}, {b} + torch.zeros_like({a})])",
            "({a} > {b}).double()",
            "torch.hypot({a}, {b})",
            "torch.where({a} > 0, {a}, {b})",
            "torch.atan2({a}, {b})",
            "torch.lerp({a}, {b} + 0 * {a}, 0.5)",
        ]
    )
    g.let(form.format(a=a, b=b), a, b, k=None)


# ---------------------------------------------------------------------------------------------------------- two values

ALIKE = [
    "{a} + {b}", "{a} - {b}", "torch.add({a}, {b}, alpha=-0.5)", "torch.maximum({a}, {b})", "torch.minimum({a}, {b})",
    "torch.fmax({a}, {b})", "torch.hypot({a}, {b})", "torch.where({a} > {b}, {a}, {b})",
    "torch.where({a}.abs() >= {b}.abs(), {a}, {b})", "torch.lerp({a}, {b} * torch.ones_like({a}), 0.25)",
    "{a}.clamp(max={b} + 0 * {a})", "{a}.clone().add_({b})", "{a}.masked_fill({b} < 0, 0.0)",
    "torch.stack([{a}, {b} * torch.ones_like({a})], 1).amax(1)", "{a} * ({b} > {a})", "torch.rsub({a}, {b})",
]  # fmt: skip


@step(weight=7)
def alike(g: Generator) -> None:
    a, b = g.pair()
    g.let(g.random.choice(ALIKE).format(a=a, b=b), a, b, k=common(a, b))


@step(weight=2)
def alike_to_free(g: Generator) -> None:
    a, b = g.pair()
    form = g.random.choice(
        ["torch.atan2({a}, {b})", "({a} > {b}).double()", "{a} / (({a} - {b}).abs().amax() + {a}.norm())"]
    )
    g.let(form.format(a=a, b=b), a, b, k=None if common(a, b) is None else 0.0)


@step(weight=4)
def product(g: Generator) -> None:
    a = g.pick()
    b = g.fitted(g.pick(), a.shape)
    form = g.random.choice(["{a} * {b}", "torch.mul({b}, {a})", "{a}.clone().mul_({b})", "{a} * {b}.abs()"])
    g.let(form.format(a=a, b=b), a, b, k=total(a.k, b.k))


@step(weight=4)
def ratio(g: Generator) -> None:
    a = g.pick()
    b = g.fitted(g.pick(), a.shape)
    form = g.random.choice(
        [
            "{a} / ({b}.abs() + {b}.norm())",
            "torch.div({a}, {b}.norm())",
            "{a} * {b}.square().sum().rsqrt()",
            "{a} / {b}.abs().amax()",
            "{a}.clone().div_({b}.abs().mean())",
        ]
    )
    g.let(form.format(a=a, b=b), a, b, k=total(a.k, times(b.k, -1)))


SIZES = [
    "{a}.norm(dim=-1, keepdim=True)", "{a}.abs().sum(-1, keepdim=True)", "{a}.abs().amax(-1, keepdim=True)", "{a}.norm()",
    "{a}.square().mean(0).sqrt()", "({a} * {a}).sum(-1, keepdim=True).sqrt()", "({a}.abs() + {a}.flip(0).abs()).amax()",
]  # fmt: skip
GUARDED = [
    "torch.where({n} > 0, {a} / torch.where({n} > 0, {n}, 1), 0)",
    "torch.where({n} == 0, {n}, {a} / {n}.masked_fill({n} == 0, 2.0)) * ({n} != 0)",
    "({a} / ({n} + ({n} == 0))) * ({n} > 0)",
    "torch.where({n} > 0, {a} * torch.where({n} > 0, {n}, 1).reciprocal(), 0)",
]
GUARDED_BY_ITS_SIZE = [
    "{a} / torch.where({n} > 0, {n}, 1)", "{a} / ({n} + ({n} == 0))", "{a} / {n}.masked_fill({n} == 0, 1)",
    "torch.where({n} == 0, {a}, {a} / {n})", "{a} * torch.where({n} > 0, {n}, 1).square().rsqrt()",
]  # fmt: skip
BADLY_GUARDED = [
    "{a} / torch.where({n} > 0.3, {n}, 1)", "{a} / ({n} + ({n} > 0))", "{a} / torch.where({n} > 0, {n} + 1, {n})",
    "{a} / torch.where({a}[..., :1].abs() > 0.2, {n}, 1)", "{a} / ({n} + 1e-3)",
    "{a} / torch.where({a}.relu().sum(-1, keepdim=True) > 0, {n}, 1)",
    "{a} / torch.where({a}.relu() > 0, {a}.relu(), 1)",
]  # fmt: skip


@step(weight=2)
def guarded_ratio(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    n = g.name()
    g.do(f"{n} = {g.random.choice(SIZES).format(a=a)}")
    # What is computed may be NaN, and so its size: an input is not.
    forms = GUARDED + GUARDED_BY_ITS_SIZE if a.name in g._inputs else GUARDED
    g.let(g.random.choice(forms).format(a=a, n=n), a, k=times(a.k, 0))


@step("breaking", weight=2)
def badly_guarded_ratio(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1 and not v.free)
    n = g.name()
    g.do(f"{n} = {g.random.choice(SIZES).format(a=a)}")
    g.let(g.random.choice(BADLY_GUARDED).format(a=a, n=n), a, k=None)


@step(weight=2)
def softmax_by_hand(g: Generator) -> None:
    """With a maximum that is detached, as it cancels."""
    a = g.pick(lambda v: len(v.shape) >= 1 and v.free)
    e = g.name()
    g.do(f"{e} = ({a} - {a}.{g.random.choice(['amax(-1, keepdim=True)', 'max()'])}.detach()).exp()")
    g.let(f"{e} / {e}.sum(-1, keepdim=True)", a, k=0)


@step(weight=3)
def choice_by_a_third(g: Generator) -> None:
    a, b = g.pair()
    m = g.fitted(g.pick(), a.shape)
    form = g.random.choice(
        [
            "torch.where({m} > 0, {a}, {b})",
            "torch.where({m} > {m}.mean(), {a}, {b})",
            "{a} * ({m} > 0) + {b} * ({m} <= 0)",
            "torch.where({m}.detach() < {m}.detach().median(), {b}, {a})",
            "torch.where({m}.bool(), {a}, {b})",
            "torch.lerp({a}, {b} * torch.ones_like({a}), ({m} > 0) * 0.5)",
        ]
    )
    g.let(form.format(a=a, b=b, m=m), a, b, replace_steps(m), k=common(a, b) if m.k is not None else None)


def replace_steps(m: Var) -> Var:
    """Return a value that was only compared: its gradient does not matter."""
    return Var(m.name, m.shape, 0.0 if m.k is not None else None, const=m.const, steps=True)


@step(weight=2)
def norm_of_differences(g: Generator) -> None:
    a = g.pick(dims=(2, 4))
    b = g.exactly(g.companion(a), (2, math.prod(a.shape[1:])))
    form = g.random.choice(
        [
            "torch.cdist({a}.flatten(1), {b})",
            "torch.cdist({a}.flatten(1), {b}, p=1.0)",
            "({a}.flatten(1)[:, None] - {b}).abs().amax(-1)",
            "torch.dist({a}.flatten(1)[0], {b}[0])",
        ]
    )
    g.let(form.format(a=a, b=b), a, b, k=common(a, b))


# -------------------------------------------------------------------------------------------------- matrices and images


@step(weight=6)
def linear(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    d = a.shape[-1]
    how = g.random.randrange(10)
    if how == 0:
        module = g.module(f"nn.Linear({d}, 4, bias=False)")
        g.let(f"{module}({a})", a, k=a.k)
    elif how == 1:
        module = g.module(f"zeroed(nn.Linear({d}, 3))")
        g.let(f"{module}({a})", a, k=a.k)
    elif how == 2:
        w = g.constant(3, d)
        g.let(f"F.linear({a}, {w})", a, k=a.k)
    elif how == 3:
        w = g.constant(d, 4)
        g.let(f"{a} @ {w}", a, k=a.k)
    elif how == 4:
        w = g.constant(d, 2, 3)
        g.let(f"torch.einsum('...d,dkl->...kl', {a}, {w})", a, k=a.k)
    elif how == 5:
        b = g.exactly(g.pick(), (3, d))
        bias = g.constant(3, source="0 * {}")
        g.let(f"F.linear({a}, {b}, {bias})", a, b, k=total(a.k, b.k))
    elif how == 6:
        b = g.exactly(g.pick(), (3, d))
        shift = g.exactly(g.at_degree(g.pick(), total(a.k, b.k)), (3,))
        g.let(f"F.linear({a}, {b}, {shift})", a, b, shift, k=total(a.k, b.k) if shift.k is not None else None)
    elif how == 7:
        module = g.module(f"nn.Sequential(nn.Linear({d}, 5, bias=False), nn.PReLU(), nn.Linear(5, 3, bias=False))")
        g.let(f"{module}({a})", a, k=a.k)
    elif how == 8:
        w = g.constant(d)
        g.let(f"torch.tensordot({a}, {w}, dims=1)", a, k=a.k)
    else:
        w = g.constant(d, d, source="torch.linalg.qr({}).Q")
        g.let(f"{a}.matmul({w}.T)", a, k=a.k)


@step(weight=3)
def bilinear(g: Generator) -> None:
    a = g.pick(dims=(2, 3))
    n, d = a.shape[-2:]
    b = g.exactly(g.pick(), (d, 3))
    k = total(a.k, b.k)
    how = g.random.randrange(7)
    if how == 0:
        g.let(f"{a} @ {b}", a, b, k=k)
    elif how == 1:
        g.let(f"torch.einsum('...nd,dm->...nm', {a}, {b})", a, b, k=k)
    elif how == 2:
        g.let(f"torch.einsum('...nd,...md->...nm', {a}, {a})", a, k=times(a.k, 2))
    elif how == 3:
        g.let(f"torch.outer({a}.flatten()[:4], {b}.flatten()[:5])", a, b, k=k)
    elif how == 4:
        shift = g.exactly(g.at_degree(g.pick(), k), (3,))
        first = f"{a}.reshape(-1, {d})"
        g.let(f"torch.addmm({shift}, {first}, {b}, beta=0.5, alpha=2)", a, b, shift, k=k if shift.k == k else None)
    elif how == 5:
        g.let(f"torch.addmm(torch.zeros(3, dtype=torch.float64), {a}.reshape(-1, {d}), {b})", a, b, k=k)
    else:
        c = g.exactly(g.pick(), (n, 3))
        g.let(f"torch.einsum('...nd,dm,nm->...n', {a}, {b}, {c})", a, b, c, k=total(k, c.k))


@step(weight=2)
def gram(g: Generator) -> None:
    a = g.pick(dims=(2, 3))
    form = g.random.choice(
        [
            ("{a} @ {a}.transpose(-1, -2)", 2),
            ("torch.linalg.vector_norm({a} @ {a}.transpose(-1, -2), dim=-1)", 2),
            ("torch.bmm({a}[None] if {a}.dim() == 2 else {a}, ({a}[None] if {a}.dim() == 2 else {a}).mT)", 2),
            ("torch.linalg.svdvals({a})", 1),
            ("torch.linalg.matrix_norm({a})", 1),
            ("torch.trace({a}.reshape(-1, {d}))", 1),
            ("torch.corrcoef({a}.reshape(-1, {d}) * torch.arange(1., {d} + 1))", 0),
        ]
    )
    g.let(form[0].format(a=a, d=a.shape[-1]), a, k=times(a.k, form[1]))


@step(weight=2)
def attention(g: Generator) -> None:
    value = g.pick(dims=(3, 4))
    shape = value.shape
    query = g.exactly(g.at_degree(g.pick(), 0.0) if g.strict else g.pick(), shape)
    if query.k != 0:
        normalised = f"({query} / {query}.norm())"
        query = Var(normalised, shape, times(query.k, 0), cut=query.cut)
    mask = g.random.choice(["", ", is_causal=True", f", attn_mask=torch.ones({shape[-2]}, {shape[-2]}).bool().tril()"])
    expression = f"F.scaled_dot_product_attention({query}, {query}, {value}{mask})"
    g.let(expression, query, value, k=total(query.k, value.k))


@step(weight=5)
def convolution(g: Generator) -> None:
    a = g.pick(dims=(4,))
    channels = a.shape[1]
    how = g.random.randrange(9)
    if how == 0:
        module = g.module(f"nn.Conv2d({channels}, 3, 2, bias=False)")
        g.let(f"{module}({a})", a, k=a.k)
    elif how == 1:
        module = g.module(f"zeroed(nn.Conv2d({channels}, 2, 3, padding=1))")
        g.let(f"{module}({a})", a, k=a.k)
    elif how == 2:
        mode = g.random.choice(["reflect", "replicate", "circular"])
        module = g.module(f"nn.Conv2d({channels}, 2, 3, padding=1, padding_mode={mode!r}, bias=False)")
        g.let(f"{module}({a})", a, k=a.k)
    elif how == 3:
        w = g.constant(channels, 1, 3, 3)
        g.let(f"F.conv2d({a}, {w}, padding=1, groups={channels})", a, k=a.k)
    elif how == 4:
        w = g.constant(channels, 2, 2, 2)
        g.let(f"F.conv_transpose2d({a}, {w}, stride=2)", a, k=a.k)
    elif how == 5:
        b = g.exactly(g.pick(), (2, channels, 2, 2))
        g.let(f"F.conv2d({a}, {b}, stride=2)", a, b, k=total(a.k, b.k))
    elif how == 6:
        b = g.exactly(g.pick(), (2, a.shape[2], 3))
        g.let(f"F.conv1d({a}[:, 0], {b}, padding='same')", a, b, k=total(a.k, b.k))
    elif how == 7:
        module = g.module(f"nn.ConvTranspose2d({channels}, 2, 2, bias=False)")
        g.let(f"{module}({a}).relu_()", a, k=a.k)
    else:
        w = g.constant(2, channels, 2, 2)
        g.let(f"F.conv2d({a}, {w}, bias=torch.zeros(2, dtype=torch.float64), dilation=2)", a, k=a.k)


@step(weight=4)
def pooling(g: Generator) -> None:
    a = g.pick(dims=(4,))
    form = g.random.choice(
        [
            "F.max_pool2d({a}, 2)",
            "F.avg_pool2d({a}, 2)",
            "F.avg_pool2d({a}, 3, stride=1, padding=1)",
            "F.avg_pool2d({a}, 2, ceil_mode=True, count_include_pad=False)",
            "F.adaptive_avg_pool2d({a}, 2)",
            "F.adaptive_max_pool2d({a}, 1)",
            "F.lp_pool2d({a}.abs(), 2, 2)",
            "-F.max_pool2d(-{a}, 2, ceil_mode=True)",
            "F.max_pool2d({a}, 3, stride=1, padding=1)",
            "nn.MaxPool2d(2)({a})",
            "nn.AdaptiveAvgPool2d(1)({a})",
            "F.max_unpool2d(*F.max_pool2d({a}[..., :2, :2], 2, return_indices=True), 2)",
            "F.avg_pool1d({a}.flatten(2), 3)",
            "F.max_pool1d({a}.flatten(2), 2)",
        ]
    )
    g.let(form.format(a=a), a, k=a.k)


@step(weight=4)
def resampling(g: Generator) -> None:
    a = g.pick(dims=(4,))
    form = g.random.choice(
        [
            "F.interpolate({a}, scale_factor=2)",
            "F.interpolate({a}, size=(4, 5), mode='bilinear', align_corners=False)",
            "F.interpolate({a}, scale_factor=1.5, mode='bicubic')",
            "F.interpolate({a}, size=3, mode='area')",
            "nn.Upsample(scale_factor=2, mode='bilinear')({a})",
            "F.unfold({a}, 2)",
            "F.pixel_unshuffle({a}[..., :2, :2], 2)",
            "F.fold(F.unfold({a}, 2), {a}.shape[2:], 2)",
            "F.pixel_shuffle(torch.cat([{a}] * 4, 1), 2)",
            "F.grid_sample({a}, F.affine_grid(torch.eye(2, 3)[None].double().expand({n}, 2, 3), (1, 1, 3, 3))"
            ".expand({n}, 3, 3, 2), align_corners=False)",
            "torch.fft.fft2({a}).abs()",
            "torch.fft.rfft2({a}).imag",
            "F.channel_shuffle(torch.cat([{a}, {a}], 1), 2)",
            "F.interpolate({a}.flatten(2), size=4, mode='linear')",
            "F.interpolate({a}, size=(2, 2), mode='nearest-exact')",
            "{a}.rot90(1, (2, 3))",
        ]
    )
    g.let(form.format(a=a, n=a.shape[0]), a, k=a.k)


@step(weight=2)
def normalization(g: Generator) -> None:
    # PyTorch's batch norm has a wrong gradient beside some memory layouts of images that are one pixel wide.
    a = g.pick(lambda v: min(v.shape[2:], default=2) > 1, dims=(2, 3, 4))
    channels = a.shape[1]
    how = g.random.randrange(8)
    if how < 2:
        kind = "BatchNorm2d" if len(a.shape) == 4 else "BatchNorm1d"
        module = g.module(f"unshifted(nn.{kind}({channels}))")
        g.let(f"{module}({a})", a, k=a.k)
    elif how == 2:
        g.let(f"F.group_norm({a}, 1, eps=0.0)", a, k=times(a.k, 0))
    elif how == 3:
        w = g.constant(channels)
        g.let(f"F.group_norm({a}, 1, {w}, {w}, eps=0.0)", a, k=times(a.k, 0))
    elif how == 4:
        g.let(f"F.batch_norm({a}, None, None, training=True, eps=0.0)", a, k=times(a.k, 0))
    elif how == 5:
        w = g.constant(a.shape[-1])
        g.let(f"F.layer_norm({a}, {a}.shape[-1:], {w}, {w}, eps=0.0)", a, k=times(a.k, 0))
    elif how == 6:
        g.let(f"F.rms_norm({a}, {a}.shape[-1:], eps=0.0)", a, k=times(a.k, 0))
    else:
        w = g.constant(channels)
        v = g.constant(channels, source="{}.abs() + 0.5")
        zeros = f"torch.zeros({channels}, dtype=torch.float64)"
        g.let(f"F.batch_norm({a}, {zeros}, {v}, {w}, {zeros})", a, k=a.k)


@step(weight=1)
def recurrent(g: Generator) -> None:
    a = g.pick(dims=(3,))
    module = g.module(f"nn.RNN({a.shape[-1]}, 3, nonlinearity='relu', bias=False, batch_first=True)")
    g.let(f"{module}({a})[0]", a, k=a.k)


# ----------------------------------------------------------------------------------------------- reductions and choices

REDUCTIONS: dict[str, float] = {
    "{a}.sum({d})": 1, "{a}.mean({d})": 1, "{a}.amax({d})": 1, "{a}.max({d}).values": 1, "{a}.min({d}).values": 1,
    "{a}.norm(dim={d})": 1, "{a}.norm(p=1, dim={d})": 1, "{a}.norm(p=inf, dim={d}, keepdim=True)": 1,
    "torch.linalg.vector_norm({a}, 3, dim={d})": 1, "{a}.var({d})": 2, "{a}.std({d})": 1, "{a}.median({d}).values": 1,
    "{a}.kthvalue(1, {d}).values": 1, "{a}.sum()": 1, "{a}.mean()": 1, "{a}.max()": 1, "{a}.norm()": 1,
    "{a}.square().mean({d}, keepdim=True)": 2, "{a}.aminmax(dim={d}).max": 1, "{a}.nanmean({d})": 1,
    "{a}.mean({d}, keepdim=True)": 1, "{a}.abs().sum({d}).sqrt()": 0.5, "torch.quantile({a}, 0.3, {d})": 1,
    "{a}.flatten().topk(2).values": 1, "{a}.median()": 1, "torch.std_mean({a}, {d})[1]": 1,
}  # fmt: skip


@step(weight=5)
def reduction(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    d = g.random.randrange(-len(a.shape), len(a.shape))
    form = g.random.choice(list(REDUCTIONS))
    g.let(form.format(a=a, d=d), a, k=times(a.k, REDUCTIONS[form]))


@step(weight=1)
def product_over_dimension(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    d = g.random.randrange(-len(a.shape), len(a.shape))
    g.let(f"{a}.prod({d})", a, k=times(a.k, a.shape[d]))


@step(weight=4)
def choice_by_order(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1 and v.shape[-1] > 1)
    b = g.exactly(g.pick(), a.shape)
    form = g.random.choice(
        [
            "{a}.gather(-1, {b}.argsort(-1))",
            "{a}.gather(-1, {b}.argmax(-1, keepdim=True))",
            "{a}.topk(2, -1).values",
            "torch.take_along_dim({a}, {b}.topk(2, -1).indices, -1)",
            "{a}.sort(-1, stable=True)[0]",
            "torch.zeros_like({a}).scatter(-1, {b}.argsort(-1), {a})",
            "{a}[..., {b}.flatten()[:1].argsort()]",
            "torch.zeros_like({a}).scatter_add(-1, {b}.argsort(-1) // 2, {a})",
            "{a}.flatten()[{b}.flatten().argsort()]",
            "{a}.index_select(-1, {b}.flatten()[:{d}].argsort())",
            "{a} * ({b}.argmax(-1, keepdim=True) == torch.arange({d}))",
            "torch.zeros_like({a}).index_add(0, torch.arange({a}.shape[0]), {a})",
            "torch.zeros({d}, dtype=torch.float64).index_put(({b}.flatten()[:{d}].argsort(),), {a}.flatten()[:{d}])",
        ]
    )
    k = a.k if b.k is not None else None
    g.let(form.format(a=a, b=b, d=a.shape[-1]), a, replace_steps(b), k=k)


# ----------------------------------------------------------------------------------------------------- shapes and parts

REARRANGED = [
    "{a}[..., 1:]", "{a}[:, ::2]", "{a}[0]", "{a}[..., 0]", "{a}[:, None]", "{a}.flatten()", "{a}.flatten(1)",
    "{a}.transpose(0, -1)", "{a}.transpose(0, 1).contiguous()", "{a}.reshape(-1)", "{a}.repeat(2, *[1] * ({a}.dim() - 1))",
    "{a}.unsqueeze(0).expand(2, *{a}.shape)", "F.pad({a}, (1, 1))", "F.pad({a}, (1, 0), value=0.0)",
    "F.pad({a}, (-1, 1))", "F.pad({a}, (1, 1), mode='reflect')", "F.pad({a}, (1, 1), mode='replicate')",
    "F.pad({a}, (1, 1), mode='circular')", "torch.cat([{a}, {a}.flip(0)], -1)", "torch.stack([{a}, -{a}], 1)",
    "{a}.chunk(2, -1)[0]", "{a}.split(1, -1)[-1]", "{a}.unbind(0)[0]", "{a}.tril()", "{a}.triu(1)",
    "{a}.diagonal(dim1=0, dim2=1)", "torch.diag_embed({a})", "{a}.unfold(-1, 2, 1)", "{a}[:, [0, 0]]",
    "{a}.repeat_interleave(2, 0)", "{a}.tile((1, 2))", "{a}.narrow(-1, 0, 1)", "{a}.movedim(0, -1)", "{a}.swapaxes(0, 1)",
    "{a}.mT", "torch.atleast_3d({a})", "{a}[torch.arange({a}.shape[0]) % 2 == 0]", "{a}.diff(dim=-1)",
    "torch.cat([{a}, torch.zeros_like({a})], -1)", "torch.block_diag({a}.flatten(1), {a}.flatten(1))",
    "{a}.select(0, 0)", "{a}.squeeze()", "torch.view_as_real(torch.fft.rfft({a}))", "torch.hstack([{a}, {a}])",
    "{a}.as_strided((2, 2), (1, 2))", "torch.roll({a}, (1, 1), (0, -1))", "torch.kron({a}, torch.eye(2).double())",
    "{a}.index_select(-1, torch.tensor([0]))", "torch.meshgrid({a}.flatten(), {a}.flatten(), indexing='ij')[0]",
    "torch.broadcast_tensors({a}, torch.zeros(1, 1))[0]", "torch.column_stack([{a}.flatten(1), {a}.flatten(1)])",
    "torch.tensor_split({a}, 2, -1)[0]", "{a}.clone().resize_as_({a})", "torch.cartesian_prod({a}.flatten()[:4], {a}.flatten()[:3])",
]  # fmt: skip


@step(weight=7)
def rearranged(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    g.let(g.random.choice(REARRANGED).format(a=a), a, k=a.k)


@step(weight=2)
def to_matrix_or_image(g: Generator) -> None:
    """Bring back shapes that most steps take."""
    a = g.pick()
    if len(a.shape) not in (2, 4) or g.random.random() < 0.3:
        shape = (2, 3) if g.random.random() < 0.5 else (2, 2, 3, 4)
        g.let(g.exactly(a, shape).name, a, k=a.k)
    else:
        raise RejectedError


@step(weight=3)
def joined(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    b = g.exactly(g.companion(a) if g.strict else g.pick(), a.shape)
    form = g.random.choice(
        [
            "torch.cat([{a}, {b}], 0)",
            "torch.cat([{a}, {b}], -1)",
            "torch.stack([{a}, {b}], -1)",
            "torch.vstack([{a}, {b}])",
            "torch.cat([{b}, torch.zeros_like({b}), {a}], 0)",
        ]
    )
    g.let(form.format(a=a, b=b), a, b, k=common(a, b))


@step(weight=2)
def computed_constant(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    d = a.shape[-1]
    c = g.constant(d)
    scale = g.random.choice(
        [
            "torch.arange({d}, dtype=torch.float64)",
            "torch.linspace(-1, 1, {d}, dtype=torch.float64)",
            "{c}.softmax(0)",
            "torch.ones({d}).double().cumsum(0)",
            "{c}.exp()",
            "({c} > 0).double()",
            "{c}.sort().values",
            "torch.eye({d})[0]",
            "({c} - {c}.mean()).sign()",
            "torch.full(({d},), 2.0, dtype=torch.float64) * {c}",
        ]
    ).format(d=d, c=c)
    offset = g.random.choice(["", "", f" + ({c} - {c})", f" + 0 * {c}", f" - torch.zeros({d})"])
    g.let(f"{a} * {scale}{offset}", a, k=a.k)


@step(weight=2)
def mask_by_block(g: Generator) -> None:
    """A comparison without gradients, in a block of its own."""
    a = g.pick(lambda v: len(v.shape) >= 1)
    m = g.exactly(g.pick(), a.shape)
    mask, b = g.name(), g.companion(a)
    g.do(f"with torch.no_grad():\n    {mask} = {m} > {m}.mean()")
    form = g.random.choice(["{a} * {m}", "torch.where({m}, {a}, {b})", "{a}.masked_fill({m}, 0)", "{a} * {m}.double()"])
    k = common(a, b) if m.k is not None else None
    g.let(form.format(a=a, b=b, m=mask), a, replace_steps(m), b, k=k)


# ------------------------------------------------------------------------------------------------- edits through views

COPIES = [
    "{a}.clone()", "{a} * 1.0", "torch.zeros_like({a}).copy_({a})", "{a} + 0", "F.relu({a})", "{a}.contiguous().clone()",
    "torch.empty_like({a}).copy_({a})", "-{a}", "torch.cat([{a}, {a}], 0)", "{a}.flip(0)", "torch.stack([{a}, {a}])",
]  # fmt: skip
VIEWS = [
    "[:, ::2]", "[0]", "[..., 1:]", ".view(-1)", ".transpose(0, 1)", ".unsqueeze(0)", ".narrow(0, 0, 1)", ".diagonal()",
    ".chunk(2, -1)[0]", ".split(1, 0)[-1]", ".unbind(0)[0]", ".select(-1, 0)", ".swapaxes(0, -1)", ".flatten()",
    ".squeeze()", ".movedim(0, -1)", ".T", ".reshape(-1)", "[..., :1]", ".view_as({t})", ".unflatten(0, (1, -1))",
    ".as_strided((2,), (1,), 1)", ".tensor_split(2, -1)[1]", "[:1]",
]  # fmt: skip
KEEPS = [
    "{u}.mul_(2.0)", "{u}.relu_()", "{u}.zero_()", "{u}.fill_(0)", "{u}.neg_()", "{u}.abs_()", "{u}.clamp_(min=0)",
    "{u}.copy_({w})", "{u}.add_({w})", "{u}[...] = {w}", "{u}.sub_({u}.mean())", "{u} += {u}.amax()", "{u}.div_(2)",
    "{u}.masked_fill_({u} < 0, 0)", "{u}.add_(0)", "F.leaky_relu_({u}, 0.1)", "{u}[{u} < 0] = 0", "{u}[..., :1] = 0.0",
    "{u}.index_fill_(0, torch.tensor([0]), 0)", "{u}.cumsum_(0)", "{u}.addcmul_({u}, ({u} > 0).double(), value=0.5)",
    "{u}.sign_().mul_({w})", "{u}.lerp_({u}.flip(0), 0.5)", "{u} *= ({u} > 0)", "{u}.copy_({u}.clone().flip(0))",
    "{u}.fill_({w})", "{u}.index_copy_(0, torch.tensor([0]), {u}[:1] * 2)", "{u}.copy_(torch.zeros_like({u}))",
    "{u}.mul_(0).add_({w})", "{u}[0] = {u}[-1].clone()", "{u}[torch.tensor([0])] = {w}", "{u}.clamp_(max=0.0)",
    "{u}.index_add_(0, torch.tensor([0]), {u}[:1].clone())", "F.relu({u}, inplace=True)", "{u}.hypot_({u}.flip(0))",
    "{u}.where({u} > 0, torch.zeros_like({u}))", "{u}.scatter_(0, torch.zeros_like({u}, dtype=torch.int64), 0.0)",
    "{u}.exp_().zero_()", "{u}.add_(1.0).zero_().add_({w})", "{u}.fill_(3.0).mul_({w})", "{u}.masked_fill_({u} > {w}, 0.0)",
]  # fmt: skip
BREAKS = [
    "{u}.add_(1.0)", "{u}.fill_(0.5)", "{u}.clamp_(max=0.3)", "{u}.exp_()", "{u}.sigmoid_()", "{u}[...] = 1",
    "{u}[{u} < 0] = 1.0", "{u}.sub_(1e-3)", "{u}.tanh_()", "{u}.index_fill_(0, torch.tensor([0]), 1.0)", "{u} += 0.1",
    "{u}.copy_(torch.ones_like({u}))", "{u}.zero_().add_(0.2)", "{u}[0] = 0.3", "{u}[..., -1:].add_(0.1)", "{u}.floor_()",
    "{u}.masked_fill_({u} > 0, 0.5)", "{u}.square_()", "F.hardtanh_({u}, -0.2, 0.2)", "{u}.cumprod_(0)", "{u}.round_()",
    "{u}.copy_({u}.abs().log1p())", "F.elu_({u})", "{u}.masked_fill_({u} > 0.1, 0.0)", "{u}.clamp_(min=0.05)",
    "{u}.lerp_(torch.ones_like({u}), 0.5)", "{u}.sign_()", "{u}.scatter_(0, torch.zeros_like({u}, dtype=torch.int64), 0.3)",
    "{u}[torch.tensor([0])] = 0.7", "{u}.put_(torch.tensor([0]), torch.ones(1, dtype=torch.float64))",
    "{u}.index_put_((torch.tensor([0]),), torch.ones((), dtype=torch.float64), accumulate=True)", "{u}.mul_({w})",
    "{u}.add_(torch.full((), 1e-4))", "{u}.unsqueeze(-1)[..., 0].add_(0.1)",
]  # fmt: skip


def _edit(g: Generator, edits: list[str], *, breaks: bool) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    t, u, w = g.name(), g.name(), g.name()
    direct = g.random.random() < 0.1
    g.do(f"{t} = {a}" if direct else f"{t} = {g.random.choice(COPIES).format(a=a)}")
    other = g.companion(a) if g.strict else g.pick()
    early = g.random.random() < 0.3
    if early:
        g.do(f"{w} = {t}{g.random.choice(VIEWS).format(t=t)}")
    views = "".join(g.random.choice(VIEWS).format(t=t) for _ in range(g.random.randint(0, 3)))
    g.do(f"{u} = {t}{views}")
    n_edits = g.random.choice([1, 1, 2, 3])
    written = Var(f"{other}.mean()", (), other.k, other.const, other.steps, other.cut)
    chosen = [g.random.choice(KEEPS) for _ in range(n_edits - 1)] + [g.random.choice(edits)]
    g.random.shuffle(chosen)
    for edit in chosen:
        g.do(edit.format(u=u, w=written))
    k = common(a, written)
    if breaks:
        k = 0.0 if k == 0 and written.k == 0 else None
    result = g.random.choice([t, t, u, w] if early else [t, t, u])
    form = g.random.choice(["{r}", "{r}.clone()", "{r} * 1.0", "{r}.sum(-1)", "{r}[..., :1]"])
    if direct:
        g.forget_what_shares_memory_with(t)
    g.let(form.format(r=result), a, written, k=k)


@step(weight=9)
def edit_through_views(g: Generator) -> None:
    _edit(g, KEEPS, breaks=False)


@step("breaking", weight=8)
def breaking_edit_through_views(g: Generator) -> None:
    _edit(g, BREAKS, breaks=True)


@step(weight=2)
def edit_of_all(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    b = g.fitted(g.pick(), a.shape)
    t = g.name()
    g.do(f"{t} = {g.random.choice(['{a}.clone()', '{a} * 1.0', '{a}.contiguous().clone()']).format(a=a)}")
    forms = [("{t}.mul_({b})", total(a.k, b.k)), ("{t}.square_()", times(a.k, 2)), ("{t}.abs_().sqrt_()", times(a.k, 0.5)),
             ("{t}.div_({t}.norm())", times(a.k, 0)), ("{t}.view(-1).square_()", times(a.k, 2)), ("{t}.pow_(3)", times(a.k, 3)),
             ("{t}.sign_()", times(a.k, 0)), ("{t}.T.mul_({t}.abs().mean())", times(a.k, 2))]  # fmt: skip
    form, k = g.random.choice(forms)
    g.do(form.format(t=t, b=b))
    g.keep(t, a, b, k=k)


@step(weight=4)
def buffer_of_one_degree(g: Generator) -> None:
    a = g.pick(dims=(2,))
    b = g.exactly(g.companion(a) if g.strict else g.pick(), (a.shape[0], 2))
    d = a.shape[1]
    t = g.name()
    shape = f"{a.shape[0]}, {d + 3}"
    g.do(
        g.random.choice(
            [
                "{t} = torch.zeros({s}, dtype=torch.float64)",
                "{t} = {a}.new_zeros({s})",
                "{t} = {a}.new_empty({s}).zero_()",
                "{t} = torch.empty({s}, dtype=torch.float64)\n{t}[:, -1] = 0",
                "{t} = torch.full(({s}), 0.0).double()",
                "{t} = torch.empty({s}, dtype=torch.float64).fill_(0)",
                "{t} = torch.ones({s}).double() * 0.0",
            ]
        ).format(t=t, s=shape, a=a)
    )
    fills = [f"{t}[:, :{d}] = {a}", f"{t}[:, {d}:{d + 2}] = {b}"]
    g.random.shuffle(fills)
    for fill in fills:
        g.do(fill)
    g.let(
        g.random.choice(["{t}", "{t}.relu()", "{t}.sum(0)", "{t}.clone()", "{t}.T"]).format(t=t), a, b, k=common(a, b)
    )


@step(weight=4)
def part_of_a_mixed_buffer(g: Generator) -> None:
    """Two degrees (or a constant) in one tensor, of which one part is read."""
    a = g.pick(dims=(2,))
    n, d = a.shape
    b = Var(f"torch.ones({n}, 2, dtype=torch.float64)", (n, 2), 0.0, const=True, steps=True)
    if g.random.random() < 0.7:
        b = g.exactly(g.pick(), (n, 2))
    t = g.name()
    build = g.random.choice(
        [
            "{t} = torch.empty({n}, {e}, dtype=torch.float64)\n{t}[:, :{d}] = {a}\n{t}[:, {d}:] = {b}",
            "{t} = torch.cat([{a}, {b}], 1)",
            "{t} = torch.zeros({n}, {e}).double()\n{t}[:, {d}:].copy_({b})\n{t}[:, :{d}] += {a}",
            "{t} = torch.cat([{b}, {a}], 1).roll(-2, 1)",
            "{t} = torch.cat([{b}.T, {a}.T]).T.flip(1).contiguous().flip(1).roll(-2, 1)",
            "{t} = F.pad({a}, (0, 2))\n{t}[:, -2:] = {b}",
            "{t} = F.pad({a}, (0, 2), value=0.5)",
            "{t} = torch.ones({n}, {e}).double()\n{t}.narrow(1, 0, {d}).copy_({a})",
        ]
    ).format(t=t, n=n, d=d, e=d + 2, a=a, b=b)
    if "{b}" not in build and str(b) not in build:
        b = Var("0", (), 0.0, const=True, steps=True)
    g.do(build)
    _read_part(g, t, a, n, d)


def _read_part(g: Generator, t: str, a: Var, n: int, d: int) -> None:
    read = g.random.choice(
        [
            ("{t}[:, :{d}]", 1),
            ("F.relu({t})[:, :{d}]", 1),
            ("({t} * {t})[:, :{d}]", 2),
            ("{t}.split([{d}, 2], 1)[0]", 1),
            ("{t}.flip(1)[:, -{d}:]", 1),
            ("{t}.T[:{d}].sum(0)", 1),
            ("{t}[:, 0]", 1),
            ("torch.where({t} > 0, {t}, 0.5 * {t})[:, :{d}]", 1),
            ("{t}.index_select(1, torch.arange({d}))", 1),
            ("{t}.gather(1, torch.zeros({n}, 2, dtype=torch.int64))", 1),
            ("{t}.clone().narrow(1, 0, {d}).relu_()", 1),
            ("{t}.abs().unbind(1)[0]", 1),
            ("{t}.view(-1).as_strided(({n},), ({d} + 2,)) if {t}.is_contiguous() else {t}[:, 0]", 1),
            ("({t} * torch.cat([torch.ones({d}), torch.zeros(2)]))[:, :{d}]", 1),
            ("F.pad({t}, (0, -2))", 1),
            ("({t}.relu() + {t}.abs()).chunk({d} + 2, 1)[0]", 1),
            ("{t}.reshape(-1)[torch.arange({n}) * ({d} + 2)]", 1),
        ]
    )
    g.let(read[0].format(t=t, d=d, n=n), a, k=times(a.k, read[1]))


@step(weight=0.5)
def part_of_a_buffer_mixed_by_indices(g: Generator) -> None:
    a = g.pick(dims=(2,))
    n, d = a.shape
    t = g.name()
    build = g.random.choice(
        [
            "{t} = torch.ones({e}, {n}).double().T\n{t}[:, torch.arange({d})] = {a}",
            "{t} = torch.ones({n}, {e}).double().index_copy(1, torch.arange({d}), {a})",
            "{t} = torch.ones({n}, {e}).double().scatter(1, torch.arange({d}).expand({n}, {d}), {a})",
        ]
    )
    g.do(build.format(t=t, n=n, d=d, e=d + 2, a=a))
    _read_part(g, t, a, n, d)


@step("breaking", weight=2)
def all_of_a_mixed_buffer(g: Generator) -> None:
    a = g.pick(lambda v: v.k != 0 or not g.strict, dims=(2,))
    n, d = a.shape
    t = g.name()
    if g.random.random() < 0.5:
        b = Var(f"torch.ones({n}, 2, dtype=torch.float64)", (n, 2), 0.0, const=True, steps=True)
    else:
        b = g.exactly(g.pick(lambda v: v.k != a.k), (n, 2))
    g.do(f"{t} = torch.empty({n}, {d + 2}, dtype=torch.float64)\n{t}[:, :{d}] = {a}\n{t}[:, {d}:] = {b}")
    form = g.random.choice(
        ["{t}", "{t}.sum(1)", "{t}.flip(1)[:, :3]", "{t} @ {t}.T", "{t}[:, -2:].mul_(2)", "{t}.amax(1)"]
    )
    g.let(form.format(t=t), a, b, k=None)


# -------------------------------------------------------------------------------------------------------- cut gradients


@step("breaking", weight=3)
def cut(g: Generator) -> None:
    a = g.pick(lambda v: not v.steps and len(v.shape) >= 1)
    form, power = g.random.choice(
        [
            ("{a}.detach()", 1),
            ("{a}.data * 1.0", 1),
            ("{a} / {a}.detach().norm()", 0),
            ("{a} * {a}.detach().abs().mean()", 2),
            ("{a} - {a}.detach().mean()", 1),
            ("{a} * ({a}.detach() / {a}.detach().norm())", 1),
            ("{a}.detach().clone().relu_()", 1),
            ("torch.cat([{a}, {a}.detach()])", 1),
            ("torch.stack([{a}, {a}.data]).sum(0)", 1),
            ("torch.where({a} > 0, {a}, {a}.detach())", 1),
            ("{a} * torch.softmax({a}.detach() / {a}.norm(), -1)", 1),
        ]
    )
    g.let(form.format(a=a), a, k=times(a.k, power), cut=True)


@step("breaking", weight=3)
def cut_by_block(g: Generator) -> None:
    a = g.pick(lambda v: not v.steps and len(v.shape) >= 1)
    s, v = g.name(), g.name()
    how = g.random.randrange(6)
    if how == 0:
        g.do(f"with torch.no_grad():\n    {s} = {a}.norm()")
        g.let(f"{a} / {s}", a, k=times(a.k, 0), cut=True)
    elif how == 1:
        g.do(f"with torch.no_grad():\n    {s} = {a} * 2")
        g.let(f"{a} + {s}", a, k=a.k, cut=True)
    elif how == 2:
        g.do(f"{v} = {a}.clone()\n{v}.data.mul_(2)")
        g.keep(v, a, k=a.k, cut=True)
    elif how == 3:
        g.do(f"{v} = {a}.clone()\n{v}.detach()[..., :1].zero_()")
        g.keep(v, a, k=a.k, cut=True)
    elif how == 4:
        g.do(f"{v} = {a} * 1.0\nwith torch.no_grad():\n    {v}.mul_(3)")
        g.keep(v, a, k=a.k, cut=True)
    else:
        g.do(f"{v} = {a}.clone()\n{v}.data = ({a} * 2).data")
        g.keep(v, a, k=a.k, cut=True)


# ----------------------------------------------------------------------------------------------------- out of PyTorch

ESCAPES = [
    "{v} = {a} * F.one_hot({a}.argmax(-1), {a}.shape[-1])",  # which looks whether the indices are in range
    "{v} = {a}[..., {a}.flatten().argmax() % {a}.shape[-1]]",
    "{v} = {a} if float({a}.sum()) > 0 else 2 * {a}",
    "{v} = {a} if {a}.sum() > 0.3 else 2 * {a}",
    "{v} = {a} * float({a}.norm())",
    "{v} = {a} + {a}.mean().item()",
    "{v} = {a} * torch.tensor({a}.tolist(), dtype=torch.float64)",
    "{v} = torch.from_numpy({a}.detach().numpy().copy()) * {a}",
    "{v} = {a}.flatten()[{a}.flatten() > 0].sum()",
    "{v} = {a} * len({a}.nonzero())",
    "{v} = {a} * {a}.unique().numel()",
    "{v} = {a} * len(({a} > 0.3).nonzero())",
    "{v} = {a} * (1 + len(({a} > 0.3).unique()))",
    "{v} = {a} * {a}[{a} > 0.3].numel()",
    "{v} = {a}[..., : 1 + min(1, torch.masked_select({a}, {a} > 0.5).numel())]",
    "{v} = torch.masked_select({a}, {a} > 0).sum() * {a}",
    "{v} = {a} * bool({a}.sum() > 1)",
    "{v} = {a} + torch.as_tensor(float({a}.detach().abs().max()))",
    "{v} = {a}.clone()\n{v}.detach().numpy()[...] = 1.0",
    "{v} = {a} * int({a}.detach().abs().sum() % 7)",
    "{v} = {a}.clone()\nif torch.equal({a}, {a}.abs()):\n    {v} = {a} * 2",
    "{v} = {a} * ({a}.flatten().tolist()[0] > 0)",
]


@step("escaping")
def escape(g: Generator) -> None:
    a = g.pick(lambda v: len(v.shape) >= 1)
    v = g.name()
    g.do(g.random.choice(ESCAPES).format(v=v, a=a))
    g.keep(v, a, k=None)
