"""Clusters of a map's cells drawn over pictures, as in Figure 7 of the ClusterMAC paper, beside their activations."""

import colorsys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from retrieval_bench.pictures.attention import Pixels, Weights, overlay
from retrieval_bench.pictures.sheet import draw_sheet, fitted

Labels = npt.NDArray[np.int64]
_SIDE = 320
_OPACITY = 0.55
_BRIGHTEST = 98  # percent of a picture's pixels are below the brightest colour
_GOLDEN = 0.618034  # of the colour circle, from each colour to the next: neighbours in number are far apart


class ClusteredPicture(NamedTuple):
    """What is drawn of one picture.

    Attributes:
        picture: ``(H, W, 3)`` uint8, RGB.
        norms: ``(h, w)`` the length of each cell's activations.
        clusters: By title, ``(h, w)`` the cluster of each cell.
    """

    picture: Pixels
    norms: Weights
    clusters: Mapping[str, Labels]


def cluster_sheet(rows: Sequence[ClusteredPicture]) -> Image.Image:
    """One row a picture: the picture, the lengths of its activations, and its clusters in every cut.

    Args:
        rows: Pictures of any sizes, their longer side drawn at one length; all with the same cuts.

    Raises:
        ValueError: If there is no picture, or the cuts differ.
    """
    if not rows or any(row.clusters.keys() != rows[0].clusters.keys() for row in rows):
        raise ValueError("a sheet of clusters needs at least one picture, and the same cuts of each")
    drawn = [_cells(row) for row in rows]
    titles = ("picture", "length of activations", *rows[0].clusters)
    return draw_sheet(titles, drawn, width=max(image.width for cells in drawn for image, _ in cells))


def _cells(row: ClusteredPicture) -> list[tuple[Image.Image, str]]:
    small = fitted(row.picture, _SIDE)
    pixels = np.asarray(small)
    norms = np.asarray(Image.fromarray(row.norms.astype(np.float32)).resize(small.size, Image.Resampling.BICUBIC))
    # A few cells at the picture's edge are often far above all others, which would all look dark.
    lengths = Image.fromarray(overlay(pixels, norms.clip(max=np.percentile(norms, _BRIGHTEST))))
    cells = [(small, ""), (lengths, f"{row.norms.min():.3g} to {row.norms.max():.3g}")]
    for labels in row.clusters.values():
        count = len(np.unique(labels))
        cells.append((Image.fromarray(clusters_over(pixels, labels)), f"{count} cluster{'s' if count > 1 else ''}"))
    return cells


def clusters_over(picture: Pixels, labels: Labels) -> Pixels:
    """A picture in grey under the colours of its clusters, with white lines between them.

    Args:
        picture: ``(H, W, 3)`` uint8, RGB.
        labels: ``(h, w)`` the cluster of each cell; cells are drawn as equal parts of the picture.
    """
    height, width = picture.shape[:2]
    rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), labels.shape, strict=True))
    label = labels[np.ix_(rows, columns)]
    colour = np.array([cluster_colour(int(x)) for x in range(int(labels.max()) + 1)], np.float64)[label]
    grey = picture.astype(np.float64).mean(2, keepdims=True)
    mixed: Pixels = (colour * _OPACITY + grey * (1 - _OPACITY)).round().astype(np.uint8)
    mixed[_borders(label)] = 255
    return mixed


def cluster_colour(label: int) -> tuple[int, int, int]:
    """The colour of a cluster, by its number."""
    lightness = (0.5, 0.68, 0.36)[label % 3]
    red, green, blue = colorsys.hls_to_rgb(label * _GOLDEN % 1, lightness, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def _borders(label: Labels) -> npt.NDArray[np.bool_]:
    """The first pixel of a cluster behind another one, from the left and from above."""
    border = np.zeros(label.shape, np.bool_)
    border[:, 1:] |= label[:, 1:] != label[:, :-1]
    border[1:] |= label[1:] != label[:-1]
    return border
