"""UDQ: Unsupervised deep quantization for object instance search.

Jiang, Wu, Jing, Yu, Jia; Neurocomputing, 2019.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD

from retrieval_bench.errors import OptionError
from retrieval_bench.losses.quantization import discriminability, separability
from retrieval_bench.methods.base import Batch
from retrieval_bench.methods.udq_parts import CodewordClassifiers, first_rows, other_rows, scaled_gradient
from retrieval_bench.methods.udq_rounds import ClassifierStart, QuantizationRounds
from retrieval_bench.nn.backbones import Backbone, Tap, origin
from retrieval_bench.nn.preprocessing import MinSide, Preprocessing, WeightsFamily
from retrieval_bench.nn.proposals import grid_boxes
from retrieval_bench.nn.roi import roi_vectors
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.localisation import best_boxes, overlap
from retrieval_bench.retrieval.metrics import FloatArray
from retrieval_bench.retrieval.quantization import ProductQuantizer
from retrieval_bench.retrieval.refinement import Refinement, check_refinement

_ROWS_AT_ONCE = 2**18


class UDQ(QuantizationRounds):
    """Codes of region proposals, learned from the searched pictures themselves: quantise, learn the codes, and again.

    No label of theirs is read. Before all that, the paper most likely trains the trunk on the queries with their boxes
    and landmarks as classes, which tells it what will be asked; here only a trunk in ``weights`` that ``QueryDetector``
    has trained knows them, and the result then says so. Pictures that only distract are coded, but not learned from.

    A query is the region of its box in the map of its whole picture: what protocols that crop the activations ask for
    (``crop-x`` of landmarks). The region is the window that the protocol gives, or the whole picture.

    Args:
        backbone: The trunk: ``resnet101`` or ``vgg16`` in the paper (Tables 3 and 4).
        weights: ``imagenet``, ``none``, or the path of a state dict with torchvision's keys or of a checkpoint of ours.
        weights_family: See ``Preprocessing``.
        tap: Which of the trunk's maps; of ResNet101 the paper takes the last one and does not say its stride, which is
            16 here, as that of VGG16.
        shorter_side: Of pictures, in pixels.
        longest_side: Of pictures, at most.
        proposals: What ``retrieval-bench proposals`` wrote, as in the paper (section 4.1): the file, or a folder with
            one for each data set, in whose path ``{backbone}`` becomes the trunk's name; ``grid`` for boxes of several
            scales and aspects, the same in all pictures.
        proposals_per_image: How many (section 4.2).
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
        feature_scale: ``auto`` multiplies features by one number, so that with a weight of 0.01 both losses are alike
            when every codeword is as likely, as the paper has it; ``none`` leaves those of unit vectors. Gradients are
            not multiplied by it.
        refinement: Of the features that codebooks, and the codes to be learned, are made from (Table 5).
        neighbours: S of the refinement; by default the paper's.
        clusters: Of the refinement. Not in the paper.
        classifier_start: How FC_cls starts each round: ``random``, for codewords have new numbers; ``codebook``, the
            soft assignment to the codewords; ``kept`` where it was, with codebooks that start from the last ones.
        sharpness: Of that soft assignment: at a codeword the nearest other one is exp(-sharpness) times as likely. Not
            in the paper.
        train_backbone: Whether all but the trunk's first two groups of convolutions is trained, too, one picture a
            step and process (section 4.2). Otherwise regions are described once, and FC_S and FC_cls learn from these
            vectors: much faster.
        regions_per_step: Proposals of a picture, at most, that a step learns from, drawn anew each epoch, where the
            trunk is trained. Not in the paper.
        images_per_batch: Pictures in a batch of one process where it is not; with all their proposals. Not in the
            paper.
        optimizer: SGD with the paper's rate and the momentum and decay of Faster R-CNN.

    Raises:
        OptionError: If an option has none of its values.
    """

    preprocessing: Preprocessing
    unsaved_options: ClassVar[tuple[str, ...]] = ("optimizer",)

    def __init__(
        self,
        backbone: str = "resnet101",
        weights: str = "imagenet",
        weights_family: WeightsFamily = "torchvision",
        tap: Tap = "last_at_16",
        shorter_side: int = 600,
        longest_side: int = 1000,
        proposals: str = "grid",
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
        train_backbone: bool = True,
        regions_per_step: int = 64,
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
        if min(proposals_per_image, regions_per_step) < 1:
            raise OptionError(
                f"proposals_per_image is {proposals_per_image} and regions_per_step {regions_per_step}: both are at "
                "least 1"
            )
        self.preprocessing = Preprocessing(
            MinSide(shorter_side, longest_side),
            flip=0,
            family=weights_family,
            proposals=None if proposals == "grid" else Path(proposals.replace("{backbone}", backbone)),
        )
        self.backbone = Backbone(backbone, [tap], weights=weights, family=weights_family).requires_grad_(False)
        self.trunk_from = origin(weights)
        if train_backbone:
            self.backbone.train_last_groups()
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
        self.train_backbone, self.regions_per_step = train_backbone, regions_per_step
        self.images_per_batch, self.optimizer = images_per_batch, optimizer
        self.train()

    # ---- the network

    def feature(self, vectors: Tensor) -> Tensor:
        """Features of regions: ``(..., C)`` unit vectors to ``(..., dim)`` float32."""
        with torch.autocast(vectors.device.type, enabled=False):  # codes must not hang on half precision
            unscaled = self.projection(vectors.float() - self.centre)
            # The scale is there to balance two losses. Gradients that it multiplied, too, would move features at its
            # square times the rate: away from all codewords, and a trunk to ruin within a few steps.
            features: Tensor = self.feature_scale * scaled_gradient(unscaled, 1 / self.feature_scale)
        return features

    def region_vectors(self, image: Tensor, boxes: Tensor) -> Tensor:
        """``(B, R, C)`` unit vectors of the boxes ``(B, R, 4)`` of pictures ``(B, 3, H, W)``; batch norms stay."""
        mode = self.backbone.training  # given back: Lightning warns of what is not in training mode when it starts
        self.backbone.eval()
        maps = self.backbone(image)[self.tap]
        self.backbone.train(mode)
        return roi_vectors(maps, boxes, self.backbone.stride(self.tap))

    def proposals(self, batch: Batch) -> Tensor:
        """``(B, R, 4)`` where objects may be in the pictures of a batch, in their pixels.

        Where there are more, the best are taken; where there are fewer, they come again from the first on: no least
        distance changes by that.
        """
        image, count = batch["image"], self.proposals_per_image
        if self.preprocessing.proposals is not None:
            found = batch["proposals"]
            return found[:, torch.arange(count, device=found.device) % found.shape[1]]
        boxes = grid_boxes(image.shape[2], image.shape[3], count).to(image.device)
        return boxes.expand(len(image), *boxes.shape)

    def embed(self, batch: Batch) -> Descriptors:
        """Of each picture first the region that it would be as a query, then its proposals, in its own pixels."""
        image = batch["image"]
        boxes = torch.cat([self._query_box(batch)[:, None], self.proposals(batch)], dim=1)
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
        coded = self.quantize and bool(self.quantizer.fitted)
        query = first_rows(descriptors).select(data.ground_truth.query)
        # Codes before a choice: features of all regions of many pictures are too large for copies.
        every = self._codes_of(descriptors) if coded else descriptors
        gallery = other_rows(every).select(data.ground_truth.gallery)
        assert gallery.boxes is not None
        # Where the protocol crops pictures, nobody says where in the original they lay.
        cropped = data.protocol.image_crop == "box"
        boxes = None if cropped else data.original_boxes(gallery.boxes, gallery.image)
        gallery = Descriptors(gallery.data, gallery.image, gallery.metric, boxes)
        if not coded:  # where it asks, the protocol says
            return Descriptors(query.data, query.image, query.metric), gallery
        tables = self.quantizer.tables(query.data.to(self.device)).flatten(1).cpu()
        return Descriptors(tables, query.image, "adc"), gallery

    def _codes_of(self, descriptors: Descriptors) -> Descriptors:
        blocks = torch.split(descriptors.data, _ROWS_AT_ONCE)
        codes = torch.cat([self.quantizer.encode(block.to(self.device)).cpu() for block in blocks])
        return Descriptors(codes, descriptors.image, "adc", descriptors.boxes)

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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Both losses of regions and their codes (equation 7); means, where the paper has sums."""
        del batch_idx
        vectors, codes = self.coded_regions(batch)
        with torch.autocast(vectors.device.type, enabled=False):
            rotated = self.quantizer.rotate(self.feature(vectors))
            separable = separability(self.classifiers(rotated), codes)
            discriminable = discriminability(rotated, self.quantizer.decode(codes))
            loss = separable + self.discriminability_weight * discriminable
        self.log_dict({"train/separability": separable, "train/discriminability": discriminable, "train/loss": loss})
        return loss

    def configure_optimizers(self) -> Any:
        """One rate all along."""
        return self.optimizer(self.parameter_groups())
