"""Region proposals of a whole data set: one pass of a trained network over its pictures, one file."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from retrieval_bench.datamodules.saliency import weights_fingerprint
from retrieval_bench.datamodules.transforms import resize_image
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import UnreadableImageError
from retrieval_bench.datasets.images import load_image
from retrieval_bench.datasets.proposals import PictureProposals, ProposalWriter
from retrieval_bench.datasets.saliency_boxes import picture_paths, pictures_fingerprint
from retrieval_bench.nn.preprocessing import MinSide, WeightsFamily, normalize
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
        **asdict(resize),
        "count": network.count,
        "data_fingerprint": pictures_fingerprint(dataset.root, paths),
    }
    name = f"{dataset.name}-rpn-{resize.side}-{resize.longest}-{network.count}-{fingerprint}.jsonl"
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
            # A loader's worker sends its whole traceback as the message; the last line is what it had to say.
            raise UnreadableImageError(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from error
    return writer.file
