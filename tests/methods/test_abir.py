"""ABIR: the paper's sizes, and what its parts must and must not do."""

import pytest
import torch
from torch import nn

from retrieval_bench.losses import BinomialDeviance
from retrieval_bench.methods import ABIR


def small(**options) -> ABIR:
    torch.manual_seed(0)
    return ABIR(**{"backbone": "resnet18", "weights": "none", "dim": 32, "attention_dim": 16, **options}).eval()


@pytest.fixture
def image():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({"blocks": []}, 14_977_344), ({"se": False}, 16_290_114), ({}, 16_331_890)],
    ids=["baseline", "no_se", "full"],
)
def test_vgg16_variants_have_the_papers_parameters(options, parameters):
    method = ABIR(weights="none", **options)
    assert sum(p.numel() for p in method.parameters()) == parameters
    assert all(p.requires_grad for p in method.parameters())


def test_vgg16_attention_lies_on_conv3_3_and_conv4_3():
    method = ABIR(weights="none").eval()
    with torch.no_grad():
        maps = method.backbone(torch.rand(1, 3, 224, 224))
        shapes = {tap: tuple(method._attend(maps, tap)[0].shape) for tap in method.taps}
    assert shapes == {"stride4": (1, 1, 56, 56), "stride8": (1, 1, 28, 28)}


def test_paper_recipe_is_the_default():
    method = ABIR(weights="none", backbone="resnet18")
    optimizer = method.optimizer(method.parameters())
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["lr"] == 1e-5
    assert optimizer.defaults["weight_decay"] == 5e-4
    assert optimizer.defaults["betas"] == (0.9, 0.999)
    scheduler = method.lr_scheduler(optimizer)
    assert (scheduler.step_size, scheduler.gamma) == (40_000, 0.1)
    assert isinstance(method.loss, BinomialDeviance)
    assert (method.loss.alpha, method.loss.beta, method.loss.c) == (2, 0.5, 25)
    assert (method.preprocessing.resize, method.preprocessing.crop) == ((256, 256), 224)
    assert method.embedding.out_features == 512


def test_local_vectors_lie_between_zero_and_the_maps_maximum(image):
    method = small(se=False)
    maps = method.backbone(image)
    for tap in method.taps:
        alpha, excited = method._attend(maps, tap)
        attended = (alpha * excited).amax((-2, -1))
        assert (attended >= 0).all()
        assert (attended <= maps[tap].amax((-2, -1))).all()


def test_without_se_equals_full_when_every_channel_is_fully_excited(image):
    full, without = small(), small(se=False)
    shared = {k: v for k, v in full.state_dict().items() if not k.startswith("excitation.")}
    without.load_state_dict(shared)
    for excitation in full.excitation.values():
        nn.init.zeros_(excitation.excite.weight)
        nn.init.constant_(excitation.excite.bias, 100.0)  # the sigmoid saturates at exactly 1
    assert torch.equal(full(image), without(image))


def test_baseline_sees_the_global_vector_alone(image):
    method = small(blocks=[])
    expected = method.embedding(method.backbone(image)["last"].amax((-2, -1)))
    assert torch.allclose(method(image), nn.functional.normalize(expected, dim=1))


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "softmax"},
        {"gate": "vector"},
        {"blocks": [3]},
        {"blocks": [4]},
        {"local_pool": "sum"},
        {"local_pool": "avg"},
        {"se_order": "before_gate"},
        {"concat_l2": True},
    ],
    ids=lambda o: "-".join(map(str, next(iter(o.items())))),
)
def test_every_switch_changes_the_embedding_and_keeps_it_a_unit_vector(image, options):
    default, changed = small(), small(**options)
    if "blocks" not in options:
        changed.load_state_dict(default.state_dict())
    x = changed(image)
    assert torch.allclose(x.norm(dim=1), torch.ones(3))
    assert not torch.allclose(x, default(image), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "none"}, "gate cannot be 'none'; it is one of map, vector"),
        ({"blocks": [5]}, "blocks cannot be 5; it is one of 3, 4"),
        ({"local_pool": "median"}, "local_pool cannot be 'median'"),
        ({"norm": "tanh"}, "norm cannot be 'tanh'; it is one of sigmoid, softmax"),
        ({"norm": "tanh", "blocks": []}, "norm cannot be 'tanh'"),
    ],
)
def test_a_wrong_switch_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_attention_maps_have_the_size_of_the_picture(image):
    maps = small().attention_maps(image)
    assert {k: tuple(v.shape) for k, v in maps.items()} == {"block 3": (3, 64, 64), "block 4": (3, 64, 64)}
    assert all((m > 0).all() and (m < 1).all() for m in maps.values())


def test_frozen_batch_norms_keep_their_statistics_in_training(image):
    for frozen in (True, False):
        method = small(freeze_batch_norm=frozen).train()
        before = method.backbone.trunk.get_submodule("bn1").running_mean.clone()
        method(image)
        after = method.backbone.trunk.get_submodule("bn1").running_mean
        assert torch.equal(before, after) == frozen


def test_batch_norms_are_frozen_from_the_start():
    def norms(method: ABIR) -> set[bool]:
        return {m.training for m in method.backbone.modules() if isinstance(m, nn.BatchNorm2d)}

    assert norms(ABIR(backbone="resnet18", weights="none")) == {False}
    assert norms(ABIR(backbone="resnet18", weights="none", freeze_batch_norm=False)) == {True}


def test_a_trunk_may_have_a_rate_of_its_own_and_every_parameter_has_one_group():
    for trunk_lr, rates in ((None, [1e-5, 1e-5]), (1e-7, [1e-7, 1e-5])):
        method = small(trunk_lr=trunk_lr)
        optimizer = method.configure_optimizers()["optimizer"]
        assert [group["lr"] for group in optimizer.param_groups] == rates
        grouped = [p for group in optimizer.param_groups for p in group["params"]]
        assert {id(p) for p in grouped} == {id(p) for p in method.parameters()}
        assert len(grouped) == len(list(method.parameters()))


def test_training_lowers_the_loss_of_a_fixed_batch(image):
    # Eight pictures of two classes that differ in one colour channel: a few steps must part them.
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(8) % 2
    picture = 0.1 * torch.rand(8, 3, 64, 64, generator=generator)
    picture[label == 1, 0] += 1
    method = small().train()
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)

    def loss() -> torch.Tensor:
        x = method(picture)
        return method.loss(x @ x.T, label)

    first = loss().item()
    for _ in range(10):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < first / 2
