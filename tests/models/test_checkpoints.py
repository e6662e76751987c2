"""load_checkpoint: what goes in comes out, and what does not fit changes nothing."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from captum_xg import models
from captum_xg.errors import CheckpointError, OptionError
from captum_xg.models import load_checkpoint

PREFIXES = {
    "plain": lambda name: name,
    "DataParallel": lambda name: "module." + name,
    "DataParallel inside": lambda name: name.replace("features.", "features.module."),
    "compiled": lambda name: "_orig_mod." + name,
    "compiled DataParallel": lambda name: "_orig_mod.module." + name,
}


class Harmful:
    """Opening a file that holds it would create another file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def source():
    torch.manual_seed(1)
    return models.small_alexnet()


@pytest.fixture
def model():
    torch.manual_seed(2)
    return models.small_alexnet()


@pytest.fixture
def saved(tmp_path):
    def save(content, name="checkpoint.pt"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def refused(model, path, **options):
    """The message of the refusal, which leaves every number of the model as it was."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(model, path, **options)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return str(error.value)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_state_dict_comes_out_as_it_went_in(prefix, nested, source, model, saved):
    state = {PREFIXES[prefix](name): value for name, value in source.state_dict().items()}
    path = saved({"state_dict": state, "epoch": 3, "optimizer": {"state": {}}} if nested else state)
    loaded = load_checkpoint(model, path)
    assert same(model, source)
    assert set(loaded.names) == set(source.state_dict())
    assert loaded.epoch == (3 if nested else None)
    assert (loaded.missing, loaded.dropped) == ((), ())


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["DataParallel", "compile"])
def test_a_wrapped_model_takes_an_unwrapped_checkpoint(wrap, source, model, saved):
    load_checkpoint(wrap(model), saved(source.state_dict()))
    assert same(model, source)


def test_a_module_of_the_models_own_may_be_called_module(saved):
    source, model = (nn.ModuleDict({"module": nn.Linear(2, 2), "other": nn.Linear(2, 2)}) for _ in range(2))
    load_checkpoint(model, saved(source.state_dict()))
    assert same(model, source)


@pytest.mark.parametrize(
    "accuracy",
    [71.5, np.float64(71.5), np.float32(71.5), np.float16(71.5), torch.tensor(71.5), torch.tensor([71.5])],
    ids=repr,
)
def test_the_accuracy_noted_in_the_file_comes_along(accuracy, source, model, saved):
    loaded = load_checkpoint(model, saved({"state_dict": source.state_dict(), "best_acc1": accuracy}))
    assert loaded.best_accuracy == 71.5
    assert "71.50" in str(loaded)


def test_numpys_old_name_for_numbers_is_known(source, model, tmp_path):
    path = tmp_path / "old.pt"
    content = {"state_dict": source.state_dict(), "best_acc1": np.float64(71.5)}
    torch.save(content, path, _use_new_zipfile_serialization=False)  # one pickle after another, so bytes may be changed
    changed = path.read_bytes().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
    path.write_bytes(changed)
    assert b"numpy.core.multiarray" in changed or np.__version__ < "2"
    assert load_checkpoint(model, path).best_accuracy == 71.5
    assert same(model, source)


def test_half_precision_goes_into_the_models_own_dtype(source, model, saved):
    load_checkpoint(model, saved(source.half().state_dict()))
    assert same(model, source.float())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_biased_checkpoint_is_recognised_as_the_twins(source, saved):
    message = refused(models.xsmall_alexnet(), saved(source.state_dict()))
    assert "unexpected in the file (8)" in message
    assert "regular twin with biases" in message
    fixup = refused(models.xsmall_fixup_resnet(), saved(models.small_fixup_resnet().state_dict()))
    assert "and 23 more" in fixup
    assert "regular twin with biases" in fixup


def test_the_x_dnns_checkpoint_is_recognised_in_the_regular_twin(model, saved):
    message = refused(model, saved(models.xsmall_alexnet().state_dict()))
    assert "missing in the file (8)" in message
    assert "looks like the checkpoint of the X-DNN" in message


def test_not_strict_drops_the_biases_and_says_so(source, saved):
    model = models.xsmall_alexnet()
    loaded = load_checkpoint(model, saved(source.state_dict()), strict=False)
    assert set(loaded.dropped) == {name for name in source.state_dict() if name.endswith("bias")}
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())
    assert "features.0.bias" in str(loaded)


@pytest.mark.parametrize("strict", [True, False])
def test_wrong_shapes_are_refused_either_way(strict, model, saved):
    path = saved(models.small_alexnet(num_classes=7, in_channels=3).state_dict())
    message = refused(model, path, strict=strict)
    assert "wrong shape or kind (3)" in message
    assert "features.0.weight: 16×3×5×5 in the file, 16×1×5×5 in the model" in message
    assert "twin" not in message


@pytest.mark.parametrize(
    "change", [torch.Tensor.int, torch.Tensor.to_sparse, lambda w: w + 1j], ids=["int", "sparse", "complex"]
)
def test_numbers_of_another_kind_are_refused(change, source, model, saved):
    state = source.state_dict()
    state["classifier.6.weight"] = change(state["classifier.6.weight"])
    message = refused(model, saved(state))
    assert "classifier.6.weight: 10×96 (torch." in message


@pytest.mark.parametrize("strict", [True, False])
def test_a_checkpoint_of_something_else_is_refused_either_way(strict, model, saved):
    assert "another architecture" in refused(model, saved(nn.Linear(2, 2).state_dict()), strict=strict)


def test_a_model_without_values_is_refused(source, saved):
    with torch.device("meta"):
        model = models.small_alexnet()
    with pytest.raises(CheckpointError, match="meta device"):
        load_checkpoint(model, saved(source.state_dict()))


def test_code_in_a_checkpoint_is_never_run(model, saved, tmp_path):
    harm = tmp_path / "harm"
    message = refused(model, saved({"state_dict": model.state_dict(), "extra": Harmful(harm)}))
    assert not harm.exists()
    assert "io.open" in message
    assert "could run any code" in message
    assert "could run any code" in refused(model, saved(model, "model.pt"))
    for odd in (np.dtype("O"), np.zeros(3), np.datetime64("2020")):
        assert "was not read" in refused(model, saved({"state_dict": model.state_dict(), "odd": odd}))
    (tmp_path / "raw.pkl").write_bytes(pickle.dumps(Harmful(harm)))
    refused(model, tmp_path / "raw.pkl")
    assert not harm.exists()


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        torch.zeros(3),
        {"state_dict": None},
        {"a": 1, "b": "c"},
        {"state_dict": {"w": [1.0]}},
        {1: torch.zeros(3)},
    ],
    ids=repr,
)
def test_anything_but_a_state_dict_is_refused(content, model, saved):
    message = " ".join(refused(model, saved(content)).split())
    assert "names to tensors" in message
    assert ": ." not in message


def test_damaged_and_absent_files_are_refused(source, model, saved, tmp_path):
    path = saved(source.state_dict())
    path.write_bytes(path.read_bytes()[:1000])
    assert "was not read" in refused(model, path)
    path.write_bytes(b"")
    assert "was not read" in refused(model, path)
    for name in ("nowhere.pt", "x" * 300, ""):
        message = refused(model, tmp_path / name)
        assert "there is no file" in message
        assert "xalexnet" in message


@pytest.mark.parametrize("device", ["meta", "nonsense", 1.5])
def test_devices_that_are_not_there_are_refused(device, source, model, saved):
    with pytest.raises(OptionError, match="map_location"):
        load_checkpoint(model, saved(source.state_dict()), map_location=device)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "cache"


def test_an_address_is_fetched_once(source, model, saved, cache):
    path = saved(source.state_dict())
    url = path.as_uri()
    assert load_checkpoint(model, url, progress=False).source == url
    assert same(model, source)
    path.unlink()
    again = models.small_alexnet()
    load_checkpoint(again, url, progress=False)
    assert same(again, source)


def test_files_of_one_name_from_two_addresses_are_told_apart(source, model, tmp_path, cache):
    for folder, content in (("a", models.small_vgg()), ("b", source)):
        (tmp_path / folder).mkdir()
        torch.save(content.state_dict(), tmp_path / folder / "best.pt")
    refused(model, (tmp_path / "a" / "best.pt").as_uri(), progress=False)
    load_checkpoint(model, (tmp_path / "b" / "best.pt").as_uri(), progress=False)
    assert same(model, source)


def test_a_broken_download_is_not_kept(source, model, saved, cache):
    path = saved(source.state_dict())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "try again" in refused(model, path.as_uri(), progress=False)
    path.write_bytes(whole)
    load_checkpoint(model, path.as_uri(), progress=False)
    assert same(model, source)


def test_a_download_is_checked_against_the_hash_in_its_name(source, model, saved, cache):
    path = saved(source.state_dict(), "small-0123456789.pth")
    assert "invalid hash value" in refused(model, path.as_uri(), progress=False)


def test_an_address_that_cannot_be_had_is_refused(model, tmp_path, cache):
    message = refused(model, (tmp_path / "nowhere.pt").as_uri(), progress=False)
    assert "could not be downloaded" in message


def test_released_names_lead_to_their_files(source, saved, cache, monkeypatch):
    """Without the network: the address that would be fetched, and the accuracy that comes with it."""
    torch.manual_seed(0)
    released = models.RELEASED["xalexnet"]
    small = nn.Linear(2, 2)
    path = saved({"state_dict": {f"module.{k}": v for k, v in small.state_dict().items()}, "epoch": 90})
    asked = []
    monkeypatch.setattr("captum_xg.models.weights.download", lambda url, progress: (asked.append(url), path)[1])
    loaded = load_checkpoint(small, "xalexnet")
    assert asked == [released.url]
    assert loaded.top5_accuracy == 78.54
    assert loaded.epoch == 90


def test_the_table_of_released_weights_is_that_of_the_paper():
    assert {name: weights.top5_accuracy for name, weights in models.RELEASED.items()} == {
        "alexnet": 79.21,
        "xalexnet": 78.54,
        "vgg16": 90.44,
        "xvgg16": 90.25,
        "fixup_resnet50": 92.56,
        "xfixup_resnet50": 91.12,
    }
    for name, weights in models.RELEASED.items():
        assert weights.url.endswith(f"/models/{name}_model_best.pth.tar")
        assert weights.builder is getattr(models, name)


# --- all or nothing --------------------------------------------------------------------------------------------------


class Refusing(torch.Tensor):
    """A parameter that takes no values, as of a library with a tensor class of its own."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.copy_:
            raise LookupError("this tensor takes no values")
        return super().__torch_function__(function, types, args, kwargs)


class Stubborn(nn.Linear):
    """A layer that has set its weight before it finds that it cannot take the bias."""

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        self.weight = nn.Parameter(state_dict[prefix + "weight"].clone())
        self.extra = nn.Parameter(torch.ones(1))
        raise ArithmeticError("no bias today")


def small():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def filled(model, value=7.0):
    """A state dict that differs from that of the model in every number."""
    return {name: torch.full_like(tensor, value) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("place", [0, 3, -1], ids=["first", "in the middle", "last"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: torch.empty_like(w, device="meta"), "has no values for"),
        (lambda w: w.double() * 1e300, "beyond the range"),
        (lambda w: w.to_sparse(), "torch.sparse_coo"),
        (lambda w: w + 1j, "torch.complex"),
        (lambda w: torch.quantize_per_tensor(w.float(), 0.1, 0, torch.qint8), "qint8"),
        (lambda w: w.int(), "torch.int32"),
        (lambda w: w.bool(), "torch.bool"),
        (lambda w: torch.nested.nested_tensor([w, w]), "a nested tensor"),
        (lambda w: w[None], "1×"),
    ],
    ids=["meta", "overflow", "sparse", "complex", "quantized", "integer", "bool", "nested", "shape"],
)
@pytest.mark.parametrize("strict", [True, False])
def test_one_tensor_that_cannot_be_taken_leaves_all_others_alone(place, change, said, strict, saved):
    model = small()
    state = filled(model)
    name = [name for name, tensor in state.items() if tensor.is_floating_point()][place]
    state[name] = change(state[name])
    message = refused(model, saved(state), strict=strict)
    assert said in message
    assert name in message


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m[2].register_parameter("bias", nn.Parameter(torch.zeros(2).as_subclass(Refusing))),
        lambda m: m.__setitem__(2, Stubborn(3, 2)),
        lambda m: m[2].register_buffer("scale", torch.zeros(1).expand(3)),
        lambda m: m.register_load_state_dict_post_hook(lambda *_: 1 / 0),
        lambda m: m[2].register_load_state_dict_pre_hook(lambda *_: 1 / 0),
    ],
    ids=["a tensor that refuses", "a layer that refuses", "memory used twice", "a hook after it", "a hook within"],
)
def test_a_failure_while_values_are_written_takes_all_of_them_back(spoil, saved):
    model = small()
    spoil(model)
    before = list(model.parameters())
    message = refused(model, saved({n: t.as_subclass(torch.Tensor) for n, t in filled(model).items()}))
    assert "which is unchanged" in message
    assert all(ours is theirs for ours, theirs in zip(model.parameters(), before, strict=True))
    assert not hasattr(model[2], "extra")


def test_an_interruption_while_values_are_written_takes_all_of_them_back(saved):
    model = small()

    def interrupted(*_):
        raise KeyboardInterrupt

    model.register_load_state_dict_post_hook(interrupted)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        load_checkpoint(model, saved(filled(model)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_names_that_share_their_numbers_must_agree_in_the_file(saved):
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    state = filled(tied)
    load_checkpoint(tied, saved(state))
    assert bool((tied[0].weight == 7).all())
    state = {**filled(tied, 5.0), "1.weight": torch.eye(3)}
    message = refused(tied, saved(state))
    assert "0.weight, 1.weight share their numbers" in message
    state["0.weight"] = state["1.weight"] = torch.full((3, 3), torch.nan)
    load_checkpoint(tied, saved(state))  # NaN is NaN
    one_memory = torch.zeros(4)
    apart = nn.ParameterDict({"a": nn.Parameter(one_memory[:2]), "b": nn.Parameter(one_memory[2:])})
    load_checkpoint(
        apart, saved({"a": torch.ones(2), "b": torch.zeros(2)})
    )  # parts that do not overlap are two tensors
    assert one_memory.tolist() == [1, 1, 0, 0]


def test_tensors_that_share_memory_in_the_file_are_as_good_as_others(saved):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    whole = torch.arange(4.0).reshape(2, 2)
    state = {"0.weight": whole, "1.weight": whole.T, "0.bias": whole[0], "1.bias": torch.ones(1).expand(2)}
    load_checkpoint(model, saved(state))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("mixed", [False, True])
def test_a_model_made_in_inference_mode_takes_values_too(mixed, saved):
    with torch.inference_mode():
        model = small()
    if mixed:
        model[0] = nn.Linear(2, 3)
    state = filled(model)
    load_checkpoint(model, saved(state))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_scripted_model_takes_values_or_none(saved):
    model = torch.jit.script(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)))
    state = filled(model)
    load_checkpoint(model, saved(state))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_model_that_has_no_room_in_part_is_refused_by_name(saved):
    model, lazy = small(), nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(2))
    path = saved(filled(model))
    model[2] = nn.Linear(3, 2, device="meta")
    before = model[0].weight.clone()
    with pytest.raises(CheckpointError, match=r"2\.weight, 2\.bias .* meta device"):
        load_checkpoint(model, path, strict=False)
    assert torch.equal(model[0].weight, before)
    with pytest.raises(CheckpointError, match=r"1\.weight, 1\.bias .* Call the model on an example"):
        load_checkpoint(lazy, path, strict=False)


def test_nan_in_a_file_goes_in_and_is_named(saved):
    model = small()
    state = filled(model)
    state["2.weight"][0, 0] = torch.nan
    state["2.bias"][0] = -torch.inf
    loaded = load_checkpoint(model, saved(state))
    assert loaded.not_finite == ("2.weight", "2.bias")
    assert "NaN or infinite in the file (2): 2.weight, 2.bias" in str(loaded)
    assert bool(model[2].weight[0, 0].isnan())


@pytest.mark.parametrize(
    "odd", [torch.tensor(1j), torch.tensor(3.0, device="meta"), torch.tensor([[1, 2]]), "best", None]
)
def test_notes_in_the_file_that_are_no_numbers_are_left_out(odd, saved):
    model = small()
    loaded = load_checkpoint(model, saved({"state_dict": filled(model), "epoch": odd, "best_acc1": odd}))
    assert (loaded.epoch, loaded.best_accuracy) == (None, None)


@pytest.mark.parametrize("wrong", [nn.Linear, (nn.Linear(2, 2), "report"), lambda x: x, None])
def test_what_is_no_model_is_refused(wrong, saved):
    with pytest.raises(OptionError, match=r"load_checkpoint: `model`"):
        load_checkpoint(wrong, saved({"weight": torch.ones(1)}))


@pytest.mark.parametrize("place", ["~/weights", "~nobody-of-this-name/weights"])
def test_the_home_of_the_user_is_known_and_that_of_nobody_is_a_folder_like_others(
    place, source, model, saved, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nobody-of-this-name").mkdir()
    (tmp_path / place.replace("~/", "")).write_bytes(saved(source.state_dict()).read_bytes())
    assert load_checkpoint(model, place).names == tuple(source.state_dict())
