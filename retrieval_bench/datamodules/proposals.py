"""Region proposals of a whole data set: one pass of a trained network over its pictures, one file; and its reading."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from retrieval_bench.datamodules.images import Batch
from retrieval_bench.datamodules.saliency import weights_fingerprint
from retrieval_bench.datamodules.transforms import resize_image
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError, UnreadableImageError
from retrieval_bench.datasets.images import load_image
from retrieval_bench.datasets.proposals import (
    PictureProposals,
    ProposalWriter,
    TableProposals,
    how_to_make,
    read_proposals,
)
from retrieval_bench.datasets.saliency_boxes import picture_paths, pictures_fingerprint
from retrieval_bench.errors import OptionError, said
from retrieval_bench.nn.preprocessing import MinSide, Preprocessing, WeightsFamily, normalize
from retrieval_bench.nn.rpn import ProposalNetwork


class _Pictures(Dataset[Tensor]):
    """Resized pixels ``(h, w, 3)`` uint8."""

    def __init__(self, root: Path, paths: Sequence[str], resize: MinSide) -> None:
        self._root, self._paths, self._resize = root, paths, resize

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> Tensor:
        return resize_image(load_image(self._root / self._paths[number]), self._resize).permute(1, 2, 0)


def make_proposals(
    network: ProposalNetwork,
    dataset: RetrievalDataset,
    folder: Path,
    resize: MinSide,
    family: WeightsFamily = "torchvision",
    *,
    learned_from: str = "",
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the proposals of all pictures of a data set; what an interrupted call has written is kept.

    Args:
        network: The trained network, in evaluation mode; on the GPU if there is one.
        dataset: Whose pictures; those of all its protocols, whole, whatever they crop.
        folder: Where the file goes, named by the data set, the sizes and the network's weights.
        resize: How pictures are resized; boxes are in pixels of what comes of it.
        family: Which pixel values the network was trained on.
        learned_from: What the network was trained on, in words.
        num_workers: Processes that decode; only the calling process writes.
        progress: Told how many pictures are done, of how many, after each; never called where all are done.

    Returns:
        The file.

    Raises:
        DataError: If another process writes it, or a picture cannot be read.
    """
    paths = picture_paths(dataset)
    fingerprint = weights_fingerprint(network)
    facts = {
        "dataset": dataset.name,
        "weights_fingerprint": fingerprint,
        "learned_from": learned_from,
        **asdict(resize),
        "count": network.count,
        "data_fingerprint": pictures_fingerprint(dataset.root, paths),
    }
    name = f"{_begin_of_name(dataset, resize)}{network.count}-{fingerprint}.jsonl"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    with ProposalWriter(folder / name, facts, len(paths)) as writer:
        missing = paths[writer.count :]
        loader = DataLoader(
            _Pictures(dataset.root, missing, resize),
            batch_size=None,
            num_workers=num_workers,
            generator=torch.Generator(),
        )
        try:
            for path, pixels in zip(missing, loader, strict=True):
                with torch.inference_mode():
                    boxes = network(normalize(pixels.to(device).permute(2, 0, 1)[None], family))[0]
                size = (pixels.shape[1], pixels.shape[0])
                writer.append([PictureProposals.pack(path, boxes.cpu().numpy(), size)])
                if progress is not None:
                    progress(writer.count, len(paths))
        except UnreadableImageError as error:
            raise UnreadableImageError(said(error)) from error
    return writer.file


def wanted_proposals(dataset: RetrievalDataset, preprocessing: Preprocessing) -> TableProposals | None:
    """The proposals that a recipe asks for; None if it asks for none.

    Args:
        dataset: Whose pictures.
        preprocessing: Names a file, or a folder with one file of this data set and of the recipe's sizes.

    Raises:
        OptionError: If the protocol crops pictures, which are then not those that the boxes are of.
        DataError: If the file is missing, there are several, or it is damaged.
    """
    place, protocol = preprocessing.proposals, dataset.protocol
    if place is None:
        return None
    if protocol.image_crop == "box" or protocol.query_crop == "image":
        raise OptionError(
            f"protocol {protocol.name!r} of {protocol.dataset} crops pictures, and the proposals in {place} are of "
            "whole ones: use another protocol, or the method with proposals of a grid"
        )
    if place.is_dir():
        assert isinstance(preprocessing.resize, MinSide)
        begin = _begin_of_name(dataset, preprocessing.resize)
        files = sorted(place.glob(f"{begin}*.jsonl"))
        if len(files) != 1:
            found = "no file" if not files else f"{len(files)} files"
            raise DataError(
                f"there is {found} {begin}*.jsonl in {place.absolute()}, and one is expected: name a file, or "
                f"{how_to_make(dataset)} and --output {place}"
            )
        (place,) = files
    return read_proposals(place, dataset)


class ProposedImages(Dataset[Batch]):
    """Pictures together with their proposals: ``proposals (R, 4)`` beside what is in every sample.

    Args:
        images: Samples of whole pictures.
        proposals: Of every row of the table.
    """

    def __init__(self, images: Dataset[Batch], proposals: TableProposals) -> None:
        self._images, self._proposals = images, proposals

    def __len__(self) -> int:
        return len(self._images)  # type: ignore[arg-type]  # torch's class does not say that it has a length

    def __getitem__(self, key: Any) -> Batch:
        sample = self._images[key]
        row = sample["index"]
        height, width = sample["image"].shape[:2]
        if (width, height) != tuple(self._proposals.size[row]):
            seen = "x".join(map(str, self._proposals.size[row]))
            raise DataError(
                f"row {row} is {width}x{height} pixels, its proposals are of {seen}: make them of this edition of the "
                "pictures, by a network that sees them at the size at which the method does"
            )
        return {**sample, "proposals": self._proposals.boxes[row]}


def _begin_of_name(dataset: RetrievalDataset, resize: MinSide) -> str:
    return f"{dataset.name}-rpn-{resize.side}-{resize.longest}-"
