"""Which images make a batch: P×K or shuffled for training, every image once for evaluation; all know their rank."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pytorch_lightning import Trainer
from torch.utils.data import Sampler

from retrieval_bench.errors import OptionError

IntArray = npt.NDArray[np.int64]


class Draw(NamedTuple):
    """One training sample: which image, and the seed of its crop and flip.

    The seed travels with the row, so that a picture is augmented alike whichever worker process loads it.
    """

    row: int
    seed: int


class ClassBalancedBatchSampler(Sampler[list[Draw]]):
    """Batches of P classes with K images each.

    All ranks make the same plan of an epoch from ``(seed, epoch)`` alone and each takes its own batches of it: what one
    process draws does not hang on what it drew before, so a resumed run goes on as the uninterrupted one.
    The batch is per process; one step sees ``world_size`` times as many images.

    Every class comes once before any comes twice (ABIR, section 3: 16 classes of 5 images), and so do the images of a
    class over the epoch. The classes of one step all differ, across ranks too, where there are enough. Classes with
    fewer than K images are drawn with replacement. An epoch has as many images as the training set, rounded down to
    whole steps, and at least one batch place for every class.

    Args:
        labels: ``(n,)`` the class of each row; rows of -1 are never drawn.
        classes_per_batch: P.
        images_per_class: K.
        seed: Two samplers with the same seed make the same batches.
        rank: Which process this is.
        world_size: Of how many.

    Raises:
        OptionError: If there are fewer than P classes.
    """

    def __init__(
        self,
        labels: npt.ArrayLike,
        classes_per_batch: int,
        images_per_class: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if classes_per_batch < 1 or images_per_class < 1:
            raise OptionError(
                "classes_per_batch and images_per_class must be at least 1, "
                f"got {classes_per_batch} and {images_per_class}"
            )
        label = np.asarray(labels, np.int64)
        classes = np.unique(label[label >= 0])
        if len(classes) < classes_per_batch:
            raise OptionError(
                f"a batch of {classes_per_batch} classes cannot be made from the {len(classes)} training classes there "
                f"are: set classes_per_batch (--data.classes_per_batch) to at most {len(classes)}"
            )
        self._images = _rows_of_each(label[label >= 0], np.flatnonzero(label >= 0))
        self._p, self._k = classes_per_batch, images_per_class
        self._seed, self._rank, self._world = seed, rank, world_size
        self._epoch = 0
        # The classes of one step all differ if that is possible, else at least those of one batch.
        self._hand = self._p * world_size if len(classes) >= self._p * world_size else self._p
        per_step = self._p * world_size
        images = int((label >= 0).sum())
        self._steps = max(images // (per_step * self._k), -(-len(classes) // per_step))

    @property
    def sampler(self) -> "ClassBalancedBatchSampler":
        """Itself: a loader's ``batch_sampler.sampler`` is where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[Draw]]:
        rows, seeds = self.plan(self._epoch)
        for step_rows, step_seeds in zip(rows[:, self._rank].tolist(), seeds[:, self._rank].tolist(), strict=True):
            yield [Draw(row, seed) for row, seed in zip(step_rows, step_seeds, strict=True)]

    def plan(self, epoch: int) -> tuple[IntArray, IntArray]:
        """The batches of all ranks in one epoch.

        Returns:
            Rows and augmentation seeds, each ``(steps, world_size, P·K)``; K neighbours share a class.
        """
        rng = np.random.default_rng([self._seed, epoch])
        shape = (self._steps, self._world, self._p * self._k)
        places = self._steps * self._world * self._p
        classes = _deal(len(self._images), self._hand, places // self._hand, rng).ravel()
        rows = np.empty((places, self._k), np.int64)
        for images, mine in zip(self._images, _rows_of_each(classes, np.arange(places)), strict=True):
            if len(images) < self._k:
                rows[mine] = rng.choice(images, (len(mine), self._k))
            else:
                rows[mine] = images[_deal(len(images), self._k, len(mine), rng)]
        return rows.reshape(shape), rng.integers(2**63, size=shape)


class ShuffledBatchSampler(Sampler[list[Draw]]):
    """Every image once an epoch, in an order drawn anew from ``(seed, epoch)``: what classifiers are trained with.

    The batch is per process. What does not fill a batch of every rank is left out, other images in other epochs.

    Args:
        rows: ``(n,)`` the rows to draw from.
        batch_size: Images in a batch of one process.
        seed: Two samplers with the same seed make the same batches.
        rank: Which process this is.
        world_size: Of how many.

    Raises:
        OptionError: If not even one batch for every process can be filled.
    """

    def __init__(self, rows: IntArray, batch_size: int, *, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        if not 1 <= batch_size * world_size <= len(rows):
            raise OptionError(
                f"batches of {batch_size} images for {world_size} processes cannot be filled from {len(rows)} training "
                "images: set another batch_size (--data.batch_size)"
            )
        self._rows, self._size, self._seed, self._rank, self._world = rows, batch_size, seed, rank, world_size
        self._epoch = 0

    @property
    def sampler(self) -> "ShuffledBatchSampler":
        """Itself: a loader's ``batch_sampler.sampler`` is where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._rows) // (self._size * self._world)

    def __iter__(self) -> Iterator[list[Draw]]:
        rng = np.random.default_rng([self._seed, self._epoch])
        rows, seeds = rng.permutation(self._rows), rng.integers(2**63, size=len(self._rows))
        for step in range(len(self)):
            start = (step * self._world + self._rank) * self._size
            mine = slice(start, start + self._size)
            yield [Draw(row, seed) for row, seed in zip(rows[mine].tolist(), seeds[mine].tolist(), strict=True)]


def _rows_of_each(label: IntArray, row: IntArray) -> list[IntArray]:
    """The rows of each label, in the order of labels and rows."""
    order = np.argsort(label, kind="stable")
    starts = np.flatnonzero(np.diff(label[order])) + 1
    return np.split(row[order], starts)


def _deal(cards: int, hand: int, hands: int, rng: np.random.Generator) -> IntArray:
    """Deal hands without a card twice in one, every card once before any comes again.

    Where the deck ends inside a hand, that hand is filled from the next deck with cards it does not hold yet.

    Returns:
        ``(hands, hand)`` numbers below ``cards``.
    """
    dealt = np.empty((hands, hand), np.int64)
    deck = np.empty(0, np.int64)
    for i in range(hands):
        if len(deck) >= hand:
            dealt[i], deck = deck[:hand], deck[hand:]
            continue
        fresh = rng.permutation(cards)
        taken = fresh[~np.isin(fresh, deck)][: hand - len(deck)]
        dealt[i] = np.concatenate([deck, taken])
        deck = fresh[~np.isin(fresh, taken)]
    return dealt


class StridedSampler(Sampler[int]):
    """Every image once over all ranks: rank r of W takes r, r + W, …; nothing is padded.

    Args:
        size: How many images there are.
        rank: Which process this is.
        world_size: Of how many.
    """

    def __init__(self, size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self._rows = range(rank, size, world_size)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)


class ShapeBatchSampler(Sampler[list[int]]):
    """Every image once over all ranks, in batches of one shape, so that pictures that keep their aspect go together.

    Batches are cut from each shape in the order of images, and dealt to the ranks by their number of pixels; nothing
    is padded and no picture is seen twice.

    Args:
        shapes: ``(n, 2)`` height and width of each image.
        batch_size: Images in a batch at most.
        rank: Which process this is.
        world_size: Of how many.
    """

    def __init__(self, shapes: IntArray, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        if batch_size < 1:
            raise OptionError(f"a batch needs at least 1 image, not {batch_size}: set --data.eval_batch_size")
        _, kind = np.unique(shapes, axis=0, return_inverse=True)
        batches = [
            same[i : i + batch_size].tolist()
            for same in _rows_of_each(kind.reshape(-1), np.arange(len(shapes)))
            for i in range(0, len(same), batch_size)
        ]
        # Large ones first: memory that is enough at the start is enough to the end, and ranks finish together.
        batches.sort(key=lambda batch: -len(batch) * int(np.prod(shapes[batch[0]])))
        self._batches = batches[rank::world_size]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)


def refuse_foreign_samplers(trainer: Trainer) -> None:
    """See that Lightning leaves these samplers in place.

    Raises:
        OptionError: If it would put its own before them.
    """
    if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
        raise OptionError(
            "Lightning would put its own sampler before the class-balanced batches and repeat evaluation images: "
            "set --trainer.use_distributed_sampler false"
        )
    if getattr(trainer, "overfit_batches", 0):
        raise OptionError(
            "overfit_batches replaces the class-balanced batches: "
            "limit --trainer.limit_train_batches instead, and leave --trainer.overfit_batches at 0"
        )
