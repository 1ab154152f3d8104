"""One paper, one file."""

from retrieval_bench.methods.abir import ABIR
from retrieval_bench.methods.base import RetrievalMethod

__all__ = ["ABIR", "RetrievalMethod"]
