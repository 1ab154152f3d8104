"""Losses of self-supervised quantisation (UDQ, section 3.3): features learn to be what their codes say."""

from torch import Tensor
from torch.nn import functional as F


def separability(logits: Tensor, codes: Tensor) -> Tensor:
    """Cross-entropy of the codewords, summed over subspaces, the mean over features (equation 8).

    The paper's denominator runs over the M subspaces; it must run over the K codewords.

    Args:
        logits: ``(n, M, K)`` scores of the codewords.
        codes: ``(n, M)`` numbers of the codewords.
    """
    return F.cross_entropy(logits.flatten(0, 1), codes.flatten().long()) * logits.shape[1]


def discriminability(features: Tensor, codewords: Tensor) -> Tensor:
    """Squared distances of features from their codewords, which are constants, the mean over features (equation 9).

    Args:
        features: ``(n, d)`` rotated features.
        codewords: ``(n, d)`` the codewords of each, side by side.
    """
    return (features - codewords.detach()).square().sum(1).mean()
