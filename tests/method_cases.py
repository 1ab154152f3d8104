"""A small instance of every method, for the tests that all of them must pass."""

from collections.abc import Callable

from retrieval_bench import methods
from retrieval_bench.methods import RetrievalMethod

# Maps of 6 by 6 cells.
SMALL_TRUNK = {"backbone": "resnet18", "weights": "none", "tap": "stride16", "max_side": 96}

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
}
