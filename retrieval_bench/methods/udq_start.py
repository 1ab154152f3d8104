"""Where UDQ's training starts: features that are PCA's, at a scale at which both losses count alike."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from retrieval_bench.retrieval.quantization import ProductQuantizer
from retrieval_bench.retrieval.whitening import Moments, principal_directions

_BALANCED_AT = 0.01  # the weight of the second loss at which the paper has both alike
_ROWS_AT_ONCE = 2**18


def principal_axes(blocks: Iterable[Tensor], dim: int, out: int) -> tuple[Tensor, Tensor]:
    """Where vectors have their centre and their principal directions.

    Args:
        blocks: ``(n, dim)`` vectors, some at a time.
        dim: Their length.
        out: How many directions.

    Returns:
        float64 centre ``(dim,)`` and directions ``(out, dim)``, on the CPU.
    """
    moments = Moments(dim)
    for block in blocks:
        moments.add(block)
    return moments.mean, principal_directions(moments.covariance)[1][:out]


def balanced_scale(quantizer: ProductQuantizer, features: Tensor, codes: Tensor) -> float:
    """What to multiply features and codewords by, so that both losses are alike while all codewords are as likely.

    Then the first loss is M ln K, and the second the squared error of features from their codewords times its weight.

    Args:
        quantizer: It knows the codewords.
        features: ``(n, d)``.
        codes: ``(n, M)`` the codes that they shall learn.

    Returns:
        1 where one of the losses is zero at any scale.
    """
    error = 0.0
    for x, code in zip(torch.split(features, _ROWS_AT_ONCE), torch.split(codes, _ROWS_AT_ONCE), strict=True):
        error += float((quantizer.rotate(x) - quantizer.decode(code)).square().sum(dtype=torch.float64))
    subspaces, codewords, _ = quantizer.codebooks.shape
    by_chance = subspaces * math.log(codewords)
    return math.sqrt(by_chance / (_BALANCED_AT * error / len(features))) if error and by_chance else 1.0
