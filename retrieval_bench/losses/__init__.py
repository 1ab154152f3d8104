"""Losses: each scores what it is given."""

from retrieval_bench.losses.adaptive_triplet import AdaptiveTripletLoss
from retrieval_bench.losses.binomial_deviance import BinomialDeviance
from retrieval_bench.losses.triplet import TripletLoss, triplet_gap

__all__ = ["AdaptiveTripletLoss", "BinomialDeviance", "TripletLoss", "triplet_gap"]
