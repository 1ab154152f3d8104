"""RPN learns where the objects of pictures are, as its paper has it."""

import numpy as np
import torch
from torchvision.ops import box_iou

from retrieval_bench.datamodules import Voc2007DataModule
from retrieval_bench.datasets.miniature import synthesize
from retrieval_bench.methods import RPN

SMALL = {"backbone": "squeezenet1_0", "weights": "none", "anchors": (24, 48), "min_side": 96, "max_side": 160}


def test_the_recipe_is_that_of_udq():
    with torch.device("meta"):
        method = RPN(weights="none")
    options = method.configure_optimizers()
    optimizer, scheduler = options["optimizer"], options["lr_scheduler"]["scheduler"]
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.001, 0.9, 5e-4)
    assert {id(p) for p in group["params"]} == {id(p) for p in method.network.rpn.parameters()}
    assert (scheduler.step_size, scheduler.gamma) == (50_000, 0.1)
    assert method.preprocessing.resize.size(375, 500) == (600, 800)
    assert method.preprocessing.resize.size(300, 900) == (333, 1000)


def test_on_two_pictures_the_loss_falls_and_the_objects_are_found(tmp_path):
    data = Voc2007DataModule(root=synthesize("voc2007", tmp_path / "voc2007"), num_workers=0)
    torch.manual_seed(0)
    method = RPN(**SMALL, count=6)
    method.log = lambda *args: None
    data.preprocessing = method.preprocessing
    batches = []
    for batch in data.train_dataloader():
        if batch["objects"].shape[1] >= 2:
            batches.append(data.prepared(batch, torch.device("cpu")))
        if len(batches) == 2:
            break

    def recall() -> float:
        with torch.inference_mode():
            best = [box_iou(b["objects"][0], method.eval()(b["image"])[0]).amax(1) for b in batches]
        return (torch.cat(best) >= 0.5).float().mean().item()

    untrained = recall()
    method.train()
    optimizer = torch.optim.SGD(method.parameter_groups()[0]["params"], lr=0.02, momentum=0.9)
    losses = []
    for step in range(60):
        loss = method.training_step(batches[step % 2], step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:4])
    assert recall() >= max(untrained + 0.25, 0.75)
