"""Which images can be among the nearest of their queries: found tile by tile, in any order of tiles, and few.

The images of a tile are dealt into groups. The k-th of the greatest scores of all groups seen so far is reached by k
images, so whatever is screened at less, by more than screening can be wrong, is not among the k nearest: only groups
whose greatest score reaches that floor are looked into, and the floor rises from tile to tile.
"""

import math

import torch
from torch import Tensor

from retrieval_bench.retrieval.counting import Pairs
from retrieval_bench.retrieval.screening import Screen

_MOST_OF_GROUP = 32
_GROUPS_A_PLACE = 6  # fewer groups than this for each place in the ranking would put the floor too low
_MOST_HELD = 2**22  # pairs that are held before those are dropped that the floor has risen above


class Nearest:
    """The images that can be among the nearest of their queries, as far as tiles have been seen.

    Args:
        screen: Where the tiles come from.
        queries: How many ask.
        top: How many images each query asks for.
        most_near: A query with more images above its floor is given up: screening cannot tell them apart.
    """

    def __init__(self, screen: Screen, queries: int, top: int, most_near: float = math.inf) -> None:
        self._screen, self._top, self._most_near = screen, top, most_near
        self._best = torch.full((queries, top), -math.inf, device=screen.device)
        self._floor = torch.full((queries,), -math.inf)
        self._held: list[tuple[Pairs, Tensor]] = []
        self._room = _MOST_HELD

    def asks(self, queries: slice) -> bool:
        """Whether one of some queries has not been given up."""
        return bool((self._floor[queries] < math.inf).any())

    def add(self, scores: Tensor, queries: slice, images: slice, axis: int) -> None:
        """Look for images in a tile of screened scores.

        Args:
            scores: The tile.
            queries: Whose tile it is.
            images: The images of the tile.
            axis: Along which the images lie.
        """
        members = min(_MOST_OF_GROUP, _power_of_two(scores.shape[axis] // (_GROUPS_A_PLACE * self._top)))
        rest = -scores.shape[axis] % members
        if rest:
            scores = torch.nn.functional.pad(scores, (0, rest) if axis else (0, 0, 0, rest), value=-math.inf)
        # Neighbours go to different groups; the other way round the maximum takes many times as long.
        groups = scores.view((len(scores), members, -1) if axis else (members, -1, scores.shape[1]))
        greatest = groups.amax(axis)
        if not axis:
            groups, greatest = groups.permute(2, 0, 1), greatest.T
        best = torch.cat([self._best[queries], greatest.float()], 1).topk(self._top).values
        floor = self._screen.floor(best[:, -1].cpu(), queries)
        self._best[queries], self._floor[queries] = best, floor
        floor = floor.to(scores.device)
        row, group = ((greatest >= floor[:, None]) & (greatest > -math.inf)).nonzero(as_tuple=True)
        inside = groups[row, :, group]
        hit, member = ((inside >= floor[row, None]) & (inside > -math.inf)).nonzero(as_tuple=True)
        pairs = Pairs((row[hit] + queries.start).cpu(), (member * greatest.shape[1] + group[hit] + images.start).cpu())
        self._held.append((pairs, inside[hit, member].float().cpu()))
        self._room -= len(pairs)
        if self._room < 0:
            self._drop()

    def take(self) -> tuple[Pairs, Tensor]:
        """The pairs that are left, in no order, and their screened scores; they are held no longer."""
        self._drop()
        pairs, scores = self._held.pop()
        self._room = _MOST_HELD
        return pairs, scores

    def given_up(self) -> Tensor:
        """The queries that have been given up, as of the last ``take``."""
        return (self._floor == math.inf).nonzero().squeeze(1)

    def _drop(self) -> None:
        """Give up the queries that hold too many pairs, and drop theirs and what floors have risen above."""
        nothing = torch.zeros(0, dtype=torch.int64)
        held = [(Pairs(nothing, nothing), torch.zeros(0)), *self._held]
        self._held.clear()
        pairs, scores = Pairs.join(*(part[0] for part in held)), torch.cat([part[1] for part in held])
        keep = scores >= self._floor[pairs.row]
        crowded = pairs.row[keep].bincount(minlength=len(self._floor)) > self._most_near
        self._floor[crowded] = math.inf
        self._best[crowded.to(self._best.device)] = math.inf
        keep &= ~crowded[pairs.row]
        self._held.append((Pairs(pairs.row[keep], pairs.column[keep]), scores[keep]))
        # Twice as many as are left, at least: so that dropping takes a small share of the time.
        self._room = max(_MOST_HELD - int(keep.sum()), int(keep.sum()))


def _power_of_two(most: int) -> int:
    return 1 << max(0, most.bit_length() - 1)
