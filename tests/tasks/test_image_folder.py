"""Images on disk: which classes and examples are drawn, and what is refused."""

import os
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import metajax
from metajax import tasks
from metajax.core.options import OptionError
from metajax.data.few_shot import support_query
from metajax.tasks.supervised import image_files

NUM_ALPHABETS, NUM_CHARACTERS, NUM_IMAGES = 2, 5, 4
HALVES = {"validation_fraction": 0.2, "test_fraction": 0.3, "size": 4}


def _grey(alphabet, character, image):
    """A level of its own for each image."""
    return 20 * (alphabet * NUM_CHARACTERS + character) + 3 * image + 5


@pytest.fixture
def tree(tmp_path):
    """Two alphabets of five characters with four drawings, one more of the first."""
    root = tmp_path / "omniglot"
    for alphabet in range(NUM_ALPHABETS):
        for character in range(NUM_CHARACTERS):
            folder = root / f"alphabet_{alphabet}" / f"character_{character}"
            folder.mkdir(parents=True)
            for image in range(NUM_IMAGES + (alphabet == character == 0)):
                level = _grey(alphabet, character, image)
                Image.new("L", (6, 8), level).save(folder / f"{image}.png")
    (root / "README.md").write_text("about")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "a.png").write_text("no image")
    return root


def _read(tree, split, seed=0, **options):
    shares = {"validation": 0.2, "test": 0.3}
    given = {"size": 4, "color": False, **options}
    return image_files.read_images(str(tree), split, shares, seed, **given)


def test_classes_are_divided_by_fraction_and_seed(tree):
    splits = {split: set(_read(tree, split)) for split in image_files.SPLITS}
    assert [len(splits[split]) for split in image_files.SPLITS] == [5, 2, 3]
    assert len(set.union(*splits.values())) == NUM_ALPHABETS * NUM_CHARACTERS
    assert all(name.startswith("alphabet_") for name in splits["train"])
    assert splits == {split: set(_read(tree, split)) for split in splits}
    others = [{*_read(tree, "test", seed=seed)} for seed in range(1, 4)]
    assert any(other != splits["test"] for other in others)


def test_images_are_read_resized_and_converted(tree):
    grey = _read(tree, "train")
    for name, images in grey.items():
        alphabet, character = (int(part[-1]) for part in name.split("/"))
        levels = [_grey(alphabet, character, image) for image in range(len(images))]
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(
            images, np.full((1, 4, 4, 1), 1) * np.c_[levels][:, None, None]
        )
    colored = _read(tree, "train", color=True, size=2)
    assert {images.shape[1:] for images in colored.values()} == {(2, 2, 3)}


def test_support_and_query_are_different_images_of_the_same_classes(tree):
    family = tasks.make("image-folder", path=str(tree), num_classes=3, **HALVES)
    learner: Any = None  # nothing is predicted
    source = support_query(family, learner, 6, 6)  # all that three classes of four have

    @jax.jit
    def draw(key):
        task = family.sample(key)
        return source.open(key, (), task)

    for seed in range(5):
        support, query = draw(jax.random.key(seed))
        np.testing.assert_array_equal(support.targets, [0, 1, 2] * 2)
        np.testing.assert_array_equal(query.targets, [0, 1, 2] * 2)
        levels = np.concatenate([support.inputs, query.inputs])[:, 0, 0, 0] * 255
        assert len(set(levels.round())) == 12
        classes = (levels.round() - 5) // 20
        assert [len(set(classes[label::3])) for label in range(3)] == [1, 1, 1]


def test_a_network_learns_on_a_folder(tree):
    family = tasks.make("image-folder", path=str(tree), num_classes=2, **HALVES)
    algorithm = metajax.make("prototypical", family, num_tasks=2, num_streams=4, hidden_sizes=(4,))
    state, history = metajax.train(algorithm, jax.random.key(0), 2)
    assert np.isfinite(history["loss"]).all()
    with pytest.raises(OptionError, match="num_streams: 14 is not possible; allowed: at most 8"):
        metajax.evaluate(algorithm, jax.random.key(0), state, num_streams=10)


def _link_outside(tree):
    os.symlink("/etc", tree / "alphabet_0" / "elsewhere")
    return "elsewhere"


def _linked_image(tree):
    os.symlink(tree / "README.md", tree / "alphabet_0" / "character_1" / "x.png")
    return "x.png"


def _damaged(tree):
    for file in tree.rglob("0.png"):
        file.write_bytes(file.read_bytes()[:40])
    return "0.png"


def _no_image(tree):
    for file in tree.rglob("1.png"):
        file.write_text("%!PS-Adobe")
    return "1.png"


def _pipe(tree):
    for folder in tree.glob("alphabet_*/*"):
        os.mkfifo(folder / "9.png")
    return "9.png"


def _large(tree):
    for file in tree.rglob("2.png"):
        os.truncate(file, image_files.MAX_FILE_BYTES + 1)
    return "2.png"


def _single(tree):
    for file in tree.rglob("[1-9].png"):
        file.unlink()
    return "holds one image"


def _deep(tree):
    folder = tree.joinpath(*"abcdefghi")
    folder.mkdir(parents=True)
    return "lies too deep"


SPOILED = {
    "link": (_link_outside, "is a link"),
    "linked image": (_linked_image, "is a link"),
    "damaged": (_damaged, "is not a readable image"),
    "no image": (_no_image, "allowed: BMP, GIF, JPEG, PNG"),
    "pipe": (_pipe, "is not a regular file"),
    "large": (_large, f"at most {image_files.MAX_FILE_BYTES}"),
    "single": (_single, "at least two"),
    "deep": (_deep, "at most 8 folders"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_files_that_cannot_be_used_are_named(tree, kind):
    spoil, words = SPOILED[kind]
    named = spoil(tree)
    with pytest.raises(OptionError) as error:
        tasks.make("image-folder", path=str(tree), **HALVES)
    assert str(error.value).startswith("path: ")
    assert named in str(error.value)
    assert words in str(error.value)
    assert "allowed: " in str(error.value)


def test_pixels_that_cannot_be_used_are_named(tree, monkeypatch):
    for folder in tree.glob("alphabet_*/*"):
        Image.new("I;16", (4, 4)).save(folder / "0.png")
    with pytest.raises(OptionError, match="the pixel format I"):
        _read(tree, "train")
    monkeypatch.setattr(image_files, "MAX_FILE_PIXELS", 15)
    with pytest.raises(OptionError, match="has 4 x 4 pixels; allowed: at most 15 together"):
        _read(tree, "train")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, 'path: "" is not a directory; allowed: one with a folder'),
        ({"path": "no/such"}, '"no/such" is not a directory'),
        ({"path": "{tree}/README.md"}, "is not a directory"),
        ({"path": "{tree}/alphabet_0/character_0"}, "holds 0 folders of images"),
        (
            {"path": "{tree}", "num_classes": 6, **HALVES},
            "num_classes: 6 is not possible; allowed: from 2",
        ),
        ({"test_fraction": 0.7, "validation_fraction": 0.3}, "test_fraction: 0.7"),
    ],
)
def test_options_that_do_not_fit_are_named(tree, options, words):
    given = {**options, "path": options.get("path", "").format(tree=tree)}
    with pytest.raises(OptionError, match="allowed: ") as error:
        tasks.make("image-folder", **given)
    assert words in str(error.value)


def test_a_split_too_large_for_memory_is_refused_before_it_is_read(tree, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_BYTES", 5 * 4 * 16)
    with pytest.raises(OptionError, match="choose a smaller size"):
        _read(tree, "train", size=5)
