"""Where a result comes from: code, packages and machine, asked with the standard library alone."""

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import retrieval_bench
from retrieval_bench.bench.results import Code

PACKAGES = (
    "numpy",
    "scipy",
    "pillow",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "scikit-learn",
    "faiss-cpu",
    "faiss-gpu",
)


def code_version() -> Code:
    """The package's version and, in a checkout, its commit and whether it has local changes."""
    folder = Path(retrieval_bench.__file__).parent
    # Installed into an environment inside somebody else's checkout, the package is not part of that checkout.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return Code(version=retrieval_bench.__version__, commit=None, dirty=False)
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return Code(version=retrieval_bench.__version__, commit=_git(folder, "rev-parse", "HEAD"), dirty=bool(changes))


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers, or None where there is no git or no checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def packages(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The versions of Python and of the installed ones among the named packages."""
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def hardware(accelerators: Sequence[str] = ()) -> dict[str, Any]:
    """The machine.

    Args:
        accelerators: The names of the devices used, which only the caller's tensor library knows.
    """
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory_gib": _memory_gib(),
        "accelerators": list(accelerators),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _cores() -> int | None:
    # A container may own fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory_gib() -> float | None:
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
    return round(size / 2**30, 1)
