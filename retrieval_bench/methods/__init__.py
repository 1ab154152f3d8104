"""One paper, one file."""

from retrieval_bench.methods.abir import ABIR
from retrieval_bench.methods.adaptive_triplet import AdaptiveTriplet
from retrieval_bench.methods.base import RetrievalMethod, TrainedNetwork
from retrieval_bench.methods.cluster_mac import ClusterMAC
from retrieval_bench.methods.global_pooling import GlobalPooling
from retrieval_bench.methods.query_detector import QueryDetector
from retrieval_bench.methods.regional_attention import RegionalAttention
from retrieval_bench.methods.regional_attention_training import RegionalAttentionTraining
from retrieval_bench.methods.rmac import RMAC
from retrieval_bench.methods.rpn import RPN
from retrieval_bench.methods.udq import UDQ

__all__ = [
    "ABIR",
    "RMAC",
    "RPN",
    "UDQ",
    "AdaptiveTriplet",
    "ClusterMAC",
    "GlobalPooling",
    "QueryDetector",
    "RegionalAttention",
    "RegionalAttentionTraining",
    "RetrievalMethod",
    "TrainedNetwork",
]
