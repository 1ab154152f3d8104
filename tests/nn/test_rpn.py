"""A region proposal network: its parts by hand, its boxes inside the picture, its trunk untouched."""

import pytest
import torch
from torchvision.ops import box_iou

from retrieval_bench.errors import OptionError
from retrieval_bench.nn.rpn import ProposalNetwork


def network(backbone: str = "resnet18", **options) -> ProposalNetwork:
    torch.manual_seed(0)
    return ProposalNetwork(backbone, "none", **{"anchors": (16, 32, 64), "count": 40, **options})


def pictures(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_the_head_is_that_of_the_paper_on_any_trunk():
    shapes = {
        name: tuple(p.shape) for name, p in network(anchors=(128, 256, 512)).named_parameters() if p.requires_grad
    }
    assert shapes == {
        "rpn.head.conv.0.weight": (512, 256, 3, 3),
        "rpn.head.conv.0.bias": (512,),
        "rpn.head.cls_logits.weight": (9, 512, 1, 1),
        "rpn.head.cls_logits.bias": (9,),
        "rpn.head.bbox_pred.weight": (36, 512, 1, 1),
        "rpn.head.bbox_pred.bias": (36,),
    }


@pytest.mark.parametrize("backbone", ["vgg16", "resnet101"])
def test_the_trunks_of_udq_are_read_at_stride_16(backbone):
    with torch.device("meta"):
        found = ProposalNetwork(backbone, "none")
    assert found.backbone.stride(found.tap) == 16
    assert found.rpn.head.conv[0].in_channels == {"vgg16": 512, "resnet101": 1024}[backbone]


def test_anchors_are_a_stride_apart_whatever_the_size_of_the_picture():
    model, seen = network().eval(), []
    model.rpn.anchor_generator.register_forward_hook(lambda _module, _input, anchors: seen.append(anchors[0]))
    model(pictures(97, 130))
    centres = (seen[0][:, :2] + seen[0][:, 2:]) / 2
    rows, columns = 7, 9  # 97 and 130 pixels, rounded up to whole cells
    expected = torch.cartesian_prod(torch.arange(rows) * 16.0, torch.arange(columns) * 16.0).flip(1)
    assert centres.view(rows * columns, 9, 2)[:, 4].tolist() == expected.tolist()
    sides = (seen[0][:9, 2:] - seen[0][:9, :2]).tolist()
    assert sides[3:6] == [[16, 16], [32, 32], [64, 64]]
    assert [round(high / wide, 1) for wide, high in (sides[2], sides[8])] == [0.5, 2.0]


@pytest.mark.parametrize(("height", "width"), [(97, 130), (128, 96)])
def test_boxes_lie_in_the_picture_and_overlap_by_no_more_than_the_suppression_allows(height, width):
    boxes = network().eval()(pictures(height, width, batch=2))
    assert boxes.shape == (2, 40, 4)
    assert boxes.dtype == torch.float32
    assert (boxes[..., :2] >= 0).all()
    assert (boxes[..., 2:] <= torch.tensor([width, height])).all()
    assert (boxes[..., 2:] > boxes[..., :2]).all()
    for found in boxes:
        overlap = box_iou(found, found).fill_diagonal_(0)
        assert overlap.max() <= 0.7


def test_a_pictures_boxes_do_not_depend_on_its_batch():
    model, both = network().eval(), pictures(96, 96, batch=2)
    torch.testing.assert_close(model(both)[1:], model(both[1:]))


def test_where_there_are_too_few_boxes_they_come_again():
    boxes = network(count=400).eval()(pictures(64, 64))[0]
    different = len(boxes.unique(dim=0))
    assert different < 4 * 4 * 9
    assert torch.equal(boxes, boxes[torch.arange(400) % different])


def test_an_untrained_network_without_objects_pays_only_for_not_knowing():
    model = network()
    torch.nn.init.zeros_(model.rpn.head.cls_logits.weight)
    losses = model.losses(pictures(96, 96), [torch.zeros(0, 4)])
    assert losses["objectness"].item() == pytest.approx(0.6931472, abs=1e-6)
    assert losses["boxes"].item() == 0


def test_a_box_that_is_an_anchor_needs_no_move():
    model = network(anchors=(32,))
    torch.nn.init.zeros_(model.rpn.head.bbox_pred.weight)
    # The anchor of 32 pixels in the cell at (48, 32); its neighbours at a stride overlap it by half, which counts not.
    losses = model.losses(pictures(96, 96), [torch.tensor([[32.0, 16.0, 64.0, 48.0]])])
    assert losses["boxes"].item() == pytest.approx(0, abs=1e-7)


def test_the_loss_reaches_the_head_alone_and_the_trunk_stays_in_evaluation():
    model = network().train()
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    losses = model.losses(pictures(96, 96), [torch.tensor([[10.0, 20.0, 60.0, 50.0]])])
    (losses["objectness"] + losses["boxes"]).backward()
    grads = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {name.split(".")[0] for name in grads} == {"rpn"}
    assert len(grads) == 6
    assert not any(module.training for module in model.backbone.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.backbone.state_dict().items())


@pytest.mark.parametrize("options", [{"count": 0}, {"anchors": ()}, {"anchors": (0, 16)}])
def test_no_boxes_are_refused(options):
    with pytest.raises(OptionError, match="proposals from anchors"):
        network(**options)
