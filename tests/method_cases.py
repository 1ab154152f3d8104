"""A small instance of every method, for the tests that all of them must pass."""

from collections.abc import Callable, Iterable

import pytest
import torch
from _pytest.mark import ParameterSet

from retrieval_bench import methods
from retrieval_bench.methods import RetrievalMethod

# Maps of 6 by 6 cells.
SMALL_TRUNK = {"backbone": "resnet18", "weights": "none", "tap": "stride16", "max_side": 96}

# Whose long runs, killed or in two processes, are always tested: one is trained, one fitted, one both, and one draws
# from all generators. Those of the others are for `make test-slow`.
ALWAYS = {"ABIR", "RMAC", "UDQ", "restless"}

# One entry a method; a method without one fails the contract test.
CASES: dict[str, Callable[[], RetrievalMethod]] = {
    "AdaptiveTriplet": lambda: methods.AdaptiveTriplet(
        num_classes=10,
        backbone="squeezenet1_0",
        weights="none",
        block_width=0.1,
        bits=16,
        first_phase_epochs=1,
        triplets_per_batch=40,
        size=64,
    ),
    "ABIR": lambda: methods.ABIR(backbone="squeezenet1_0", weights="none", dim=16, attention_dim=8, resize=72, crop=64),
    "ClusterMAC": lambda: methods.ClusterMAC(**SMALL_TRUNK),
    "GlobalPooling": lambda: methods.GlobalPooling("gem", **SMALL_TRUNK),
    "RegionalAttention": lambda: methods.RegionalAttention(**SMALL_TRUNK, upscale=False, fit_side=None),
    "RegionalAttentionTraining": lambda: methods.RegionalAttentionTraining(
        num_classes=10, backbone="resnet18", weights="none", resize=72, crop=64
    ),
    "RMAC": lambda: methods.RMAC(**SMALL_TRUNK),
    "UDQ": lambda: methods.UDQ(
        backbone="resnet18",
        weights="none",
        tap="stride16",
        shorter_side=64,
        longest_side=96,
        proposals_per_image=6,
        dim=8,
        subspaces=2,
        codewords=4,
        rounds=1,
        train_backbone=False,
    ),
}


def others_slow(names: Iterable[str]) -> list[ParameterSet]:
    """Names as parameters; all that are not in ``ALWAYS`` are marked slow."""
    return [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.slow) for name in sorted(names)]


def coded_regions(method: RetrievalMethod) -> dict[str, torch.Tensor]:
    """Vectors of regions and their codes, and codebooks that give the codes a meaning."""
    generator = torch.Generator().manual_seed(0)
    method.quantizer.fit(torch.randn(20, 8, generator=generator))
    codes = torch.randint(4, (20, 2), dtype=torch.uint8, generator=generator)
    return {"vectors": torch.rand(20, 256, generator=generator), "codes": codes}


# What methods learn from that never learn from pictures.
TRAINING_BATCHES: dict[str, Callable[[RetrievalMethod], dict[str, torch.Tensor]]] = {"UDQ": coded_regions}
