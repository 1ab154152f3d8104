"""Steps between descriptors and scores: chosen by the evaluation, the same for every method."""

from retrieval_bench.retrieval.postprocessing.base import (
    PictureMap,
    PostProcessing,
    References,
    RetrievalState,
    Sources,
    Windows,
    postprocess,
)
from retrieval_bench.retrieval.postprocessing.diffusion import Diffusion
from retrieval_bench.retrieval.postprocessing.expansion import DatabaseAugmentation, QueryExpansion
from retrieval_bench.retrieval.postprocessing.k_reciprocal import KReciprocalReranking
from retrieval_bench.retrieval.postprocessing.localisation import LocalisationReranking
from retrieval_bench.retrieval.postprocessing.whitening import WhitenByPairs, WhitenByPCA

__all__ = [
    "DatabaseAugmentation",
    "Diffusion",
    "KReciprocalReranking",
    "LocalisationReranking",
    "PictureMap",
    "PostProcessing",
    "QueryExpansion",
    "References",
    "RetrievalState",
    "Sources",
    "WhitenByPCA",
    "WhitenByPairs",
    "Windows",
    "postprocess",
]
