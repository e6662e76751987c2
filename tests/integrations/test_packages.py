"""Other people's packages with X-Gradient in them, the real ones where they are installed."""

import sys
import types
import warnings

import captum.attr
import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients, LLMGradientAttribution, TextTokenInput
from torch import nn

from captum_xg import LayerXGradient, XGradient
from captum_xg.errors import InputError, MissingPackageError, OptionError
from captum_xg.integrations import LLMLogitAttribution, captum_explainer, explain_func, swapped_in, to_shap


def images(bias):
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3, bias=bias)
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize("bias", [False, True])
def test_the_function_for_quantus_gives_integrated_gradients_as_an_array(bias):
    model, x = images(bias).train(), np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = explain_func(model, x, np.array([0, 1, 2, 0]), device="cpu", nr_channels=1, method="whatever")
        absolute = explain_func(model, x, [0, 1, 2, 0], abs=True)
    assert model.training
    expected = IntegratedGradients(model).attribute(torch.from_numpy(x), target=[0, 1, 2, 0], n_steps=200)
    assert np.linalg.norm(found - expected.numpy()) <= 0.02 * float(expected.norm())
    assert np.array_equal(absolute, np.abs(found))


def test_quantus_runs_with_it_and_unedited():
    quantus = pytest.importorskip("quantus")
    model, rng = images(False), np.random.default_rng(0)
    x, y = rng.normal(size=(3, 1, 8, 8)).astype("float32"), np.array([0, 1, 2])
    metric = quantus.Sparseness(abs=True, disable_warnings=True)
    scores = metric(model=model, x_batch=x, y_batch=y, explain_func=explain_func, device="cpu")
    assert len(scores) == 3
    assert np.isfinite(scores).all()
    call = {"method": "IntegratedGradients", "device": "cpu"}
    with swapped_in("raise"):
        swapped = quantus.explain(model, x, y, **call)
    assert np.allclose(swapped.reshape(3, -1), quantus.explain(model, x, y, **call).reshape(3, -1), rtol=0.2, atol=0.1)


def test_graphs_are_explained():
    pytest.importorskip("torch_geometric")
    from torch_geometric.explain import CaptumExplainer, Explainer
    from torch_geometric.nn import GraphConv

    class Graphs(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = GraphConv(3, 8, bias=False), GraphConv(8, 2, bias=False)

        def forward(self, x, edge_index):
            return self.second(self.first(x, edge_index).relu(), edge_index)

    torch.manual_seed(0)
    model, x, edges = Graphs().eval(), torch.randn(5, 3), torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    config = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}

    def explained(algorithm):
        explainer = Explainer(
            model, algorithm, explanation_type="model", node_mask_type="attributes", model_config=config
        )
        return explainer(x, edges, index=2).node_mask

    expected = explained(CaptumExplainer("IntegratedGradients"))
    torch.testing.assert_close(explained(captum_explainer("raise")), expected, rtol=1e-4, atol=1e-5)
    with swapped_in("raise"):
        torch.testing.assert_close(explained(CaptumExplainer("IntegratedGradients")), expected, rtol=1e-4, atol=1e-5)


def test_attributions_become_an_explanation_of_shap():
    shap = pytest.importorskip("shap")
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)), torch.randn(5, 4)
    names = ["a", "b", "c", "d"]
    found = to_shap(XGradient(model).attribute(x, target=1), x, feature_names=names, forward_func=model, target=1)
    assert isinstance(found, shap.Explanation)
    assert found.feature_names == names
    np.testing.assert_allclose(found.values.sum(1) + found.base_values, model(x)[:, 1].detach(), rtol=1e-4, atol=1e-5)
    several = to_shap(XGradient(model).attribute_all(x), x)
    assert several.values.shape == (5, 4, 2)
    assert several[..., 1].base_values.shape == (5,)


def test_what_does_not_fit_is_no_explanation():
    x = torch.rand(5, 4)
    with pytest.raises(InputError, match="shape of `inputs`"):
        to_shap(torch.rand(5, 3), x)
    with pytest.raises(OptionError, match="3 names"):
        to_shap(x, x, feature_names=["a", "b", "c"])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    monkeypatch.setitem(sys.modules, "torch_geometric", None)
    monkeypatch.setitem(sys.modules, "torch_geometric.explain", None)
    with pytest.raises(MissingPackageError, match="pip install shap"):
        to_shap(torch.rand(2, 2), torch.rand(2, 2))
    with pytest.raises(MissingPackageError, match="pip install torch_geometric"):
        captum_explainer()


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (3, 5)])
def test_the_callback_logs_a_figure_every_so_many_epochs(shape, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    from captum_xg.integrations import AttributionLogger

    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            size = torch.Size(shape[1:]).numel()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(size, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2))

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            return self.net(batch[0]).square().mean()

        def validation_step(self, batch, _):
            self.log("loss", self.net(batch[0]).square().mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    figures = []

    class Log(lightning.loggers.logger.DummyLogger):
        @property
        def experiment(self):
            return types.SimpleNamespace(add_figure=lambda *args, **kwargs: figures.append((args, kwargs)))

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(4, *shape[1:])), batch_size=2)
    log, callback = Log(), AttributionLogger(torch.randn(shape), target=1, every_n_epochs=2)
    trainer = lightning.Trainer(
        max_epochs=3, callbacks=[callback], logger=log, accelerator="cpu", enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Net(), data, data)
    assert [kwargs["global_step"] for _, kwargs in figures] == [2, 6]
    assert callback.attributions.shape == shape
    assert callback.figure is figures[-1][0][1]


class Tokenizer:
    """Numbers for letters, as far as Captum asks for them."""

    def encode(self, text, return_tensors=None, **_):
        ids = [(ord(letter) - 97) % 20 for letter in text]
        return ids if return_tensors is None else torch.tensor([ids])

    def decode(self, ids, **_):
        return "".join(chr(97 + int(i)) for i in torch.as_tensor(ids).flatten())

    def convert_ids_to_tokens(self, ids):
        return [chr(97 + int(i)) for i in torch.as_tensor(ids).flatten()]

    def __call__(self, text, return_tensors=None, **_):
        places = [(i, i + 1) for i in range(len(text))]
        return {"input_ids": self.encode(text, return_tensors), "offset_mapping": places}


class Language(nn.Module):
    """A language model that adds up what its tokens say, without biases."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 6, padding_idx=0), nn.Linear(6, 20, bias=False)
        self.device = torch.device("cpu")

    def forward(self, input_ids, **_):
        return types.SimpleNamespace(logits=self.head(self.embed(input_ids).relu().cumsum(1)))


def test_captums_method_for_language_models_takes_the_layer_method():
    torch.manual_seed(0)
    model, prompt = Language().eval(), TextTokenInput("hello", Tokenizer(), skip_tokens=[])
    assert isinstance(LayerXGradient(model, model.embed), LayerIntegratedGradients)
    expected = LLMGradientAttribution(LayerIntegratedGradients(model, model.embed), Tokenizer()).attribute(
        prompt, target="ab", n_steps=200
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = LayerXGradient(model, model.embed, on_violation="integrate")
        found = LLMGradientAttribution(method, Tokenizer()).attribute(prompt, target="ab")
    torch.testing.assert_close(found.seq_attr, expected.seq_attr, rtol=0.05, atol=0.05)
    logits = LLMLogitAttribution(LayerXGradient(model, model.embed), Tokenizer()).attribute(prompt, target="ab")
    ids = prompt.to_model_input()
    target = Tokenizer().encode("ab")[0]
    torch.testing.assert_close(logits.token_attr[0].sum(), model(ids).logits[0, -1, target], rtol=1e-4, atol=1e-5)
    with swapped_in():
        LLMGradientAttribution(captum.attr.LayerIntegratedGradients(model, model.embed), Tokenizer())


def test_the_mode_of_each_module_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Dropout(), nn.BatchNorm1d(4), nn.Linear(4, 3)).train()
    model[2].eval()  # frozen while the rest trains
    explain_func(model, torch.ones(2, 4), torch.tensor([0, 2]))
    assert [module.training for module in model.modules()] == [True, True, True, False, True]
