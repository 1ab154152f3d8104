"""What a round of UDQ does with its options, in a fit of twelve pictures."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer, seed_everything
from trainers import BARE

from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.subset import cut_subset
from retrieval_bench.losses.quantization import discriminability
from retrieval_bench.methods import UDQ
from retrieval_bench.methods.udq_parts import CodewordClassifiers
from retrieval_bench.retrieval.refinement import bfr, refine

SUBSPACES, CODEWORDS = 2, 4


@dataclass
class Round:
    """What was there around a quantisation, of the classifiers, codebooks, features and losses."""

    classifiers: list[torch.Tensor]
    learned_from: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    features: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    warm: object = None
    after: list[torch.Tensor] = field(default_factory=list)
    momentum: int = 0
    scale: float = 0.0
    balance: float = 0.0


@pytest.fixture(scope="module")
def few(miniature: Path, tmp_path_factory) -> Path:
    """24 pictures, half of which are searched."""
    return cut_subset(
        dataset_class("cub")(miniature), tmp_path_factory.mktemp("few") / "cub", classes=8, images_per_class=3
    )


def small(**options: object) -> UDQ:
    trunk = {"backbone": "resnet18", "weights": "none", "tap": "stride16", "shorter_side": 32, "longest_side": 48}
    codes = {"dim": 8, "subspaces": SUBSPACES, "codewords": CODEWORDS, "rounds": 1, "epochs_per_round": 1}
    rest = {"proposals_per_image": 6, "train_backbone": False, "images_per_batch": 4}
    return UDQ(**{**trunk, **codes, **rest, **options})


def watched(method: UDQ) -> list[Round]:
    """The rounds of a fit that is to come."""
    rounds: list[Round] = []
    quantize, fit = method._quantize, method.quantizer.fit

    def weights() -> list[torch.Tensor]:
        return [p.detach().clone() for p in method.classifiers.parameters()]

    def remembered(x: torch.Tensor, **options: object) -> list[float]:
        rounds[-1].learned_from, rounds[-1].warm = x.clone(), options["warm_start"]
        rounds[-1].features = method.feature(method._cached().vectors.flatten(0, 1)).detach()
        return fit(x, **options)

    @torch.no_grad()
    def around() -> None:
        rounds.append(Round(weights()))
        quantize()
        now = rounds[-1]
        now.after, now.scale = weights(), float(method.feature_scale)
        now.momentum = sum(len(optimizer.state) for optimizer in method.trainer.optimizers)
        codes = method._codes.flatten(0, 1)
        rotated = method.quantizer.rotate(method.feature(method._cached().vectors.flatten(0, 1)))
        now.balance = float(discriminability(rotated, method.quantizer.decode(codes)))

    method._quantize, method.quantizer.fit = around, remembered
    return rounds


def rounds_of(few: Path, **options: object) -> tuple[UDQ, list[Round]]:
    seed_everything(0, verbose=False)
    method = small(**options)
    rounds = watched(method)
    trainer = Trainer(max_epochs=-1, limit_val_batches=0, **BARE)
    trainer.fit(method, datamodule=CubDataModule(few, num_workers=0))
    assert len(rounds) == 3
    return method, rounds


@pytest.fixture(scope="module")
def plain(few) -> tuple[UDQ, list[Round]]:
    """With the defaults."""
    return rounds_of(few)


def test_the_loss_is_cross_entropy_and_the_weighted_squared_error():
    method = small(discriminability_weight=0.3)
    method.log_dict = lambda *args, **kwargs: None
    generator = torch.Generator().manual_seed(0)
    method.quantizer.fit(torch.randn(30, 8, generator=generator))
    vectors, codes = torch.rand(5, 256, generator=generator), torch.randint(4, (5, 2), generator=generator)
    loss = method.training_step({"vectors": vectors, "codes": codes.to(torch.uint8)}, 0).item()

    to = {name: value.detach().double().numpy() for name, value in method.state_dict().items()}
    feature = (vectors.double().numpy() - to["centre"]) @ to["projection.weight"].T + to["projection.bias"]
    rotated = feature @ to["quantizer.rotation"].T
    expected = 0.0
    for row, numbers in zip(rotated, codes.tolist(), strict=True):
        for m, k in enumerate(numbers):
            part = row[4 * m : 4 * m + 4]
            scores = to["classifiers.weight"][m] @ part + to["classifiers.bias"][m]
            expected += np.log(np.exp(scores).sum()) - scores[k]
            expected += 0.3 * ((part - to["quantizer.codebooks"][m, k]) ** 2).sum()
    assert loss == pytest.approx(expected / 5, rel=1e-4)


def test_the_scale_is_found_once_so_that_both_losses_start_alike(plain):
    _, rounds = plain
    assert 0.01 * rounds[0].balance == pytest.approx(SUBSPACES * math.log(CODEWORDS), rel=1e-3)
    assert rounds[0].scale > 1
    assert {r.scale for r in rounds} == {rounds[0].scale}


def test_without_a_scale_features_stay_those_of_unit_vectors(few):
    _, rounds = rounds_of(few, feature_scale="none")
    assert [r.scale for r in rounds] == [1.0] * 3


def test_codebooks_learn_from_the_features_of_their_round(plain):
    _, rounds = plain
    assert all(torch.equal(r.learned_from, r.features) for r in rounds)
    assert not torch.equal(rounds[1].features, rounds[2].features)


@pytest.mark.parametrize("refinement", ["bfr", "pbr", "cbr"])
def test_codebooks_learn_from_refined_features(refinement, few):
    method, rounds = rounds_of(few, refinement=refinement, neighbours=3, clusters=5)
    for each in rounds:
        expected = refine(each.features, refinement, neighbours=3, clusters=5, seed=0)
        torch.testing.assert_close(each.learned_from, expected)
        assert not torch.allclose(each.learned_from, each.features)
    assert torch.equal(method._codes.flatten(0, 1), method.quantizer.encode(rounds[-1].learned_from))


def test_without_options_a_refinement_has_the_paper_s_neighbours(few):
    _, rounds = rounds_of(few, refinement="bfr")
    torch.testing.assert_close(rounds[1].learned_from, bfr(rounds[1].features, 10))


def test_subspaces_are_rotated_unless_they_are_cut_along_the_axes(plain, few):
    turned, cut = plain[0].quantizer.rotation, rounds_of(few, rotate=False)[0].quantizer.rotation
    torch.testing.assert_close(turned @ turned.T, torch.eye(8), atol=1e-5, rtol=0)
    assert not torch.allclose(turned, torch.eye(8), atol=0.1)
    # Axes are dealt to the subspaces in whichever order.
    assert torch.equal(cut.sort(0).values[-1], torch.ones(8))
    assert torch.equal(cut.abs().sum(0), torch.ones(8))


def test_classifiers_start_afresh_in_every_round(plain):
    _, rounds = plain
    for each, epoch in zip(rounds, (0, 0, 1), strict=True):
        fresh = CodewordClassifiers(SUBSPACES, 4, CODEWORDS)
        fresh.start_at_random(torch.Generator().manual_seed(epoch))
        assert all(torch.equal(a, b) for a, b in zip(each.after, fresh.parameters(), strict=True))
        assert (each.warm, each.momentum) == (False, 0)
    # Training moved them in between.
    assert not torch.equal(rounds[0].after[0], rounds[1].classifiers[0])


def test_kept_classifiers_and_velocities_stay_and_codebooks_start_from_the_last_ones(few):
    _, rounds = rounds_of(few, classifier_start="kept")
    assert [each.warm for each in rounds] == [False, True, True]
    for each in rounds[1:]:
        assert all(torch.equal(a, b) for a, b in zip(each.classifiers, each.after, strict=True))
        assert each.momentum > 0


def test_classifiers_may_start_at_the_codebooks(few):
    method, rounds = rounds_of(few, classifier_start="codebook", sharpness=2.0)
    codebooks, (weight, bias) = method.quantizer.codebooks, rounds[-1].after
    others = [torch.cat([book[:k], book[k + 1 :]]) for book in codebooks for k in range(CODEWORDS)]
    gaps = [(o - c).square().sum(1).min() for o, c in zip(others, codebooks.flatten(0, 1), strict=True)]
    unit = float(torch.stack(gaps).mean())
    torch.testing.assert_close(weight, 2 * 2.0 / unit * codebooks, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(bias, -2.0 / unit * codebooks.square().sum(2), rtol=1e-4, atol=1e-6)
    assert rounds[-1].momentum == 0


def test_a_validation_at_the_end_of_a_round_searches_with_its_new_codebooks(few):
    seed_everything(0, verbose=False)
    method, codebooks = small(epochs_per_round=2), []
    metrics = method.further_metrics
    method.further_metrics = lambda data: codebooks.append(method.quantizer.codebooks.clone()) or metrics(data)
    rounds = watched(method)
    trainer = Trainer(max_epochs=-1, **BARE)
    trainer.fit(method, datamodule=CubDataModule(few, num_workers=0))
    assert (len(rounds), len(codebooks)) == (3, 4)
    first, second = codebooks[1], codebooks[3]
    assert not torch.equal(codebooks[0], first)
    assert torch.equal(first, codebooks[2])  # within the second round
    assert torch.equal(second, method.quantizer.codebooks)


def test_training_that_stops_within_a_round_still_ends_with_codes_of_its_features(few):
    seed_everything(0, verbose=False)
    method = small(epochs_per_round=2)
    rounds = watched(method)
    trainer = Trainer(max_epochs=-1, max_steps=4, limit_val_batches=0, **BARE)
    trainer.fit(method, datamodule=CubDataModule(few, num_workers=0))
    assert len(rounds) == 2
    assert torch.equal(method._codes.flatten(0, 1), method.quantizer.encode(rounds[-1].features))
