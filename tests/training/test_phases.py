"""Two phases: killed in either, in one process or two, shared by several runs, they end as if nothing had happened."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import seed_everything
from trainers import QUIET, KillAt, Killed, Steps

from retrieval_bench.bench.results import read_result
from retrieval_bench.datamodules import CubDataModule
from retrieval_bench.methods import AdaptiveTriplet
from retrieval_bench.training.trainer import BenchmarkTrainer


def benchmark(
    folder: Path,
    data: Path,
    *,
    kill_at: int = -1,
    devices: int = 1,
    first_phases: Path | None = None,
    bits: int = 16,
    second: int = 4,
) -> tuple[AdaptiveTriplet, int]:
    """Two epochs of three steps on pictures, four on triplets; returns the method and how many steps it took."""
    seed_everything(0, workers=True, verbose=False)
    method = AdaptiveTriplet(
        20,
        backbone="squeezenet1_0",
        weights="none",
        block_width=0.1,
        size=64,
        bits=bits,
        first_phase_epochs=2,
        second_phase_epochs=second,
        triplets_per_batch=40 // devices,
    )
    steps = Steps()
    trainer = BenchmarkTrainer(
        run_dir=str(folder),
        first_phases=first_phases and str(first_phases),
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=-1,
        check_val_every_n_epoch=10,
        log_every_n_steps=1,
        callbacks=[KillAt(kill_at), steps],
        **QUIET,
    )
    options = {"backbone": "squeezenet1_0", "first_phase_epochs": 2, "bits": bits}
    trainer.resolved_config = {"model": {"init_args": options}, "data": {}, "trainer": {}}
    trainer.benchmark(method, CubDataModule(data, protocol="hashing", batch_size=40 // devices, num_workers=0))
    return method, steps.count


def network(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {name: value.nan_to_num() for name, value in state.items()}


def assert_same_end(one: Path, other: Path) -> None:
    assert read_result(one / "result.json").metrics == read_result(other / "result.json").metrics
    a, b = network(one), network(other)
    assert a.keys() == b.keys()
    assert {n: (a[n], b[n]) for n in a if not torch.equal(a[n], b[n])} == {}
    x, y = (np.load(f / "per_query.npz") for f in (one, other))
    assert all(np.array_equal(x[key], y[key], equal_nan=True) for key in x.files)


@pytest.fixture(scope="module")
def whole(miniature, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    identity = '{"suite": "t", "dataset": "cub", "method": "m", "variant": null, "seed": 0, "config_hash": "0"}'
    (folder / "run.json").write_text(identity)
    benchmark(folder, miniature)
    return folder


# Steps 1-6 are the first phase. Triplets are chosen at steps 7 and 16: step 11 learns from those of an older network.
@pytest.mark.parametrize("step", [5, 6, 11])
def test_a_run_killed_in_either_phase_ends_as_if_it_had_not_been(step, whole, miniature, run_folder):
    cut = run_folder("cut")
    with pytest.raises(Killed):
        benchmark(cut, miniature, kill_at=step)
    assert not (cut / "result.json").exists()
    _, steps = benchmark(cut, miniature)
    assert steps == 18 - 3 * (step // 3) + (3 if step % 3 == 0 else 0)
    assert_same_end(whole, cut)


def test_a_shared_first_phase_is_trained_once_and_ends_alike(whole, miniature, run_folder, tmp_path):
    shared = tmp_path / "shared"
    maker, user, other = run_folder("maker"), run_folder("user"), run_folder("other")
    _, steps = benchmark(maker, miniature, first_phases=shared)
    assert steps == 18
    assert_same_end(whole, maker)
    assert [file.suffix for file in shared.iterdir()] == [".ckpt"]

    _, steps = benchmark(user, miniature, first_phases=shared)
    assert steps == 12
    assert_same_end(whole, user)

    method, steps = benchmark(other, miniature, first_phases=shared, bits=24)
    assert steps == 12
    assert len(list(shared.iterdir())) == 1
    ours, theirs = network(other), network(whole)
    assert method.hash_layer.bits == 24
    assert all(torch.equal(ours[x], theirs[x]) for x in theirs if x.startswith(("backbone.", "block.", "classifier.")))


def digest(*tensors: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(x.detach().contiguous().numpy().tobytes() for x in tensors)).hexdigest()


def facts(folder: Path, data: Path) -> dict[str, object]:
    method, _ = benchmark(folder, data, devices=2)
    cached = method._features
    return {
        "network": digest(*method.state_dict().values()),
        "features": digest(cached.feature),
        "triplets": digest(*method._triplets),
        "images": cached.image.tolist(),
    }


def test_two_processes_cache_the_same_features_and_learn_from_the_same_triplets(miniature, run_folder, two_processes):
    first, second = two_processes(facts, run_folder("two"), miniature)
    assert first == second
    assert first["images"] == sorted(set(first["images"]))
    assert len(first["images"]) == 240


def test_a_run_without_second_phase_shares_its_first_and_starts_from_a_shared_one(miniature, run_folder, tmp_path):
    shared = tmp_path / "shared"
    maker, user, other = run_folder("maker"), run_folder("user"), run_folder("other")
    assert benchmark(maker, miniature, first_phases=shared, second=0)[1] == 6
    assert benchmark(user, miniature, first_phases=shared, second=0)[1] == 0
    assert_same_end(maker, user)
    assert benchmark(other, miniature, first_phases=shared)[1] == 12
