"""``clusters``: draw the clusters of ClusterMAC over pictures."""

import argparse

from retrieval_bench.commands.drawing import PictureError, add_pictures_of_checkpoint, check_png, save_sheet
from retrieval_bench.commands.parsing import Subparsers, command


def add(commands: Subparsers) -> None:
    """Add ``clusters``."""
    parser = command(
        commands,
        "clusters",
        help="draw the clusters of ClusterMAC over pictures",
        description="Draw for each picture how long the activations are, and the clusters of every cut.",
        example="retrieval-bench clusters --checkpoint "
        "results/runs/oxford5k/oxford5k/cluster_mac/s0/checkpoints/last.ckpt --output clusters.png tower.jpg",
    )
    add_pictures_of_checkpoint(parser, checkpoint="a checkpoint of ClusterMAC")
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Draw the clusters of pictures."""
    from retrieval_bench.methods import ClusterMAC
    from retrieval_bench.pictures.clusters import cluster_sheet
    from retrieval_bench.training.checkpoints import load_method
    from retrieval_bench.training.inspection import clustered

    check_png("--output", options.output)
    method = load_method(options.checkpoint)
    if not isinstance(method, ClusterMAC):
        raise PictureError(f"the method in {options.checkpoint} is {type(method).__name__}, which has no clusters")
    save_sheet(cluster_sheet(clustered(method, options.images)), options.output)
    return 0
