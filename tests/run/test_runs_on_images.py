"""Runs on a folder of images, and what is wrong with one."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from test_mistakes import assert_refused

NUM_IMAGES = 4
CONFIG = """
[family]
name = "image-folder"
path = "images"
size = 4
num-classes = 2
validation-fraction = 0.2
test-fraction = 0.3

[algorithm]
name = "prototypical"
num-tasks = 2
num-streams = 4
hidden-sizes = [4]

[train]
num-iterations = 2
block-size = 2

[evaluate]
num-tasks = 2

[evaluate.family]
split = "test"
"""


@pytest.fixture
def images(workplace):
    """Ten folders of four images each, and a config."""
    random = np.random.default_rng(0)
    for folder in (workplace / "images" / name for name in "abcdefghij"):
        folder.mkdir(parents=True)
        for number in range(NUM_IMAGES):
            pixels = random.integers(0, 255, (5, 6), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    (workplace / "images.toml").write_text(CONFIG)
    return workplace / "images"


def test_training_on_a_folder(images, command):
    result = command("train", "images.toml")
    assert result.code == 0
    assert "returns [0.5 " in result.out, "of two classes, before adaptation"
    assert (images.parent / "runs" / "images-seed-0" / "evaluation.json").is_file()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("family.path=image", 'family.path: "image" is not a directory; allowed: one with a'),
        (
            "family.num-classes=6",
            "family.num-classes: 6 is not possible; allowed: from 2 to 5, the",
        ),
        (
            "evaluate.family.test-fraction=0.1",
            'evaluate.family.path: "images" holds 10 folders of images, 1 in the split test',
        ),
        (
            "algorithm.num-streams=5",
            "algorithm.num-streams: 10 is not possible; allowed: at most 8 examples of a task, "
            "support and query together",
        ),
        ("evaluate.num-streams=7", "evaluate.num-streams: 11 is not possible; allowed: at most 8"),
    ],
)
def test_what_does_not_fit_a_folder_is_named(images, command, override, message):
    assert_refused(command("train", "images.toml", "--set", override), message)
    assert not (images.parent / "runs").exists()


def test_an_image_that_cannot_be_read_is_named(images, command):
    for file in images.glob("*/1.png"):
        file.write_bytes(file.read_bytes()[:40])
    result = command("train", "images.toml")
    assert_refused(result, '/1.png" is not a readable image (')
    assert "allowed: BMP, GIF, JPEG, PNG" in result.err
