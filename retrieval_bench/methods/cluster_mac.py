"""ClusterMAC: Aggregated Deep Feature from Activation Clusters for Particular Object Retrieval.

Chen, Kuang, Zhang, Wong; Thematic Workshops of ACM Multimedia 2017; doi 10.1145/3126686.3126696.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_bench.errors import OptionError
from retrieval_bench.methods.base import Batch
from retrieval_bench.methods.fitted import FittedMethod, RegionVectors, cut_window
from retrieval_bench.nn.affinity import Affinity
from retrieval_bench.nn.ncut import InitRow, normalized_cut
from retrieval_bench.nn.preprocessing import denormalize
from retrieval_bench.nn.regions import max_labelled, max_regions, rmac_regions
from retrieval_bench.retrieval.whitening import Moments, principal_directions

PCAScope = Literal["dataset", "image"]
RerankRegions = Literal["recluster", "restrict", "rmac"]
_COLUMNS_PER_IMAGE = 256  # that the local PCA is learned from
_WINDOWS_AT_ONCE = 32


class LocalPCA(nn.Module):
    """The leading directions of a map's columns, scaled so that distances are weighted as the paper weighs them.

    A squared distance counts each direction by its share of the variance (equation 2). Columns are not normalised:
    those of objects are longer than those of the background. Before it is fitted it takes the first channels.

    Args:
        channels: C of the maps.
        components: How many directions.
    """

    mean: Tensor
    projection: Tensor
    fitted: Tensor

    def __init__(self, channels: int, components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, dtype=torch.float64))
        self.register_buffer("projection", torch.eye(components, channels, dtype=torch.float64))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, moments: Moments) -> None:
        """Learn from the moments of columns."""
        self.mean.copy_(moments.mean)
        self.projection.copy_(_weighted_directions(moments.covariance, len(self.projection)))
        self.fitted.fill_(True)

    def forward(self, columns: Tensor) -> Tensor:
        """``(..., C)`` to ``(..., components)``."""
        return (columns - self.mean.to(columns.dtype)) @ self.projection.to(columns.dtype).T


def _weighted_directions(covariance: Tensor, components: int) -> Tensor:
    """``(components, C)`` unit directions times the square roots of their shares in the variance of all."""
    variance, direction = principal_directions(covariance)
    kept = variance[:components]
    return direction[:components] * (kept / kept.sum().clamp(min=1e-300)).sqrt()[:, None]


class ClusterMAC(FittedMethod):
    """Maxima over clusters of cells that look alike, whitened and summed.

    Cells are clustered by normalised cuts, once by what the network says of them and once by their colours. Every row
    of the paper's tables is a choice of arguments, here or of the trunk and of what follows the first ranking.

    Args:
        components: Directions of the local PCA: 4 for VGG16, 7 for ResNet101 (section 4.1).
        clusters: Into how many clusters the map's columns are cut, each time anew (section 4.1).
        rgb_clusters: Into how many the colours are cut (section 4.1); 0 for no cut by colour.
        pca_scope: ``dataset``, learned from the reference pictures; ``image``, from each map's own columns. The paper
            does not say; its Figure 5 shows axes that pictures share.
        affinity: ``gaussian`` as in the released code of normalised cuts, whose constants the paper has; ``laplace`` as
            equation 3 reads.
        spatial_affinity: The distance in cells over which affinities of columns fall to 1/e, too; None for no such
            fall (Figure 6 shows one, and the text says that it hurts).
        init_row: Which cell the discretisation starts from, see ``normalized_cut``.
        rerank_regions: The regions of windows in re-ranking: ``recluster`` cuts each window anew, ``restrict`` takes
            what lies in it of the whole map's clusters, ``rmac`` takes R-MAC's squares. The paper does not say.
        **options: See ``FittedMethod``.

    Raises:
        OptionError: If an option has none of its values, or no cut is left.
    """

    def __init__(
        self,
        components: int = 4,
        clusters: Sequence[int] = (5, 20),
        rgb_clusters: int = 5,
        pca_scope: PCAScope = "dataset",
        affinity: Affinity = "gaussian",
        spatial_affinity: float | None = None,
        init_row: InitRow = "middle",
        rerank_regions: RerankRegions = "recluster",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for option, value, known in (
            ("pca_scope", pca_scope, get_args(PCAScope)),
            ("affinity", affinity, get_args(Affinity)),
            ("init_row", init_row, get_args(InitRow)),
            ("rerank_regions", rerank_regions, get_args(RerankRegions)),
        ):
            if value not in known:
                raise OptionError(f"{option} cannot be {value!r}; it is one of {', '.join(known)}")
        if not 1 <= components <= self.channels:
            raise OptionError(f"components must be 1 to {self.channels}, the channels of the map, not {components}")
        self.components, self.clusters, self.rgb_clusters = components, tuple(dict.fromkeys(clusters)), rgb_clusters
        self.cuts = {f"features {k}": k for k in clusters}
        if rgb_clusters:
            self.cuts[f"colours {rgb_clusters}"] = rgb_clusters
        if min(self.cuts.values(), default=0) < 1:
            raise OptionError(
                f"there is nothing to cut into clusters {list(clusters)} and rgb_clusters {rgb_clusters}: "
                "give at least one number of regions, each at least 1"
            )
        self.affinity, self.init_row, self.spatial_affinity = affinity, init_row, spatial_affinity
        self.rerank_regions = rerank_regions
        self.local_pca = LocalPCA(self.channels, components) if pca_scope == "dataset" else None

    @property
    def fitted(self) -> bool:
        """Whether all statistics were learned or loaded."""
        return super().fitted and (self.local_pca is None or bool(self.local_pca.fitted))

    def fit_statistics(self) -> None:
        """Learn the local PCA from some columns of every reference picture, then the whitening from its clusters."""
        if self.local_pca is not None:
            self.local_pca.fit(self.reference_moments("local PCA", _some_columns))
        super().fit_statistics()

    def colours(self, image: Tensor, size: tuple[int, int]) -> Tensor | None:
        """The picture at the size of the map (section 4.1)."""
        if not self.rgb_clusters:
            return None
        picture = denormalize(image, self.preprocessing.family)
        small = F.interpolate(picture, size, mode="bilinear", antialias=True, align_corners=False)
        return small.round()  # whole grey levels as in a picture: one of a single colour has no rounding to be cut by

    def region_vectors(self, maps: Tensor, colours: Tensor | None) -> RegionVectors:
        """The maxima of all clusters."""
        cells = _columns(maps)
        labels = self._cluster(cells, None if colours is None else _columns(colours), _places(maps))
        return self._maxima(cells, labels)

    def cluster_maps(self, image: Tensor) -> dict[str, Tensor]:
        """The cluster of every cell (Figure 7), for each cut ``(B, H, W)`` int64.

        Args:
            image: ``(B, 3, h, w)`` normalised.
        """
        maps = self._trunk_maps(image)
        size = (maps.shape[2], maps.shape[3])
        colours = self.colours(image, size)
        labels = self._cluster(_columns(maps), None if colours is None else _columns(colours), _places(maps))
        return {name: label.view(-1, *size) for name, label in zip(self.cuts, labels, strict=True)}

    def norm_map(self, image: Tensor) -> Tensor:
        """The length of every cell's column, ``(B, H, W)``; objects have longer ones than the background."""
        length: Tensor = torch.linalg.vector_norm(self._trunk_maps(image), dim=1)
        return length

    def describe_windows(self, maps: Tensor, windows: Tensor, image: Tensor | None = None) -> Tensor:
        """Descriptors of parts of one map, by the regions of ``rerank_regions``; see ``FittedMethod``."""
        if self.rerank_regions == "rmac":
            parts = [cut_window(maps[None], window) for window in windows.tolist()]
            regions = [RegionVectors(max_regions(x, rmac_regions(x.shape[2], x.shape[3]))) for x in parts]
            return torch.cat([self.aggregate(region) for region in regions])
        colours = self.colours(image[None], (maps.shape[1], maps.shape[2])) if image is not None else None
        cells, places = _columns(maps[None])[0], _places(maps)
        tones = None if colours is None else _columns(colours)[0]
        whole = None
        if self.rerank_regions == "restrict":
            whole = self._cluster(cells[None], None if tones is None else tones[None], places)
        described = []
        for some in torch.split(windows, _WINDOWS_AT_ONCE):
            inside, mask = _cells_inside(some.to(maps.device), maps.shape[1], maps.shape[2])
            if whole is None:
                shades = None if tones is None else tones[inside]
                labels = self._cluster(cells[inside], shades, places[inside], mask)
            else:
                labels = [label[0][inside].where(mask, -1) for label in whole]
            described.append(self.aggregate(self._maxima(cells[inside], labels)))
        return torch.cat(described)

    def _cluster(
        self, cells: Tensor, colours: Tensor | None, places: Tensor, mask: Tensor | None = None
    ) -> list[Tensor]:
        """The labels ``(B, N)`` of cells in every cut, those by features first; -1 of cells that ``mask`` leaves out.

        Args:
            cells: ``(B, N, C)`` columns of maps.
            colours: ``(B, N, 3)`` their colours, if there is a cut by colour.
            places: ``(N, 2)`` or ``(B, N, 2)`` where they lie.
            mask: ``(B, N)`` which of them are cells at all; None for all.
        """
        if self.rgb_clusters and colours is None:
            raise ValueError("clusters of colours need the picture")
        labels = []
        if self.clusters:
            pca = self.local_pca(cells) if self.local_pca is not None else _own_pca(cells, self.components, mask)
            near = self.spatial_affinity
            labels += normalized_cut(
                pca,
                None,  # the directions are scaled by their weights
                self.clusters,
                mask=mask,
                affinity=self.affinity,
                spatial=None if near is None else (places.float().expand(*cells.shape[:2], 2), near),
                init_row=self.init_row,
            )
        if colours is not None:
            labels += normalized_cut(
                colours, None, [self.rgb_clusters], mask=mask, affinity=self.affinity, init_row=self.init_row
            )
        return labels

    def _maxima(self, cells: Tensor, labels: Sequence[Tensor]) -> RegionVectors:
        """The maxima of all clusters of all cuts, where there are any cells in them."""
        maxima = [max_labelled(cells, label, k) for label, k in zip(labels, self.cuts.values(), strict=True)]
        vectors = torch.cat(maxima, 1)
        present = vectors[..., 0] > -torch.inf
        return RegionVectors(vectors.where(present[..., None], 0), present)


def _columns(maps: Tensor) -> Tensor:
    """``(B, C, H, W)`` to ``(B, H W, C)``."""
    return maps.flatten(2).transpose(1, 2)


def _places(maps: Tensor) -> Tensor:
    """``(H W, 2)`` column and row of every cell."""
    y, x = torch.meshgrid(*(torch.arange(n, device=maps.device) for n in maps.shape[-2:]), indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def _cells_inside(windows: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The cells of windows by their number in the map: ``(n, most)``, and which of those are no padding."""
    inside = []
    for x1, y1, x2, y2 in windows.tolist():
        numbers = torch.arange(height * width, device=windows.device).view(height, width)
        inside.append(numbers[y1:y2, x1:x2].flatten())
    padded = nn.utils.rnn.pad_sequence(inside, batch_first=True, padding_value=-1)
    return padded.clamp(min=0), padded >= 0


def _some_columns(batch: Batch, maps: Tensor) -> Tensor:
    """Columns of each picture at random, the same in whatever batch it comes."""
    cells = _columns(maps)
    chosen = []
    for index, picture in zip(batch["index"].tolist(), cells, strict=True):
        order = torch.randperm(len(picture), generator=torch.Generator().manual_seed(index))
        chosen.append(picture[order[:_COLUMNS_PER_IMAGE].to(cells.device)])
    return torch.cat(chosen)


def _own_pca(cells: Tensor, components: int, mask: Tensor | None) -> Tensor:
    """Each map's columns ``(B, N, C)`` in their own leading directions, as ``LocalPCA`` scales them."""
    own = []
    for i, columns in enumerate(cells):
        moments = Moments(columns.shape[1]).add(columns if mask is None else columns[mask[i]])
        directions = _weighted_directions(moments.covariance, components).to(columns)
        own.append((columns - moments.mean.to(columns)) @ directions.T)
    return torch.stack(own)
