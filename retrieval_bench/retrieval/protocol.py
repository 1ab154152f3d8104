"""How a number is made: the frozen description that travels with every result."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way of measuring retrieval on one data set.

    Two results may stand in one column of a table only if their fingerprints agree. The metrics' names carry their own
    conventions (``map`` is not ``map_oxford``) and their K, so the list of metrics is not part of the fingerprint.

    Attributes:
        dataset: The data set's key, for instance ``cub``.
        name: The split, for instance ``zero-shot`` or ``official``.
        self_match: Whether a query's own image is taken out of the gallery (by index) or stays in it.
        query_crop: Whether a query's box crops nothing, the image, or the activations.
        image_crop: Whether every image is cropped to its box (the "cropped" variants of CUB and Cars).
        ties: The order inside a group of equal scores: gallery order, or the expectation over all orders.
        edition: ``original``, another published edition, ``partial-<fingerprint>`` for a part of the data set, or
            ``miniature-<fingerprint>`` for a drawn one.
        metrics: The metrics to report, in the order of the paper.
        main_metric: The one that ranks methods.
    """

    dataset: str
    name: str
    self_match: Literal["exclude", "keep"] = "exclude"
    query_crop: Literal["none", "image", "activations"] = "none"
    image_crop: Literal["none", "box"] = "none"
    ties: Literal["index", "expected"] = "index"
    edition: str = "original"
    metrics: tuple[str, ...] = ()
    main_metric: str = ""

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits over everything that changes a number."""
        facts = asdict(self)
        del facts["metrics"], facts["main_metric"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Data set, name and fingerprint: what a file that was made under this protocol says of itself."""
        return f"{self.dataset} {self.name} {self.fingerprint}"


def hashing_protocol(dataset: str) -> Protocol:
    """The protocol of hashing on a data set with an official split (common practice since Feature Pyramid Hashing).

    The training images, seen as in evaluation, are the gallery and the test images are the queries. Codes tie often,
    so average precision is expected over the order inside ties; the orders best and worst for a method and the
    gallery's own show how far it could move. Precision counts what lies within a Hamming radius of 2.

    Args:
        dataset: The data set's key.
    """
    return Protocol(
        dataset=dataset,
        name="hashing",
        self_match="keep",
        ties="expected",
        metrics=("map", "precision_within_2", "map_optimistic", "map_pessimistic", "map_index"),
        main_metric="map",
    )
