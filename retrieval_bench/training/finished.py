"""A finished run to work with: its result, its checkpoint, checked, and the data it was scored on."""

from dataclasses import dataclass
from pathlib import Path

from retrieval_bench import datamodules
from retrieval_bench.bench.records import suggestion
from retrieval_bench.bench.results import RESULT_FILE, Checkpoint, Result, read_result
from retrieval_bench.datamodules import RetrievalDataModule
from retrieval_bench.errors import RetrievalBenchError
from retrieval_bench.methods import RetrievalMethod
from retrieval_bench.training.checkpoints import LAST, checkpoint_facts, load_method
from retrieval_bench.training.identity import RUN_FILE


class RunError(RetrievalBenchError):
    """There is no such run, or it lacks what is needed, or it is not what its result says."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that has its result and its checkpoint.

    Attributes:
        folder: Where both lie.
        result: What it left.
        checkpoint: The checkpoint whose numbers the result holds, as it is on disk.
    """

    folder: Path
    result: Result
    checkpoint: Checkpoint

    def load(self) -> RetrievalMethod:
        """The method, in evaluation mode on the CPU."""
        return load_method(self.folder / self.checkpoint.file)

    def datamodule(self, data_dir: Path, num_workers: int | None = None) -> RetrievalDataModule:
        """The data that the run was scored on, not yet told how the method wants its pictures.

        Args:
            data_dir: The folder of the data sets.
            num_workers: Processes that decode; by default the datamodule's own choice.

        Raises:
            RunError: If other pictures or another table are there, or the data set is not one of this project's.
        """
        options = self.result.config["data"]["init_args"]
        name = self.result.config["data"]["class_path"].rpartition(".")[2]
        kind = getattr(datamodules, name, None)
        if kind is None:
            raise RunError(
                f"{self.result.run.name} was scored on the data of {name}, which is not one of this project's: index "
                "its pictures as a folder, `retrieval-bench index build --run RUN --to DIR FOLDER`"
            )
        # A result names no place on any machine: of a folder it keeps the last name.
        places = {"distractors": data_dir / options["distractors"]} if options.get("distractors") else {}
        miniature = self.result.protocol.edition.startswith("miniature-")
        data: RetrievalDataModule = kind(
            root=data_dir / "miniature" if miniature else data_dir,
            protocol=self.result.protocol.name,
            eval_batch_size=options.get("eval_batch_size", 64),
            num_workers=num_workers,
            **places,
        )
        if data.table.fingerprint != self.result.data.fingerprint:
            raise RunError(
                f"{data.dataset.root} is not what {self.result.run.name} was scored on: its table has the fingerprint "
                f"{data.table.fingerprint}, the result {self.result.data.fingerprint}; name the right folder with "
                "--data-dir"
            )
        return data


def open_run(run: Path, results: Path = Path("results")) -> FinishedRun:
    """A run with its checkpoint.

    Args:
        run: Its folder, or its name below ``results/runs``.
        results: The folder of results.

    Raises:
        RunError: If there is no such run, it is not finished, it has no checkpoint, or the checkpoint is another one
            than the result is of.
        RecordError: If its result is broken.
    """
    folder = _folder(run, results)
    result = read_result(folder / RESULT_FILE)
    file = folder / LAST
    if not file.is_file():
        raise RunError(
            f"{folder} has no checkpoint ({LAST}); results are kept without. Make it anew: {_remake(result)}"
        )
    found = checkpoint_facts(file, folder)
    if result.checkpoint is not None and result.checkpoint != found:
        raise RunError(
            f"{file} is not the checkpoint that {folder / RESULT_FILE} is of: its sha256 is {found.sha256[:12]}…, the "
            f"result says {result.checkpoint.sha256[:12]}…. Put the right one back, or make the run anew: "
            f"{_remake(result)}"
        )
    return FinishedRun(folder, result, found)


def _folder(run: Path, results: Path) -> Path:
    for folder in (run, results / "runs" / run):
        if (folder / RESULT_FILE).is_file():
            return folder
    for folder in (run, results / "runs" / run):
        if (folder / RUN_FILE).is_file():
            raise RunError(f"the run in {folder} is not finished: there is no {RESULT_FILE} yet")
    known = [x.parent.relative_to(results / "runs").as_posix() for x in (results / "runs").rglob(RESULT_FILE)]
    close = suggestion(run.as_posix(), known).partition(" (known")[0]
    raise RunError(f"there is no run {run}, nor one of that name in {results / 'runs'} ({len(known)} runs){close}")


def _remake(result: Result) -> str:
    run = result.run
    return (
        f"`retrieval-bench run {run.suite} --datasets {run.dataset} --methods {run.method} "
        f"--variants {run.variant or 'full'} --seeds {run.seed} --output FOLDER`"
    )
