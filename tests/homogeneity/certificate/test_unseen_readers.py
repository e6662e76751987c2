"""Values of the input that leave where no operation is seen: the proof sees them go, without any help from numbers."""

from __future__ import annotations

import array
import functools
import importlib
import io
import itertools
import mmap
import struct

import numpy as np
import pytest
import torch
from effort import THOROUGH
from torch import nn
from torch.nn import functional as F

from captum_xg import certify
from captum_xg.homogeneity.certificate import exported_memory
from captum_xg.homogeneity.scaling.confrontation import Confrontation

proof_module = importlib.import_module("captum_xg.homogeneity.certificate.prove")
X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
W = torch.randn(4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(autouse=True)
def _static(monkeypatch):
    """Numbers would find out as well; here the proof stands alone."""
    monkeypatch.setattr(proof_module, "confront", lambda subject: Confrontation((), 1.0))
    monkeypatch.setattr(proof_module, "find_counterexample", lambda *arguments: None)


def verdict(function, x=X):
    return certify(function, x).verdict


# --- memory that was there before: who holds it, and who writes to it -------------------------------------------------


def zeros():
    return torch.zeros(3, 4, dtype=torch.float64)


def numpy_view():
    buffer = zeros()
    return buffer, buffer.numpy()


def numpy_part():
    buffer = zeros()
    return buffer, buffer.numpy()[1:, ::2]


def numpy_of_a_view():
    buffer = zeros()
    return buffer, buffer[1].detach().numpy()


def numpy_asarray():
    buffer = zeros()
    return buffer, np.asarray(buffer)


def from_numpy():
    held = np.zeros((3, 4))
    return torch.from_numpy(held), held


def as_tensor():
    held = np.zeros((3, 4))
    return torch.as_tensor(held), held


def from_bytes():
    held = bytearray(96)
    return torch.frombuffer(held, dtype=torch.float64).view(3, 4), held


def from_array():
    held = array.array("d", [0.0] * 12)
    return torch.frombuffer(held, dtype=torch.float64).view(3, 4), memoryview(held)


def from_a_map():
    held = mmap.mmap(-1, 96)
    return torch.frombuffer(held, dtype=torch.float64).view(3, 4), held


def numpy_dlpack():
    buffer = zeros()
    return buffer, np.from_dlpack(buffer)


def dlpack():
    buffer = zeros()
    return buffer, torch.from_dlpack(buffer)


def capsule():
    buffer = zeros()
    return buffer, torch.utils.dlpack.to_dlpack(buffer)


def twins():
    held = np.zeros((3, 4))
    return torch.from_numpy(held), torch.from_numpy(held)


def storage():
    buffer = zeros()
    return buffer, buffer.untyped_storage()


def typed_storage():
    buffer = zeros()
    return buffer, buffer.storage()


def values_of_a_sparse_tensor():
    buffer = zeros()
    return buffer, torch.sparse_coo_tensor(torch.arange(12)[None], buffer.view(-1), (12,), check_invariants=False)


HOLDERS = [
    *(numpy_view, numpy_part, numpy_of_a_view, numpy_asarray, from_numpy, as_tensor, from_bytes, from_array),
    *(from_a_map, numpy_dlpack, dlpack, capsule, twins, storage, typed_storage, values_of_a_sparse_tensor),
]


def copies(buffer, x):
    buffer.copy_(x.detach())


def copies_with_gradient(buffer, x):
    buffer.copy_(x)


def assigns(buffer, x):
    buffer[:, :2] = x.detach()[:, :2]


def out(buffer, x):
    with torch.no_grad():
        torch.mul(x, 1.0, out=buffer)


def interpolates(buffer, x):
    buffer.lerp_(x.detach(), 0.5)


def through_a_view(buffer, x):
    buffer.t()[1:].copy_(x.detach().t()[1:])


def through_data(buffer, x):
    buffer.data.add_(x.detach())


def by_index(buffer, x):
    buffer.index_copy_(0, torch.tensor([2, 0]), x.detach()[:2])


def steps(buffer, x):
    buffer.masked_fill_(x.detach() > 0, 1.0)


def many(buffer, x):
    torch._foreach_copy_([buffer], [x.detach()])


WRITES = [copies, copies_with_gradient, assigns, out, interpolates, through_a_view, through_data, by_index, steps, many]


PAIRS = list(itertools.product(HOLDERS, WRITES))


def pairs():
    """Return each holder and each write at least once, and in CI all pairs."""
    chosen = PAIRS if THOROUGH else [*zip(HOLDERS, itertools.cycle(WRITES), strict=False)]
    return [pytest.param(*pair, id="-".join(part.__name__ for part in pair)) for pair in chosen]


def writing(buffer, write):
    def function(x):
        write(buffer, x)
        return x @ W

    return function


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(("holder", "write"), pairs())
def test_nothing_is_proven_of_what_is_written_where_others_read(holder, write):
    buffer, reader = holder()
    certificate = certify(writing(buffer, write), X)
    assert certificate.verdict == "unknown", str(certificate)
    assert "that others than PyTorch's operations may read" in str(certificate)
    del reader


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_memory_that_tensors_alone_own_is_followed(write):
    assert verdict(writing(zeros(), write)) == "homogeneous"


def test_views_that_are_kept_are_no_other_readers():
    both = torch.zeros(2, 3, 4, dtype=torch.float64)
    keys, values = both.unbind(0)
    assert verdict(writing(keys, copies)) == "homogeneous"
    del both
    assert verdict(writing(values, assigns)) == "homogeneous"


@pytest.mark.parametrize("export", [torch.Tensor.numpy, torch.Tensor.untyped_storage, np.from_dlpack])
def test_memory_that_is_handed_out_in_the_pass_is_read_elsewhere(export):
    held = zeros()

    def function(x, buffer):
        view = export(buffer)
        buffer.copy_(x.detach())
        return (x @ W) * (2.0 if view is None else 1.0)

    assert verdict(lambda x: function(x, held)) == "unknown"
    assert verdict(lambda x: function(x, torch.zeros(3, 4, dtype=x.dtype))) == "unknown"


class Caches(nn.Module):
    """Writes to buffers that nobody else knows: a cache, a running maximum, a scratch that is read again."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4, bias=False, dtype=torch.float64)
        self.register_buffer("cache", torch.zeros(3, 5, 4, dtype=torch.float64))
        self.register_buffer("largest", torch.zeros((), dtype=torch.float64))
        self.scratch = zeros()

    def forward(self, x):
        self.cache[:, 2] = x.detach()
        with torch.no_grad():
            torch.maximum(self.largest, x.abs().max(), out=self.largest)
        torch.mul(x.detach(), 2.0, out=self.scratch)
        return self.linear(x)


def saved_and_loaded():
    file = io.BytesIO()
    torch.save(Caches().state_dict(), file)
    file.seek(0)
    model = Caches()
    model.load_state_dict(torch.load(file))
    return model


def trained():
    model = Caches()
    model(X).sum().backward()
    return model


@pytest.mark.parametrize("make", [Caches, saved_and_loaded, trained, lambda: Caches().share_memory()])
def test_caches_of_modules_stay_proven(make):
    assert verdict(make()) == "homogeneous"


def test_statistics_of_a_batch_are_read_through_numpy():
    norm = nn.BatchNorm1d(4, dtype=torch.float64)
    held = norm.running_mean.numpy()

    def function(x):
        F.batch_norm(x.detach(), norm.running_mean, norm.running_var, training=True)
        return x @ W * (1.0 if held is not None else 2.0)

    assert verdict(function) == "unknown"


def test_a_module_that_loads_a_state_dict():
    layer = nn.Linear(4, 3, bias=False, dtype=torch.float64)
    held = layer.weight.detach().numpy()

    def function(x):
        layer.load_state_dict({"weight": x.detach()})
        return x @ W * (1.0 if held is not None else 2.0)

    assert verdict(function) == "unknown"


def test_twins_over_one_memory_are_one():
    held = np.zeros((4, 4))
    one, other = torch.from_numpy(held), torch.from_numpy(held)

    def function(x):
        for weight in (torch.eye(4, dtype=x.dtype), 2 * torch.eye(4, dtype=x.dtype)):
            one.copy_(weight)
            x = x @ other  # whose saved weight changes behind autograd's back
        return x

    assert verdict(function) == "unknown"


MATRICES = [np.eye(4), 2 * np.eye(4)]


def test_only_what_is_used_of_an_array_is_looked_at(monkeypatch):
    """All weights of a model may be views of one array, or of a file."""
    lengths = []
    checksum = exported_memory.zlib.crc32
    monkeypatch.setattr(exported_memory.zlib, "crc32", lambda part: (lengths.append(len(part)), checksum(part))[1])
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 4, 4)))

    def function(x):
        for weight in weights:
            x = (x @ weight.T).relu()
        return x

    assert verdict(function) == "homogeneous"
    assert 0 < sum(lengths) <= 4 * weights.numel() * weights.element_size()


def rewritten_between(weight, view, x):
    for matrix in MATRICES:
        view[...] = matrix
        x = x @ weight
    return x


def rewritten_behind(weight, view, x):
    view[...] = MATRICES[0]
    y = x @ weight
    view[...] = MATRICES[1]
    return y


def turned_and_turned_back(weight, view, x):
    x = x @ weight
    np.negative(view, out=view)
    x = x @ weight
    np.negative(view, out=view)
    return x


def mask_of_numpy(weight, view, x):
    view[...] = MATRICES[0]
    y = torch.where(weight[:3] > 0, x, 0 * x) + x * weight[:3]
    view[...] = MATRICES[1]
    return y


def matrix_and_view():
    weight = torch.eye(4, dtype=torch.float64)
    return weight, weight.numpy()


def view_and_matrix():
    held = np.eye(4)
    return torch.from_numpy(held), held


def matrix_of_bytes():
    held = bytearray(np.eye(4).tobytes())
    return torch.frombuffer(held, dtype=torch.float64).view(4, 4), np.frombuffer(held).reshape(4, 4)


def test_constants_of_the_pass_that_numpy_rewrites_are_noticed():
    def function(x):
        weight = torch.eye(4, dtype=torch.float64)
        return rewritten_behind(weight, weight.numpy(), x)

    assert "where no operation is seen (NumPy)" in str(certify(function, X))


@pytest.mark.parametrize("make", [matrix_and_view, view_and_matrix, matrix_of_bytes])
@pytest.mark.parametrize("use", [rewritten_between, rewritten_behind, turned_and_turned_back, mask_of_numpy])
def test_constants_that_numpy_rewrites_in_the_pass_are_noticed(use, make):
    weight, view = make()
    certificate = certify(lambda x: use(weight, view, x), X)
    assert certificate.verdict == "unknown", str(certificate)
    assert "where no operation is seen (NumPy)" in str(certificate)


def test_constants_of_numpy_that_stay_are_constants():
    weight, view = matrix_and_view()
    assert verdict(lambda x: x @ weight @ weight) == "homogeneous"

    def function(x):
        weight.copy_(torch.eye(4, dtype=x.dtype))  # with an operation
        return x @ weight

    assert verdict(function) == "homogeneous"
    del view


# --- shapes of sparse tensors -----------------------------------------------------------------------------------------


SHAPES = {
    "coo": lambda z: z.to_sparse()._values().shape[0],
    "coo, coalesced": lambda z: z.to_sparse().coalesce().indices().shape[1],
    "coo, counted": lambda z: z.to_sparse()._nnz(),
    "coo of a mask": lambda z: (z > 0).to_sparse().indices().unbind()[0].shape[0],
    "coo of slices": lambda z: z.to_sparse(1)._values().shape[0],
    "csr": lambda z: z.to_sparse_csr().values().shape[0],
    "csc": lambda z: z.to_sparse_csc().row_indices().numel(),
    "bsr": lambda z: z[:2].to_sparse_bsr((2, 2)).values().shape[0],
    "bsc": lambda z: z[:2].to_sparse_bsc((2, 2)).values().shape[0],
    "a sum": lambda z: (torch.eye(3, 4, dtype=z.dtype).to_sparse_csr() + z.to_sparse_csr()).values().numel(),
    "a product": lambda z: torch.sparse.mm(z.to_sparse(), torch.eye(4, dtype=z.dtype).to_sparse())._nnz(),
    "places": lambda z: torch.sparse_coo_tensor(z.argmax(1)[None], torch.ones(3), (4,)).coalesce()._nnz(),
    "packed": lambda z: len(
        nn.utils.rnn.pack_padded_sequence(torch.ones(1, 9, 1), z.sign().abs().sum().long().clamp(1, 9)[None], True)[1]
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_how_many_numbers_are_kept_is_a_value(name):
    certificate = certify(lambda x: x * (1 + SHAPES[name](F.threshold(x.detach(), 0.5, 0.0))), X)
    assert certificate.verdict == "unknown", str(certificate)


def test_sparse_constants_are_constants():
    mask = torch.eye(4, dtype=torch.float64).to_sparse()
    assert verdict(lambda x: torch.sparse.mm(mask, x.t()) * (1 + mask._nnz())) == "homogeneous"
    assert verdict(lambda x: x @ torch.eye(4, dtype=x.dtype).to_sparse().to_dense()) == "homogeneous"


def csr_values(z):
    sparse = (z * 1).to_sparse_csr()
    sparse.values().mul_(2)
    return sparse.to_dense()


def coo_values(z):
    sparse = (z * 1).to_sparse().coalesce()
    sparse.values().mul_(2)
    return sparse.to_dense()


def written_below_coo(z):
    values = z.flatten() * 1
    sparse = torch.sparse_coo_tensor(torch.arange(12)[None], values, (12,), check_invariants=False)
    values.mul_(2)
    return sparse.to_dense()


def written_below_csr(z):
    values = z.flatten() * 1
    sparse = torch.sparse_csr_tensor(torch.tensor([0, 4, 8, 12]), torch.arange(4).repeat(3), values, (3, 4))
    values.mul_(2)
    return sparse.to_dense()


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("function", [csr_values, coo_values, written_below_coo, written_below_csr])
def test_memory_of_sparse_tensors_is_written_to_without_a_proof_and_without_an_error(function):
    assert verdict(function) != "homogeneous"


# --- functions that run within functions ------------------------------------------------------------------------------


def reads(found, tensor):
    found.append(tensor.detach().numpy())


class Logs(torch.Tensor):
    found: list = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        result = super().__torch_function__(func, types, args, kwargs or {})
        if func is torch.Tensor.relu:
            reads(cls.found, result.as_subclass(torch.Tensor))
        return result


class Answers:
    """No tensor, but passed to functions of PyTorch's."""

    def __init__(self, tensor):
        self.tensor = tensor

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        reads([], args[0].tensor)
        return args[0].tensor


def distance(a, b):
    reads([], a)
    return (a - b).norm(dim=1)


class Distance(nn.Module):
    def forward(self, a, b):
        return distance(a, b)


def triplet(x, function):
    return F.triplet_margin_with_distance_loss(x, 2 * x, 3 * x, distance_function=function)


CALLBACKS = {
    "a distance": lambda x: triplet(x, distance),
    "a method": lambda x: triplet(x, Distance().forward),
    "a module": lambda x: triplet(x, Distance()),
    "a partial": lambda x: triplet(x, functools.partial(distance)),
    "a loss": lambda x: nn.TripletMarginWithDistanceLoss(distance_function=distance)(x, 2 * x, 3 * x),
    "a kind of tensor": lambda x: x.as_subclass(Logs).relu(),
    "another kind": lambda x: torch.add(x, x.as_subclass(Logs)).relu(),
    "an object": lambda x: torch.aminmax(Answers(x)),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_what_functions_of_the_user_read_is_seen_wherever_they_run(name):
    def function(x):
        CALLBACKS[name](x.detach())
        return x @ W

    certificate = certify(function, X)
    assert certificate.verdict == "unknown", str(certificate)
    assert "leave PyTorch through .numpy" in str(certificate)


def test_functions_that_read_nothing_do_not_stand_in_the_way():
    class Silent(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return super().__torch_function__(func, types, args, kwargs or {})

    def function(x):
        return triplet(x.detach(), lambda a, b: (a - b).norm(dim=1)) * 0 + x.sum()

    assert verdict(lambda x: x.as_subclass(Silent).relu().as_subclass(torch.Tensor) @ W) == "homogeneous"
    assert "numpy" not in str(certify(function, X))


# --- operations that return no tensor ---------------------------------------------------------------------------------

SEEN: list[float] = []
LIBRARY = torch.library.Library("captum_xg_unseen", "DEF")
LIBRARY.define("observe(Tensor x) -> ()")
LIBRARY.define("numbers(Tensor x) -> float[]")
LIBRARY.define("number(Tensor x) -> float")
LIBRARY.define("count(Tensor x) -> int")
LIBRARY.define("counts(Tensor x) -> int[]")
LIBRARY.define("word(Tensor x) -> str")
LIBRARY.define("both(Tensor x) -> (Tensor, float)")
LIBRARY.define("forgotten(Tensor x) -> Tensor")
LIBRARY.define("into(Tensor x, Tensor(a!) y) -> ()")
LIBRARY.impl("observe", lambda x: SEEN.extend(x.flatten().tolist()), "CPU")
LIBRARY.impl("numbers", lambda x: x.flatten().tolist(), "CPU")
LIBRARY.impl("number", lambda x: float(x.max()), "CPU")
LIBRARY.impl("count", lambda x: int(x.max()), "CPU")
LIBRARY.impl("counts", lambda x: [int(x.max())], "CPU")
LIBRARY.impl("word", lambda x: str(x.max()), "CPU")
LIBRARY.impl("both", lambda x: (x.clone(), float(x.max())), "CPU")
LIBRARY.impl("forgotten", lambda x: x.clone(), "CPU")
LIBRARY.impl("into", lambda x, y: None, "CPU")
OPERATIONS = {
    **{
        name: lambda x, name=name: getattr(torch.ops.captum_xg_unseen, name)(x)
        for name in ("observe", "numbers", "number", "count", "counts", "word", "both", "forgotten")
    },
    "into": lambda x: torch.ops.captum_xg_unseen.into(x, torch.zeros(1)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_others_may_hand_on_what_they_see(name):
    def function(x):
        OPERATIONS[name](x.detach())
        return x @ W

    certificate = certify(function, X)
    assert certificate.verdict == "unknown", str(certificate)


@pytest.mark.parametrize("name", ["observe", "into", "word"])
def test_operations_of_others_on_constants_are_no_matter(name):
    def function(x):
        OPERATIONS[name](torch.ones(2))
        return x @ W

    assert verdict(function) == "homogeneous"


# --- complete where nothing is hidden ---------------------------------------------------------------------------------

EYE = np.eye(4)
PROVEN = {
    "hessian": (lambda x: torch.func.hessian(lambda z: z.pow(4).sum())(x[0]), 2),
    "jacfwd": (lambda x: torch.func.jacfwd(lambda z: z.square().sum(1))(x).sum(0), 1),
    "jvp": (lambda x: torch.func.jvp(lambda z: z * z, (x,), (x,))[1], 2),
    "a matrix for each row": (lambda x: torch.vmap(torch.mv, (None, 0))(torch.eye(4, dtype=x.dtype), x), 1),
    "results of vmap in another place": (lambda x: torch.vmap(lambda r: r.relu(), out_dims=1)(x), 1),
    "a constant from numpy": (lambda x: x @ torch.from_numpy(EYE).to(x), 1),
    "segments": (lambda x: torch.segment_reduce(x.flatten(), "max", lengths=torch.tensor([5, 7])), 1),
    "bytes": (lambda x: x * torch.frombuffer(struct.pack("d", 2.0), dtype=torch.float64), 1),
}


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")
@pytest.mark.parametrize("name", PROVEN)
def test_is_proven(name):
    function, degree = PROVEN[name]
    certificate = certify(function, X)
    assert certificate.homogeneous, str(certificate)
    assert certificate.degree == degree


def test_sizes_that_were_found_on_the_meta_device_are_no_values():
    assert verdict(lambda x: x * (1 + x.to("meta").shape[0])) == "homogeneous"
    # Which reads numbers that nobody has computed.
    assert verdict(lambda x: x @ torch.empty_like(x.to("meta"), device="cpu").zero_().t()) != "homogeneous"
