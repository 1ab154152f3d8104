"""Descriptors made elsewhere, scored here: a result like any other's, flagged as a guest's."""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import torch

from retrieval_bench.bench import provenance
from retrieval_bench.bench.config import config_hash
from retrieval_bench.bench.errors import BenchError
from retrieval_bench.bench.outside import OutsideMetric, names_file, read_outside
from retrieval_bench.bench.per_query import PER_QUERY_FILE, write_per_query
from retrieval_bench.bench.results import ASIDE, RESULT_FILE, Cost, Data, Result, RunId, read_result, write_result
from retrieval_bench.bench.summary import GUESTS
from retrieval_bench.datasets.base import RetrievalDataset
from retrieval_bench.retrieval.descriptors import Descriptors
from retrieval_bench.retrieval.evaluate import evaluate

NOTE = "scored here, made elsewhere"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def score_guest(
    file: Path,
    dataset: RetrievalDataset,
    *,
    name: str,
    output: Path,
    metric: OutsideMetric | None = None,
    names: Path | None = None,
) -> Path:
    """Score descriptors under a data set's protocol, on the path that methods take, and write the result.

    Args:
        file: The descriptors; see ``read_outside``.
        dataset: The data set, under its protocol.
        name: What the guest is called.
        output: The folder of results.
        metric: How the descriptors are compared; see ``read_outside``.
        names: The file of their names; see ``read_outside``.

    Returns:
        The file of the result.

    Raises:
        BenchError: If the descriptors cannot be used, or a guest of this name is another one.
    """
    if not _NAME.fullmatch(name) or ASIDE in name:
        raise BenchError(f"--name {name}: a guest is named with letters, digits and . _ + -, a letter or a digit first")
    query, gallery = read_outside(file, dataset, metric=metric, names=names)
    protocol, table = dataset.protocol, dataset.table
    named = names_file(file, names)
    config = {
        "descriptors": {"file": file.name, "sha256": _sha256(file), "metric": metric},
        "names": {"file": named.name, "sha256": _sha256(named)} if named else None,
    }
    usual = protocol.name == dataset.protocols[0].name
    run = RunId(suite=GUESTS, dataset=dataset.name, method=name, variant=None if usual else protocol.name, seed=0)
    place = output / "runs" / GUESTS / run.name / RESULT_FILE
    digits = config_hash(config, {"protocol": protocol.fingerprint, "data": table.fingerprint})
    if place.is_file() and read_result(place).config_hash != digits:
        raise BenchError(
            f"{place} is of another file, or of other data: give this guest another --name, or remove that folder"
        )
    gpu = torch.cuda.is_available()
    evaluation = evaluate(query, gallery, dataset.ground_truth, protocol, device="cuda" if gpu else None)
    result = Result(
        run=run,
        protocol=protocol,
        metrics=evaluation.metrics,
        per_query=PER_QUERY_FILE,
        config=config,
        config_hash=digits,
        data=Data(fingerprint=table.fingerprint, edition=protocol.edition, counts=table.counts()),
        code=provenance.code_version(),
        packages=provenance.packages(),
        hardware=provenance.hardware([torch.cuda.get_device_name()] if gpu else []),
        cost=Cost(
            bytes_per_image=_bytes_per_image(query, gallery),
            ms_per_query=1000 * evaluation.seconds_per_query,
        ),
        notes=(NOTE,),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    write_per_query(place.with_name(PER_QUERY_FILE), evaluation.query, evaluation.per_query)
    write_result(place, result)
    return place


def _bytes_per_image(query: Descriptors, gallery: Descriptors) -> float:
    """What a picture takes in the gallery; numbers of codewords without gaps, as methods count them."""
    row: float = gallery.data[0].nbytes
    if gallery.metric == "adc":
        subspaces = gallery.data.shape[1]
        row = subspaces * max(1, (query.data.shape[1] // subspaces - 1).bit_length()) / 8
    return row * len(gallery) / len(torch.unique(gallery.image))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
