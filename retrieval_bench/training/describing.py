"""Pictures described by a finished run as its evaluation described them: as queries, and as what is searched."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from retrieval_bench.bench import provenance
from retrieval_bench.datamodules import RetrievalDataModule
from retrieval_bench.datasets.errors import UnreadableImageError
from retrieval_bench.errors import said
from retrieval_bench.methods import RetrievalMethod
from retrieval_bench.nn.preprocessing import BGR_MEAN, RGB_MEAN, RGB_STD, MaxSide, MinSide, Preprocessing
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.ground_truth import GroundTruth, IntArray, RaggedLists
from retrieval_bench.training.finished import FinishedRun, RunError
from retrieval_bench.training.index_store import Maker

_FULL, _MIXED = ("32-true", "32"), ("16-mixed", "16", "bf16-mixed", "bf16")  # as Lightning takes them


class Describer:
    """A run's network, ready to describe pictures; on a GPU if there is one.

    Args:
        run: The run.

    Attributes:
        run: The same.
        method: Its network.
        maker: What an index says of it.

    Raises:
        RunError: If the run was computed in a precision that only its trainer has.
    """

    def __init__(self, run: FinishedRun) -> None:
        self.run = run
        self.method: RetrievalMethod = run.load()
        self.method.to("cuda" if torch.cuda.is_available() else "cpu")
        self._precision = str(run.result.config["trainer"].get("precision") or "32-true")
        if self._precision not in (*_FULL, *_MIXED):
            raise RunError(
                f"{run.result.run.name} was computed in {self._precision}, and pictures are described in 32-true or "
                "mixed precision"
            )
        self.maker = Maker(
            run=f"{run.result.run.suite}/{run.result.run.name}",
            method=type(self.method).__name__,
            config_hash=run.result.config_hash,
            checkpoint=run.checkpoint.sha256,
            preprocessing=preprocessing_facts(self.method.preprocessing),
            packages=provenance.packages(),
        )

    def describe(self, data: RetrievalDataModule, rows: IntArray) -> tuple[Descriptors, Descriptors]:
        """What asks and what is searched, of some pictures.

        Args:
            data: Where they are; it must have been told how the method wants its pictures.
            rows: Which rows of its table, ascending.

        Returns:
            Descriptors of the pictures as queries, and as the gallery; ``image`` counts the rows from 0 on.

        Raises:
            UnreadableImageError: If a picture cannot be read.
        """
        shards = []
        with torch.inference_mode():
            try:
                for batch in data.picture_dataloader(rows):
                    prepared = data.prepared(batch, self.method.device)
                    with self._mixed_precision():
                        shards.append(self.method.embed(prepared).cpu())
            except UnreadableImageError as error:
                raise UnreadableImageError(said(error)) from error
            query, gallery = self.method.searchable(Descriptors.merge(shards), _Only(data, rows))
        return _counted(query, rows), _counted(gallery, rows)

    def _mixed_precision(self) -> AbstractContextManager[Any]:
        if self._precision in _FULL:
            return nullcontext()
        device = self.method.device.type
        half = torch.bfloat16 if device == "cpu" or self._precision.startswith("bf16") else torch.half
        return torch.autocast(device, dtype=half, cache_enabled=False)  # as Lightning's


class _Only:
    """A datamodule of whose pictures some are all that asks and all that is searched."""

    def __init__(self, data: RetrievalDataModule, rows: IntArray) -> None:
        nothing = RaggedLists(np.empty(0, np.int64), np.zeros(len(rows) + 1, np.int64))
        self._data, self.ground_truth = data, GroundTruth(rows, rows, nothing, nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)


def _counted(descriptors: Descriptors, rows: IntArray) -> Descriptors:
    """Those of the rows, in their order and named by their places in it."""
    own = descriptors.select(rows)
    place = torch.searchsorted(torch.from_numpy(rows), own.image)
    return Descriptors(own.data, place, own.metric, own.boxes)


def preprocessing_facts(preprocessing: Preprocessing) -> dict[str, Any]:
    """A recipe in plain types, complete enough to be followed by other programs."""
    resize: Any = preprocessing.resize
    if isinstance(resize, MaxSide | MinSide):
        rule = "longer side" if isinstance(resize, MaxSide) else "shorter side"
        size = {"keep_aspect": True, "rule": rule, **asdict(resize)}
    elif isinstance(resize, int):
        size = {"keep_aspect": True, "rule": "shorter side", "side": resize}
    else:
        size = {"keep_aspect": False, "height": resize[0], "width": resize[1]}
    caffe = preprocessing.family == "caffe"
    return {
        "resize": {**size, "interpolation": "bilinear, antialiased"},
        "centre_crop": preprocessing.crop,
        "channels": "BGR" if caffe else "RGB",
        "range": [0, 255] if caffe else [0, 1],
        "mean": list(BGR_MEAN if caffe else RGB_MEAN),
        "std": [1.0, 1.0, 1.0] if caffe else list(RGB_STD),
        "cropped_to_salient_boxes": preprocessing.boxes is not None,
        "region_proposals": None if preprocessing.proposals is None else preprocessing.proposals.name,
    }
