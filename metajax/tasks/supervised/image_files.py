"""Images of a tree of folders as arrays. Nothing that a file says is trusted."""

from __future__ import annotations

import hashlib
import os
import pathlib
import stat
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image

from metajax.core.options import OptionError, show

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
FORMATS = ("BMP", "GIF", "JPEG", "PNG")
MAX_DEPTH = 8
MAX_FILE_BYTES = 2**25
MAX_FILE_PIXELS = 2**25
MAX_BYTES = 2**32
"""Largest size of all images of a split together, in bytes."""
SPLITS = "train", "validation", "test"


def read_images(
    path: str, split: str, shares: Mapping[str, float], seed: int, size: int, color: bool
) -> dict[str, np.ndarray]:
    """Images of each class of a split, uint8 ``[n, size, size, channels]`` by folder.

    Args:
      path: Directory of the tree.
      split: One of ``SPLITS``.
      shares: Fractions of the classes in the splits "validation" and "test".
      seed: Seed of the division of classes.
      size: Height and width that images are resized to.
      color: Three channels instead of one.

    Raises:
      OptionError: naming ``path``, for a tree that cannot be used.
    """
    root = pathlib.Path(path)
    if not os.path.isdir(path):
        raise _error(path, "is not a directory", "one with a folder of images for each class")
    found = dict(_folders(root, root, 0))
    names = divided([*found], shares, seed)[split]
    if len(names) < 2:
        problem = f"holds {len(found)} folders of images, {len(names)} in the split {split}"
        raise _error(path, problem, f"at least two in it, of {', '.join(SUFFIXES)}")
    for name in names:
        if len(found[name]) < 2:
            raise _error(root / name, "holds one image", "at least two, for support and query")
    channels = 3 if color else 1
    kept = sum(len(found[name]) for name in names) * size * size * channels
    if kept > MAX_BYTES:
        problem = f"holds images of {kept} bytes in the split {split}"
        raise _error(path, problem, f"{MAX_BYTES}; choose a smaller size")
    return {name: np.stack([_read(one, size, color) for one in found[name]]) for name in names}


def divided(names: list[str], shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Names of each split, sorted: in the order of hashes, which no library can change."""

    def place(name: str) -> bytes:
        return hashlib.sha256(f"{seed} ".encode() + os.fsencode(name)).digest()

    left, parts = sorted(names, key=place), {}
    for split in ("test", "validation"):
        number = round(shares[split] * len(names))
        parts[split], left = sorted(left[:number]), left[number:]
    return {**parts, "train": sorted(left)}


def _folders(root: pathlib.Path, folder: pathlib.Path, depth: int) -> Iterator[tuple[str, list]]:
    """Name and sorted images of each folder with images, below ``root``."""
    if depth > MAX_DEPTH:
        raise _error(folder, "lies too deep", f"at most {MAX_DEPTH} folders in each other")
    try:
        with os.scandir(folder) as entries:
            seen = sorted((one for one in entries if one.name[0] != "."), key=lambda one: one.name)
    except OSError as error:
        raise _error(folder, f"cannot be read ({error.strerror})", "readable folders") from None
    images = []
    for entry in seen:
        if entry.is_symlink():
            raise _error(entry.path, "is a link", "folders and files in the tree itself")
        if entry.is_dir(follow_symlinks=False):
            yield from _folders(root, folder / entry.name, depth + 1)
        elif entry.name.lower().endswith(SUFFIXES):
            images.append(folder / entry.name)
    if images and folder != root:
        yield str(folder.relative_to(root)), images


def _read(file: pathlib.Path, size: int, color: bool) -> np.ndarray:
    """One image, uint8 ``[size, size, channels]``."""
    try:
        # Neither a link that was put there since, nor a pipe that never answers.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _error(file, f"cannot be read ({error.strerror})", "readable files") from None
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _error(file, "is not a regular file", "regular files")
        if status.st_size > MAX_FILE_BYTES:
            raise _error(file, f"has {status.st_size} bytes", f"at most {MAX_FILE_BYTES}")
        try:
            with Image.open(opened, formats=FORMATS) as image:
                (wide, high), mode = image.size, image.mode
                if wide * high <= MAX_FILE_PIXELS and mode[0] not in "IF":
                    pixels = image.convert("RGB" if color else "L").resize((size, size))
                    return np.asarray(pixels, np.uint8).reshape(size, size, -1)
        except Exception as error:  # whatever a decoder meets in a damaged file
            problem = f"is not a readable image ({type(error).__name__})"
            raise _error(file, problem, ", ".join(FORMATS)) from None
    if wide * high > MAX_FILE_PIXELS:
        raise _error(file, f"has {wide} x {high} pixels", f"at most {MAX_FILE_PIXELS} together")
    raise _error(file, f"has the pixel format {mode}", "8 bits a channel")


def _error(path: str | os.PathLike[str], problem: str, allowed: str) -> OptionError:
    return OptionError("path", f"{show(os.fspath(path))} {problem}; allowed: {allowed}")
