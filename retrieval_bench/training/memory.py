"""Memory that is freed and asked for again in every step should not travel through the kernel each time."""

import ctypes
import platform

# glibc's names and numbers of malloc's options (malloc.h).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1
_AHEAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next request instead of handing it back to the kernel.

    By default every large tensor on the CPU is mapped, zeroed page by page and unmapped again; in training on a CPU
    that can cost as much as the arithmetic. The process's peak is about the same, it only falls back later.

    Returns:
        Whether the C library could be told; others than glibc are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(o, v) for o, v in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _AHEAD)))
