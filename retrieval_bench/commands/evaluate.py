"""``evaluate``: score descriptors made elsewhere, and put them on the leaderboard."""

import argparse
from pathlib import Path

from retrieval_bench.commands.parsing import Subparsers, add_data_dir, add_name, chosen_root, command
from retrieval_bench.commands.tables import make_console

_DESCRIPTION = """\
Score descriptors that any program made, on the path that our methods take. The result stands in the tables as a guest.

FILE is one of
  .npz          arrays `descriptors` (or `vectors`) and `names`
  .safetensors  a tensor `descriptors` (or `vectors`), and the names in a text file
  .npy          an array, and the names in a text file
  .npz          what `retrieval-bench predict` wrote, which needs no names: the run's own numbers, of the protocol that
                predict was given, unless the run was post-processed
Rows of floating-point numbers are vectors, rows of uint8 are packed codes. A text file has one name a line; it lies
beside FILE and ends in .txt, or --names says where it is.

A name is a picture's path below the data set's folder, as in images/001.Black_footed_Albatross/x.jpg. All queries and
all searched pictures are needed; more of its pictures do no harm. Where a query is cropped and its whole picture is
searched (oxford5k, paris6k and their sets with distractors, under crop-i and crop-x), query:jpg/all_souls_000013.jpg
is the query and jpg/all_souls_000013.jpg the searched picture. To crop is up to who describes.
"""


def add(commands: Subparsers) -> None:
    """Add ``evaluate``."""
    parser = command(
        commands,
        "evaluate",
        help="score descriptors made elsewhere, as a guest on the leaderboard",
        description=_DESCRIPTION,
        example="retrieval-bench evaluate cub --protocol zero-shot --descriptors clip.npz --name clip",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_name(parser)
    parser.add_argument("--protocol", metavar="NAME", help="of the data set (default: its first)")
    parser.add_argument("--descriptors", required=True, type=Path, metavar="FILE", help="see above")
    parser.add_argument("--names", type=Path, metavar="FILE", help="one name a line, for the rows of --descriptors")
    parser.add_argument("--name", dest="guest", metavar="GUEST", help="in the tables (default: the file's)")
    parser.add_argument(
        "--metric",
        choices=["cosine", "dot", "euclidean", "hamming"],
        help="how descriptors are compared (default: cosine; hamming for codes)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="where results go (default: results)"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--root", type=Path, metavar="DIR", help="the data set's folder (default: data/NAME)")
    add_data_dir(where)
    parser.set_defaults(handler=handle)


def handle(options: argparse.Namespace) -> int:
    """Score, and print what was written."""
    from retrieval_bench.bench.guests import score_guest
    from retrieval_bench.bench.results import read_result
    from retrieval_bench.bench.words import metric_label
    from retrieval_bench.datasets import dataset_class
    from retrieval_bench.errors import OptionError

    kind = dataset_class(options.name)
    known = [protocol.name for protocol in kind.protocols if protocol.metrics]
    if not known:
        raise OptionError(f"{options.name} is trained on only: it has no protocol to score under")
    if options.protocol not in (None, *known):
        raise OptionError(f"--protocol {options.protocol}: {options.name} has {', '.join(known)}")
    root = options.data_dir / options.name if options.data_dir else chosen_root(options)
    file = score_guest(
        options.descriptors,
        kind(root, options.protocol),
        name=options.descriptors.stem if options.guest is None else options.guest,
        output=options.output,
        metric=options.metric,
        names=options.names,
    )
    result, console = read_result(file), make_console()
    numbers = ", ".join(f"{metric_label(key)} {100 * value:.1f}" for key, value in result.metrics.items())
    console.print(f"{result.run.setting}: {numbers}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)
    return 0
