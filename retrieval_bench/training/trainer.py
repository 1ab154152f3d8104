"""Lightning's Trainer with one more verb: benchmark a method, and leave a result."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningDataModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

from retrieval_bench.bench.files import write_whole
from retrieval_bench.bench.per_query import PER_QUERY_FILE, write_per_query
from retrieval_bench.bench.ranked import RANKED_FILE, Ranked, write_ranked
from retrieval_bench.bench.results import RESULT_FILE, write_result
from retrieval_bench.errors import OptionError
from retrieval_bench.methods.base import RetrievalMethod, TrainedNetwork
from retrieval_bench.methods.phases import PhasedMethod
from retrieval_bench.retrieval.postprocessing import PostProcessing
from retrieval_bench.training.checkpoints import LAST
from retrieval_bench.training.first_phase import SharedFirstPhase, first_phase_file
from retrieval_bench.training.identity import RunIdentity
from retrieval_bench.training.progress_bar import EpochBar
from retrieval_bench.training.ranked import first_images
from retrieval_bench.training.result import make_result
from retrieval_bench.training.resume import AtomicCheckpointIO, BestOnTest, LastCheckpoint, RandomState, TrainingTime
from retrieval_bench.training.showcase import PICTURES_FOLDER, draw_pictures
from retrieval_bench.training.wandb_log import WandbLog

_BEFORE_FILE = "before.json"


class BenchmarkTrainer(Trainer):
    """A Trainer whose runs can be killed and started again, and end with the same network and numbers.

    Args:
        args: Passed to Lightning's Trainer.
        run_dir: Where everything of the run goes: checkpoints, log, result. Without it Lightning's own places are used.
        wandb: Whether to log to Weights & Biases as well; offline unless WANDB_MODE says ``online``.
        first_phases: A folder of first phases, for methods that are trained in two: a run starts from the one that it
            shares with an earlier run, or leaves its own there. Empty it when the code of the method changes.
        postprocessing: Steps between descriptors and scores, one after the other, in every evaluation; none in predict.
        kwargs: Passed to Lightning's Trainer.
    """

    def __init__(
        self,
        *args: Any,
        run_dir: str | None = None,
        wandb: bool = False,
        first_phases: str | None = None,
        postprocessing: list[PostProcessing] | None = None,
        **kwargs: Any,
    ) -> None:
        self.postprocessing = tuple(postprocessing or ())
        self.first_phases = Path(first_phases) if first_phases else None
        self.run_dir = Path(run_dir) if run_dir else None
        self.identity = RunIdentity.read(self.run_dir) if self.run_dir else None
        self.resolved_config: dict[str, Any] = {}
        if self.run_dir:
            kwargs["default_root_dir"] = str(self.run_dir)
        if kwargs.get("logger") in (None, True):
            folder = Path(kwargs.get("default_root_dir") or ".")
            kwargs["logger"] = _loggers(self, folder, wandb=wandb)
        kwargs["plugins"] = [*_as_list(kwargs.get("plugins")), AtomicCheckpointIO()]
        kwargs["callbacks"] = [*_as_list(kwargs.get("callbacks")), RandomState(), TrainingTime(), BestOnTest()]
        if kwargs.get("enable_checkpointing") is not False:
            kwargs["callbacks"].append(LastCheckpoint(self.run_dir))
        given = any(isinstance(callback, ProgressBar) for callback in kwargs["callbacks"])
        if kwargs.get("enable_progress_bar") is not False and not given:
            kwargs["callbacks"].append(EpochBar())
        super().__init__(*args, **kwargs)

    def callback(self, kind: type[Callback]) -> Any:
        """The callback of a kind.

        Raises:
            LookupError: If there is none.
        """
        for callback in self.callbacks:  # type: ignore[attr-defined]  # Lightning sets it
            if isinstance(callback, kind):
                return callback
        raise LookupError(f"this trainer has no {kind.__name__}")

    def benchmark(self, model: TrainedNetwork, datamodule: LightningDataModule) -> None:
        """Train (or go on training), test, and write the result into the run's folder.

        Args:
            model: The method.
            datamodule: The data set and its protocol.

        Raises:
            OptionError: If the model describes no pictures, or the trainer has no ``run_dir``.
        """
        if not isinstance(model, RetrievalMethod):
            raise OptionError(f"{type(model).__name__} describes no pictures, so it has no score: train it with `fit`")
        if self.run_dir is None or self.identity is None:
            raise OptionError("benchmark needs a folder for the run: --trainer.run_dir DIR")
        last = self.run_dir / LAST
        before = self._measure_untrained(model, datamodule) if self.identity.compare_untrained else None
        # Measuring must not move the random numbers that training draws.
        seed_everything(self.identity.seed, workers=True, verbose=False)
        start = last if last.is_file() else self._shared_first_phase(model, datamodule, last)
        self.fit(model, datamodule=datamodule, ckpt_path=str(start) if start else None, weights_only=True)
        if not last.is_file():  # what is only fitted trains for no epoch, and Lightning writes no checkpoint then
            self.save_checkpoint(last)
        self.test(model, datamodule=datamodule, verbose=False)
        self._write(model, datamodule, before)

    def _shared_first_phase(self, model: RetrievalMethod, datamodule: Any, last: Path) -> Path | None:
        """The checkpoint of the first phase if another run has left it; otherwise this one will."""
        if self.first_phases is None or not isinstance(model, PhasedMethod):
            return None
        file = first_phase_file(self.first_phases, self, model, datamodule)
        if file.is_file():
            return file
        self.callbacks.append(SharedFirstPhase(file, last))  # type: ignore[attr-defined]  # Lightning sets it
        return None

    def _measure_untrained(self, model: RetrievalMethod, datamodule: LightningDataModule) -> dict[str, float]:
        assert self.run_dir is not None
        kept = self.run_dir / _BEFORE_FILE
        if not kept.is_file():
            self.validate(model, datamodule=datamodule, verbose=False)
            assert model.evaluation is not None
            _write_on_first(kept, json.dumps(model.evaluation.metrics))
            self.strategy.barrier()
        metrics: dict[str, float] = json.loads(kept.read_text())
        return metrics

    @rank_zero_only
    def _write(self, model: RetrievalMethod, datamodule: Any, before: dict[str, float] | None) -> None:
        assert self.run_dir is not None
        assert self.identity is not None
        assert model.evaluation is not None
        model.to(self.strategy.root_device).eval()  # Lightning has taken it away from there
        write_per_query(self.run_dir / PER_QUERY_FILE, model.evaluation.query, model.evaluation.per_query)
        result = make_result(self, model, datamodule, before=before, per_query=PER_QUERY_FILE)
        ranked: Ranked | None = None
        # Before the result: who sees that may count on these.
        with _only_a_warning(f"the ranked images of {self.identity.name} could not be written"):
            found = first_images(model, datamodule, self.strategy.root_device)
            write_ranked(self.run_dir / RANKED_FILE, found)
            ranked = found
        write_result(self.run_dir / RESULT_FILE, result)
        pictures = self.run_dir / PICTURES_FOLDER
        with _only_a_warning(f"the pictures of {self.identity.name} could not be drawn"):
            draw_pictures(model, datamodule, pictures)
        values = model.evaluation.per_query[result.protocol.main_metric]
        for logger in self.loggers:
            if isinstance(logger, WandbLog):
                logger.conclude(result, ranked, values, data=datamodule.dataset, pictures=pictures)


@contextmanager
def _only_a_warning(what: str) -> Iterator[None]:
    """What is there to be looked at alone may fail: hours of training are not lost to it."""
    try:
        yield
    except Exception as error:
        rank_zero_warn(f"{what} ({error}); its result is safe")


@rank_zero_only
def _write_on_first(path: Path, text: str) -> None:
    write_whole(path, text)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _loggers(trainer: BenchmarkTrainer, folder: Path, *, wandb: bool) -> list[Logger]:
    # Each piece of an interrupted run gets a version of its own: Lightning would delete the curves of the last one.
    loggers: list[Logger] = [CSVLogger(str(folder), name="metrics")]
    if wandb and os.environ.get("WANDB_MODE") != "disabled":
        loggers.append(WandbLog(trainer, folder))
    return loggers
