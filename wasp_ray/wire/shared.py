"""Bytes without a name that the processes of a node share by descriptor: written once, then only read."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable


def anonymous_file(name: str) -> int:
    """A descriptor of an empty file in memory; on disk where the system has no such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(f"wasp_ray_{name}", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def share(name: str, pieces: Iterable[bytes | bytearray | memoryview]) -> int:
    """A descriptor of a file that holds them, one after the other."""
    fd = anonymous_file(name)
    for piece in pieces:
        left = memoryview(piece).cast("B")
        while left:
            left = left[os.write(fd, left) :]
    return fd


def shared_view(fd: int) -> memoryview:
    """What such a file holds; nobody can write through it. The descriptor is not needed afterwards."""
    if os.fstat(fd).st_size == 0:  # cannot be mapped
        return memoryview(b"")
    return memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
