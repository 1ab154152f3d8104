"""R-MAC: Particular Object Retrieval with Integral Max-Pooling of CNN Activations.

Tolias, Sicre, Jégou; ICLR 2016; arXiv 1511.05879.
"""

from typing import Any

from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.methods.fitted import FittedMethod, RegionVectors
from retrieval_bench.nn.regions import max_regions, rmac_regions


class RMAC(FittedMethod):
    """The maxima of overlapping squares at a few sizes, whitened and summed (section 3.2).

    Args:
        levels: How many sizes; 3 in section 5.1, 2 in Deep Image Retrieval.
        include_global: Whether the whole map counts as one more region, as in the siaMAC toolbox, not in the paper.
        **options: See ``FittedMethod``.

    Raises:
        OptionError: If there is no level.
    """

    def __init__(self, levels: int = 3, include_global: bool = False, **options: Any) -> None:
        super().__init__(**options)
        if levels < 1:
            raise OptionError(f"R-MAC needs at least 1 level of regions, not {levels}")
        self.levels, self.include_global = levels, include_global

    def region_vectors(self, maps: Tensor, colours: Tensor | None) -> RegionVectors:
        """The maxima of the grid's squares."""
        del colours
        grid = rmac_regions(maps.shape[2], maps.shape[3], self.levels, include_global=self.include_global)
        return RegionVectors(max_regions(maps, grid))
