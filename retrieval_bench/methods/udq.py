"""UDQ: Unsupervised deep quantization for object instance search.

Jiang, Wu, Jing, Yu, Jia; Neurocomputing, 2019.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import SGD

from retrieval_bench.errors import OptionError
from retrieval_bench.losses.quantization import discriminability, separability
from retrieval_bench.methods.base import Batch, RetrievalMethod, gather
from retrieval_bench.methods.udq_parts import CachedRegions, CodewordClassifiers, RegionBatches, first_and_others
from retrieval_bench.methods.udq_start import balanced_scale, principal_axes
from retrieval_bench.nn.backbones import Backbone, Tap
from retrieval_bench.nn.preprocessing import MinSide, Preprocessing, WeightsFamily
from retrieval_bench.nn.proposals import grid_boxes
from retrieval_bench.nn.roi import roi_vectors
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.localisation import best_boxes, overlap
from retrieval_bench.retrieval.metrics import FloatArray
from retrieval_bench.retrieval.quantization import ProductQuantizer
from retrieval_bench.retrieval.refinement import Refinement, check_refinement, refine

ClassifierStart = Literal["random", "codebook", "kept"]
_ROWS_AT_ONCE = 2**18


class UDQ(RetrievalMethod):
    """Codes of region proposals, learned from the searched pictures themselves: quantise, learn the codes, and again.

    The trunk is not trained: regions are described once, and what is learned on top (FC_S, FC_cls) is learned from
    these vectors. The paper also trains the trunk from its third group of convolutions on, and before that, most
    likely, on the queries with their boxes and landmarks as classes, which tells it what will be asked; here neither
    is done, and no label is read. Pictures that only distract are coded, but not learned from.

    A query is the region of its box in the map of its whole picture: what protocols that crop the activations ask for
    (``crop-x`` of landmarks). The region is the window that the protocol gives, or the whole picture.

    Args:
        backbone: The trunk: ``resnet101`` or ``vgg16`` in the paper (Tables 3 and 4).
        weights: ``imagenet``, ``none``, or the path of a state dict with torchvision's keys.
        weights_family: See ``Preprocessing``.
        tap: Which of the trunk's maps; of ResNet101 the paper takes the last one and does not say its stride.
        shorter_side: Of pictures, in pixels.
        longest_side: Of pictures, at most.
        proposals_per_image: Boxes of a grid of several scales and aspects; the paper's 200 come from a region proposal
            network.
        query_region: ``window``, as the protocol says, or ``box``: the table's box, whatever the protocol crops. Such
            numbers stand beside those of no other method.
        dim: Length of a feature; FC_S starts as the PCA to so many directions.
        quantize: Whether features are coded, or compared as they are (Figure 3, off the shelf, real-valued).
        subspaces: M (Tables 2 to 4).
        codewords: K (Tables 2 to 4); 512 for Oxford and 256 for Paris were chosen on the test sets.
        rotate: Whether subspaces are rotated (OPQ), or cut along the axes (PQ).
        rounds: How often codes are made anew and learned again after the first time (Figure 3); None to learn nothing:
            features off the shelf.
        epochs_per_round: Passes over all pictures between two quantisations. Not in the paper.
        discriminability_weight: Lambda, of the second loss (Figure 4).
        feature_scale: ``auto`` multiplies region vectors by one number, so that with a weight of 0.01 both losses are
            alike when every codeword is as likely, as the paper has it; ``none`` leaves them unit vectors.
        refinement: Of the features that codebooks, and the codes to be learned, are made from (Table 5).
        neighbours: S of the refinement; by default the paper's.
        clusters: Of the refinement. Not in the paper.
        classifier_start: How FC_cls starts each round: ``random``, for codewords have new numbers; ``codebook``, the
            soft assignment to the codewords; ``kept`` where it was, with codebooks that start from the last ones.
        sharpness: Of that soft assignment. Not in the paper.
        images_per_batch: Pictures in a batch of one process. Not in the paper.
        optimizer: SGD with the paper's rate and the momentum and decay of Faster R-CNN.

    Raises:
        OptionError: If an option has none of its values.

    Attributes:
        learned_from: What codebooks and weights were learned from, in words; empty if nothing was learned.
    """

    preprocessing: Preprocessing
    feature_scale: Tensor
    centre: Tensor
    unsaved_options: ClassVar[tuple[str, ...]] = ("optimizer",)

    def __init__(
        self,
        backbone: str = "resnet101",
        weights: str = "imagenet",
        weights_family: WeightsFamily = "torchvision",
        tap: Tap = "last",
        shorter_side: int = 600,
        longest_side: int = 1000,
        proposals_per_image: int = 200,
        query_region: Literal["window", "box"] = "window",
        dim: int = 300,
        quantize: bool = True,
        subspaces: int = 8,
        codewords: int = 512,
        rotate: bool = True,
        rounds: int | None = 2,
        epochs_per_round: int = 2,
        discriminability_weight: float = 0.01,
        feature_scale: Literal["auto", "none"] = "auto",
        refinement: Refinement = "none",
        neighbours: int | None = None,
        clusters: int = 1000,
        classifier_start: ClassifierStart = "random",
        sharpness: float = 1.0,
        images_per_batch: int = 40,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=1e-3, momentum=0.9, weight_decay=5e-4),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(self.unsaved_options))
        check_refinement(refinement)
        if classifier_start not in get_args(ClassifierStart):
            raise OptionError(
                f"classifier_start cannot be {classifier_start!r}; it is {', '.join(get_args(ClassifierStart))}"
            )
        if rounds is not None and not quantize:
            raise OptionError("without quantize there are no codes to learn: set rounds to null")
        if epochs_per_round < 1 or (rounds is not None and rounds < 0):
            raise OptionError(
                f"rounds is {rounds} and epochs_per_round {epochs_per_round}: they are at least 0 and 1, and rounds "
                "null learns nothing"
            )
        self.preprocessing = Preprocessing(MinSide(shorter_side, longest_side), flip=0, family=weights_family)
        self.backbone = Backbone(backbone, [tap], weights=weights, family=weights_family).requires_grad_(False)
        channels = self.backbone.channels(tap)
        if not 1 <= dim <= channels:
            raise OptionError(f"dim is {dim}: the {channels} channels of {backbone}'s map have 1 to {channels}")
        # Centred vectors: FC_S could subtract the mean itself, but there gradient descent at the paper's rate diverges.
        self.register_buffer("centre", torch.zeros(channels))
        self.projection = nn.Linear(channels, dim)  # FC_S
        self.quantizer = ProductQuantizer(dim, subspaces, codewords)
        self.classifiers = CodewordClassifiers(subspaces, self.quantizer.codebooks.shape[2], codewords)  # FC_cls
        self.register_buffer("feature_scale", torch.tensor(1.0))
        self.tap: Tap = tap
        self.proposals_per_image, self.query_region = proposals_per_image, query_region
        self.quantize, self.rotate, self.rounds, self.epochs_per_round = quantize, rotate, rounds, epochs_per_round
        self.discriminability_weight, self.scaled = discriminability_weight, feature_scale == "auto"
        self.refinement, self.neighbours, self.clusters = refinement, neighbours, clusters
        self.classifier_start, self.sharpness = classifier_start, sharpness
        self.images_per_batch, self.optimizer = images_per_batch, optimizer
        self.learned_from = ""
        self._regions: CachedRegions | None = None
        self._codes: Tensor | None = None
        self.train()

    # ---- the network

    def feature(self, vectors: Tensor) -> Tensor:
        """Features of regions: ``(..., C)`` unit vectors to ``(..., dim)`` float32."""
        with torch.autocast(vectors.device.type, enabled=False):  # codes must not hang on half precision
            features: Tensor = self.projection(self.feature_scale * (vectors.float() - self.centre))
        return features

    def region_vectors(self, image: Tensor, boxes: Tensor) -> Tensor:
        """``(B, R, C)`` unit vectors of the boxes ``(B, R, 4)`` of pictures ``(B, 3, H, W)``."""
        mode = self.backbone.training  # given back: Lightning warns of what is not in training mode when it starts
        self.backbone.eval()
        with torch.no_grad():
            maps = self.backbone(image)[self.tap]
        self.backbone.train(mode)
        return roi_vectors(maps, boxes, self.backbone.stride(self.tap))

    def proposals(self, image: Tensor) -> Tensor:
        """``(B, R, 4)`` where objects may be in pictures ``(B, 3, H, W)``, in their pixels."""
        boxes = grid_boxes(image.shape[2], image.shape[3], self.proposals_per_image).to(image.device)
        return boxes.expand(len(image), *boxes.shape)

    def embed(self, batch: Batch) -> Descriptors:
        """Of each picture first the region that it would be as a query, then its proposals, in its own pixels."""
        image = batch["image"]
        boxes = torch.cat([self._query_box(batch)[:, None], self.proposals(image)], dim=1)
        features = self.feature(self.region_vectors(image, boxes))
        owner = batch["index"].repeat_interleave(boxes.shape[1])
        return Descriptors(features.flatten(0, 1), owner, "euclidean", boxes.flatten(0, 1))

    def _query_box(self, batch: Batch) -> Tensor:
        """``(B, 4)``; what a box has outside of its picture is cut off."""
        image, key = batch["image"], self.query_region
        size = torch.tensor([image.shape[3], image.shape[2]] * 2, dtype=torch.float32, device=image.device)
        whole = size * torch.tensor([0, 0, 1, 1], device=image.device)
        return batch[key].clamp(min=0).minimum(size) if key in batch else whole.expand(len(image), 4)

    # ---- evaluation

    def searchable(self, descriptors: Descriptors, data: Any) -> tuple[Descriptors, Descriptors]:
        """The queries' regions against the gallery's proposals; as tables and codes, once there are codebooks."""
        own, proposals = first_and_others(descriptors)
        query, gallery = own.select(data.ground_truth.query), proposals.select(data.ground_truth.gallery)
        assert gallery.boxes is not None
        gallery = Descriptors(
            gallery.data, gallery.image, gallery.metric, data.original_boxes(gallery.boxes, gallery.image)
        )
        if not (self.quantize and self.quantizer.fitted):
            return query, gallery
        blocks = torch.split(gallery.data, _ROWS_AT_ONCE)
        codes = torch.cat([self.quantizer.encode(block.to(self.device)).cpu() for block in blocks])
        tables = self.quantizer.tables(query.data.to(self.device)).flatten(1).cpu()
        return Descriptors(tables, query.image, "adc"), Descriptors(codes, gallery.image, "adc", gallery.boxes)

    @property
    def bytes_per_image(self) -> float:
        """Of a picture's codes, without gaps, or of its features."""
        bits = self.quantizer.bits if self.quantize else 32 * self.quantizer.dim
        return self.proposals_per_image * bits / 8

    def further_metrics(self, data: Any) -> dict[str, FloatArray]:
        """The share of a query's positives with a known box in which it is found with an overlap of at least 0.5.

        Landmarks have known boxes only in the queries' own pictures.
        """
        truth, table = data.ground_truth, data.table
        if table.box is None or data.protocol.image_crop == "box":
            return {}
        place = np.repeat(np.arange(len(truth.query)), truth.positives.lengths)
        asking, found = truth.query[place], truth.positives.values
        path = np.array(table.path)
        box = np.where((path[asking] == path[found])[:, None], table.box[asking], table.box[found])
        known = np.isfinite(box).all(1)
        if not known.any():
            return {}
        assert self.searched is not None
        boxes = best_boxes(*self.searched, asking[known], found[known], self.device)
        right = (overlap(boxes, torch.from_numpy(box[known])) >= 0.5).double().numpy()
        count = np.bincount(place[known], minlength=len(truth.query))
        hits = np.bincount(place[known], right, minlength=len(truth.query))
        return {"localisation_at_50": np.where(count > 0, hits / np.maximum(count, 1), np.nan)}

    # ---- training

    def setup(self, stage: str) -> None:
        """Say how long to train."""
        super().setup(stage)
        if stage == "fit":
            every = 0 if self.rounds is None else (self.rounds + 1) * self.epochs_per_round
            given = self.trainer.max_epochs
            self.trainer.fit_loop.max_epochs = every if given in (None, -1) else min(every, given)

    def fit_statistics(self) -> None:
        """The first half of module 1: FC_S as PCA, the feature scale, codebooks and codes."""
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
        """Regions of the gallery and their codes."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        return RegionBatches(
            self._cached(),
            self._current_codes,
            lambda: self.trainer.current_epoch,
            self.images_per_batch,
            seed=data.seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Both losses of regions and their codes (equation 7); means, where the paper has sums."""
        del batch_idx
        with torch.autocast(batch["vectors"].device.type, enabled=False):
            rotated = self.quantizer.rotate(self.feature(batch["vectors"]))
            separable = separability(self.classifiers(rotated), batch["codes"])
            discriminable = discriminability(rotated, self.quantizer.decode(batch["codes"]))
            loss = separable + self.discriminability_weight * discriminable
        self.log_dict({"train/separability": separable, "train/discriminability": discriminable, "train/loss": loss})
        return loss

    def on_train_epoch_end(self) -> None:
        """At the end of a round, and of training, make new codebooks and codes."""
        epoch, trainer = self.trainer.current_epoch + 1, self.trainer
        ends = trainer.should_stop or epoch == trainer.max_epochs or trainer.global_step == trainer.max_steps
        if epoch % self.epochs_per_round == 0 or ends:
            self._quantize()

    def configure_optimizers(self) -> Any:
        """One rate all along."""
        return self.optimizer(self.parameter_groups())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the codes that are learned: they were made of older features."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["learned_from"] = self.learned_from
        if self._codes is not None:
            checkpoint["codes"] = self._codes.cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the codes back."""
        self.learned_from = checkpoint["learned_from"]
        if "codes" in checkpoint:
            self._codes = checkpoint["codes"]

    # ---- rounds

    def _cached(self) -> CachedRegions:
        if self._regions is None:
            self._regions = self._describe_regions()
        return self._regions

    def _current_codes(self) -> Tensor:
        assert self._codes is not None
        return self._codes.to(self.device)

    @torch.no_grad()
    def _describe_regions(self) -> CachedRegions:
        """Vectors of all proposals of the gallery, without what only distracts."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        rows = data.database_rows
        self.learned_from = f"the {len(rows):,} searched pictures of {data.dataset.name} themselves, without labels"
        rank_zero_info(f"describing {self.proposals_per_image} regions of each of {self.learned_from}")
        shards = []
        for batch in data.picture_dataloader(rows):
            prepared = data.prepared(batch, self.device)
            with self.trainer.precision_plugin.forward_context():
                vectors = self.region_vectors(prepared["image"], self.proposals(prepared["image"]))
            owner = prepared["index"].repeat_interleave(vectors.shape[1])
            shards.append(Descriptors(vectors.flatten(0, 1), owner).cpu())
        every = Descriptors.merge(gather(shards))
        vectors = every.data.half().view(-1, self.proposals_per_image, every.data.shape[1])
        return CachedRegions(vectors.to(self.device), every.image[:: self.proposals_per_image])

    @torch.no_grad()
    def _quantize(self) -> None:
        """New codebooks and codes, found by the first process and known to all, and classifiers to learn them."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        regions, again = self._cached(), bool(self.quantizer.fitted)
        codes = self._fit_codes(data.seed, again=again) if self.trainer.is_global_zero else None
        codes = self.trainer.strategy.broadcast(codes)
        assert codes is not None
        self._codes = codes.view(*regions.vectors.shape[:2], -1)
        self._broadcast(*self.quantizer.buffers(), self.feature_scale)
        if again and self.classifier_start == "kept":
            return
        if self.classifier_start == "codebook":
            self.classifiers.start_at_codebooks(self.quantizer.codebooks, self.sharpness)
        else:
            chance = torch.Generator().manual_seed(data.seed * 1_000_003 + self.trainer.current_epoch)
            self.classifiers.start_at_random(chance)
        for optimizer in self.trainer.optimizers:
            optimizer.state.clear()  # velocities that belong to other classifiers

    def _fit_codes(self, seed: int, *, again: bool) -> Tensor:
        """``(n, M)`` the codes of refined features, after codebooks were learned from them."""
        features = torch.cat([self.feature(block) for block in self._cached().blocks()])
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
        return codes.cpu()

    @torch.no_grad()
    def _broadcast(self, *tensors: Tensor) -> None:
        """Give all processes the first one's values."""
        values = self.trainer.strategy.broadcast([tensor.detach().cpu() for tensor in tensors])
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
