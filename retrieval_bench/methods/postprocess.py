"""What post-processing may ask of a method and its data."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from retrieval_bench.errors import OptionError
from retrieval_bench.methods.gathering import gather, of_all_processes
from retrieval_bench.nn.projections import load_projection
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.postprocessing import PictureMap, PostProcessing, References, RetrievalState, postprocess

if TYPE_CHECKING:
    from retrieval_bench.methods.base import RetrievalMethod

T = TypeVar("T")


class MethodSources:
    """The ``Sources`` of post-processing: pictures of the datamodule, as a method sees and describes them.

    Args:
        method: A method in evaluation.
        data: The datamodule.
    """

    def __init__(self, method: "RetrievalMethod", data: Any) -> None:
        self.method, self.data = method, data
        self.device = method.device
        self._references: References | None = None

    @property
    def reference_name(self) -> str:
        """What ``references`` are, in words."""
        name: str = self.data.reference_name
        return name

    def references(self) -> References:
        """The datamodule's reference pictures, described once."""
        if self._references is None:
            shards: list[Descriptors] = []
            labels: dict[int, int] = {}
            for batch in self._prepared(self.data.reference_dataloader()):
                with self.method.trainer.precision_plugin.forward_context():
                    shards.append(self.method.embed(batch).cpu())
                labels.update(zip(batch["index"].tolist(), batch["label"].tolist(), strict=True))
            described = Descriptors.merge(gather(shards))
            label_of = dict(pair for share in of_all_processes(labels) for pair in share.items())
            label = torch.tensor([label_of[row] for row in described.image.tolist()], dtype=torch.int64)
            self._references = References(described.data, label)
        return self._references

    def projection(self, file: Path) -> tuple[Tensor, Tensor]:
        """A published projection of descriptors."""
        return load_projection(file)

    def maps(self, rows: Any) -> Iterator[PictureMap]:
        """The maps of pictures, without the cells that their windows leave out.

        Raises:
            OptionError: If the method has none.
        """
        method: Any = self.method
        if not (hasattr(method, "maps") and hasattr(method, "describe_windows")):
            raise OptionError(
                f"{type(method).__name__} has no maps of regions to find queries in: leave LocalisationReranking out "
                "of --trainer.postprocessing, or use a regional method such as RMAC"
            )
        for batch in self._prepared(self.data.picture_dataloader(rows)):
            with method.trainer.precision_plugin.forward_context():
                maps = method.maps(batch)
            height, width = batch["image"].shape[-2:]
            for i, row in enumerate(batch["index"].tolist()):
                x1, y1, x2, y2 = batch["window"][i].tolist() if "window" in batch else (0, 0, width, height)
                yield PictureMap(row, maps[i], (y2 - y1) / (x2 - x1), batch["image"][i])

    def describe_windows(self, picture: PictureMap, windows: Tensor) -> Tensor:
        """The method's descriptors of parts of a picture."""
        method: Any = self.method
        described: Tensor = method.describe_windows(picture.cells, windows, picture.pixels)
        return described

    def gather(self, share: list[T]) -> list[T]:
        """What all processes have, in the order of their ranks."""
        return [one for part in of_all_processes(share) for one in part]

    def _prepared(self, loader: Any) -> Iterator[dict[str, Tensor]]:
        return (self.data.prepared(batch, self.device) for batch in loader)


def take_steps(
    method: "RetrievalMethod", data: Any, descriptors: Descriptors, steps: Sequence[PostProcessing]
) -> tuple[RetrievalState, tuple[str, ...]]:
    """Post-process the descriptors of all evaluation pictures; all processes must do it together.

    Args:
        method: What made them.
        data: The datamodule; of its ground truth no more is read than which images ask and which are searched.
        descriptors: Of queries and gallery.
        steps: What to do.

    Returns:
        The last state, and a note for each step.

    Raises:
        OptionError: As ``postprocess`` raises it.
    """
    return postprocess(
        steps,
        descriptors,
        data.ground_truth.query,
        data.ground_truth.gallery,
        exclude_self=data.protocol.self_match == "exclude",
        sources=MethodSources(method, data),
    )
