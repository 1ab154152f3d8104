"""Saliency boxes of a whole data set: one pass of a frozen network over its pictures, one file of boxes each alpha."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from retrieval_bench.datamodules.transforms import resize_image
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import UnreadableImageError
from retrieval_bench.datasets.images import load_image
from retrieval_bench.datasets.saliency_boxes import BoxWriter, PictureBox, picture_paths, pictures_fingerprint
from retrieval_bench.errors import OptionError
from retrieval_bench.nn.saliency import (
    Component,
    Merge,
    SaliencyNetwork,
    enlarge,
    grey_map,
    picture_box,
    salient_box,
)


@dataclass(frozen=True, kw_only=True)
class SaliencySettings:
    """What boxes depend on, besides network and pictures.

    Attributes:
        alphas: Pixels over ``255 * alpha`` are kept; 0.4 in the paper, 0.2 to 0.6 in its Table 2.
        merge: How channels become one.
        component: Whether the box is around all kept pixels or the largest component.
        side: To which pictures are resized, without keeping their aspect, in pixels (the paper: 299).

    Raises:
        OptionError: If an alpha or the side makes no sense.
    """

    alphas: tuple[float, ...] = (0.4,)
    merge: Merge = "mean"
    component: Component = "all"
    side: int = 299

    def __post_init__(self) -> None:
        wrong = [alpha for alpha in self.alphas if not 0 <= alpha < 1]
        if wrong:
            raise OptionError(f"alpha is a share of white from 0 to under 1, not {wrong[0]}")
        if self.side < 75:  # the least that Inception v3 takes
            raise OptionError(f"pictures of {self.side} pixels a side are too small for the networks; use 75 or more")


class Salience(NamedTuple):
    """A picture as the network saw it.

    Attributes:
        path: The picture, as the sample table names it.
        grey: ``(side, side)`` uint8.
        size: Width and height of the original picture.
    """

    path: str
    grey: Tensor
    size: tuple[int, int]

    def box(self, alpha: float, component: Component) -> PictureBox:
        """Its box at one alpha."""
        side = self.grey.shape[0]
        return PictureBox(self.path, picture_box(salient_box(self.grey, alpha, component), side, *self.size), self.size)


class _Pictures(Dataset[tuple[Tensor, int, int]]):
    """Resized pixels ``(side, side, 3)`` uint8, width and height."""

    def __init__(self, root: Path, paths: Sequence[str], side: int) -> None:
        self._root, self._paths, self._side = root, paths, side

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> tuple[Tensor, int, int]:
        image = load_image(self._root / self._paths[number])
        resized = resize_image(image, (self._side, self._side)).permute(1, 2, 0)
        return resized, image.shape[2], image.shape[1]


def saliences(
    network: SaliencyNetwork,
    root: Path,
    paths: Sequence[str],
    settings: SaliencySettings,
    *,
    batch_size: int = 16,
    num_workers: int = 0,
) -> Iterator[list[Salience]]:
    """Look at pictures, batch by batch, on the GPU if there is one.

    Boxes are the same for any number of workers; on a CPU for any batch size too, on a GPU but for a pixel in a few.

    Args:
        network: The frozen network.
        root: The data set's folder.
        paths: Pictures in it.
        settings: Side and merging.
        batch_size: Pictures that the network sees at once.
        num_workers: Processes that decode.

    Raises:
        UnreadableImageError: If a picture is missing or broken.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    loader = DataLoader(
        _Pictures(root, paths, settings.side), batch_size, num_workers=num_workers, generator=torch.Generator()
    )
    first = 0
    try:
        for pixels, widths, heights in loader:
            # One by one on a CPU, which rounds otherwise in batches of another size and gains little from them.
            together = len(pixels) if device.type == "cuda" else 1
            with torch.inference_mode():
                parts = pixels.to(device).permute(0, 3, 1, 2).split(together)
                greys = torch.cat([grey_map(network(part), settings.merge) for part in parts])
            sizes = zip(widths.tolist(), heights.tolist(), strict=True)
            batch = zip(paths[first : first + len(greys)], greys, sizes, strict=True)
            yield [Salience(path, enlarge(grey, settings.side), size) for path, grey, size in batch]
            first += len(greys)
    except UnreadableImageError as error:
        # A loader's worker sends its whole traceback as the message; the last line is what it had to say.
        raise UnreadableImageError(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from error


def make_boxes(
    network: SaliencyNetwork,
    dataset: RetrievalDataset,
    folder: Path,
    settings: SaliencySettings,
    *,
    batch_size: int = 16,
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the boxes of all pictures of a data set; what an interrupted call has written is kept.

    Args:
        network: The frozen network.
        dataset: Whose pictures; those of all its protocols.
        folder: Where the files go, one each alpha.
        settings: What the boxes depend on.
        batch_size: Pictures that the network sees at once.
        num_workers: Processes that decode; only the calling process writes.
        progress: Told how many pictures are done, of how many, after each batch; never called where all are done.

    Returns:
        The files, in the order of the alphas.

    Raises:
        OptionError: If the batch size or the number of workers makes no sense.
        DataError: If a file of other settings is in the way, another process writes it, or a picture cannot be read.
    """
    if batch_size < 1 or num_workers < 0:
        raise OptionError(f"there is no batch of {batch_size} pictures decoded by {num_workers} workers: take 1 and 0")
    paths = picture_paths(dataset)
    facts = {
        "dataset": dataset.name,
        "network": network.name,
        "layer": network.layer,
        "weights": network.weights,
        "weights_fingerprint": weights_fingerprint(network),
        "merge": settings.merge,
        "component": settings.component,
        "side": settings.side,
        "data_fingerprint": pictures_fingerprint(dataset.root, paths),
    }
    ending = "-largest" if settings.component == "largest" else ""
    files = {alpha: folder / f"{dataset.name}-{network.name}-a{alpha}{ending}.jsonl" for alpha in settings.alphas}
    with ExitStack() as stack:
        writers: dict[float, BoxWriter] = {}
        for alpha, file in files.items():
            writer = stack.enter_context(BoxWriter(file, {**facts, "alpha": alpha}, len(paths)))
            if not writer.complete:
                writers[alpha] = writer
        if not writers:
            return list(files.values())
        # Whole batches again, so that a batch is made of the same pictures in a pass that was cut short.
        done = min(writer.count for writer in writers.values()) // batch_size * batch_size
        for batch in saliences(
            network, dataset.root, paths[done:], settings, batch_size=batch_size, num_workers=num_workers
        ):
            for alpha, writer in writers.items():
                missing = batch[max(0, writer.count - done) :]
                writer.append(salience.box(alpha, settings.component) for salience in missing)
            done += len(batch)
            if progress is not None:
                progress(done, len(paths))
    return list(files.values())


def weights_fingerprint(network: nn.Module) -> str:
    """Twelve hexadecimal digits over the weights."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]
