"""Whitening: linear maps learned from descriptors, after which directions count alike and vectors are unit again."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from retrieval_bench.errors import OptionError

LEAST_SHARE = 1e-9  # of the largest variance: directions with less hold rounding errors alone
_BLOCK = 2**16


class Moments:
    """Count, mean and covariance of vectors that come in batches, in float64.

    Args:
        dim: Their length d.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)

    def add(self, vectors: Tensor) -> "Moments":
        """Take in more vectors.

        Args:
            vectors: ``(n, d)`` of any floating type, on any device.

        Raises:
            ValueError: If they have another length, or a value is not finite.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean):
            raise ValueError(f"expected vectors of shape (n, {len(self.mean)}), got {tuple(vectors.shape)}")
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK].detach().to("cpu", torch.float64)
            if not block.isfinite().all():
                raise ValueError("whitening cannot be learned: a descriptor holds a value that is not finite")
            # Sums about the block's own mean lose no digits where the mean is large beside the spread.
            mean = block.mean(0)
            centred = block - mean
            self._take_in(len(block), mean, centred.T @ centred)
        return self

    @classmethod
    def join(cls, parts: Sequence["Moments"]) -> "Moments":
        """The moments of all vectors of several parts, at least one."""
        joined = cls(len(parts[0].mean))
        for part in parts:
            if part.count:
                joined._take_in(part.count, part.mean, part._scatter)
        return joined

    def _take_in(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        total, shift = self.count + count, mean - self.mean
        self._scatter += scatter + torch.outer(shift, shift) * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """``(d, d)``, the sum of squares divided by the count."""
        return self._scatter / max(1, self.count)


class Whitening(nn.Module):
    """A centre and a projection in buffers, so that a checkpoint holds them; the result has unit length.

    Args:
        dim: Length d of the vectors.
        out: How many directions to keep, those of greatest variance first; all by default.

    Raises:
        OptionError: If there are not so many directions.
    """

    mean: Tensor
    projection: Tensor
    fitted: Tensor

    def __init__(self, dim: int, out: int | None = None) -> None:
        super().__init__()
        kept = dim if out is None else out
        if not 1 <= kept <= dim:
            raise OptionError(f"whitening can keep 1 to {dim} directions of vectors of length {dim}, not {out}")
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("projection", torch.zeros(kept, dim, dtype=torch.float64))
        self.register_buffer("fitted", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        """Whiten and bring to unit length; a vector at the centre becomes zero.

        Args:
            x: ``(..., d)``.

        Returns:
            ``(..., out)`` of the same type.

        Raises:
            RuntimeError: If nothing was learned or loaded before.
        """
        if not self.fitted:
            raise RuntimeError(f"{type(self).__name__} was neither fitted nor loaded from a checkpoint")
        # Vectors that are nearly equal differ in few bits of a half-precision product.
        kind = torch.promote_types(x.dtype, torch.float32)
        centred = x.to(kind) - self.mean.to(kind)
        white: Tensor = normalize(centred @ self.projection.to(kind).T, dim=-1, eps=1e-12)
        return white.to(x.dtype)

    def set_affine(self, weight: Tensor, bias: Tensor) -> "Whitening":
        """Take a published map from x to ``weight @ x + bias`` instead of learning one.

        Args:
            weight: ``(at least out, d)`` of full rank; the first rows are kept.
            bias: As long as weight has rows.

        Raises:
            OptionError: If the sizes differ from those of this whitening.
        """
        kept, dim = self.projection.shape
        if weight.shape[1] != dim or len(weight) < kept or len(bias) != len(weight):
            raise OptionError(
                f"a projection of vectors of length {weight.shape[1]} to {len(weight)} with {len(bias)} offsets "
                f"cannot whiten vectors of length {dim} to {kept}"
            )
        weight, bias = weight[:kept].to("cpu", torch.float64), bias[:kept].to("cpu", torch.float64)
        self._set(torch.linalg.lstsq(weight, -bias[:, None], driver="gelsd").solution[:, 0], weight)
        return self

    def _set(self, mean: Tensor, projection: Tensor) -> None:
        self.mean.copy_(mean)
        self.projection.copy_(projection[: len(self.projection)])
        self.fitted.fill_(True)


class PCAWhitening(Whitening):
    """PCA whitening: project on the principal directions and divide by their standard deviations.

    Directions whose variance is below ``LEAST_SHARE`` of the greatest are set to zero: there is nothing in them but
    rounding (Jegou and Chum, ECCV 2012, section 3).
    """

    def fit(self, vectors: Tensor | Moments) -> "PCAWhitening":
        """Learn from vectors.

        Args:
            vectors: ``(n, d)``, or the moments of vectors that were taken in one batch after another.

        Raises:
            ValueError: If there are none, or a value is not finite.
        """
        moments = vectors if isinstance(vectors, Moments) else Moments(len(self.mean)).add(vectors)
        if not moments.count:
            raise ValueError("whitening cannot be learned from no descriptors")
        variance, direction = principal_directions(moments.covariance)
        scale = torch.where(variance > LEAST_SHARE * variance[0], variance.clamp(min=1e-300).rsqrt(), 0.0)
        self._set(moments.mean, scale[:, None] * direction)
        return self


class LearnedWhitening(Whitening):
    """Discriminative whitening: whiten what differs in matching pairs, then rotate to the principal directions.

    Radenovic et al., ECCV 2016 (siaMAC), section 3.4, after Mikolajczyk and Matas, ICCV 2007.
    """

    def fit(self, query: Tensor, positive: Tensor, vectors: Tensor) -> "LearnedWhitening":
        """Learn from matching pairs.

        Args:
            query: ``(pairs, d)`` one side of each pair; its mean is the centre.
            positive: ``(pairs, d)`` the other side.
            vectors: ``(n, d)`` all descriptors, of which the principal directions are taken.

        Raises:
            ValueError: If there is no pair, the sides differ in shape, or a value is not finite.
        """
        if query.shape != positive.shape or not len(query):
            raise ValueError(
                f"learned whitening needs pairs: got queries {tuple(query.shape)} and positives {tuple(positive.shape)}"
            )
        dim = len(self.mean)
        mean = Moments(dim).add(query).mean
        differences = Moments(dim).add(query.double() - positive.double())
        # About zero, not about their own mean: a pair that differs always in the same way differs, too.
        within = differences.covariance + torch.outer(differences.mean, differences.mean)
        shrink = torch.linalg.solve_triangular(_cholesky(within), torch.eye(dim, dtype=torch.float64), upper=False)
        every = Moments(dim).add(vectors)
        shift = every.mean - mean
        spread = shrink @ (every.covariance + torch.outer(shift, shift)) @ shrink.T
        self._set(mean, principal_directions(spread)[1] @ shrink)
        return self


def principal_directions(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Variances, greatest first, and as many unit directions as rows, each with its largest component positive."""
    variance, direction = torch.linalg.eigh((covariance + covariance.T) / 2)
    direction = direction.flip(1).T
    largest = direction.gather(1, direction.abs().argmax(1, keepdim=True))
    return variance.flip(0).clamp(min=0), direction * torch.where(largest < 0, -1.0, 1.0)


def _cholesky(matrix: Tensor) -> Tensor:
    """The lower factor, of the matrix with as little added to its diagonal as makes it positive definite."""
    added = 0.0
    while True:
        moved = matrix + added * torch.eye(len(matrix), dtype=matrix.dtype)
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(moved)
        if not failed:
            return factor
        added = max(1e-10, 10 * added)
