"""MAC, SPoC and GeM: the whole map pooled into one vector.

MAC: Tolias, Sicre, Jégou; ICLR 2016; arXiv 1511.05879, section 3.1. SPoC: Babenko, Lempitsky; ICCV 2015; arXiv
1510.07493. GeM: Radenović, Tolias, Chum; TPAMI 2019; arXiv 1711.02512, equation 3.
"""

from typing import Any, Literal

from torch import Tensor, nn

from retrieval_bench.errors import OptionError
from retrieval_bench.methods.fitted import FittedMethod, RegionVectors
from retrieval_bench.nn.pooling import MAC, GeM, SPoC

GlobalPool = Literal["mac", "spoc", "gem"]


class GlobalPooling(FittedMethod):
    """One vector of the whole map.

    Args:
        pool: ``mac``, the maximum; ``spoc``, the sum, all cells alike; ``gem``, the generalised mean.
        p: The power of ``gem``; 3 is where its own training starts and what serves trunks that were not trained for it.
        **options: See ``FittedMethod``.

    Raises:
        OptionError: If there is no such pooling or power.
    """

    def __init__(self, pool: GlobalPool = "mac", p: float = 3.0, **options: Any) -> None:
        super().__init__(**options)
        poolings: dict[str, nn.Module] = {"mac": MAC(), "spoc": SPoC(), "gem": GeM(p, learned=False)}
        if pool not in poolings:
            raise OptionError(f"pool cannot be {pool!r}; it is one of {', '.join(poolings)}")
        self.pooling = poolings[pool]

    def region_vectors(self, maps: Tensor, colours: Tensor | None) -> RegionVectors:
        """The whole map is the only region."""
        del colours
        return RegionVectors(self.pooling(maps)[:, None])
