"""From a checkpoint and a data set to what is drawn of them: clusters, precision of regions, ranked results."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.datamodules.transforms import resize_image, scale_box
from retrieval_bench.datasets import dataset_class
from retrieval_bench.datasets.images import load_image
from retrieval_bench.datasets.oxford_paris import LandmarkDataset
from retrieval_bench.errors import OptionError
from retrieval_bench.methods import RMAC, ClusterMAC, RetrievalMethod
from retrieval_bench.nn.preprocessing import normalize
from retrieval_bench.nn.region_precision import cells_in_box, precision_of_clusters
from retrieval_bench.nn.regions import rmac_regions
from retrieval_bench.pictures.attention import Pixels
from retrieval_bench.pictures.clusters import ClusteredPicture
from retrieval_bench.pictures.ranked import Found, RankedQuery
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, RaggedLists
from retrieval_bench.retrieval.search import search

_DRAWN_SIDE = 480  # more pixels than a sheet shows of any picture


def landmarks(name: str, root: str | Path) -> LandmarkDataset:
    """A landmark data set by its key."""
    return cast("type[LandmarkDataset]", dataset_class(name))(root)


def clustered(method: ClusterMAC, files: Sequence[Path]) -> list[ClusteredPicture]:
    """Pictures with their clusters and the lengths of their activations."""
    rows = []
    for file in files:
        picture = resize_image(load_image(file), method.preprocessing.resize)
        with torch.inference_mode():
            seen = normalize(picture[None].to(method.device), method.preprocessing.family)
            norms, clusters = method.norm_map(seen)[0], method.cluster_maps(seen)
        labels = {title: x[0].cpu().numpy() for title, x in clusters.items()}
        rows.append(ClusteredPicture(_pixels(picture), norms.cpu().numpy(), labels))
    return rows


def region_precisions(method: RetrievalMethod, dataset: LandmarkDataset) -> Tensor:
    """How much of each region of each query's whole picture lies in the query's box.

    Args:
        method: ClusterMAC, its clusters of all cuts; or R-MAC, its squares.
        dataset: Whose queries.

    Returns:
        ``(regions of all queries,)``.

    Raises:
        OptionError: If the method has no such regions.
    """
    found: list[Tensor] = []
    for row in dataset.table.rows("query").tolist():
        image = load_image(dataset.image_path(row))
        picture = resize_image(image, method.preprocessing.resize)
        height, width = picture.shape[1:]
        assert dataset.table.box is not None
        box = scale_box(dataset.table.box[row], (image.shape[1], image.shape[2]), (height, width)).tolist()
        with torch.inference_mode():
            seen = normalize(picture[None], method.preprocessing.family)
            found += _precisions(method, seen, box, (height, width))
    return torch.cat(found)


def _precisions(
    method: RetrievalMethod, seen: Tensor, box: Sequence[float], picture: tuple[int, int]
) -> Iterator[Tensor]:
    if isinstance(method, ClusterMAC):
        for label in method.cluster_maps(seen).values():
            size = (label.shape[1], label.shape[2])
            yield precision_of_clusters(label[0], cells_in_box(box, picture, size))
    elif isinstance(method, RMAC):
        maps = method.maps({"image": seen})
        size = (maps.shape[2], maps.shape[3])
        inside = cells_in_box(box, picture, size).double()
        grid = rmac_regions(*size, method.levels, include_global=method.include_global)
        yield torch.stack([inside[r.y : r.y + r.height, r.x : r.x + r.width].mean() for r in grid])
    else:
        raise OptionError(
            f"{type(method).__name__} has no regions whose precision could be measured; ClusterMAC and RMAC have"
        )


def ranked(
    dataset: LandmarkDataset, query: Descriptors, gallery: Descriptors, queries: Sequence[int], top: int
) -> list[RankedQuery]:
    """What queries find, with what the ground truth says of it; junk keeps its place in the ranking.

    Args:
        dataset: The data set that the descriptors are of.
        query: Of its queries.
        gallery: Of its database.
        queries: Which queries, by their numbers from 0 on.
        top: How many results of each.

    Raises:
        OptionError: If the descriptors are of other images.
    """
    asking = dataset.ground_truth.query[list(queries)]
    searched = dataset.ground_truth.gallery
    nothing = RaggedLists.from_lists([[]] * len(asking))
    try:
        sides = query.select(asking), gallery.select(searched)
    except KeyError as error:
        raise OptionError(
            f"these are no descriptors of all queries and images of {dataset.name}: {error.args[0]}"
        ) from error
    ranking = search(*sides, top=top, truth=GroundTruth(asking, searched, nothing, nothing))
    rows = []
    for number, row, images in zip(queries, asking.tolist(), ranking.image.tolist(), strict=True):
        truth = dataset.truth.queries[number]
        kinds = {name: kind for kind, names in truth.lists.items() for name in names}
        found = []
        for image in images:
            path = dataset.image_path(image)
            found.append(Found(_small(load_image(path))[0], kinds.get(path.stem, "wrong")))
        picture, scale = _small(load_image(dataset.image_path(row)))
        x1, y1, x2, y2 = (value * scale for value in truth.box)
        rows.append(RankedQuery(f"query {number}: {truth.image}", picture, (x1, y1, x2, y2), found))
    return rows


def _small(image: Tensor) -> tuple[Pixels, float]:
    """A picture of no more pixels than are drawn, and by how much it was scaled."""
    scale = min(1.0, _DRAWN_SIDE / max(image.shape[1:]))
    size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[2] * scale)))
    return _pixels(resize_image(image, size)), scale


def _pixels(image: Tensor) -> Pixels:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
