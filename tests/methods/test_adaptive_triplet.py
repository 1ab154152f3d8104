"""Two phases in one fit: each trains its own part, on its own batches, and can be cut short anywhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from trainers import BARE

from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.errors import OptionError
from retrieval_bench.losses.triplet import TripletLoss
from retrieval_bench.methods import AdaptiveTriplet, adaptive_triplet
from retrieval_bench.methods.cached_features import CachedFeatures
from retrieval_bench.nn.hashing import unpack_bits


def make(**options) -> AdaptiveTriplet:
    torch.manual_seed(0)
    small = {"backbone": "squeezenet1_0", "weights": "none", "block_width": 0.1, "size": 64, "triplets_per_batch": 40}
    return AdaptiveTriplet(20, **{**small, "bits": 16, "first_phase_epochs": 1, **options})


def trainer(folder: Path, epochs: int, *callbacks: Callback, **options) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        limit_val_batches=0,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        **BARE,
        **options,
    )


class States(Callback):
    """What the network was after every epoch, and what its steps learned from."""

    def __init__(self) -> None:
        self.states, self.batches, self.triplets, self.logged = [], [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append((trainer.current_epoch, sorted(batch)))

    def on_train_epoch_end(self, trainer, pl_module):
        self.states.append({k: v.clone() for k, v in pl_module.state_dict().items()})
        self.triplets.append(pl_module._triplets)
        self.logged.append({k: float(v) for k, v in trainer.callback_metrics.items()})


def fit(method: AdaptiveTriplet, data: Path, folder: Path, epochs: int) -> States:
    seed_everything(0, verbose=False)
    seen = States()
    module = CubDataModule(data, protocol="hashing", batch_size=40, num_workers=0)
    trainer(folder, epochs, seen).fit(method, datamodule=module)
    return seen


@pytest.fixture(scope="module")
def seen(miniature, tmp_path_factory) -> States:
    return fit(make(mine_every=2), miniature, tmp_path_factory.mktemp("fit"), 6)


def changed(before: dict, after: dict) -> set[str]:
    names = {name for name in before if not torch.equal(before[name].nan_to_num(), after[name].nan_to_num())}
    return {name.split(".")[0] for name in names}


def test_the_first_phase_sees_pictures_and_the_second_triplets(seen):
    kinds = {epoch: {tuple(keys) for e, keys in seen.batches if e == epoch} for epoch, _ in seen.batches}
    assert kinds[0] == {("box", "image", "index", "label")}
    assert all(kinds[epoch] == {("anchor", "negative", "positive")} for epoch in range(1, 6))
    assert [epoch for epoch, _ in seen.batches] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]


def test_the_second_phase_leaves_every_tensor_of_the_network_bit_for_bit(seen):
    start = make().state_dict()
    assert changed(start, seen.states[0]) == {"backbone", "block", "classifier", "classes"}
    for before, after in zip(seen.states, seen.states[1:], strict=False):
        assert changed(before, after) <= {"hash_layer", "loss"}
        assert "hash_layer" in changed(before, after)


def test_triplets_and_their_margin_are_kept_for_some_epochs(seen):
    assert seen.triplets[0] is None
    one, two, three, four, five = (torch.stack(list(t)) for t in seen.triplets[1:])
    assert torch.equal(one, two)
    assert torch.equal(three, four)
    assert not torch.equal(two, three)
    assert not torch.equal(four, five)
    margins = [float(state["loss.margin"]) for state in seen.states]
    assert np.isnan(margins[0])
    assert margins[1] == margins[2] != margins[3] == margins[4] != margins[5]


def test_a_latent_layer_is_trained_with_the_network(miniature, tmp_path):
    method = make(latent=True)
    start = {k: v.clone() for k, v in method.state_dict().items()}
    states = fit(method, miniature, tmp_path, 1).states
    assert {"backbone", "block", "classifier", "hash_layer"} <= changed(start, states[0])


@pytest.mark.parametrize("options", [{"loss": TripletLoss(0.5)}, {"mining": "random"}, {"codes": False}])
def test_ablations_train_both_phases(options, miniature, tmp_path):
    states = fit(make(**options), miniature, tmp_path, 3).states
    assert "hash_layer" in changed(states[0], states[2])


def test_the_curve_is_what_a_test_of_that_epoch_measures(miniature, tmp_path):
    seed_everything(0, verbose=False)
    method, data = make(), CubDataModule(miniature, protocol="hashing", batch_size=40, num_workers=0)
    seen = fit(method, miniature, tmp_path, 3)
    # Each point is drawn before its epoch trains: the one of epoch 2 belongs to the network after epoch 1.
    again = make()
    again.load_state_dict({**again.state_dict(), **seen.states[1]})
    trainer(tmp_path, 0).test(again, datamodule=data, verbose=False)
    assert seen.logged[2]["curve/map"] == pytest.approx(again.evaluation.metrics["map"], abs=1e-6)


def test_accuracy_is_the_share_of_queries_whose_class_is_read_off_rightly(miniature, tmp_path):
    method, data = make(), CubDataModule(miniature, protocol="hashing", batch_size=40, num_workers=0)
    fit(method, miniature, tmp_path, 1)
    trainer(tmp_path, 0).test(method, datamodule=data, verbose=False)
    method.eval()
    right = []
    with torch.inference_mode():
        for batch in data.picture_dataloader(data.table.rows("query")):
            image = data.prepared(batch, torch.device("cpu"))["image"]
            logits = method.classifier(method.block(method.backbone(image)["last"]).mean((2, 3)))
            right += (torch.from_numpy(data.training_classes)[logits.argmax(1)] == batch["label"]).tolist()
    assert method.evaluation.metrics["accuracy"] == pytest.approx(np.mean(right))
    assert len(right) == len(method.evaluation.per_query["accuracy"]) == 120


def test_classes_that_were_not_trained_on_have_no_accuracy(miniature, tmp_path):
    method = make()
    trainer(tmp_path, 0).test(method, datamodule=CubDataModule(miniature, num_workers=0), verbose=False)
    assert "accuracy" not in method.evaluation.metrics


def test_codes_are_the_signs_of_what_is_trained():
    method, real = make().eval(), make(codes=False).eval()
    batch = {"image": torch.rand(3, 3, 64, 64), "index": torch.arange(3)}
    with torch.inference_mode():
        packed, outputs = method.embed(batch), real.embed(batch)
    assert packed.metric == "hamming"
    assert packed.data.shape == (3, 2)
    assert outputs.metric == "euclidean"
    assert torch.equal(unpack_bits(packed.data, 16), torch.where(outputs.data >= 0, 1.0, -1.0))


def test_resnet18_with_the_block_has_the_published_size():
    method = AdaptiveTriplet(200, weights="none", bits=64)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    assert count["backbone"] == 11_176_512
    assert count["block"] == 729_280
    assert count["hash_layer"] == 512 * 64 + 64


def test_the_mean_gap_of_hard_triplets_grows(miniature, tmp_path, monkeypatch):
    label = torch.arange(120) % 20
    chance = torch.Generator().manual_seed(0)
    blobs = torch.randn(20, 512, generator=chance)[label] + torch.randn(120, 512, generator=chance)
    cached = CachedFeatures(blobs, torch.arange(120), label)
    monkeypatch.setattr(adaptive_triplet, "cache_features", lambda *_: cached)
    gaps = [x["train/gap"] for x in fit(make(first_phase_epochs=0, curve_every=0), miniature, tmp_path, 30).logged]
    assert np.mean(gaps[-3:]) > np.mean(gaps[:3]) + 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mining": "semi"}, "hard or random"), ({"distance": "cosine"}, "euclidean"), ({"mine_every": 0}, "mine_every")],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(OptionError, match=message):
        make(**options)


def test_too_few_classes_are_refused_before_training(miniature, tmp_path):
    method = AdaptiveTriplet(7, backbone="squeezenet1_0", weights="none", size=64)
    with pytest.raises(OptionError, match="num_classes is 7, but cub has 20 training classes"):
        fit(method, miniature, tmp_path, 1)
