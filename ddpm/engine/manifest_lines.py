"""The manifest of prepared images, as aligned lines for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = tuple[str, str]
"""A heading, which may be empty, and what stands beside it."""

INDENT_LETTERS, RECORD_LETTERS = 14, 90
ALL_CLASSES, LARGEST_CLASSES = 20, 12
"""So many classes are all listed; of more, so many of the largest."""
LISTED_FILES = 10
OFFICIAL = "is_official"
ENDINGS = {"_md5": "md5", "_sha256": "sha256", OFFICIAL: "", "": ""}
"""How keys end that say something about what the rest of the key names, the archive where there is no rest."""


def lines(manifest: Mapping[str, Any]) -> list[str]:
    """Everything that the manifest holds, aligned; long lists are cut and counted.

    Args:
        manifest: complete, see `ddpm.engine.describe.read_manifest`.
    """
    return [f"{heading:<{INDENT_LETTERS}}{text}".rstrip() for heading, text in _rows(manifest)]


def height_and_width(manifest: Mapping[str, Any]) -> tuple[int, int]:
    """Of an image; square ones are stated by one number."""
    size = manifest["size"]
    height, width = size if isinstance(size, list) else (size, size)
    return height, width


def size_text(manifest: Mapping[str, Any]) -> str:
    """`64 x 64, RGB`; height first, as everywhere."""
    height, width = height_and_width(manifest)
    return f"{height} x {width}, {'gray' if manifest['channels'] == 1 else 'RGB'}"


def labels_text(manifest: Mapping[str, Any]) -> str:
    """`digit, 10 classes`, or `none`."""
    number = len(manifest["classes"])
    return f"{plain(manifest['labels'])}, {number:,} {'class' if number == 1 else 'classes'}" if number else "none"


def plain(text: str) -> str:
    """Names as they are, but for what would break a line, a terminal or an encoding: that is escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def largest_classes(sizes: Mapping[str, int], limit: int) -> list[str]:
    """At most so many classes: the largest ones, in their own order."""
    names = list(sizes)
    kept = set(sorted(names, key=sizes.__getitem__, reverse=True)[:limit])
    return [name for name in names if name in kept]


def sizes_of(split: Mapping[str, Any], classes: Sequence[str]) -> dict[str, int]:
    """Class -> images, in the order of the classes; in the file they are sorted by name."""
    return {name: split["images_of_class"][name] for name in classes}


def _rows(manifest: Mapping[str, Any]) -> Iterator[Row]:
    yield "name", plain(manifest["name"])
    yield "source", manifest["source"]
    yield from _raw(manifest["raw"])
    yield "crop", f"{manifest['crop']}, {manifest['resample']}"
    yield "size", size_text(manifest)
    yield "store", manifest["store"]
    yield "labels", labels_text(manifest)
    for name, split in manifest["splits"].items():
        yield "", ""
        yield name, f"{split['images']:,} images, selection {split['selection']}"
        if split["images"] or split["skipped"]:
            yield from _indented(_split(split, manifest["classes"]))
    yield "", ""
    yield from _duplicates(manifest["duplicates"])
    yield "", ""
    known = (f"{name} {version}" for name, version in manifest["versions"].items() if version)
    yield "versions", ", ".join(known)


def _raw(record: Mapping[str, Any]) -> Iterator[Row]:
    """One line for each thing that the record names: its value, its digests, whether it is the published one."""
    things: dict[str, list[str]] = {}
    for key, value in record.items():
        ending = next((ending for ending in ENDINGS if key.endswith(ending)), "")
        text = _value(value)
        if ending == OFFICIAL:
            text = "as published" if value else "not as published"
        thing = key.removesuffix(ending).removeprefix("num_").rstrip("_") or "archive"
        things.setdefault(thing, []).append(f"{ENDINGS[ending]} {text}".strip())
    width = max(map(len, things), default=0)
    heading = "raw"
    for thing, texts in sorted(things.items()):
        for number, text in enumerate(_joined(texts)):
            yield heading, f"{'' if number else plain(thing):<{width}}  {text}"
            heading = ""


def _joined(texts: Sequence[str]) -> list[str]:
    """As many on a line as it can hold; two long digests stand below each other."""
    joined = [texts[0]]
    for text in texts[1:]:
        if len(joined[-1]) + len(text) > RECORD_LETTERS:
            joined.append(text)
        else:
            joined[-1] += f", {text}"
    return joined


def _value(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(child)}" for key, child in value.items())
    if isinstance(value, list):
        numbers = all(isinstance(part, int) for part in value)
        return (" x " if numbers else ", ").join(plain(str(part)) for part in value)
    return plain(str(value))


def _indented(rows: Iterator[Row]) -> Iterator[Row]:
    yield from ((f"  {heading}" if heading else "", text) for heading, text in rows)


def _split(split: Mapping[str, Any], classes: Sequence[str]) -> Iterator[Row]:
    if classes:
        yield from _classes(sizes_of(split, classes), split["images"])
    for name in ("mean", "std"):
        if split[name] is not None:
            yield name, "  ".join(f"{level:.2f}" for level in split[name]) + "  of 0..255"
    handled = ", ".join(f"{name} {count:,}" for name, count in split["handled"].items())
    yield "handled", handled or "none was unusual"
    yield from _skipped([f"{plain(file['name'])}: {plain(file['reason'])}" for file in split["skipped"]])
    yield "sha256", f"images  {split['sha256']}"
    yield "", f"labels  {split['labels_sha256']}"
    yield "digest", f"files   {split['files_digest']}"
    yield "", f"pixels  {split['pixels_digest']}"


def _classes(sizes: dict[str, int], images: int) -> Iterator[Row]:
    shown = largest_classes(sizes, LARGEST_CLASSES if len(sizes) > ALL_CLASSES else ALL_CLASSES)
    width, digits = max(len(plain(name)) for name in shown), max(len(f"{sizes[name]:,}") for name in shown)
    for number, name in enumerate(shown):
        share = f"{sizes[name] / images:6.1%}" if images else ""
        yield "" if number else "classes", f"{plain(name):<{width}}  {sizes[name]:>{digits},}  {share}"
    if rest := [size for name, size in sizes.items() if name not in shown]:
        each = f"{min(rest):,}" if min(rest) == max(rest) else f"{min(rest):,} to {max(rest):,}"
        yield "", f"and {len(rest):,} more of {each} images each"


def _skipped(entries: Sequence[str]) -> Iterator[Row]:
    yield "skipped", f"{len(entries):,} that could not be decoded" if entries else "none"
    for entry in entries[:LISTED_FILES]:
        yield "", entry
    if len(entries) > LISTED_FILES:
        yield "", f"and {len(entries) - LISTED_FILES:,} more"


def _duplicates(found: Mapping[str, Any]) -> Iterator[Row]:
    """What is there more than once; held-out images that are trained on make a result look better than it is."""
    for number, (kind, entry) in enumerate(found.items()):
        text = f"{entry['repeated']:,} repeat an earlier one, in {entry['groups']:,} groups; "
        text += f"held out and in train: {entry['held_out_in_train']:,}"
        yield "" if number else "duplicates", f"{kind:<6}  {text if entry['groups'] else 'none'}"
        yield from (("", f"        {' = '.join(map(plain, group))}") for group in entry["examples"])
