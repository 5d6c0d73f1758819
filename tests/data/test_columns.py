"""Columns: which one holds the images, and what the labels and their classes are."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ddpm.data.columns import class_names, image_column, join_labels, label_values

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def schema(features: object = None, **columns: pa.DataType) -> pa.Schema:
    about = None if features is None else {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(list(columns.items()), about)


@pytest.mark.parametrize(
    ("columns", "features", "expected"),
    [
        ({"label": pa.int64(), "photo": IMAGE}, None, "photo"),
        ({"photo": IMAGE, "image": IMAGE}, None, "image"),
        ({"photo": IMAGE, "img": IMAGE}, {"photo": {"_type": "Image"}, "img": {"_type": "Image"}}, "img"),
        ({"image": pa.binary(), "mask": pa.binary()}, None, "image"),
        ({"image": pa.string(), "img": pa.large_binary()}, None, "img"),
        ({"image": pa.int64(), "scan": pa.binary()}, {"scan": {"_type": "Image"}}, "scan"),
        ({"sound": IMAGE, "photo": IMAGE}, {"sound": {"_type": "Audio"}}, "photo"),
        ({"views": pa.list_(IMAGE), "photo": IMAGE}, {"views": [{"_type": "Image"}]}, "photo"),
        ({"image": pa.struct([("bytes", pa.list_(pa.uint8())), ("path", pa.string())]), "photo": IMAGE}, None, "photo"),
        ({"image": pa.struct([("bytes", pa.null()), ("path", pa.string())])}, None, "image"),
    ],
)
def test_the_image_column(columns: dict[str, pa.DataType], features: object, expected: str) -> None:
    assert image_column("place", schema(features, **columns)) == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"image": pa.string(), "label": pa.int64()},
            r"place: must have a column of images .*, got image, label;",
        ),
        ({"left": IMAGE, "right": IMAGE}, r"place: must have one column of images, .*, got left, right; save it again"),
        ({"image": IMAGE, "img": IMAGE}, r"or just one named image or img, got image, img; save it again"),
    ],
)
def test_unclear_image_columns_are_refused(columns: dict[str, pa.DataType], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_column("place", schema(**columns))


@pytest.mark.parametrize("text", ["{", "[]", '{"info": []}', '{"info": {"features": [1]}}'])
def test_malformed_metadata_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"place: huggingface in the schema's metadata must be JSON of .*; save it"):
        image_column("place", pa.schema([("image", IMAGE)], {"huggingface": text}))


def test_metadata_of_others_is_passed_over() -> None:
    assert image_column("place", pa.schema([("image", IMAGE)], {"pandas": "{"})) == "image"
    assert image_column("place", pa.schema([("image", IMAGE)], {"huggingface": '{"info": {}}'})) == "image"


def test_class_names_are_those_of_the_metadata() -> None:
    features = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}, "fine": {"_type": "Value"}}
    columns = {"image": IMAGE, "label": pa.int64(), "fine": pa.uint8(), "weight": pa.float32()}
    assert class_names("place", schema(features, **columns), "label") == ("cat", "dog")
    assert class_names("place", schema(features, **columns), "fine") is None
    assert class_names("place", schema(**columns), "label") is None
    for wrong in ("weight", "nothing"):
        message = rf"data.labels must be none or a column of integers of place \(label, fine\) for .*, got {wrong}$"
        with pytest.raises(ValueError, match=message):
            class_names("place", schema(**columns), wrong)
    with pytest.raises(ValueError, match=r"data.labels must be none for huggingface, got label$"):
        class_names("place", schema(image=IMAGE), "label")


def test_label_values() -> None:
    chunks = pa.chunked_array([pa.array([3, 1], pa.uint8()), pa.array([200], pa.uint8())])
    labels = label_values("place", chunks)
    assert labels.tolist() == [3, 1, 200]
    assert labels.dtype == np.int64
    with pytest.raises(ValueError, match=r"place: each row must have a label, 1 have none; leave them out"):
        label_values("place", pa.array([1, None]))


def test_labels_of_several_files_are_joined() -> None:
    values = {"one": np.array([2, 0]), "empty": np.array([], dtype=np.int64), "two": np.array([1])}
    labels, classes = join_labels(values, ("a", "b", "c", "d"))
    assert labels.tolist() == [2, 0, 1]
    assert classes == ("a", "b", "c", "d")
    assert join_labels(values, None)[1] == ("0", "1", "2")


@pytest.mark.parametrize(
    ("names", "wrong", "message"),
    [
        (("a", "b"), -1, r"two: labels must be 0..1, got -1; move files without labels elsewhere"),
        (("a", "b"), 2, r"two: labels must be 0..1, got 2"),
        (None, 100_000, r"two: labels must be 0..99999, got 100000"),
    ],
)
def test_labels_that_are_no_class_are_refused(names: Any, wrong: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        join_labels({"one": np.array([0]), "two": np.array([1, wrong])}, names)
