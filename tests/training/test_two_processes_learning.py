"""What two processes learn from is what one would, for every method; one pair of processes does it all."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from method_cases import CASES
from processes import run_in_two_processes
from pytorch_lightning import Callback, Trainer, seed_everything
from trainers import BARE

from retrieval_bench import methods
from retrieval_bench.datamodules import CubDataModule, Oxford5kDataModule, Voc2007DataModule
from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.subset import cut_subset
from retrieval_bench.methods.base import TrainedNetwork

# Of detectors, which have no score, and frozen trunks or batch norms.
pytestmark = [
    pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader` but have no `validation_step`"),
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode at the start of training"),
]


def only_triplets() -> TrainedNetwork:
    """Adaptive triplet in its second phase from the start, where one process and two have the same network."""
    options = {"backbone": "squeezenet1_0", "weights": "none", "block_width": 0.1, "bits": 16, "size": 64}
    return methods.AdaptiveTriplet(num_classes=10, first_phase_epochs=0, triplets_per_batch=10, **options)


def udq_with_trunk() -> TrainedNetwork:
    return methods.UDQ(**{**CASES["UDQ"]().hparams, "train_backbone": True, "regions_per_step": 4})


def rpn() -> TrainedNetwork:
    return methods.RPN("squeezenet1_0", "none", anchors=(24, 48), min_side=96, max_side=160, count=6)


def query_detector() -> TrainedNetwork:
    return methods.QueryDetector(5, "squeezenet1_0", "none", shorter_side=64, longest_side=96)


TRAINED: dict[str, Callable[[], TrainedNetwork]] = {
    **{name: make for name, make in CASES.items() if make().configure_optimizers()},
    "AdaptiveTriplet's second phase": only_triplets,
    "UDQ with its trunk": udq_with_trunk,
    "RPN": rpn,
    "QueryDetector": query_detector,
}
FITTED = {name: make for name, make in CASES.items() if name not in TRAINED}
# Beside the parts that gradients train: what is learned otherwise.
LEARNED = {
    "AdaptiveTriplet's second phase": ["loss."],
    "RegionalAttentionTraining": ["targets"],
    "UDQ": ["centre", "projection.", "quantizer.", "feature_scale"],
    "UDQ with its trunk": ["centre", "projection.", "quantizer.", "feature_scale"],
}


class FirstStep(Callback):
    """Looks at the first step: what was learned before it, the gradient that is applied, and that of this process."""

    def __init__(self) -> None:
        self.learned: dict[str, np.ndarray] = {}
        self.applied: list[torch.Tensor] = []
        self.own: list[torch.Tensor] = []

    def on_train_start(self, trainer: Trainer, method: Any) -> None:
        self.learned = {key: value.double().numpy().copy() for key, value in method.state_dict().items()}
        if triplets := getattr(method, "_triplets", None):
            self.learned["triplets"] = torch.stack(list(triplets)).numpy()
        if (codes := getattr(method, "_codes", None)) is not None:
            self.learned["codes"] = codes.numpy().astype(np.int64)

    def on_train_batch_start(self, trainer: Trainer, method: Any, batch: Any, batch_idx: int) -> None:
        self.batch, self.chance, self.state = batch, torch.get_rng_state(), copy.deepcopy(method.state_dict())

    def on_after_backward(self, trainer: Trainer, method: Any) -> None:
        parameters = [p for p in method.parameters() if p.grad is not None]
        self.applied = [p.grad.clone() for p in parameters]
        method.load_state_dict(self.state)  # batch norms have counted the batch
        torch.set_rng_state(self.chance)
        with pytest.MonkeyPatch.context() as quiet:
            for name in ("log", "log_dict"):
                quiet.setattr(method, name, lambda *args, **kwargs: None)
            loss = method.training_step(self.batch, 0)
        self.own = [x.detach() for x in torch.autograd.grad(loss, parameters)]


def learn(make: Callable[[], TrainedNetwork], data: Any, folder: Path, devices: int) -> FirstStep:
    seed_everything(0, workers=True, verbose=False)
    method, look = make(), FirstStep()
    strategy = "ddp" if devices == 2 else "auto"
    trainer = Trainer(
        default_root_dir=folder,
        devices=devices,
        strategy=strategy,
        max_steps=1,
        limit_val_batches=0,
        callbacks=[look],
        **BARE,
    )
    trainer.fit(method, datamodule=data)
    if not look.learned:  # nothing was trained
        look.on_train_start(trainer, method)
    return look


def learn_all(roots: dict[str, Path], folder: Path, devices: int) -> dict[str, dict[str, Any]]:
    """For each method what it learned before its first step, and how far that is from the mean of all processes."""
    found = {}
    birds = CubDataModule(roots["cub"], classes_per_batch=3, images_per_class=2, eval_batch_size=7, num_workers=0)
    others: dict[str, Any] = {
        "RPN": Voc2007DataModule(root=roots["voc2007"], num_workers=0),
        "QueryDetector": Oxford5kDataModule(root=roots["oxford5k"], protocol="crop-x", num_workers=0),
    }
    for name, make in {**FITTED, **TRAINED}.items():
        look = learn(make, others.get(name, birds), folder, devices)
        found[name] = {"learned": look.learned, "error": 0.0, "differ": 0.0, "size": 0.0}
        if devices == 2 and look.own:
            applied, own = (torch.cat([x.flatten() for x in gradients]) for gradients in (look.applied, look.own))
            mean = own.clone()
            dist.all_reduce(mean)
            mean /= 2
            found[name]["error"] = float((applied - mean).abs().max())
            found[name]["differ"] = float((own - mean).abs().max())
            found[name]["size"] = float(mean.abs().max())
    return found


@pytest.fixture(scope="module")
def seen(drawn, tmp_path_factory) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What one process learned, and what each of two did."""
    folder = tmp_path_factory.mktemp("learning")
    roots = {
        "cub": cut_subset(dataset_class("cub")(drawn("cub")), folder / "cub", classes=10, images_per_class=5),
        **{name: drawn(name) for name in ("voc2007", "oxford5k")},
    }
    alone = learn_all(roots, folder, 1)
    first, second = run_in_two_processes(learn_all, roots, folder, 2, meeting_point=folder / "store", timeout=200)
    return alone, first, second


@pytest.mark.parametrize("name", sorted({**FITTED, **TRAINED}))
def test_both_processes_hold_the_same_before_the_first_step(name, seen):
    _, first, second = seen
    ours, theirs = first[name]["learned"], second[name]["learned"]
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], theirs[key], equal_nan=True) for key in ours)


@pytest.mark.parametrize("name", sorted({**FITTED, **LEARNED}))
def test_what_is_learned_without_gradients_is_what_one_process_learns(name, seen):
    alone, first, _ = seen
    expected, found = alone[name]["learned"], first[name]["learned"]
    parts = tuple(LEARNED.get(name, ["whitening.", "local_pca.", "projection."]))
    compared = [key for key in expected if key.startswith(parts)]
    assert compared
    for key in compared:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-5 * np.abs(expected[key]).max())
    for key in {"triplets", "codes"} & expected.keys():
        assert np.array_equal(found[key], expected[key])


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_a_step_follows_the_mean_of_what_the_processes_saw(name, seen):
    _, first, second = seen
    for one in (first, second):
        assert one[name]["error"] <= 1e-5 * one[name]["size"]
        assert one[name]["differ"] > 1e-3 * one[name]["size"] > 0
