"""Oxford and Paris with the ground truth revisited: 70 queries each, in an easy, a medium and a hard setting."""

from typing import ClassVar

from retrieval_bench.datasets.oxford_paris import OXFORD, PARIS, LandmarkDataset, Paris6k
from retrieval_bench.retrieval.protocol import Protocol

_METRICS = ("map_oxford", *(f"capped_precision_at_{k}" for k in (1, 5, 10)))


def _settings(dataset: str) -> tuple[Protocol, ...]:
    # No query is in the database, so there is no self match to take out.
    return tuple(
        Protocol(
            dataset=dataset,
            name=name,
            self_match="keep",
            query_crop="image",
            metrics=_METRICS,
            main_metric="map_oxford",
        )
        for name in ("medium", "hard", "easy")
    )


class RevisitedDataset(LandmarkDataset):
    """Revisited Oxford and Paris (Radenovic et al., CVPR 2018, section 2.3): what a setting leaves out is junk.

    A query without a positive in a setting is left out of its means. The pictures are those of Oxford5k and Paris6k,
    in this folder or in theirs beside it.
    """

    positive: ClassVar[dict[str, tuple[str, ...]]] = {"easy": ("easy",), "medium": ("easy", "hard"), "hard": ("hard",)}
    ignored: ClassVar[dict[str, tuple[str, ...]]] = {
        "easy": ("junk", "hard"),
        "medium": ("junk",),
        "hard": ("junk", "easy"),
    }


class ROxford5k(RevisitedDataset):
    """Revisited Oxford: 4,993 database pictures."""

    name: ClassVar[str] = "roxford5k"
    protocols: ClassVar[tuple[Protocol, ...]] = _settings("roxford5k")
    marker: ClassVar[str] = "gnd_roxford5k.pkl"
    landmarks: ClassVar[list[str]] = OXFORD
    siblings: ClassVar[tuple[str, ...]] = ("oxford5k",)


class RParis6k(RevisitedDataset):
    """Revisited Paris: 6,322 database pictures."""

    name: ClassVar[str] = "rparis6k"
    protocols: ClassVar[tuple[Protocol, ...]] = _settings("rparis6k")
    marker: ClassVar[str] = "gnd_rparis6k.pkl"
    landmarks: ClassVar[list[str]] = PARIS
    siblings: ClassVar[tuple[str, ...]] = ("paris6k",)
    corrupt: ClassVar[frozenset[str]] = Paris6k.corrupt
