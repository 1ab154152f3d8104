"""What a run asked for, measured the same way for every method."""

import resource
from copy import copy
from typing import TYPE_CHECKING

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch.utils.flop_counter import FlopCounterMode

from retrieval_bench.bench.results import Cost
from retrieval_bench.datamodules.base import RetrievalDataModule
from retrieval_bench.methods.base import RetrievalMethod
from retrieval_bench.training.resume import TrainingTime
from retrieval_bench.training.showcase import sample_rows

if TYPE_CHECKING:
    from retrieval_bench.training.trainer import BenchmarkTrainer


def measured_cost(trainer: "BenchmarkTrainer", model: RetrievalMethod, data: RetrievalDataModule) -> Cost:
    """What a run that was just tested asked for; see ``Cost`` for what each number is of.

    Args:
        trainer: Which ran it.
        model: The method, on the device that described pictures.
        data: What it was tested on.
    """
    assert model.evaluation is not None
    # Before anything else is computed here.
    peak = _peak_memory_mib()
    return Cost(
        parameters=float(sum(p.numel() for p in model.parameters())),
        gmac_per_image=_gmac_if_they_can_be_counted(model, data),
        bytes_per_image=_bytes_per_image(model),
        images_per_second=model.images_per_second,
        ms_per_query=1000 * model.evaluation.seconds_per_query,
        training_seconds=trainer.callback(TrainingTime).seconds,
        peak_memory_mib=peak,
    )


def gmac_per_image(model: RetrievalMethod, data: RetrievalDataModule) -> float:
    """Billions of multiplications with addition that describing a picture takes, all scales and regions included.

    The mean over a few pictures of the gallery, prepared as they are evaluated. Half of the floating-point operations
    of convolutions and matrix products, as torch counts them; what others than these compute is not counted.

    Args:
        model: The method.
        data: Its pictures.
    """
    alone = copy(data)  # every process would otherwise get a share of the pictures
    alone.trainer, alone.num_workers, alone.preprocessing = None, 0, model.preprocessing
    rows = sample_rows(data)
    mode = model.training
    model.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for batch in alone.picture_dataloader(rows):
            model.embed(alone.prepared(batch, model.device))
    model.train(mode)
    return float(counter.get_total_flops()) / 2e9 / len(rows)


def _gmac_if_they_can_be_counted(model: RetrievalMethod, data: RetrievalDataModule) -> float | None:
    try:
        return gmac_per_image(model, data)
    except Exception as error:  # the numbers of hours of training are not lost to this one
        rank_zero_warn(f"the GMACs of {type(model).__name__} could not be counted ({error}); its result goes without")
        return None


def _bytes_per_image(model: RetrievalMethod) -> float:
    """Of what is searched: whitening may have made it shorter."""
    if model.postprocessed is not None:
        return model.postprocessed.gallery.data.nbytes / len(model.postprocessed.gallery)
    return model.bytes_per_image


def _peak_memory_mib() -> float:
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
