"""Rows of a sample table as pictures: the work of a loader's worker processes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from retrieval_bench.datamodules.samplers import Draw, IntArray
from retrieval_bench.datamodules.transforms import (
    Box,
    Window,
    box_window,
    centre_window,
    check_recipe,
    crop_image,
    random_window,
    resize_image,
    resized_size,
    scale_box,
)
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.datasets.errors import DataError
from retrieval_bench.datasets.images import image_size, load_image
from retrieval_bench.datasets.saliency_boxes import TableBoxes, read_boxes
from retrieval_bench.errors import OptionError
from retrieval_bench.nn.preprocessing import Preprocessing

Batch = dict[str, Any]


class Picture(NamedTuple):
    """A resized picture.

    Attributes:
        pixels: ``(h, w, 3)`` uint8, channels last: so pictures are decoded, and so they are quickest to cut.
        box: Its box x1, y1, x2, y2 in pixels of the resized picture, if the table has boxes.
    """

    pixels: Tensor
    box: Box | None


class PictureSource(Protocol):
    """Where resized pictures come from: decoded anew, or read back from a cache."""

    def __getitem__(self, row: int) -> Picture: ...

    def __len__(self) -> int: ...


class DecodedPictures(Dataset[Picture]):
    """The pictures of a data set from their files: cropped as the protocol says, resized as the method needs.

    Where the protocol crops queries, the whole picture is resized and the box is then cut out of it, so that a query
    and the database are seen at one scale. A method that wants pictures of one size alone gets the box stretched to it.
    Saliency boxes cut the decoded picture; it is then treated as if it had never been larger.

    Args:
        dataset: Where the pictures lie.
        preprocessing: The recipe; of it only ``boxes`` and ``resize`` are applied here.

    Attributes:
        salient: The recipe's saliency boxes, one a row.

    Raises:
        OptionError: If the recipe cannot be followed, or the protocol crops to boxes that the table does not have, or
            crops queries that are also searched, or both the protocol and the recipe crop.
        DataError: If there are no saliency boxes of these pictures in the recipe's file.
    """

    def __init__(self, dataset: RetrievalDataset, preprocessing: Preprocessing) -> None:
        check_recipe(preprocessing)
        self.dataset, self.resize = dataset, preprocessing.resize
        protocol, table = dataset.protocol, dataset.table
        self._cropped = np.full(len(table), protocol.image_crop == "box")
        self._cut_later = np.zeros(len(table), np.bool_)
        if protocol.query_crop == "image":
            if (table.is_query & table.is_gallery & ~self._cropped).any():
                raise OptionError(
                    f"protocol {protocol.name!r} of {protocol.dataset} crops its queries, but some of them are also "
                    "searched, uncropped: the table must give each such query a row of its own"
                )
            if isinstance(self.resize, tuple):
                self._cropped |= table.is_query
            elif preprocessing.crop is not None:
                raise OptionError(
                    f"protocol {protocol.name!r} of {protocol.dataset} cuts queries to their boxes, which may be "
                    f"smaller than the square of {preprocessing.crop} pixels that the method cuts: use it with "
                    "another protocol"
                )
            else:
                self._cut_later = table.is_query & ~self._cropped
        if (self._cropped | self._cut_later).any() and table.box is None:
            raise OptionError(
                f"protocol {protocol.name!r} of {protocol.dataset} crops pictures to boxes, but its table has none"
            )
        self.salient: TableBoxes | None = None
        if preprocessing.boxes is not None:
            if (self._cropped | self._cut_later).any():
                raise OptionError(
                    f"protocol {protocol.name!r} of {protocol.dataset} crops pictures itself: "
                    f"use another protocol, or the method without the saliency boxes {preprocessing.boxes}"
                )
            self.salient = read_boxes(preprocessing.boxes, dataset)

    def __len__(self) -> int:
        return len(self._cropped)

    def __getitem__(self, row: int) -> Picture:
        image = load_image(self.dataset.image_path(row))
        boxes = self.dataset.table.box
        box: Box | None = None
        if boxes is not None and self._cropped[row]:
            image = crop_image(image, boxes[row])
            box = np.array([0, 0, image.shape[2], image.shape[1]], np.float32)
        elif boxes is not None:
            box = boxes[row]
        if self.salient is not None:
            window = self._salient_window(row, image.shape[1], image.shape[2])
            image = window.cut(image)
            box = window.move(box) if box is not None else None
        resized = resize_image(image, self.resize)
        if box is not None:
            box = scale_box(box, (image.shape[1], image.shape[2]), (resized.shape[1], resized.shape[2]))
        if box is not None and self._cut_later[row]:
            resized = crop_image(resized, box)
            box = np.array([0, 0, resized.shape[2], resized.shape[1]], np.float32)
        return Picture(resized.permute(1, 2, 0), box)

    def shape(self, row: int) -> tuple[int, int]:
        """Height and width of the picture of a row, from its header alone."""
        height, width = image_size(self.dataset.image_path(row))
        boxes = self.dataset.table.box
        if boxes is not None and self._cropped[row]:
            window = box_window(height, width, boxes[row])
            height, width = window.height, window.width
        if self.salient is not None:
            window = self._salient_window(row, height, width)
            height, width = window.height, window.width
        high, wide = resized_size(height, width, self.resize)
        if boxes is not None and self._cut_later[row]:
            window = box_window(high, wide, scale_box(boxes[row], (height, width), (high, wide)))
            return window.height, window.width
        return high, wide

    def _salient_window(self, row: int, height: int, width: int) -> Window:
        assert self.salient is not None
        expected_width, expected_height = self.salient.size[row]
        if (height, width) != (expected_height, expected_width):
            raise DataError(
                f"{self.dataset.image_path(row)} is {width}x{height} pixels, its saliency box was found on "
                f"{expected_width}x{expected_height}: make the boxes of this edition of the pictures with "
                f"`retrieval-bench saliency {self.dataset.name} --root {self.dataset.root} --output FOLDER`"
            )
        return box_window(height, width, self.salient.box[row])


def picture_shapes(pictures: DecodedPictures, rows: IntArray) -> IntArray:
    """``(m, 2)`` height and width of some rows' pictures."""
    # Reading a header is mostly waiting for the disk.
    with ThreadPoolExecutor(max_workers=16) as pool:
        shapes = list(pool.map(pictures.shape, rows.tolist(), chunksize=64))
    return np.array(shapes, np.int64).reshape(-1, 2)


def sample_of(row: int, label: int, picture: Picture, window: Window) -> Batch:
    """What a batch holds of one picture, seen through a window."""
    pixels = window.cut(picture.pixels.permute(2, 0, 1)).permute(1, 2, 0)
    sample: Batch = {"image": pixels, "label": label, "index": row}
    if picture.box is not None:
        sample["box"] = window.move(picture.box)
    return sample


class TrainingImages(Dataset[Batch]):
    """Augmented pictures, asked for by row and seed.

    Args:
        pictures: One a row of the table.
        labels: ``(n,)`` the training class of each row.
        preprocessing: Crop and flip.
    """

    def __init__(self, pictures: PictureSource, labels: IntArray, preprocessing: Preprocessing) -> None:
        self._pictures, self._labels, self._preprocessing = pictures, labels, preprocessing

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, draw: Draw) -> Batch:
        picture = self._pictures[draw.row]
        height, width = picture.pixels.shape[:2]
        window = random_window(height, width, self._preprocessing, draw.seed)
        return sample_of(draw.row, int(self._labels[draw.row]), picture, window)


class EvaluationImages(Dataset[Batch]):
    """Pictures as they are evaluated, by position in a list of rows.

    Args:
        pictures: One a row of the table.
        labels: ``(n,)`` the table's label of each row.
        rows: ``(m,)`` the rows to evaluate.
        preprocessing: The crop.
    """

    def __init__(self, pictures: PictureSource, labels: IntArray, rows: IntArray, preprocessing: Preprocessing) -> None:
        self._pictures, self._labels, self._rows, self._preprocessing = pictures, labels, rows, preprocessing

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> Batch:
        row = int(self._rows[position])
        picture = self._pictures[row]
        height, width = picture.pixels.shape[:2]
        return sample_of(row, int(self._labels[row]), picture, centre_window(height, width, self._preprocessing))


def collate(samples: list[Batch]) -> Batch:
    """Make a batch: ``image (B, 3, H, W)`` uint8, channels last in memory, and the rest as int64 and float32.

    Raises:
        OptionError: If the pictures differ in size.
    """
    sizes = {tuple(sample["image"].shape[:2]) for sample in samples}
    if len(sizes) > 1:
        height, width = sorted(sizes)[0]
        raise OptionError(
            f"{len(samples)} pictures of {len(sizes)} sizes, one of them {width}x{height}, make no batch: evaluate "
            "them one by one (--data.eval_batch_size 1), or choose a method whose preprocessing crops"
        )
    batch: Batch = default_collate(samples)
    batch["image"] = batch["image"].permute(0, 3, 1, 2)
    return batch


def stack_pictures(pictures: list[Picture]) -> tuple[Tensor, Tensor]:
    """Pixels ``(B, h, w, 3)`` and boxes ``(B, 4)`` of pictures of one size; zeros where there are no boxes."""
    boxes = [np.zeros(4, np.float32) if p.box is None else p.box for p in pictures]
    return torch.stack([p.pixels for p in pictures]), torch.from_numpy(np.stack(boxes))
