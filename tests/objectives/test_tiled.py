"""Tiled InfoNCE equals plain InfoNCE in value, in gradient and in what it accepts; only its memory differs."""

import math
import sys
import weakref
from pathlib import Path

import pytest
import torch
from open_clip.loss import ClipLoss
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from turbo_kit.config import InputError
from turbo_kit.objectives import PairBoard, info_nce, pair_losses
from turbo_kit.objectives.tiled.logsumexp import SAFE_LOGIT, Block, Sweep, tiled_logsumexp
from turbo_kit.objectives.tiled.loss import TILE_SIZE, TILED_FROM, tiled_info_nce

TURBO = PairBoard.parse({"a1-a2": 1, "t1-t2": 1, "a1-t1": 1, "t2-a1": 1, "a2-t1": 1, "a2-t2": 1}).pairs
GROUPS = [7, 2, 2, 7, -100, -100, 7]
PRESENT = {"a": [True, True, False, True, True, False, True], "t": [True, True, True, True, False, False, True]}


def four_views(batch=7, dim=5, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(4, batch, dim, generator=generator, dtype=torch.float64).to(dtype)
    return {name: view.clone().requires_grad_() for name, view in zip(("a1", "a2", "t1", "t2"), drawn, strict=True)}


@pytest.fixture(params=[True, False], ids=["kept", "computed-again"])
def in_tiles(monkeypatch, request):
    """Calls a function with tiles of three clips, for batches of any size; they are kept for the backward or not."""
    monkeypatch.setattr("turbo_kit.objectives.tiled.logsumexp.STRIP_ROWS", 2)
    if not request.param:
        monkeypatch.setattr("turbo_kit.objectives.tiled.logsumexp.KEPT_ENTRIES", 0)

    def call(function, *arguments, **settings):
        with monkeypatch.context() as patch:
            for module in ("info_nce", "pair_losses"):  # the functions of these names hide the modules
                patch.setattr(sys.modules[f"turbo_kit.objectives.{module}"], "TILED_FROM", 1)
            patch.setitem(TILE_SIZE, "cpu", 3)
            return function(*arguments, **settings)

    return call


def exact(views, temperature, unit=True):
    """The six losses in float64 by another way: open_clip's, on the logits of all clips."""
    double = {name: view.double() for name, view in views.items()}
    if unit:
        double = {name: F.normalize(view, dim=1) for name, view in double.items()}
    ends = {pair.name: (double[str(pair.first)], double[str(pair.second)]) for pair in TURBO}
    return {name: ClipLoss()(x, y, 1 / temperature) for name, (x, y) in ends.items()}


def weighted(losses):
    """One number of which every pair has another share, so that no two gradients can be exchanged unseen."""
    return sum(number * loss for number, loss in enumerate(losses.values(), start=1))


@pytest.mark.parametrize("present", [None, PRESENT], ids=["all", "some-absent"])
@pytest.mark.parametrize("groups", [None, GROUPS], ids=["no-groups", "groups"])
@pytest.mark.parametrize("negatives", ["other", "both"])
@pytest.mark.parametrize("direction", ["symmetric", "one"])
@pytest.mark.parametrize(
    ("similarity", "temperature"), [("cosine", 0.3), ("cosine", 0.01), ("dot", 0.3)], ids=["bounded", "cold", "dot"]
)
def test_every_pair_and_gradient_is_that_of_plain_info_nce(
    similarity, temperature, direction, negatives, groups, present, in_tiles
):
    views = four_views()
    settings = {"temperature": temperature, "similarity": similarity, "direction": direction, "negatives": negatives}
    if groups:
        settings["groups"] = torch.tensor(groups)
    if present:
        settings["present"] = {letter: torch.tensor(mask) for letter, mask in present.items()}

    plain = pair_losses(views, TURBO, **settings)
    tiled = in_tiles(pair_losses, views, TURBO, **settings)

    assert list(tiled) == list(plain)
    torch.testing.assert_close(tiled, plain, rtol=1e-10, atol=1e-12)
    leaves = tuple(views.values())
    torch.testing.assert_close(
        torch.autograd.grad(weighted(tiled), leaves), torch.autograd.grad(weighted(plain), leaves), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("negatives", ["other", "both"])
def test_one_pair_alone_too(negatives, in_tiles):
    x, y, *_ = four_views().values()
    settings = {"temperature": 0.2, "negatives": negatives, "groups": torch.tensor(GROUPS)}
    settings["present"] = torch.tensor(PRESENT["a"])
    torch.testing.assert_close(in_tiles(info_nce, x, y, **settings), info_nce(x, y, **settings))
    assert torch.autograd.gradcheck(lambda a, b: in_tiles(info_nce, a, b, **settings), (x, y))


def test_a_second_backward_gives_the_same(in_tiles):
    views = four_views()
    loss = weighted(in_tiles(pair_losses, views, TURBO))
    once, again = (torch.autograd.grad(loss, tuple(views.values()), retain_graph=True) for _ in range(2))
    torch.testing.assert_close(again, once, rtol=0, atol=0)


def test_a_learned_temperature_gets_its_gradient(in_tiles):
    views = {name: view.detach() for name, view in four_views().items()}
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    plain = weighted(pair_losses(views, TURBO, temperature=temperature))
    tiled = weighted(in_tiles(pair_losses, views, TURBO, temperature=temperature))
    torch.testing.assert_close(tiled, plain)
    (found,), (expected,) = torch.autograd.grad(tiled, temperature), torch.autograd.grad(plain, temperature)
    torch.testing.assert_close(found, expected)


def test_large_batches_take_the_tiles_and_agree_with_open_clip():
    x, y, *_ = four_views(batch=TILED_FROM + 90, dim=8).values()
    theirs = ClipLoss()(F.normalize(x, dim=1), F.normalize(y, dim=1), 20.0)
    expected = torch.autograd.grad(theirs, (x, y))
    alone = info_nce(x, y, temperature=0.05)
    (pair,) = PairBoard.parse({"a1-a2": 1.0}).pairs
    on_board = pair_losses({"a1": x, "a2": y}, [pair], temperature=0.05)["a1-a2"]
    for ours in (alone, on_board):
        assert "TiledLogSumExp" in graph_of(ours)
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(torch.autograd.grad(ours, (x, y)), expected)
    assert "TiledLogSumExp" not in graph_of(info_nce(x[: TILED_FROM - 1], y[: TILED_FROM - 1]))


def graph_of(loss):
    """The names of all that the backward of a loss passes through."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return " ".join(node.name() for node in seen)


class Held(TorchDispatchMode):
    """Notes the most elements of any one tensor that operations make, and of all of them that live at one time."""

    def __init__(self):
        super().__init__()
        self.largest = self.now = self.most = 0
        self.known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage() not in self.known:
                storage = tensor.untyped_storage()
                size = storage.nbytes() // tensor.element_size()
                self.known.add(storage)
                weakref.finalize(storage, self.let_go, size)
                self.now += size
                self.largest, self.most = max(self.largest, size), max(self.most, self.now)
        return made

    def let_go(self, size):
        self.now -= size


@pytest.mark.parametrize("negatives", ["other", "both"])
def test_memory_does_not_grow_with_the_square_of_the_batch(negatives):
    batch = 3000
    views = four_views(batch=batch, dim=8, dtype=torch.float32)
    groups = torch.arange(batch) // 2
    present = {"a": torch.arange(batch) % 5 > 0, "t": torch.arange(batch) % 7 > 0}
    with Held() as held:
        weighted(pair_losses(views, TURBO, negatives=negatives, groups=groups, present=present)).backward()
    assert batch < held.largest <= TILE_SIZE["cpu"] ** 2
    assert held.most < batch**2  # all tiles and gradients together: less than the logits of one of the six pairs


@pytest.mark.parametrize("learned", [False, True], ids=["fixed", "learned"])
def test_the_tiles_of_a_gpu_too_are_little_beside_six_plain_losses(learned, monkeypatch):
    """By tensors that only know their shapes: no GPU is needed, and no time."""
    monkeypatch.setitem(TILE_SIZE, "cpu", TILE_SIZE["cuda"])
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "peers")
    from info_nce import plain

    def peak(loss):
        with FakeTensorMode(), Held() as held:
            drawn = {name: torch.empty(8192, 256, requires_grad=True) for name in ("a1", "a2", "t1", "t2")}
            temperature = torch.full((), 0.05, requires_grad=True) if learned else 0.05
            before = held.now
            loss(drawn, temperature).backward()
        return held.most - before

    ours = peak(lambda views, temperature: weighted(pair_losses(views, TURBO, temperature=temperature)))
    assert ours <= 0.06 * peak(lambda views, _: plain(views))


@pytest.mark.parametrize("temperature", [1.01 / SAFE_LOGIT, 0.99 / SAFE_LOGIT, 0.001], ids=str)
def test_the_running_maximum_takes_over_where_exponentials_would_overflow(temperature):
    views = four_views(batch=300, dim=3, dtype=torch.float32)
    views["a2"] = (views["a1"] + 0.01 * views["a2"]).detach().requires_grad_()  # positives of similarity near 1
    losses, expected = pair_losses(views, TURBO, temperature=temperature), exact(views, temperature)
    for name, loss in losses.items():
        torch.testing.assert_close(loss.double(), expected[name], rtol=2e-4, atol=1e-5)
    leaves = tuple(views.values())
    found, right = torch.autograd.grad(weighted(losses), leaves), torch.autograd.grad(weighted(expected), leaves)
    for ours, theirs in zip(found, right, strict=True):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()


def test_the_bound_is_needed():
    """The control of the test above: what it guards against does happen without the switch."""
    view = F.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), dim=1) / math.sqrt(0.001)
    ((rows, _),) = tiled_logsumexp(Sweep([Block(0, 1)], None, {}, bounded=True, tile_size=4), [view, view])
    assert rows.isinf().all()


def test_long_vectors_by_dot_product_stay_finite():
    views = four_views(batch=300, dtype=torch.float32)
    longer = {name: 100 * view for name, view in views.items()}
    losses, expected = pair_losses(longer, TURBO, similarity="dot"), exact(longer, 0.05, unit=False)
    for name, loss in losses.items():
        torch.testing.assert_close(loss.double(), expected[name], rtol=1e-4, atol=0.0)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(weighted(losses), tuple(views.values())))


def test_half_precision_views_are_summed_in_float32():
    views = {name: view.detach().bfloat16() for name, view in four_views(batch=300).items()}
    expected = pair_losses({name: view.float() for name, view in views.items()}, TURBO)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pair_losses(views, TURBO)
    torch.testing.assert_close(found, expected)


def test_a_batch_of_one_group_has_no_negatives_and_no_loss():
    views = four_views(batch=300)
    losses = pair_losses(views, TURBO, groups=torch.zeros(300, dtype=torch.long))
    for loss in losses.values():
        assert loss.item() == pytest.approx(0, abs=1e-12)
    for gradient in torch.autograd.grad(weighted(losses), tuple(views.values())):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_a_view_that_nobody_trains_costs_no_gradient(in_tiles):
    views = four_views()
    frozen = {name: view.detach() if name == "t1" else view for name, view in views.items()}
    plain, tiled = pair_losses(frozen, TURBO), in_tiles(pair_losses, frozen, TURBO)
    trained = [view for name, view in views.items() if name != "t1"]
    torch.testing.assert_close(
        torch.autograd.grad(weighted(tiled), trained), torch.autograd.grad(weighted(plain), trained)
    )


def test_nan_in_a_view_shows_in_the_loss():
    views = four_views(batch=300)
    spoilt = dict(views, a1=views["a1"].detach().index_fill(0, torch.tensor([5]), math.nan))
    losses = pair_losses(spoilt, TURBO)
    assert {name for name, loss in losses.items() if loss.isnan()} == {name for name in losses if "a1" in name}


@pytest.mark.parametrize(
    "wrong",
    [
        {"y": (TILED_FROM, 4)},
        {"y": (TILED_FROM - 1, 3)},
        {"y": (TILED_FROM,)},
        {"similarity": "cosin"},
        {"direction": "both"},
        {"negatives": "all"},
        {"temperature": 0.0},
        {"groups": torch.zeros(5, dtype=torch.long)},
        {"present": torch.ones(TILED_FROM)},
    ],
    ids=str,
)
def test_a_large_batch_is_refused_for_what_a_small_one_is(wrong):
    x, y = torch.ones(TILED_FROM, 3), torch.ones(wrong.pop("y", (TILED_FROM, 3)))
    with pytest.raises(InputError):
        info_nce(x, y, **wrong)


def test_tiles_of_any_size_give_the_same():
    views = {name: F.normalize(view, dim=1) for name, view in four_views(batch=10).items()}
    names = [("a1", "a2"), ("a1", "t1")]
    options = {"temperature": 0.1, "unit_length": True}
    whole = tiled_info_nce(views, names, tile_size=10, **options)
    for tile in (1, 3, 5, 9, 64):
        torch.testing.assert_close(tiled_info_nce(views, names, tile_size=tile, **options), whole)
