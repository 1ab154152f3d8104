"""Two processes joined by gloo, as `torchrun --nproc-per-node 2` would start them, for tests of distributed code."""

import multiprocessing
import os
import pickle
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

WORLD_SIZE = 2


def run_in_two_processes(work: Callable[..., Any], *args: Any, meeting_point: Path, timeout: float = 90) -> list[Any]:
    """Run the same work in two processes that form one gloo group.

    A Lightning trainer made inside with ``strategy="ddp", devices=2, accelerator="cpu"`` uses this group. The processes
    are forked, so work and arguments may be anything; what they return must be picklable.

    Args:
        work: What each process runs.
        args: Its arguments.
        meeting_point: A file that does not exist yet.
        timeout: Seconds after which processes that wait for each other are given up.

    Returns:
        What rank 0 and rank 1 returned.
    """
    fork = multiprocessing.get_context("fork")
    running = []
    for rank in range(WORLD_SIZE):
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=_run, args=(rank, sender, meeting_point, work, args))
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads; torch keeps some, but none that holds a lock here.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        sender.close()
        running.append((process, receiver))
    results, failures = [], []
    for rank, (process, receiver) in enumerate(running):
        # One that failed leaves the other waiting: then there is nothing to wait for.
        if not receiver.poll(timeout if not failures else 1):
            failures.append(f"rank {rank} did not answer within {timeout} s")
            continue
        try:
            done, value = pickle.loads(receiver.recv_bytes())
        except EOFError:
            process.join(5)
            done, value = False, f"it died with exit code {process.exitcode}"
        results.append(value)
        if not done:
            failures.append(f"rank {rank} failed:\n{value}")
    for process, receiver in running:
        process.join(1 if failures else timeout)
        if process.is_alive():
            process.kill()
            process.join()
        receiver.close()
    if failures:
        raise AssertionError("\n".join(failures))
    return results


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    children = [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [x for child in children for x in (child, *descendants(child))]


def _run(rank: int, sender: Connection, meeting_point: Path, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    import torch
    import torch.distributed as dist

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(WORLD_SIZE), NODE_RANK="0")
    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", f"file://{meeting_point}", rank=rank, world_size=WORLD_SIZE)
        answer = (True, work(*args))
    except BaseException:  # whatever it was, the test shows it
        answer = (False, traceback.format_exc())
    # Not send(): it would share the memory of tensors, and this process may be gone before they are read.
    sender.send_bytes(pickle.dumps(answer))
    if answer[0] and dist.is_initialized():
        dist.destroy_process_group()
