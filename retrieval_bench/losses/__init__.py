"""Losses: each scores what it is given."""

from retrieval_bench.losses.binomial_deviance import BinomialDeviance

__all__ = ["BinomialDeviance"]
