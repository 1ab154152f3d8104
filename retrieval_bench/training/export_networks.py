"""Networks as graphs hold them: pixels in, descriptors out, nothing that hangs on a batch's size."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_bench.errors import RetrievalBenchError
from retrieval_bench.methods import UDQ, AdaptiveTriplet, ClusterMAC, RegionalAttention, RetrievalMethod
from retrieval_bench.methods.fitted import FittedMethod
from retrieval_bench.nn.preprocessing import normalize
from retrieval_bench.nn.roi import roi_vectors
from retrieval_bench.retrieval.descriptors import Descriptors

Outputs = tuple[Tensor, ...]


class ExportError(RetrievalBenchError):
    """A network cannot be exported, or what was exported computes something else."""


class DescriptorNetwork(nn.Module):
    """Pixels ``(B, 3, H, W)`` uint8 to the descriptors of ``embed``."""

    inputs: tuple[str, ...] = ("image",)
    outputs: tuple[str, ...] = ("descriptor",)
    left_out: tuple[str, ...] = ()

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method, self.family = method, method.preprocessing.family

    def forward(self, image: Tensor) -> Outputs:
        """What other programs will call."""
        return self._forward(normalize(image, self.family))

    def _forward(self, seen: Tensor) -> Outputs:
        index = torch.arange(seen.shape[0], device=seen.device)
        return (self.method.embed({"image": seen, "index": index}).data,)

    def described(self, image: Tensor) -> Descriptors:
        """What the method itself says of pictures."""
        described: Descriptors = self.method.embed(
            {"image": normalize(image, self.family), "index": torch.arange(len(image))}
        )
        return described

    def expected(self, image: Tensor) -> Outputs:
        """The same as what ``forward`` must give."""
        return (self.described(image).data,)


class _Aggregated(DescriptorNetwork):
    """The same of methods that aggregate maps, whose ``embed`` counts a batch's pictures before it starts."""

    left_out = ("queries that are windows of a picture's map: cut the picture",)

    def _forward(self, seen: Tensor) -> Outputs:
        maps = self.method.maps({"image": seen})
        if isinstance(self.method, RegionalAttention):
            return (self.method.describe(maps, picture=(seen.shape[2], seen.shape[3])),)
        return (self.method.describe(maps),)


class _Codes(DescriptorNetwork):
    """The same of a hash layer: packed codes ``(B, bytes)`` uint8."""

    def _forward(self, seen: Tensor) -> Outputs:
        # As ``pack_bits``, in numbers that ONNX can add.
        ones = (self.method(seen) >= 0).to(torch.int32)
        places = F.pad(ones, (0, -ones.shape[1] % 8)).view(ones.shape[0], -1, 8)
        weights = torch.tensor([1 << j for j in range(8)], dtype=torch.int32, device=seen.device)
        return ((places * weights).sum(2).to(torch.uint8),)


class _Regions(DescriptorNetwork):
    """Pixels and boxes ``(B, R, 4)`` float32 in them to features ``(B, R, dim)`` and codes ``(B, R, M)``."""

    inputs = ("image", "boxes")
    left_out = (
        "the proposal of boxes",
        "the tables of a query's distances from the codewords, which its feature and the checkpoint's codebooks give",
    )

    def __init__(self, method: UDQ) -> None:
        super().__init__(method)
        self.coded = method.quantize and bool(method.quantizer.fitted)
        self.outputs = ("feature", "code") if self.coded else ("feature",)

    def forward(self, image: Tensor, boxes: Tensor) -> Outputs:  # type: ignore[override]  # one input more
        method = self.method
        maps = method.backbone(normalize(image, self.family))[method.tap]
        feature = method.feature(roi_vectors(maps, boxes, method.backbone.stride(method.tap)))
        if not self.coded:
            return (feature,)
        books = method.quantizer.codebooks
        parts = F.pad(feature, (0, len(method.quantizer.rotation) - feature.shape[-1])) @ method.quantizer.rotation.T
        parts = parts.unflatten(-1, (books.shape[0], books.shape[2]))
        distance = books.square().sum(2) - 2 * torch.einsum("brmd,mkd->brmk", parts, books)
        return feature, distance.argmin(3)

    def expected(self, image: Tensor, boxes: Tensor) -> Outputs:  # type: ignore[override]  # one input more
        vectors = self.method.region_vectors(normalize(image, self.family), boxes)
        feature = self.method.feature(vectors)
        if not self.coded:
            return (feature,)
        codes = self.method.quantizer.encode(feature.flatten(0, 1)).long()
        return feature, codes.view(*feature.shape[:2], -1)


def network_of(method: RetrievalMethod) -> DescriptorNetwork:
    """The network that is exported; the method is not fit for training any more.

    Args:
        method: In evaluation mode.

    Raises:
        ExportError: If it has not learned its statistics, or no graph can hold what it does.
    """
    if isinstance(method, ClusterMAC):
        raise ExportError(
            "ClusterMAC cuts every map into clusters by its own eigenvectors, in steps that differ from picture to "
            "picture: no graph holds that. RMAC and GlobalPooling can be exported"
        )
    if not getattr(method, "fitted", True):
        raise ExportError(f"{type(method).__name__} has not learned its statistics yet: export a finished run")
    for module in method.modules():
        # A graph may not ask a tensor whether there is a whitening.
        if "fitted" in module._buffers:
            fitted = bool(module.fitted)
            del module.fitted
            module.fitted = fitted  # type: ignore[assignment]  # for good, see above
    if isinstance(method, UDQ):
        return _Regions(method).eval()
    if isinstance(method, AdaptiveTriplet) and method.codes:
        return _Codes(method).eval()
    return (_Aggregated if isinstance(method, FittedMethod) else DescriptorNetwork)(method).eval()
