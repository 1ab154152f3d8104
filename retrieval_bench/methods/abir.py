"""ABIR: Weakly Supervised Image Retrieval via Coarse-scale Feature Fusion and Multi-level Attention Blocks.

Nie, Lu, Wang, Liu, Guo; ICMR 2019; doi 10.1145/3323873.3325017.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.lr_scheduler import StepLR

from retrieval_bench.errors import OptionError
from retrieval_bench.losses import BinomialDeviance
from retrieval_bench.methods.base import Batch, RetrievalMethod
from retrieval_bench.nn.attention import AttentionNorm, GridAttention, SqueezeExcitation
from retrieval_bench.nn.backbones import Backbone, Tap
from retrieval_bench.nn.pooling import Pool, pool
from retrieval_bench.nn.preprocessing import Preprocessing, WeightsFamily
from retrieval_bench.retrieval.descriptors import Descriptors

# The paper counts VGG16's blocks: block 3 ends in conv3_3, block 4 in conv4_3.
_TAP_OF_BLOCK: dict[int, Tap] = {3: "stride4", 4: "stride8"}


class ABIR(RetrievalMethod):
    """Two attention blocks on coarse maps, fused with the global vector.

    Every row of the paper's tables is a choice of arguments: the baseline has ``blocks=[]``, "w/o SE-block" has
    ``se=False``, and the defaults are the full method.

    Args:
        backbone: The trunk; the paper's is ``vgg16``.
        weights: ``imagenet`` (section 3.1), ``none``, or the path of a state dict with torchvision's keys.
        weights_family: ``torchvision`` or ``caffe``. The paper subtracts the mean only, which is Caffe's convention;
            torchvision's weights want the standard deviation too.
        dim: Length of the embedding (section 3.1).
        attention_dim: Width of the attention's inner space. Not in the paper; 512 as in the cited attention's code.
        blocks: Which blocks get attention: 3, 4, both (section 2.1) or none (the baseline).
        norm: How attention is normalised; the paper's text names both, Figure 1 shows the sigmoid.
        gate: ``map`` gates with the deepest map (section 2.2), ``vector`` with its global maximum.
        local_pool: How an attended map becomes a vector; ``max`` in section 2.1, ``sum`` in 2.2's formula.
        se: Whether channels are weighed by squeeze-and-excitation (section 2.3).
        se_order: ``value_only``: attention is computed from the raw map and weighs the excited one (2.3);
            ``before_gate``: attention sees the excited map too.
        se_reduction: The bottleneck of squeeze-and-excitation. Not in the paper; 16 is its own paper's default.
        concat_l2: Whether the vectors are normalised before they are joined. Not mentioned in the paper.
        freeze_batch_norm: Whether a trunk's batch norms keep ImageNet's statistics; VGG16 has none.
        resize: Pictures become squares of this side in pixels, whatever their aspect (section 3.1).
        crop: Side in pixels of the part the network sees (section 3.1).
        trunk_lr: Rate of the trunk where it is not that of the new layers; the paper has one for all (section 3.1).
        loss: The loss on cosine similarities; binomial deviance (section 2.4) with its public constants.
        optimizer: Adam, 1e-5 for all layers, weight decay 5e-4 (section 3.1).
        lr_scheduler: A tenth after 40,000 iterations (section 3.1); the recipe ends before it would drop again.

    Raises:
        OptionError: If an option has none of its values.
    """

    preprocessing: Preprocessing

    def __init__(
        self,
        backbone: str = "vgg16",
        weights: str = "imagenet",
        weights_family: WeightsFamily = "torchvision",
        dim: int = 512,
        attention_dim: int = 512,
        blocks: Sequence[int] = (3, 4),
        norm: AttentionNorm = "sigmoid",
        gate: Literal["map", "vector"] = "map",
        local_pool: Pool = "max",
        se: bool = True,
        se_order: Literal["value_only", "before_gate"] = "value_only",
        se_reduction: int = 16,
        concat_l2: bool = False,
        freeze_batch_norm: bool = True,
        resize: int = 256,
        crop: int = 224,
        trunk_lr: float | None = None,
        loss: nn.Module | None = None,
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=1e-5, weight_decay=5e-4),
        lr_scheduler: LRSchedulerCallable = lambda optimizer: StepLR(optimizer, step_size=40_000, gamma=0.1),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(self.unsaved_options))
        for option, value, known in (
            ("gate", gate, ("map", "vector")),
            ("se_order", se_order, ("value_only", "before_gate")),
            ("local_pool", local_pool, get_args(Pool)),
            ("norm", norm, get_args(AttentionNorm)),
            *(("blocks", block, tuple(_TAP_OF_BLOCK)) for block in blocks),
        ):
            if value not in known:
                raise OptionError(f"{option} cannot be {value!r}; it is one of {', '.join(map(str, known))}")
        self.preprocessing = Preprocessing(resize=(resize, resize), crop=crop, flip=0.5, family=weights_family)
        self.gate, self.local_pool, self.se_order = gate, local_pool, se_order
        self.concat_l2, self.trunk_lr = concat_l2, trunk_lr
        self.taps: list[Tap] = [_TAP_OF_BLOCK[block] for block in sorted(set(blocks))]
        self.backbone = Backbone(
            backbone,
            [*self.taps, "last"],
            weights=weights,
            family=weights_family,
            freeze_batch_norm=freeze_batch_norm,
        )
        channels = {tap: self.backbone.channels(tap) for tap in (*self.taps, "last")}
        self.attention = nn.ModuleDict(
            {tap: GridAttention(channels[tap], channels["last"], attention_dim, norm) for tap in self.taps}
        )
        self.excitation = nn.ModuleDict(
            {tap: SqueezeExcitation(channels[tap], se_reduction) if se else nn.Identity() for tap in self.taps}
        )
        self.embedding = nn.Linear(sum(channels.values()), dim)
        nn.init.xavier_uniform_(self.embedding.weight)
        nn.init.zeros_(self.embedding.bias)
        self.loss = loss if loss is not None else BinomialDeviance()
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler

    def forward(self, image: Tensor) -> Tensor:
        """Unit embeddings: ``(B, 3, H, W)`` to ``(B, dim)`` float32."""
        maps = self.backbone(image)
        vectors = [
            pool(alpha * excited, self.local_pool) for alpha, excited in (self._attend(maps, tap) for tap in self.taps)
        ]
        vectors.append(pool(maps["last"], "max"))
        if self.concat_l2:
            vectors = [F.normalize(v, dim=1) for v in vectors]
        return F.normalize(self.embedding(torch.cat(vectors, dim=1)).float(), dim=1)

    def _attend(self, maps: dict[Tap, Tensor], tap: Tap) -> tuple[Tensor, Tensor]:
        """The attention ``(B, 1, H, W)`` at a tap and the excited map it weighs."""
        local, deepest = maps[tap], maps["last"]
        excited = self.excitation[tap](local)
        gate = deepest if self.gate == "map" else deepest.amax((-2, -1), keepdim=True)
        return self.attention[tap](excited if self.se_order == "before_gate" else local, gate), excited

    def attention_maps(self, image: Tensor) -> dict[str, Tensor]:
        """Attention of every block over the picture (Figure 2), ``(B, H, W)`` at the size of the input."""
        maps = self.backbone(image)
        return {
            f"block {block}": F.interpolate(
                self._attend(maps, tap)[0].float(), image.shape[-2:], mode="bilinear", align_corners=False
            ).squeeze(1)
            for block, tap in _TAP_OF_BLOCK.items()
            if tap in self.taps
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss over all pairs of a P x K batch; similarities are float32 whatever the trunk computes in."""
        del batch_idx
        embedding = self(batch["image"])
        with torch.autocast(embedding.device.type, enabled=False):
            loss: Tensor = self.loss(embedding @ embedding.T, batch["label"])
        self.log("train/loss", loss, prog_bar=False)
        return loss

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The trunk at its own rate if it has one, the new layers at the optimizer's."""
        trunk = list(self.backbone.parameters())
        new = [p for name, p in self.named_parameters() if not name.startswith("backbone.")]
        own_rate = {} if self.trunk_lr is None else {"lr": self.trunk_lr}
        return [{"params": trunk, **own_rate}, {"params": new}]

    def embed(self, batch: Batch) -> Descriptors:
        """One unit vector an image, compared by cosine (section 3.1)."""
        return Descriptors(self(batch["image"]), batch["index"], metric="dot")
