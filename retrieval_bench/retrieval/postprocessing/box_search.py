"""Where in a map a query is: the box whose maxima are most like the query's (Tolias et al., ICLR 2016, section 4)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import normalize

_BOXES_AT_ONCE = 2**13
_POWER = 10
_REFINEMENT = (3, 2, 1)  # cells
_PASSES = 5
_ROUNDING = 1e-9

BoxPooling = Callable[[Tensor], Tensor]
"""From ``(n, 4)`` boxes, x1, y1, x2, y2 in cells with open ends, to ``(n, C)``."""


def box_maxima(cells: Tensor) -> BoxPooling:
    """The exact maxima of a map in boxes, of any box in four look-ups (a sparse table in two dimensions).

    Args:
        cells: ``(C, h, w)``.
    """
    channels, height, width = cells.shape
    # Level l holds the maxima of 2^l cells from each on; what would reach over the edge is not filled, nor asked for.
    levels = cells.new_empty(height.bit_length(), width.bit_length(), height, width, channels)
    levels[0, 0] = cells.permute(1, 2, 0)
    for across in range(1, width.bit_length()):
        half = 2 ** (across - 1)
        narrow, wide = levels[0, across - 1], levels[0, across]
        torch.maximum(narrow[:, :-half], narrow[:, half:], out=wide[:, :-half])
    for down in range(1, height.bit_length()):
        half = 2 ** (down - 1)
        low, high = levels[down - 1], levels[down]
        torch.maximum(low[:, :-half], low[:, half:], out=high[:, :-half])
    table = levels.view(-1, channels)
    # The greatest level that fits a length.
    fitting = torch.tensor([max(0, n.bit_length() - 1) for n in range(max(height, width) + 1)], device=cells.device)

    def pool(boxes: Tensor) -> Tensor:
        x1, y1, x2, y2 = boxes.unbind(1)
        across, down = fitting[x2 - x1], fitting[y2 - y1]
        level = (down * levels.shape[1] + across) * height
        top, bottom = ((level + y) * width for y in (y1, y2 - 2**down))
        left, right = x1, x2 - 2**across
        upper = torch.maximum(table[top + left], table[top + right])
        lower = torch.maximum(table[bottom + left], table[bottom + right])
        return torch.maximum(upper, lower)

    return pool


def box_power_means(cells: Tensor) -> BoxPooling:
    """The paper's stand-in for maxima: the tenth root of the sum of tenth powers, by integral images.

    Each channel is scaled by its maximum and added up in float64: the powers of small values are lost beside those of
    great ones, and so are they in the sums.

    Args:
        cells: ``(C, h, w)``, not negative.
    """
    most = cells.amax((1, 2)).clamp(min=torch.finfo(cells.dtype).tiny)
    powers = (cells / most[:, None, None]).clamp(min=0).double().pow(_POWER)
    integral = torch.nn.functional.pad(powers.cumsum(1).cumsum(2), (1, 0, 1, 0)).permute(1, 2, 0).contiguous()

    def pool(boxes: Tensor) -> Tensor:
        x1, y1, x2, y2 = boxes.unbind(1)
        total = integral[y2, x2] - integral[y1, x2] - integral[y2, x1] + integral[y1, x1]
        return total.clamp(min=0).pow(1 / _POWER).to(cells.dtype) * most

    return pool


@dataclass(frozen=True)
class BoxSearch:
    """The search for boxes: all on a coarse lattice, then the best one's sides moved as long as it gets better.

    Attributes:
        pooling: Makes vectors of the boxes of one map.
        height: Rows of the map.
        width: Its columns.
        step: Cells between the lines of the lattice.
        tolerance: By what factor a box may be higher or wider than the query, for its size.
    """

    pooling: BoxPooling
    height: int
    width: int
    step: int = 3
    tolerance: float = 1.1

    def best(self, query: Tensor, aspect: Tensor) -> tuple[Tensor, Tensor]:
        """The best box for each of several queries.

        Where no box of the lattice has a query's shape, the search starts from the whole map.

        Args:
            query: ``(n, C)`` unit vectors.
            aspect: ``(n,)`` float64 height over width.

        Returns:
            ``(n, 4)`` int64 x1, y1, x2, y2 in cells, ends open, and ``(n,)`` their similarities.
        """
        boxes = self._coarse(query, aspect)
        return self._refined(boxes, self.score(query, boxes), query, aspect)

    def score(self, query: Tensor, boxes: Tensor) -> Tensor:
        """``(n,)`` similarities of queries ``(n, C)`` with boxes ``(n, 4)``."""
        return (query * normalize(self.pooling(boxes), dim=1, eps=1e-12)).sum(1)

    def fits(self, boxes: Tensor, aspect: Tensor) -> Tensor:
        """Whether boxes have the shape of queries, one for one or broadcast."""
        height, width = (boxes[..., 3] - boxes[..., 1]).double(), (boxes[..., 2] - boxes[..., 0]).double()
        return (aspect.log() - (height / width).log()).abs() <= math.log(self.tolerance) + _ROUNDING

    def _coarse(self, query: Tensor, aspect: Tensor) -> Tensor:
        boxes = _lattice(self.height, self.width, self.step).to(query.device)
        fits = self.fits(boxes, aspect[:, None])
        wanted = fits.any(0)
        boxes, fits = boxes[wanted], fits[:, wanted]
        whole = torch.tensor([0, 0, self.width, self.height], device=query.device)
        best, score = whole.repeat(len(query), 1), torch.full((len(query),), -torch.inf, device=query.device)
        for some, fit in zip(torch.split(boxes, _BOXES_AT_ONCE), torch.split(fits, _BOXES_AT_ONCE, dim=1), strict=True):
            if not len(some):
                break
            close = query @ normalize(self.pooling(some), dim=1, eps=1e-12).T
            top, at = close.masked_fill(~fit, -torch.inf).max(1)
            better = top > score
            best[better], score[better] = some[at[better]], top[better]
        return best

    def _refined(self, boxes: Tensor, score: Tensor, query: Tensor, aspect: Tensor) -> tuple[Tensor, Tensor]:
        end = torch.tensor([self.width, self.height] * 2, device=boxes.device)
        for step in _REFINEMENT:
            for _ in range(_PASSES):
                before = score
                for side in range(4):
                    for move in (-step, step):
                        moved = boxes.clone()
                        moved[:, side] += move
                        inside = ((moved >= 0) & (moved <= end)).all(1) & (moved[:, :2] < moved[:, 2:]).all(1)
                        moved = moved.where(inside[:, None], boxes)
                        trial = self.score(query, moved)
                        better = inside & self.fits(moved, aspect) & (trial > score)
                        boxes, score = moved.where(better[:, None], boxes), trial.where(better, score)
                if torch.equal(before, score):
                    break
        return boxes, score


@lru_cache(maxsize=256)
def _lattice(height: int, width: int, step: int) -> Tensor:
    """``(n, 4)`` all boxes whose first and last rows and columns lie ``step`` cells apart."""
    sides = []
    for length in (width, height):
        line = torch.arange(0, length, step)
        first, last = torch.meshgrid(line, line, indexing="ij")
        sides.append(torch.stack([first, last + 1], -1)[last >= first])
    across, down = sides
    pairs = torch.cartesian_prod(torch.arange(len(across)), torch.arange(len(down)))
    (x1, x2), (y1, y2) = across[pairs[:, 0]].T, down[pairs[:, 1]].T
    return torch.stack([x1, y1, x2, y2], 1)
