"""Adaptive triplet: A Fine-grained Image Retrieval Algorithm Based on Adaptive Triplet Network.

Pan, Chen, Lei, Shao, Huang; Journal of Zhengzhou University (Natural Science Edition) 53(4), 2021;
doi 10.13705/j.issn.1671-6841.2020381.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from retrieval_bench.errors import OptionError
from retrieval_bench.losses.adaptive_triplet import AdaptiveTripletLoss
from retrieval_bench.losses.mining import Triplets, hard_triplets, random_triplets
from retrieval_bench.losses.triplet import Distance, check_distance, triplet_gap
from retrieval_bench.methods.base import Batch
from retrieval_bench.methods.cached_features import CachedFeatures, TripletBatches, cache_features
from retrieval_bench.methods.epoch_order import EpochOrder
from retrieval_bench.methods.phases import PhasedMethod
from retrieval_bench.nn.backbones import Backbone
from retrieval_bench.nn.hashing import HashLayer, pack_bits
from retrieval_bench.nn.inception_resnet import InceptionResNetC
from retrieval_bench.nn.pooling import pool
from retrieval_bench.nn.preprocessing import Preprocessing, WeightsFamily
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate_images
from retrieval_bench.retrieval.metrics import FloatArray


class AdaptiveTriplet(PhasedMethod):
    """Binary codes in two phases: a network learns to classify, then a hash layer on top learns from triplets.

    Every row of the paper's tables is a choice of arguments: without triplets there is no second phase, ResNet18 has
    ``block=False``, and the defaults are the full method.

    Args:
        num_classes: How many classes there are to train on; the command line asks the data.
        backbone: The trunk; the paper's is ``resnet18``.
        weights: ``imagenet``, ``none``, or the path of a state dict with torchvision's keys.
        weights_family: See ``Preprocessing``.
        block: Whether an Inception-ResNet-C block follows the trunk (ResNet18-I, section 1).
        block_width: Its width as a share of the published one.
        block_scale: The weight of what it adds (0.2 in Inception-ResNet-v2).
        block_in_codes: Whether codes are made behind the block, or before it, as if it had only helped to train.
        freeze_batch_norm: Whether the trunk's batch norms keep ImageNet's statistics in the first phase.
        bits: Length of a code: 16, 32, 48 and 64 in the paper (Table 3).
        codes: Whether images are described by packed codes, or by what the hash layer gives before its sign.
        latent: Whether the first phase trains the hash layer too, between the network and its classifier, as the
            latent layer of Lin et al. (2015). Otherwise it is random until the second phase.
        first_phase_epochs: Epochs of cross-entropy (section 3.2).
        second_phase_epochs: Epochs of triplets (section 3.2); with 0, codes are a random projection's, or the latent
            layer's.
        milestones: After which of them the rate falls to a tenth. Not in the paper.
        loss: The loss on the triplets' gaps; the adaptive triplet loss (section 2.3).
        distance: Between outputs of the hash layer; see ``triplet_gap``. Figure 5's gaps exclude unit vectors.
        mining: ``hard`` triplets (section 2.4), or ``random`` ones.
        beta: How hard; see ``hard_triplets``. Not in the paper.
        mine_every: Epochs that a set of triplets serves (section 3.2).
        triplets_per_batch: Not in the paper.
        hash_lr: Rate of the hash layer. Not in the paper.
        curve_every: Epochs of the second phase between looks at the evaluation images (Figures 4 and 7); 0 for none.
        saliency: A file of boxes that ``retrieval-bench saliency`` wrote, to which all pictures are cropped (section
            2.1), or ``none``.
        size: Pictures become squares of this side in pixels, whatever their aspect (section 3.1).
        optimizer: Adam, 1e-4; the paper names neither.

    Raises:
        OptionError: If an option has none of its values.
    """

    preprocessing: Preprocessing
    classes: Tensor
    unsaved_options: ClassVar[tuple[str, ...]] = ("optimizer", "loss")

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet18",
        weights: str = "imagenet",
        weights_family: WeightsFamily = "torchvision",
        block: bool = True,
        block_width: float = 1.0,
        block_scale: float = 0.2,
        block_in_codes: bool = True,
        freeze_batch_norm: bool = False,
        bits: int = 64,
        codes: bool = True,
        latent: bool = False,
        first_phase_epochs: int = 50,
        second_phase_epochs: int = 90,
        milestones: Sequence[int] = (30, 40),
        loss: nn.Module | None = None,
        distance: Distance = "euclidean",
        mining: Literal["hard", "random"] = "hard",
        beta: float = 0.5,
        mine_every: int = 3,
        triplets_per_batch: int = 256,
        hash_lr: float = 1e-3,
        curve_every: int = 1,
        saliency: str = "none",
        size: int = 299,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=1e-4),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(self.unsaved_options))
        check_distance(distance)
        if mining not in ("hard", "random"):
            raise OptionError(f"mining cannot be {mining!r}; it is hard or random")
        if num_classes < 1:
            raise OptionError("there is no class to learn: this method needs a data set with training labels")
        if mine_every < 1:
            raise OptionError(f"mine_every is {mine_every}: a set of triplets serves at least one epoch")
        boxes = None if saliency == "none" else Path(saliency)
        self.preprocessing = Preprocessing(resize=(size, size), flip=0.5, family=weights_family, boxes=boxes)
        self.backbone = Backbone(
            backbone, ["last"], weights=weights, family=weights_family, freeze_batch_norm=freeze_batch_norm
        )
        channels = self.backbone.channels("last")
        self.block = InceptionResNetC(channels, width=block_width, scale=block_scale) if block else nn.Identity()
        self.block.to(memory_format=torch.channels_last)  # as its trunk
        self.hash_layer = HashLayer(channels, bits)
        self.classifier = nn.Linear(bits if latent else channels, num_classes)
        self.register_buffer("classes", torch.full((num_classes,), -1))  # the table's label of each
        self.loss = loss if loss is not None else AdaptiveTripletLoss()
        self.block_in_codes, self.codes, self.latent = block_in_codes, codes, latent
        self.first_phase_epochs, self.second_phase_epochs = first_phase_epochs, second_phase_epochs
        self.milestones = tuple(milestones)
        self.distance, self.mining, self.beta, self.mine_every = distance, mining, beta, mine_every
        self.triplets_per_batch, self.hash_lr, self.curve_every = triplets_per_batch, hash_lr, curve_every
        self.optimizer = optimizer
        self._features: CachedFeatures | None = None
        self._triplets: Triplets | None = None
        self._learn(second_phase=False)

    # ---- the network

    def feature(self, image: Tensor) -> Tensor:
        """What the hash layer reads: ``(B, 3, H, W)`` to ``(B, channels)`` float32."""
        x = self.backbone(image)["last"]
        return pool(self.block(x) if self.block_in_codes else x, "avg").float()

    def forward(self, image: Tensor) -> Tensor:
        """Outputs of the hash layer: ``(B, 3, H, W)`` to ``(B, bits)`` float32 in [-1, 1]."""
        return self._hash(self.feature(image))

    def _hash(self, feature: Tensor) -> Tensor:
        # A sign must not hang on the rounding of half precision.
        with torch.autocast(feature.device.type, enabled=False):
            hashed: Tensor = self.hash_layer(feature.float())
        return hashed

    def _logits(self, x: Tensor) -> Tensor:
        """Class scores ``(B, num_classes)`` from the trunk's map."""
        feature = pool(self.block(x), "avg").float()
        logits: Tensor = self.classifier(self._hash(feature) if self.latent else feature)
        return logits.float()

    def embed(self, batch: Batch) -> Descriptors:
        """One code an image, compared by Hamming distance (section 2.5), and the class it is taken for."""
        x = self.backbone(batch["image"])["last"]
        hashed = self._hash(pool(self.block(x) if self.block_in_codes else x, "avg"))
        predicted = self.classes[self._logits(x).argmax(1)]
        return self._describe_hashed(hashed, batch["index"], predicted)

    def _describe_hashed(self, hashed: Tensor, image: Tensor, predicted: Tensor | None = None) -> Descriptors:
        if self.codes:
            return Descriptors(pack_bits(hashed), image, "hamming", predicted=predicted)
        return Descriptors(hashed, image, "euclidean", predicted=predicted)

    def further_metrics(self, data: Any) -> dict[str, FloatArray]:
        """Accuracy of the classifier on the queries (Table 1), where their classes were trained on."""
        assert self.descriptors is not None
        assert self.descriptors.predicted is not None
        query = data.ground_truth.query
        if not np.isin(data.table.label[query], data.training_classes).all():
            return {}
        predicted = self.descriptors.select(query).predicted
        assert predicted is not None
        return {"accuracy": (predicted.numpy() == data.table.label[query]).astype(np.float64)}

    # ---- training

    def _learn(self, *, second_phase: bool) -> None:
        self.backbone.requires_grad_(not second_phase)
        self.block.requires_grad_(not second_phase)
        self.classifier.requires_grad_(not second_phase)
        self.hash_layer.requires_grad_(second_phase or self.latent)

    def setup(self, stage: str) -> None:
        """Name the classes."""
        super().setup(stage)
        if stage == "fit":
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
            classes = torch.from_numpy(data.training_classes)
            if len(classes) > len(self.classes):
                raise OptionError(
                    f"num_classes is {len(self.classes)}, but {data.dataset.name} has {len(classes)} training classes: "
                    "leave the option to the command line, or set it to that"
                )
            self.classes[: len(classes)] = classes

    def training_batches(self) -> Iterable[Batch] | None:
        """Triplets of cached features in the second phase."""
        if not self.second_phase or not self.second_phase_epochs:
            return None
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        if self._features is None:
            self._features = cache_features(self, self.feature, data)
        if self._triplets is None:
            self._choose_triplets(data.seed)
        order = EpochOrder(
            len(self._current_triplets().anchor),
            self.triplets_per_batch,
            lambda: self.trainer.current_epoch,
            thing="triplet",
            option="triplets_per_batch",
            seed=data.seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return TripletBatches(self._current_triplets, order)

    def on_train_epoch_start(self) -> None:
        """Freeze what the phase does not train; in the second, draw the curve and choose triplets when it is time."""
        self._learn(second_phase=self.second_phase)
        if not self.second_phase:
            return
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        epoch = self.trainer.current_epoch - self.first_phase_epochs
        if self.curve_every and epoch % self.curve_every == 0:
            self._log_curve(data)
        if epoch % self.mine_every == 0:
            self._choose_triplets(data.seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy of pictures in the first phase, the loss of triplets in the second."""
        del batch_idx
        if "image" in batch:
            logits = self._logits(self.backbone(batch["image"])["last"])
            loss: Tensor = F.cross_entropy(logits, batch["label"])
            self.log("train/cross_entropy", loss)
            return loss
        features = self._cached().trained
        anchor, positive, negative = (self._hash(features[batch[x]]) for x in Triplets._fields)
        gap = triplet_gap(anchor, positive, negative, self.distance)
        loss = self.loss(gap)
        self.log_dict({"train/triplet": loss, "train/gap": gap.mean()})
        return loss

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The network at the optimizer's rate, the hash layer at its own."""
        network = [p for name, p in self.named_parameters() if not name.startswith("hash_layer.")]
        return [{"params": network}, {"params": list(self.hash_layer.parameters()), "lr": self.hash_lr}]

    def configure_optimizers(self) -> Any:
        """One optimizer for both phases: what a phase does not train has no gradient, and is left as it is."""
        optimizer = self.optimizer(self.parameter_groups())

        def fallen(epoch: int) -> float:
            return 0.1 ** sum(epoch >= milestone for milestone in self.milestones)

        schedule = LambdaLR(optimizer, [fallen, lambda _: 1.0])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the triplets: they were chosen by an older hash layer, and serve some epochs more."""
        super().on_save_checkpoint(checkpoint)
        if self._triplets is not None:
            checkpoint["triplets"] = torch.stack(list(self._triplets)).cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the triplets back."""
        super().on_load_checkpoint(checkpoint)
        if "triplets" in checkpoint:
            self._triplets = Triplets(*checkpoint["triplets"].to(self.device))

    def first_phase_options(self) -> set[str]:
        """All but what makes and judges codes."""
        of_first = {"backbone", "weights", "weights_family", "block", "block_width", "block_scale", "freeze_batch_norm"}
        of_first |= {"latent", "first_phase_epochs", "milestones", "saliency", "size", "optimizer", "hash_lr"}
        return of_first | ({"bits"} if self.latent else set())

    def second_phase_parts(self) -> tuple[str, ...]:
        """The hash layer, where it is no latent layer, and the loss's margin."""
        return ("loss.",) if self.latent else ("loss.", "hash_layer.")

    # ---- the second phase

    def _cached(self) -> CachedFeatures:
        assert self._features is not None
        return self._features

    def _current_triplets(self) -> Triplets:
        assert self._triplets is not None
        return self._triplets

    @torch.no_grad()
    def _choose_triplets(self, seed: int) -> None:
        """New triplets, rows of the features that are trained on, and their mean gap; every process finds the same."""
        chance = torch.Generator().manual_seed(seed * 1_000_003 + self.trainer.current_epoch)
        hashed, label = self._hash(self._cached().trained), self._cached().trained_label
        if self.mining == "random":
            self._triplets = random_triplets(label, generator=chance)
        else:
            self._triplets = hard_triplets(hashed, label, self.beta, generator=chance, distance=self.distance)
        if isinstance(self.loss, AdaptiveTripletLoss):
            anchor, positive, negative = (hashed[rows] for rows in self._triplets)
            self.loss.refresh(triplet_gap(anchor, positive, negative, self.distance))

    @torch.no_grad()
    def _log_curve(self, data: Any) -> None:
        """Log the protocol's main metric of the epochs so far: the network is frozen, so features are enough."""
        cached = self._cached()
        value = 0.0
        if self.trainer.is_global_zero:
            described = self._describe_hashed(self._hash(cached.feature), cached.image)
            evaluation = evaluate_images(described, data.ground_truth, data.protocol, device=self.device)
            value = evaluation.metrics[data.protocol.main_metric]
        value = self.trainer.strategy.broadcast(value)
        self.log(f"curve/{data.protocol.main_metric}", value, sync_dist=True)
