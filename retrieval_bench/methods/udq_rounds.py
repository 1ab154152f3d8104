"""UDQ's procedure (Algorithm 1): quantise the features of all regions, learn to be what the codes say, and again."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn

from retrieval_bench.methods.base import Batch, RetrievalMethod
from retrieval_bench.methods.epoch_order import EpochOrder
from retrieval_bench.methods.gathering import of_all_processes, on_first_process
from retrieval_bench.methods.udq_parts import (
    CachedRegions,
    CodewordClassifiers,
    RegionBatches,
    drawn_regions,
)
from retrieval_bench.methods.udq_start import balanced_scale, principal_axes
from retrieval_bench.nn.backbones import Backbone
from retrieval_bench.retrieval.quantization import ProductQuantizer
from retrieval_bench.retrieval.refinement import Refinement, refine

ClassifierStart = Literal["random", "codebook", "kept"]


class QuantizationRounds(RetrievalMethod):
    """What alternates in UDQ. A subclass gives the network and its options; see there.

    Where the trunk is trained, all regions are described anew before each quantisation, and a step sees some regions
    of one picture; otherwise their vectors are kept, and a step sees all regions of many.

    Attributes:
        learned_from: What codebooks and weights were learned from, in words; empty if nothing was learned.
    """

    backbone: Backbone
    projection: nn.Linear
    quantizer: ProductQuantizer
    classifiers: CodewordClassifiers
    centre: Tensor
    feature_scale: Tensor
    proposals_per_image: int
    quantize: bool
    rotate: bool
    rounds: int | None
    epochs_per_round: int
    train_backbone: bool
    regions_per_step: int
    images_per_batch: int
    scaled: bool
    refinement: Refinement
    neighbours: int | None
    clusters: int
    classifier_start: ClassifierStart
    sharpness: float
    trunk_from: str

    def __init__(self) -> None:
        super().__init__()
        self.learned_from = ""
        self._regions: CachedRegions | None = None
        self._codes: Tensor | None = None
        self._quantized_at: int | None = None

    @abstractmethod
    def feature(self, vectors: Tensor) -> Tensor:
        """Features of regions: ``(..., C)`` unit vectors to ``(..., dim)`` float32."""

    @abstractmethod
    def region_vectors(self, image: Tensor, boxes: Tensor) -> Tensor:
        """``(B, R, C)`` unit vectors of the boxes ``(B, R, 4)`` of pictures ``(B, 3, H, W)``."""

    @abstractmethod
    def proposals(self, batch: Batch) -> Tensor:
        """``(B, R, 4)`` where objects may be in the pictures of a batch, in their pixels."""

    def setup(self, stage: str) -> None:
        """Say how long to train."""
        super().setup(stage)
        if stage == "fit":
            every = 0 if self.rounds is None else (self.rounds + 1) * self.epochs_per_round
            given = self.trainer.max_epochs
            self.trainer.fit_loop.max_epochs = every if given in (None, -1) else min(every, given)

    def fit_statistics(self) -> None:
        """The first half of module 1: FC_S as PCA, the feature scale, codebooks and codes."""
        found = self._data().proposals
        proposed = "regions of a grid" if found is None else f"proposals learned from {found.learned_from}"
        self.learned_from = f"{self._pictures()}; {self.trunk_from}; {proposed}"
        regions = self._cached()
        if self.trainer.is_global_zero:
            centre, axes = principal_axes(regions.blocks(), *reversed(self.projection.weight.shape))
            self.centre.copy_(centre)
            self.projection.weight.data.copy_(axes)
            self.projection.bias.data.zero_()
        self._broadcast(self.centre, self.projection.weight, self.projection.bias)
        if self.quantize:
            self._quantize()

    def training_batches(self) -> Iterable[Batch]:
        """Pictures of the gallery one by one, or regions of it and their codes."""
        data = self._data()
        if self.train_backbone:
            pictures: Iterable[Batch] = data.shuffled_dataloader(data.database_rows)
            return pictures
        regions = self._cached()
        order = EpochOrder(
            len(regions.image),
            self.images_per_batch,
            lambda: self.trainer.current_epoch,
            thing="picture",
            option="images_per_batch",
            seed=data.seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return RegionBatches(regions, self._current_codes, order)

    def coded_regions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What a step learns from: vectors of regions ``(n, C)`` and their codes ``(n, M)``."""
        if "vectors" in batch:
            return batch["vectors"], batch["codes"]
        data, index = self._data(), batch["index"].cpu()
        chosen = drawn_regions(
            self.proposals_per_image, self.regions_per_step, [data.seed, self.trainer.current_epoch], index.tolist()
        )
        boxes = self.proposals(batch)
        boxes = boxes.gather(1, chosen[..., None].expand(-1, -1, 4).to(boxes.device))
        picture = torch.from_numpy(np.searchsorted(data.database_rows, index.numpy()))
        assert self._codes is not None
        codes = self._codes[picture[:, None], chosen].to(self.device)
        vectors = self.region_vectors(batch["image"], boxes).flatten(0, 1)
        return vectors, codes.flatten(0, 1)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """At the end of a round make new codebooks and codes, which a validation will search with."""
        del outputs, batch, batch_idx
        if self.trainer.is_last_batch and (self.trainer.current_epoch + 1) % self.epochs_per_round == 0:
            self._quantize()

    def on_train_epoch_end(self) -> None:
        """Where training stops within a round, too."""
        trainer = self.trainer
        ends = trainer.should_stop or trainer.global_step == trainer.max_steps
        ends |= trainer.current_epoch + 1 == trainer.max_epochs
        if ends and self._quantized_at != trainer.global_step:
            self._quantize()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the codes that are learned: they were made of older features."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["learned_from"] = self.learned_from
        if self._codes is not None:
            checkpoint["codes"] = self._codes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the codes back."""
        self.learned_from = checkpoint["learned_from"]
        if "codes" in checkpoint:
            self._codes = checkpoint["codes"].cpu()

    def _data(self) -> Any:
        return self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it

    def _cached(self) -> CachedRegions:
        if self._regions is None:
            self._regions = self._describe_regions()
        return self._regions

    def _current_codes(self) -> Tensor:
        assert self._codes is not None
        return self._codes.to(self.device)

    def _pictures(self) -> str:
        """What codes are learned from, without what only distracts, in words."""
        data = self._data()
        return f"the {len(data.database_rows):,} searched pictures of {data.dataset.name} themselves, without labels"

    @torch.no_grad()
    def _describe_regions(self) -> CachedRegions:
        """Vectors of all proposals of the gallery; on the first process alone if no other learns from them."""
        data = self._data()
        rows = data.database_rows
        rank_zero_info(f"describing {self.proposals_per_image} regions of each of {self._pictures()}")
        shards: list[tuple[Tensor, Tensor]] = []
        for batch in data.picture_dataloader(rows):
            prepared = data.prepared(batch, self.device)
            with self.trainer.precision_plugin.forward_context():
                vectors = self.region_vectors(prepared["image"], self.proposals(prepared))
            # Halved at once: those of all pictures fill the memory.
            shards.append((prepared["index"].cpu(), vectors.half().cpu()))
        collect = on_first_process if self.train_backbone else of_all_processes
        described = [shard for own in collect(shards) for shard in own]
        image = torch.from_numpy(rows)
        if not described:
            return CachedRegions(torch.empty(0), image)
        every = torch.empty((len(rows), *described[0][1].shape[1:]), dtype=torch.float16)
        for index, vectors in described:
            every[torch.searchsorted(image, index)] = vectors
        return CachedRegions(every.to(self.device), image)

    @torch.no_grad()
    def _quantize(self) -> None:
        """New codebooks and codes, found by the first process and known to all, and classifiers to learn them."""
        data = self._data()
        regions, again = self._cached(), bool(self.quantizer.fitted)
        codes = self._fit_codes(regions, data.seed, again=again) if self.trainer.is_global_zero else None
        self._codes = self.trainer.strategy.broadcast(codes)
        self._quantized_at = self.trainer.global_step
        self._broadcast(*self.quantizer.buffers(), self.feature_scale)
        if self.train_backbone:
            self._regions = None  # the next round's will be others
        if again and self.classifier_start == "kept":
            return
        if self.classifier_start == "codebook":
            self.classifiers.start_at_codebooks(self.quantizer.codebooks, self.sharpness)
        else:
            chance = torch.Generator().manual_seed(data.seed * 1_000_003 + self.trainer.current_epoch)
            self.classifiers.start_at_random(chance)
        for optimizer in self.trainer.optimizers:
            optimizer.state.clear()  # velocities towards other codes

    def _fit_codes(self, regions: CachedRegions, seed: int, *, again: bool) -> Tensor:
        """``(images, R, M)`` the codes of refined features, after codebooks were learned from them."""
        features = torch.cat([self.feature(block) for block in regions.blocks()])
        refined = refine(features, self.refinement, neighbours=self.neighbours, clusters=self.clusters, seed=seed)
        warm = again and self.classifier_start == "kept"
        errors = self.quantizer.fit(refined, rotate=self.rotate, seed=seed, warm_start=warm)
        codes = self.quantizer.encode(refined)
        rank_zero_info(f"codebooks: squared error {errors[-1]:.4g} of {float(refined.square().sum(1).mean()):.4g}")
        if self.scaled and not again:
            # All that was learned so far grows in proportion.
            scale = balanced_scale(self.quantizer, features, codes)
            self.feature_scale.mul_(scale)
            self.quantizer.codebooks.mul_(scale)
        return codes.view(*regions.vectors.shape[:2], -1).cpu()

    @torch.no_grad()
    def _broadcast(self, *tensors: Tensor) -> None:
        """Give all processes the first one's values."""
        values = self.trainer.strategy.broadcast([tensor.detach().cpu() for tensor in tensors])
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
