"""Product quantisation, plain or after an optimised rotation: a vector becomes one codeword number a subspace."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from retrieval_bench.errors import OptionError
from retrieval_bench.retrieval import bit_packing
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.kmeans import assign, draw, lloyd, squared_error
from retrieval_bench.retrieval.similarity import unreduced_float32
from retrieval_bench.retrieval.whitening import LEAST_SHARE, Moments, principal_directions

_CODED_AT_ONCE = 4096
_ROTATED_AT_ONCE = 512  # larger matrix products take twice as long a vector: their operands leave the cache
_MOST_CODEWORDS = 2**15


class ProductQuantizer(nn.Module):
    """Codebooks and a rotation in buffers, so that a checkpoint holds them.

    Vectors are filled up with zeros to d' = M * ceil(d / M), rotated, and cut into M parts; each part is replaced by
    the nearest of the K codewords of its subspace. Zeros and rotations change no distance.

    Args:
        dim: Length d of the vectors.
        subspaces: M.
        codewords: K; a code takes M * ceil(log2 K) bits.

    Raises:
        OptionError: If M or K is out of range.
    """

    codebooks: Tensor
    rotation: Tensor
    fitted: Tensor

    def __init__(self, dim: int, subspaces: int = 8, codewords: int = 256) -> None:
        super().__init__()
        if not 1 <= subspaces <= dim:
            raise OptionError(f"subspaces is {subspaces}: vectors of length {dim} have 1 to {dim}")
        if not 1 <= codewords <= _MOST_CODEWORDS:
            raise OptionError(f"codewords is {codewords}: a subspace has 1 to {_MOST_CODEWORDS}, for instance 256")
        part = -(-dim // subspaces)
        self.dim = dim
        self.code_bits = max(1, (codewords - 1).bit_length())
        self.register_buffer("codebooks", torch.zeros(subspaces, codewords, part))
        self.register_buffer("rotation", torch.eye(subspaces * part))
        self.register_buffer("fitted", torch.tensor(False))

    @property
    def bits(self) -> int:
        """The size of a packed code: M * ceil(log2 K)."""
        return len(self.codebooks) * self.code_bits

    def rotate(self, x: Tensor) -> Tensor:
        """Vectors ``(n, d)`` filled up with zeros and rotated: ``(n, d')`` of the same type; gradients pass."""
        return self.pad(x) @ self.rotation.to(x.dtype).T

    def pad(self, x: Tensor) -> Tensor:
        """Vectors ``(n, d)`` with zeros at the end: ``(n, d')``.

        Raises:
            ValueError: If they have another length.
        """
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"expected vectors of shape (n, {self.dim}), got {tuple(x.shape)}")
        return nn.functional.pad(x, (0, len(self.rotation) - self.dim))

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        *,
        rotate: bool = True,
        rounds: int = 20,
        last_passes: int = 25,
        samples: int = 262_144,
        seed: int = 0,
        warm_start: bool = False,
    ) -> list[float]:
        """Learn codebooks and, for OPQ, the rotation (Ge et al., CVPR 2013, section 3.1).

        Each round moves the codewords by one pass of k-means, then rotates by U V^T of the singular vectors of X^T X~,
        which brings the vectors nearest to their reconstructions X~; at the end k-means runs on. The rotation starts
        from the principal directions, dealt out so that the subspaces' variances have about the same product (section
        3.2): directions in order of variance would leave all of it to the first subspace.

        Args:
            x: ``(n, d)`` float32.
            rotate: Whether the rotation is learned; without it the vectors' own axes are cut (PQ).
            rounds: Of passes and rotations; none for PQ.
            last_passes: Of k-means at the end, at least 1.
            samples: Learn from no more vectors than these, drawn at random.
            seed: Of the draws.
            warm_start: Start from what was learned before: the codewords keep their numbers.

        Returns:
            The mean squared error of a vector after each round, and at the end; it never rises.

        Raises:
            ValueError: If there are no vectors, or a value is not finite.
        """
        generator = torch.Generator().manual_seed(seed)
        if len(x) > samples:
            x = x[torch.randperm(len(x), generator=generator)[:samples].to(x.device)]
        x = self.pad(x.detach().float())
        if not len(x) or not x.isfinite().all():
            raise ValueError(f"codebooks cannot be learned from {len(x)} vectors, or one of them is not finite")
        if warm_start:
            self._check_fitted()
            rotation, codebooks = self.rotation, self.codebooks
        else:
            rotation = _dealt_directions(x, len(self.codebooks)) if rotate else torch.eye(x.shape[1], device=x.device)
            parts = _rotated(x, rotation).chunk(len(self.codebooks), dim=1)
            codebooks = torch.stack([draw(part, self.codebooks.shape[1], generator) for part in parts])
        errors = []
        for _ in range(rounds if rotate else 0):
            codebooks, error, cross = _improve(x, rotation, codebooks, passes=1)
            errors.append(error)
            left, _, right = torch.linalg.svd(cross)
            rotation = (left @ right).T.float()
        codebooks, error, _ = _improve(x, rotation, codebooks, passes=last_passes)
        self.rotation.copy_(rotation)
        self.codebooks.copy_(codebooks)
        self.fitted.fill_(True)
        return [*errors, error]

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The numbers of the nearest codewords, of equally near ones the first.

        Args:
            x: ``(n, d)``.

        Returns:
            ``(n, M)`` uint8 where K is 256 or less, else int16.

        Raises:
            RuntimeError: If nothing was learned or loaded before.
            ValueError: If a value is not finite.
        """
        self._check_fitted()
        kind = torch.uint8 if self.code_bits <= 8 else torch.int16
        codes = torch.empty((len(x), len(self.codebooks)), dtype=kind, device=x.device)
        for rows in _row_blocks(len(x), _CODED_AT_ONCE):
            block = _rotated(self.pad(x[rows].float()), self.rotation)
            if not block.sum().isfinite():
                raise ValueError("a vector that is not finite has no code: has the network diverged?")
            for m, part in enumerate(block.chunk(len(self.codebooks), dim=1)):
                codes[rows, m] = assign(part, self.codebooks[m]).to(kind)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """The codewords that codes ``(n, M)`` name, side by side: ``(n, d')`` float32 in the space of ``rotate``."""
        self._check_fitted()
        return _decode(self.codebooks, codes.T)

    @torch.no_grad()
    def tables(self, query: Tensor) -> Tensor:
        """Squared distances of rotated queries from all codewords, computed in float64.

        Args:
            query: ``(q, d)``.

        Returns:
            ``(q, M, K)`` float32.

        Raises:
            RuntimeError: If nothing was learned or loaded before.
        """
        self._check_fitted()
        subspaces, codewords, part = self.codebooks.shape
        tables = torch.empty((len(query), subspaces, codewords), device=query.device)
        rotated = self.rotate(query.double()).view(-1, subspaces, 1, part)
        for own, table in zip(rotated, tables, strict=True):
            table.copy_((own - self.codebooks).square_().sum(2))
        return tables

    def as_queries(self, vectors: Descriptors) -> Descriptors:
        """Vectors as the queries of an asymmetric search: their tables, flat."""
        return Descriptors(self.tables(vectors.data).flatten(1), vectors.image, "adc", vectors.boxes)

    def as_gallery(self, vectors: Descriptors) -> Descriptors:
        """Vectors as the gallery of an asymmetric search: their codes."""
        return Descriptors(self.encode(vectors.data), vectors.image, "adc", vectors.boxes)

    def pack(self, codes: Tensor) -> Tensor:
        """Codes ``(n, M)`` without gaps: ``(n, ceil(bits / 8))`` uint8."""
        return bit_packing.pack(codes, self.code_bits)

    def unpack(self, packed: Tensor) -> Tensor:
        """What ``pack`` was given."""
        return bit_packing.unpack(packed, self.code_bits, len(self.codebooks))

    def _check_fitted(self) -> None:
        if not self.fitted:
            raise RuntimeError("ProductQuantizer was neither fitted nor loaded from a checkpoint")


def _improve(x: Tensor, rotation: Tensor, codebooks: Tensor, passes: int) -> tuple[Tensor, float, Tensor]:
    """Passes of k-means in each subspace of rotated vectors.

    Returns:
        The codebooks; the mean squared error of a vector; and ``(d', d')`` float64 X^T X~.
    """
    rotated = _rotated(x, rotation)
    moved, codes, error = [], [], 0.0
    for part, centroids in zip(rotated.chunk(len(codebooks), dim=1), codebooks, strict=True):
        centroids, owner = lloyd(part, centroids, passes)
        moved.append(centroids)
        codes.append(owner)
        error += float(squared_error(part, centroids, owner).double().mean())
    codebooks, owners = torch.stack(moved), torch.stack(codes)
    cross = torch.zeros(rotation.shape, dtype=torch.float64, device=x.device)
    with unreduced_float32(x.device):
        for rows in _row_blocks(len(x), _CODED_AT_ONCE):
            cross += x[rows].T @ _decode(codebooks, owners[:, rows])
    return codebooks, error, cross


def _rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """``(n, d')`` float32 vectors rotated, block by block."""
    rotated = torch.empty_like(x)
    with unreduced_float32(x.device):
        for rows in _row_blocks(len(x), _ROTATED_AT_ONCE):
            torch.mm(x[rows], rotation.T, out=rotated[rows])
    return rotated


def _decode(codebooks: Tensor, codes: Tensor) -> Tensor:
    """``(n, d')`` the codewords of ``(M, n)`` codes."""
    return torch.cat([codebook[own.long()] for codebook, own in zip(codebooks, codes, strict=True)], dim=1)


def _dealt_directions(x: Tensor, subspaces: int) -> Tensor:
    """``(d', d')`` principal directions as rows, each, in order of variance, dealt to the least product so far."""
    variance, direction = principal_directions(Moments(x.shape[1]).add(x).covariance)
    # Directions with less variance hold rounding errors alone; all that matters is that their logarithm is finite.
    variance = variance.clamp(min=max(LEAST_SHARE * float(variance[0]), 1e-300))
    part = len(direction) // subspaces
    dealt: list[list[int]] = [[] for _ in range(subspaces)]
    product = [0.0] * subspaces
    for i, gain in enumerate((variance / variance[-1]).log().tolist()):
        least = min((m for m in range(subspaces) if len(dealt[m]) < part), key=lambda m: product[m])
        dealt[least].append(i)
        product[least] += gain
    return direction[[i for own in dealt for i in own]].to(x)


def _row_blocks(rows: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, rows, size))
