"""QueryDetector: what regions are labelled, what is trained and what stays."""

import math

import pytest
import torch
from pytorch_lightning import LightningModule

from retrieval_bench.methods import QueryDetector
from retrieval_bench.methods.query_detector import flipped
from retrieval_bench.nn import detection

QUERY = [0.0, 0.0, 40.0, 40.0]
HALF, TWICE = [0.0, 0.0, 40.0, 20.0], [0.0, 0.0, 40.0, 80.0]  # an IoU of 0.5
LESS, BESIDE, FAR = [0.0, 0.0, 40.0, 19.0], [20.0, 0.0, 60.0, 40.0], [60.0, 60.0, 90.0, 90.0]  # 0.475, 1/3, 0


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Heads of some thousand weights instead of 25 million."""
    monkeypatch.setattr(detection, "_WIDTH", 16)


def small(**options) -> QueryDetector:
    torch.manual_seed(0)
    return QueryDetector(**{"classes": 5, "backbone": "resnet18", "weights": "none", **options})


def labels(proposals: list[list[float]], query: list[float] = QUERY) -> tuple[torch.Tensor, torch.Tensor]:
    wanted = {"boxes": torch.tensor([query]), "labels": torch.tensor([3])}
    _, _, (label,), (moves,) = small().heads.select_training_samples([torch.tensor(proposals)], [wanted])
    return label, moves


def test_regions_have_the_querys_class_from_an_iou_of_a_half_on_and_its_box_is_among_them():
    label, _ = labels([HALF, TWICE, LESS, BESIDE, FAR])
    assert label.tolist() == [3, 3, 0, 0, 0, 3]


def test_boxes_are_to_be_moved_onto_the_query():
    _, moves = labels([HALF, TWICE])
    # By half a height down (times 10) and twice as high (times 5); the other way round; not at all.
    expected = [[0, 5, 0, 5 * math.log(2)], [0, -2.5, 0, -5 * math.log(2)], [0, 0, 0, 0]]
    torch.testing.assert_close(moves, torch.tensor(expected))


def test_128_regions_are_drawn_of_which_a_quarter_shows_the_query():
    near = [[0.0, 0.0, 40.0, 40.0 - i / 10] for i in range(60)]
    far = [[50.0 + i, 50.0, 80.0 + i, 90.0] for i in range(140)]
    assert labels(near + far)[0].bincount(minlength=4).tolist() == [96, 0, 0, 32]
    assert labels(far)[0].bincount(minlength=4).tolist() == [127, 0, 0, 1]


def test_a_head_that_says_nothing_costs_what_chance_costs():
    method = small()
    for parameter in method.heads.box_predictor.parameters():
        parameter.data.zero_()
    losses = method.losses(
        torch.rand(1, 3, 64, 96), torch.tensor([QUERY]), torch.tensor([3]), torch.tensor([[HALF, BESIDE]])
    )
    assert losses["classes"].item() == pytest.approx(math.log(6))
    # Smooth L1 of the moves above that bends at 1/9: |x| - 1/18; over three regions.
    assert losses["boxes"].item() == pytest.approx((5 + 5 * math.log(2) - 2 / 18) / 3)


@pytest.mark.parametrize("backbone", ["resnet18", "squeezenet1_0", "mobilenet_v2"])
def test_gradients_reach_the_third_group_of_convolutions_and_no_batch_norm(backbone):
    method = small(backbone=backbone)
    boxes = torch.tensor([[HALF, BESIDE, FAR]])
    sum(method.losses(torch.rand(1, 3, 64, 96), torch.tensor([QUERY]), torch.tensor([3]), boxes).values()).backward()
    first = {
        "resnet18": ("conv1.", "layer1."),
        "squeezenet1_0": ("features.0.", "features.3.", "features.4.", "features.5."),
        "mobilenet_v2": ("features.0.", "features.1.", "features.2.", "features.3."),
    }[backbone]
    for name, parameter in method.backbone.trunk.named_parameters():
        convolution = parameter.ndim == 4 or backbone == "squeezenet1_0"
        assert (parameter.grad is not None) == (convolution and not name.startswith(first)), name
    trained = [p for p in method.backbone.trunk.parameters() if p.grad is not None and p.ndim == 4]
    assert trained
    assert all(p.grad.any() for p in trained)
    assert all(p.grad is not None for p in method.heads.parameters())


def test_batch_norms_keep_their_statistics():
    method = small().train()
    before = {name: value.clone() for name, value in method.backbone.named_buffers()}
    method.losses(torch.rand(1, 3, 64, 96), torch.tensor([QUERY]), torch.tensor([3]), torch.tensor([[FAR]]))
    assert len(before) > 20
    assert all(torch.equal(value, before[name]) for name, value in method.backbone.named_buffers())


def test_mirrored_boxes_hold_the_mirrored_pixels():
    picture = torch.arange(48.0).view(1, 6, 8)
    x1, y1, x2, y2 = box = torch.tensor([1, 2, 4, 6])
    a, b, c, d = flipped(box, 8)
    assert torch.equal(picture.flip(2)[:, b:d, a:c], picture[:, y1:y2, x1:x2].flip(2))


def test_half_of_the_pictures_are_learned_from_mirrored_with_their_boxes(monkeypatch):
    method = small()
    monkeypatch.setattr(LightningModule, "log", lambda *args: None)
    method._labels = torch.tensor([2, 4, 6, 8, 10])
    seen = []

    def losses(image, box, label, proposals):
        seen.append((image[0, 0, 0, 0].item(), box.tolist(), label.tolist(), proposals[0, 0].tolist()))
        return {"classes": image.sum(), "boxes": image.sum()}

    monkeypatch.setattr(method, "losses", losses)
    image = torch.zeros(1, 3, 64, 96)
    image[..., -1] = 1
    # A published box that reaches beyond the picture.
    batch = {"image": image, "box": torch.tensor([[-3.0, 8, 40, 70]]), "label": torch.tensor([6])}
    for step in range(100):
        method.training_step(batch, step)
    whole = [0.0, 0.0, 96.0, 64.0]  # a grid's first box
    straight, mirrored = (0, [[0, 8, 40, 64]], [3], whole), (1, [[56, 8, 96, 64]], [3], whole)
    assert {seen.count(straight) + seen.count(mirrored)} == {100}
    assert 30 < seen.count(mirrored) < 70


def test_the_recipe_is_that_of_the_paper():
    with torch.device("meta"):
        method = QueryDetector(weights="none")
    optimizer = method.configure_optimizers()
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.001, 0.9, 5e-4)
    assert {id(p) for p in group["params"]} == {id(p) for p in method.parameters() if p.requires_grad}
    assert method.heads.box_predictor.cls_score.out_features == 12
    assert method.preprocessing.resize.size(375, 500) == (600, 800)
