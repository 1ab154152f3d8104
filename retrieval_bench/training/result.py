"""From a finished run to its result: numbers, provenance, how it was trained, cost."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from retrieval_bench.bench import provenance
from retrieval_bench.bench.results import Data, Result, RunId
from retrieval_bench.methods.base import RetrievalMethod
from retrieval_bench.retrieval.evaluate import Evaluation
from retrieval_bench.training.checkpoints import LAST, checkpoint_facts
from retrieval_bench.training.cost import measured_cost
from retrieval_bench.training.resume import BestOnTest

if TYPE_CHECKING:
    from retrieval_bench.training.trainer import BenchmarkTrainer


def make_result(
    trainer: "BenchmarkTrainer",
    model: RetrievalMethod,
    datamodule: Any,
    *,
    before: dict[str, float] | None,
    per_query: str,
) -> Result:
    """Gather everything worth keeping of a run that was just tested."""
    identity, evaluation = trainer.identity, model.evaluation
    assert identity is not None
    assert evaluation is not None
    assert trainer.run_dir is not None
    table = datamodule.table
    return Result(
        run=RunId(**{k: getattr(identity, k) for k in ("suite", "dataset", "method", "variant", "seed")}),
        protocol=datamodule.protocol,
        metrics=evaluation.metrics,
        before=before,
        best=_best(trainer.callback(BestOnTest).metrics, evaluation.metrics, datamodule.protocol.main_metric),
        per_query=per_query,
        config=portable(trainer.resolved_config),
        config_hash=identity.config_hash,
        data=Data(fingerprint=table.fingerprint, edition=datamodule.protocol.edition, counts=table.counts()),
        code=provenance.code_version(),
        packages=provenance.packages(),
        hardware=provenance.hardware(_accelerators(trainer)),
        cost=measured_cost(trainer, model, datamodule),
        notes=(*identity.notes, *_how_it_was_trained(trainer, model), *_how_it_was_scored(model, evaluation)),
        checkpoint=checkpoint_facts(trainer.run_dir / LAST, trainer.run_dir),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _best(seen: dict[str, float] | None, last: dict[str, float], main_metric: str) -> dict[str, float] | None:
    """The best evaluation on the test set, the last one included; None if there was no other to choose from."""
    return max(seen, last, key=lambda metrics: metrics[main_metric]) if seen else None


def portable(config: Any) -> Any:
    """A config without the paths of the machine: of an absolute path only the last name is kept."""
    if isinstance(config, dict):
        return {key: portable(value) for key, value in config.items()}
    if isinstance(config, list):
        return [portable(value) for value in config]
    return Path(config).name if isinstance(config, str) and Path(config).is_absolute() else config


def _how_it_was_trained(trainer: "BenchmarkTrainer", model: RetrievalMethod) -> list[str]:
    processes = trainer.world_size
    shared = f"{processes} processes: as many batches a step, pairs within each" if processes > 1 else ""
    reduced = "" if str(trainer.precision).startswith("32") else f"computed in {trainer.precision}"
    trained = f"trained for {trainer.global_step:,} iterations" if trainer.global_step else ""
    boxes = model.preprocessing.boxes
    cropped = f"pictures cropped to the boxes of {boxes.name}" if boxes else ""
    return [note for note in (trained, cropped, shared, reduced) if note]


def _how_it_was_scored(model: RetrievalMethod, evaluation: Evaluation) -> list[str]:
    source = getattr(model, "learned_from", None)
    learned = [f"statistics learned from {source}"] if source else []
    return [*learned, *evaluation.notes, *(["ms/query without post-processing"] if evaluation.notes else [])]


def _accelerators(trainer: "BenchmarkTrainer") -> list[str]:
    if trainer.strategy.root_device.type != "cuda":
        return []
    return [torch.cuda.get_device_name(trainer.strategy.root_device)] * trainer.world_size
