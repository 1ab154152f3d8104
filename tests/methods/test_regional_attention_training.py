"""The training of regional attention: what learns and what does not, matched classes, the best of the checks."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer, seed_everything
from trainers import BARE

from retrieval_bench.datamodules import ImageNetDataModule
from retrieval_bench.methods import RegionalAttention, RegionalAttentionTraining
from retrieval_bench.nn.regions import max_regions
from retrieval_bench.retrieval.descriptors import Descriptors

CLASSES = 20


def method(**options) -> RegionalAttentionTraining:
    torch.manual_seed(0)
    small = {"backbone": "resnet18", "weights": "none", "resize": 72, "crop": 64}
    made = RegionalAttentionTraining(**{"num_classes": CLASSES, **small, **options})
    made.log = lambda *args, **kwargs: None
    return made


@pytest.fixture(scope="module")
def pictures(drawn) -> Path:
    return drawn("imagenet")


def trainer(folder: Path, **options) -> Trainer:
    return Trainer(default_root_dir=folder, **{**BARE, "limit_val_batches": 0, **options})


def batch_of(count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(count, 3, 64, 64, generator=generator)
    return {"image": image, "label": torch.arange(count) % CLASSES, "index": torch.arange(count)}


def test_only_the_four_tensors_of_the_attention_learn():
    made = method()
    frozen = {k: v.clone() for k, v in made.state_dict().items() if not k.startswith("candidate.")}
    optimizer = made.configure_optimizers()
    optimizer.param_groups[0]["lr"] = 10.0
    made.training_step(batch_of(6), 0).backward()
    learning = {name for name, p in made.named_parameters() if p.grad is not None}
    assert learning == {f"candidate.{layer}.{kind}" for layer in ("hidden", "out") for kind in ("weight", "bias")}
    optimizer.step()
    after = made.state_dict()
    assert all(torch.equal(after[key], value) for key, value in frozen.items())  # batch norms' statistics, too
    assert not torch.equal(after["candidate.out.weight"], frozen["attention.out.weight"])


def test_a_feature_is_the_weighted_mean_of_raw_maxima():
    made, image = method(), batch_of(2)["image"]
    x = made.maps(image)
    plain = RegionalAttention(backbone="resnet18", weights="none", whiten=False)
    regions = plain.grid((2, 2), (64, 64))
    weights = made.candidate(x, regions)
    expected = sum(weights[:, [r]] * max_regions(x, regions)[:, r] for r in range(len(regions))) / len(regions)
    torch.testing.assert_close(made.feature(image, made.candidate), expected, atol=1e-6, rtol=0)


def test_four_accumulated_passes_are_one_of_sixteen():
    batch, gradients = batch_of(16), []
    for size in (16, 4):
        made = method()
        for rows in torch.arange(16).split(size):
            part = {key: value[rows] for key, value in batch.items()}
            (made.training_step(part, 0) * size / 16).backward()  # as Lightning divides
        gradients.append([p.grad for p in made.candidate.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_lightning_steps_once_in_four_passes(pictures, tmp_path):
    run = trainer(tmp_path, accumulate_grad_batches=4, limit_train_batches=8, max_epochs=2)
    run.fit(method(), datamodule=ImageNetDataModule(pictures, batch_size=4, num_workers=0))
    assert run.global_step == 4


def test_each_class_is_the_one_that_its_pictures_are_taken_for(pictures, tmp_path):
    made = method()
    with torch.no_grad():
        made.classifier.weight *= 30  # so that pictures differ
    data = ImageNetDataModule(pictures, batch_size=4, num_workers=0)
    trainer(tmp_path, max_steps=1).fit(made, datamodule=data)
    seen = {label: torch.zeros(1000, dtype=torch.float64) for label in range(CLASSES)}
    for batch in data.reference_dataloader():
        ready = data.prepared(batch, torch.device("cpu"))
        for said, label in zip(
            made.classifier(made.maps(ready["image"]).mean((2, 3))), ready["label"].tolist(), strict=True
        ):
            seen[label] += said.detach().double().softmax(0)
    assert made.targets.tolist() == [int(seen[label].argmax()) for label in range(CLASSES)]


def test_imagenets_classes_are_their_own(monkeypatch, pictures, tmp_path):
    made = method(num_classes=1000)
    data = ImageNetDataModule(pictures, batch_size=4, num_workers=0)
    names = tuple(f"n{place:08d}" for place in range(1000))
    monkeypatch.setattr(type(data), "training_classes", np.arange(1000))
    object.__setattr__(data.table, "class_names", names)
    monkeypatch.setattr(data, "picture_dataloader", None)  # whoever looks at pictures now fails
    made.trainer = trainer(tmp_path)
    made.trainer.datamodule = data
    made.fit_statistics()
    assert made.targets.tolist() == list(range(1000))


def accuracies(monkeypatch, made: RegionalAttentionTraining, values: list[float | None]) -> list[torch.Tensor]:
    """Let the checks of a training find these values, with a candidate of its own at each."""
    seen, left = [], list(values)

    def further_metrics(data):
        with torch.no_grad():
            made.candidate.out.bias.fill_(len(seen) + 1.0)
        seen.append(made.candidate.out.bias.clone())
        value = left.pop(0)
        return {} if value is None else {"accuracy": np.full(len(data.ground_truth.query), value)}

    monkeypatch.setattr(made, "further_metrics", further_metrics)
    return seen


@pytest.mark.parametrize(
    ("values", "checks", "kept"),
    [
        ([0.1, 0.3, 0.2, 0.3, 0.9], 4, 4.0),  # no gain twice: ended, and the last of equals is kept
        ([0.1, 0.05, 0.2, 0.1, 0.3], 5, 5.0),
        ([None] * 5, 5, None),  # nothing to choose by: the last
    ],
)
def test_the_best_of_the_checks_is_kept_and_ends_training_in_time(
    monkeypatch, pictures, tmp_path, values, checks, kept
):
    seed_everything(0, verbose=False)
    made = method(patience=2, resize=32, crop=32)
    seen = accuracies(monkeypatch, made, values)
    data = ImageNetDataModule(pictures, batch_size=4, num_workers=0)
    run = trainer(tmp_path, max_epochs=5, limit_train_batches=1, limit_val_batches=1.0, check_val_every_n_epoch=1)
    run.fit(made, datamodule=data)
    assert len(seen) == checks
    if kept is None:
        assert torch.equal(made.attention.out.bias, made.candidate.out.bias)
    else:
        assert made.attention.out.bias.tolist() == [kept]
        run.save_checkpoint(tmp_path / "last.ckpt")
        content = torch.load(tmp_path / "last.ckpt", weights_only=True)
        best = max(values[:checks])
        assert content["attention_learned_from"] == (
            f"the 200 training pictures of imagenet (held-out accuracy {best:.4f})"
        )
        reader = RegionalAttention(str(tmp_path / "last.ckpt"), backbone="resnet18", weights="none")
        assert reader.attention.out.bias.tolist() == [kept]


def test_accuracy_is_that_of_the_matched_classes_on_held_out_pictures(pictures, tmp_path):
    seed_everything(0, verbose=False)
    made = method()
    del made.log
    data = ImageNetDataModule(pictures, batch_size=4, num_workers=0)
    run = trainer(tmp_path, max_steps=1, limit_val_batches=1.0)
    run.fit(made, datamodule=data)
    run.test(made, datamodule=data, verbose=False)
    right = []
    for batch in data.val_dataloader():
        ready = data.prepared(batch, torch.device("cpu"))
        with torch.no_grad():
            predicted = made.classifier(made.feature(ready["image"], made.attention)).argmax(1)
        right += (predicted == made.targets[ready["label"]]).tolist()
    assert made.evaluation.metrics["accuracy"] == pytest.approx(sum(right) / 80)


def test_there_is_no_accuracy_on_classes_that_were_not_trained_on_or_not_matched_yet(pictures):
    made, data = method(), ImageNetDataModule(pictures)
    query = data.ground_truth.query
    nothing = torch.zeros(len(query), dtype=torch.int64)
    made.descriptors = Descriptors(torch.ones(len(query), 1), torch.from_numpy(query), predicted=nothing)
    assert made.further_metrics(data) == {}
    made.matched.fill_(True)
    made.targets.copy_((torch.arange(CLASSES) != 3).long())
    assert made.further_metrics(data)["accuracy"].mean() == 1 / CLASSES
    others = SimpleNamespace(ground_truth=data.ground_truth, table=data.table, training_classes=np.arange(1, CLASSES))
    assert made.further_metrics(others) == {}


def test_no_classes_and_too_many_are_refused(pictures, tmp_path):
    with pytest.raises(ValueError, match="there is no class to learn"):
        method(num_classes=0)
    with pytest.raises(ValueError, match="num_classes is 3, but imagenet has 20 training classes"):
        trainer(tmp_path, max_steps=1).fit(
            method(num_classes=3), datamodule=ImageNetDataModule(pictures, num_workers=0)
        )
