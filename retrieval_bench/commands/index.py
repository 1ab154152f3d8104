"""``index``: make what a run's network is searched in, of its own gallery or of any folder of pictures."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_bench.commands.parsing import Subparsers, add_data_dir, add_results, add_workers, command

if TYPE_CHECKING:
    from retrieval_bench.training.describing import Describer
    from retrieval_bench.training.indexing import Gallery

_SKIPPED_NAMED = 20


def add(commands: Subparsers) -> None:
    """Add ``index`` and its verb."""
    parser = command(
        commands,
        "index",
        help="make an index of pictures to search in",
        description="Describe pictures by the network of a finished run and keep what it says, for `search`.",
        example="retrieval-bench index build --run smoke/oxford5k/rmac/s0",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    build = command(
        verbs,
        "build",
        help="make an index, or bring it up to date",
        description="Without FOLDER the run's own gallery is indexed, in the run's folder. With FOLDER all pictures in "
        "it and below. What Ctrl-C or a crash cuts short goes on with the same command; later it takes in new and "
        "changed pictures and forgets those that are gone. Pictures that cannot be read are skipped and named.",
        example="retrieval-bench index build --run smoke/oxford5k/rmac/s0 --to my_index my_pictures",
    )
    build.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="a folder of pictures")
    add_run(build)
    build.add_argument("--to", type=Path, metavar="DIR", help="where the index of FOLDER goes")
    add_workers(build)
    build.set_defaults(handler=handle)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add ``--run``, and where runs and data sets are."""
    parser.add_argument(
        "--run", required=True, type=Path, metavar="RUN", help="a run's folder, or its name below results/runs"
    )
    add_results(parser)
    add_data_dir(parser)


def handle(options: argparse.Namespace) -> int:
    """Build an index."""
    from retrieval_bench.errors import OptionError
    from retrieval_bench.training.describing import Describer
    from retrieval_bench.training.finished import open_run
    from retrieval_bench.training.indexing import folder_gallery

    if (options.folder is None) != (options.to is None):
        raise OptionError("FOLDER and --to DIR go together: the pictures to index, and where their index goes")
    describer = Describer(open_run(options.run, options.results))
    if options.folder is None:
        build_own(describer, options.data_dir, options.workers)
    else:
        build(describer, folder_gallery(describer, options.folder, options.workers), options.to)
    where = "" if options.to is None else f" --index {options.to}"
    print(f"search it: retrieval-bench search --run {options.run}{where} --query PICTURE")
    return 0


def build_own(describer: "Describer", data_dir: Path | None, workers: int | None = None) -> None:
    """Index a run's own gallery."""
    from retrieval_bench.bench.plan import data_folder
    from retrieval_bench.training.index_store import PictureIndexError
    from retrieval_bench.training.indexing import OWN, own_gallery

    gallery = own_gallery(describer, data_dir or data_folder(), workers)
    folder = describer.run.folder / OWN
    try:
        build(describer, gallery, folder)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise PictureIndexError(
            f"{folder}: {error.strerror or error}; copy the run to where there is room and you may write, or index "
            f"the pictures elsewhere: `retrieval-bench index build --run RUN --to DIR {gallery.data.dataset.root}`"
        ) from error


def build(describer: "Describer", gallery: "Gallery", folder: Path) -> None:
    """Build an index with a bar, and say what it came to."""
    from retrieval_bench.commands.counting import counting
    from retrieval_bench.training.indexing import build_index

    with counting("pictures") as counter:
        built = build_index(describer, gallery, folder, counter.show)
    for path, reason in list(built.skipped.items())[:_SKIPPED_NAMED]:
        print(f"skipped {path!r}: {reason}")
    if len(built.skipped) > _SKIPPED_NAMED:
        print(f"skipped {len(built.skipped) - _SKIPPED_NAMED} more; {folder / 'index.json'} names them all")
    print(
        f"{folder}: {built.pictures:,} pictures, {built.described:,} described now, {built.dropped:,} forgotten, "
        f"{len(built.skipped):,} skipped"
    )
