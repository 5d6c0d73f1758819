"""Columns of Parquet and Arrow files: which one holds the images, and what its labels are called.

Hugging Face writes what a column means into the schema's metadata, as JSON under `huggingface`; a file may lack it.
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGE_FIELDS = {"bytes", "path"}
IMAGE_NAMES = ("image", "img")
MOST_CLASSES = 100_000
"""A column of integers beyond this is no label."""


def image_column(place: str, schema: Any) -> str:
    """The column of the images: structs with the fields bytes and path, or binary and named image or img.

    Args:
        place: what messages call the file.
        schema: a pyarrow schema.

    Raises:
        ValueError: none, or several and not just one of them named image or img.
    """
    features = _features(place, schema)
    found = [field.name for field in schema if _holds_images(field, features.get(field.name))]
    if not found:
        raise ValueError(
            f"{place}: must have a column of images (structs of bytes and path, or binary and named image), "
            f"got {', '.join(schema.names)}; save it again with such a column"
        )
    named = found if len(found) == 1 else [name for name in found if name in IMAGE_NAMES]
    if len(named) != 1:
        raise ValueError(
            f"{place}: must have one column of images, or just one named image or img, got {', '.join(found)}; "
            "save it again without the others"
        )
    return str(named[0])


def class_names(place: str, schema: Any, label: str) -> tuple[str, ...] | None:
    """The names of the classes of a label column; None where the file has none.

    Raises:
        ValueError: no such column of integers.
    """
    from pyarrow import types

    integers = [field.name for field in schema if types.is_integer(field.type)]
    if label not in integers:
        offered = f"none or a column of integers of {place} ({', '.join(integers)})" if integers else "none"
        raise ValueError(f"params.yaml: data.labels must be {offered} for huggingface, got {label}")
    names = _features(place, schema).get(label, {}).get("names")
    return None if names is None else tuple(map(str, names))


def label_values(place: str, column: Any) -> NDArray[np.int64]:
    """The labels of a column: (rows,).

    Args:
        place: what messages call the file.
        column: a pyarrow array of integers.

    Raises:
        ValueError: a row without label.
    """
    if column.null_count:
        raise ValueError(
            f"{place}: each row must have a label, {column.null_count} have none; "
            "leave them out, or set data.labels none"
        )
    return np.asarray(column).astype(np.int64)


def join_labels(
    values: dict[str, NDArray[np.int64]], names: tuple[str, ...] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The labels of all files, and the class names.

    Args:
        values: what messages call a file -> its labels.
        names: of the classes; None numbers them.

    Raises:
        ValueError: a label that is no class, such as the -1 of unlabeled images.
    """
    limit = MOST_CLASSES if names is None else len(names)
    for place, labels in values.items():
        wrong = labels[(labels < 0) | (labels >= limit)]
        if wrong.size:
            raise ValueError(
                f"{place}: labels must be 0..{limit - 1}, got {wrong[0]}; "
                "move files without labels elsewhere, or set data.labels none"
            )
    joined = np.concatenate(list(values.values()))
    return joined, names or tuple(map(str, range(int(joined.max()) + 1)))


def _features(place: str, schema: Any) -> dict[str, dict[str, Any]]:
    """What the metadata says about columns; of nested ones, which are written as lists, nothing."""
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        features = json.loads(text).get("info", {}).get("features", {})
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, AttributeError):
        raise ValueError(
            f"{place}: huggingface in the schema's metadata must be JSON of info and features, got {text[:60]!r}; "
            "save it again"
        ) from None


def _holds_images(field: Any, feature: dict[str, Any] | None) -> bool:
    from pyarrow import types

    said = None if feature is None else feature.get("_type")
    if types.is_struct(field.type):  # sound is kept alike, and said to be Audio
        inner = {part.name: part.type for part in field.type}
        whole = inner.keys() >= IMAGE_FIELDS and (_is_binary(inner["bytes"]) or types.is_null(inner["bytes"]))
        return whole and said in (None, "Image")
    return _is_binary(field.type) and (said == "Image" or field.name in IMAGE_NAMES)


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return any(is_kind(kind) for is_kind in (types.is_binary, types.is_large_binary, types.is_binary_view))
