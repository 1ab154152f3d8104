"""The training of regional attention: a frozen network classifies by the weighted maxima of regions.

Kim, Yoon; BMVC 2018. What the paper's text does not say is read off the authors' code, Retrieval-RegionalAttention.
"""

import re
from typing import Any, ClassVar

import numpy as np
import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from retrieval_bench.errors import OptionError
from retrieval_bench.methods.base import Batch, RetrievalMethod
from retrieval_bench.nn.backbones import Backbone
from retrieval_bench.nn.classifiers import CLASSES, imagenet_classifier
from retrieval_bench.nn.preprocessing import Preprocessing, WeightsFamily
from retrieval_bench.nn.regional_attention import (
    AttentionInput,
    GridSpace,
    HiddenAct,
    RegionAttention,
    attended_regions,
)
from retrieval_bench.nn.regions import max_regions
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.metrics import FloatArray

_SYNSET = re.compile(r"n\d{8}")


class RegionalAttentionTraining(RetrievalMethod):
    """An attention over regions, learned by classifying the weighted mean of their maxima with ImageNet's own layer.

    Trunk and classifier are ImageNet's and stay as they are; gradients reach the four tensors of the attention alone.
    The classes are those of ImageNet. On a data set of other classes, each is the class of ImageNet that the network
    takes most of its training pictures for (by the mean probability), before anything is trained.

    The attention that is kept is the one of the check with the highest accuracy on the held-out pictures, the last of
    equals. So the authors choose, too; everywhere else in this house the last one counts, but nothing that methods are
    compared by is measured on these pictures. Where they are not of the trained classes, there is no accuracy, and the
    last one is kept. The checkpoint is what ``RegionalAttention`` reads.

    Args:
        num_classes: How many classes there are to train on; the command line asks the data.
        backbone: The trunk; the paper's is ``resnet101``, with weights of Caffe.
        weights: ``imagenet``, ``none``, or the path of a state dict that holds the classifier, too.
        weights_family: ``torchvision`` or ``caffe``, in whose convention the weights see pictures.
        levels: How many sizes of regions.
        grid_space: Whether R-MAC's grid is laid on the ``image`` or on its ``map``.
        sees: What the attention sees, see ``RegionAttention``.
        hidden_act: Its inner function, see there. The authors train with ``softplus`` and test with ``tanh``; here it
            is one and the same.
        resize: Length of the shorter side in pixels; 850 to 859 by chance in the authors' code, 800 where they check.
        crop: Side in pixels of the square that is cut: by chance, or, to check, at the centre.
        patience: After how many checks without a gain training ends; the authors stopped by hand.
        optimizer: SGD, 0.001, momentum 0.9, weight decay 5e-5, at a constant rate.

    Raises:
        OptionError: If an option has none of its values.
        WeightsError: If the weights are not at hand, or hold no classifier.
    """

    preprocessing: Preprocessing
    targets: Tensor
    matched: Tensor
    best_accuracy: Tensor
    checks_without_gain: Tensor
    unsaved_options: ClassVar[tuple[str, ...]] = ("optimizer",)

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        weights: str = "imagenet",
        weights_family: WeightsFamily = "torchvision",
        levels: int = 5,
        grid_space: GridSpace = "image",
        sees: AttentionInput = "both",
        hidden_act: HiddenAct = "tanh",
        resize: int = 855,
        crop: int = 800,
        patience: int = 15,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=1e-3, momentum=0.9, weight_decay=5e-5),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(self.unsaved_options))
        if num_classes < 1:
            raise OptionError("there is no class to learn: this method needs a data set with training labels")
        attended_regions((2, 2), (2, 2), 1, levels, grid_space)  # refuses a wrong grid now
        self.preprocessing = Preprocessing(resize=resize, crop=crop, flip=0, family=weights_family)
        self.backbone = Backbone(backbone, ["last"], weights=weights, family=weights_family).requires_grad_(False)
        channels = self.backbone.channels("last")
        self.classifier = imagenet_classifier(backbone, channels, weights=weights, family=weights_family)
        self.classifier.requires_grad_(False)
        self.candidate = RegionAttention(channels, sees=sees, hidden_act=hidden_act)
        # The best so far: under this name, so that it is what others read out of a checkpoint.
        self.attention = RegionAttention(channels, sees=sees, hidden_act=hidden_act).requires_grad_(False)
        self.attention.load_state_dict(self.candidate.state_dict())
        self.register_buffer("best_accuracy", torch.tensor(-1.0, dtype=torch.float64))  # -1 before the first check
        self.register_buffer("targets", torch.arange(num_classes) % CLASSES)  # ImageNet's class of each class
        self.register_buffer("matched", torch.tensor(False))  # whether that was found out
        self.register_buffer("checks_without_gain", torch.tensor(0))
        self.levels, self.grid_space, self.patience = levels, grid_space, patience
        self.optimizer = optimizer

    # ---- the network

    def maps(self, image: Tensor) -> Tensor:
        """Maps ``(B, C, H, W)`` float32 of pictures ``(B, 3, h, w)``; no gradient reaches what makes them."""
        self.backbone.eval()  # only now: Lightning warns of what it finds in this mode when training starts
        with torch.no_grad():
            maps: Tensor = self.backbone(image)["last"]
        return maps.float()

    def feature(self, image: Tensor, attention: RegionAttention) -> Tensor:
        """The mean of the regions' weighted maxima: ``(B, 3, h, w)`` to ``(B, C)`` float32."""
        maps = self.maps(image)
        picture, cells = (image.shape[2], image.shape[3]), (maps.shape[2], maps.shape[3])
        stride = self.backbone.stride("last")
        with torch.autocast(maps.device.type, enabled=False):
            regions = attended_regions(picture, cells, stride, self.levels, self.grid_space)
            weights: Tensor = attention(maps, regions)
            return (weights[..., None] * max_regions(maps, regions)).mean(1)

    def embed(self, batch: Batch) -> Descriptors:
        """What is classified, as a unit vector, and the class of ImageNet that it is taken for."""
        feature = self.feature(batch["image"], self.candidate if self._checking else self.attention)
        predicted = self._logits(feature).argmax(1)
        return Descriptors(F.normalize(feature, dim=1), batch["index"], metric="dot", predicted=predicted)

    def _logits(self, feature: Tensor) -> Tensor:
        # A class must not hang on the rounding of half precision.
        with torch.autocast(feature.device.type, enabled=False):
            logits: Tensor = self.classifier(feature)
        return logits

    @property
    def _checking(self) -> bool:
        return self._trainer is not None and self._trainer.state.fn == "fit"

    # ---- training

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy over the classes of ImageNet."""
        del batch_idx
        logits = self._logits(self.feature(batch["image"], self.candidate))
        loss: Tensor = F.cross_entropy(logits, self.targets[batch["label"]])
        self.log("train/cross_entropy", loss)
        return loss

    def configure_optimizers(self) -> Any:
        """One rate from the first step to the last."""
        return self.optimizer(self.parameter_groups())

    @torch.no_grad()
    def fit_statistics(self) -> None:
        """Find out which class of ImageNet each class is."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        classes = data.training_classes
        if len(classes) > len(self.targets):
            raise OptionError(
                f"num_classes is {len(self.targets)}, but {data.dataset.name} has {len(classes)} training classes: "
                "leave the option to the command line, or set it to that"
            )
        self.matched.fill_(True)
        names = [data.table.class_names[label] for label in classes]
        if len(names) == CLASSES and all(_SYNSET.fullmatch(name) for name in names) and names == sorted(names):
            return  # ImageNet itself
        probability = torch.zeros(len(self.targets), CLASSES, dtype=torch.float64, device=self.device)
        for batch in data.picture_dataloader(np.flatnonzero(data.training_labels >= 0).astype(np.int64)):
            seen = data.prepared(batch, self.device)
            said = self._logits(self.maps(seen["image"]).mean((2, 3))).softmax(1).double()
            label = torch.from_numpy(data.training_labels[seen["index"].cpu().numpy()]).to(self.device)
            probability.index_add_(0, label, said)
        total: Tensor = self.trainer.strategy.reduce(probability, reduce_op="sum")
        self.targets.copy_(total.argmax(1))
        self.train()

    def further_metrics(self, data: Any) -> dict[str, FloatArray]:
        """Accuracy on the queries, where their classes were trained on."""
        assert self.descriptors is not None
        query = data.ground_truth.query
        label = data.table.label[query]
        if not self.matched or not np.isin(label, data.training_classes).all():
            return {}
        predicted = self.descriptors.select(query).predicted
        assert predicted is not None
        expected = self.targets.cpu()[np.searchsorted(data.training_classes, label)]
        return {"accuracy": (predicted == expected).numpy().astype(np.float64)}

    def on_validation_epoch_end(self) -> None:
        """Search and score; keep what is best so far, and end when nothing better comes."""
        super().on_validation_epoch_end()
        if not self._checking or self.trainer.sanity_checking:
            return
        assert self.evaluation is not None
        accuracy = self.evaluation.metrics.get("accuracy")
        if accuracy is None:
            return
        self.checks_without_gain += 1
        if accuracy > self.best_accuracy:
            self.checks_without_gain.zero_()
        if accuracy >= self.best_accuracy:  # few held-out pictures make many equals: of those, the longest trained
            self._keep(accuracy)
        self._end_in_time()

    def on_fit_start(self) -> None:
        """Match the classes once; a run that had ended and lost its result does not go on."""
        super().on_fit_start()
        self._end_in_time()

    def _end_in_time(self) -> None:
        if self.checks_without_gain >= self.patience:
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        """Keep the last where none can be called the best."""
        if self.best_accuracy < 0:
            self._keep(-1.0)

    def _keep(self, accuracy: float) -> None:
        self.best_accuracy.fill_(accuracy)
        self.attention.load_state_dict(self.candidate.state_dict())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was learned from beside what was learned."""
        super().on_save_checkpoint(checkpoint)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it
        held_out = f" (held-out accuracy {float(self.best_accuracy):.4f})" if self.best_accuracy >= 0 else ""
        pictures = int((data.training_labels >= 0).sum())
        checkpoint["attention_learned_from"] = f"the {pictures:,} training pictures of {data.dataset.name}{held_out}"
