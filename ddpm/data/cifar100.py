"""CIFAR-100 (Krizhevsky 2009): 60,000 color images of 100 fine classes in 20 coarse ones, 32x32.

How to obtain it: data/README.md.
"""

from pathlib import Path

from ddpm.data.catalog import Catalog, pick_labels
from ddpm.data.cifar import Batch, Layout, open_records

ARCHIVE = "cifar-100-binary.tar.gz"
OFFICIAL_MD5 = "03b5dce01913d631647c71ecec9e9cb8"

COARSE = (
    "aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices "
    "household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes "
    "large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees "
    "vehicles_1 vehicles_2"
)
FINE = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)
CLASSES = {"coarse": tuple(COARSE.split()), "fine": tuple(FINE.split())}
"""Kind of labels, in the order of a record -> class names, as coarse_ and fine_label_names.txt list them."""


def open_cifar100(
    raw: Path,
    labels: str,
    scratch: Path,
    *,
    md5: str = OFFICIAL_MD5,
    num_train: int = 50_000,
    num_test: int = 10_000,
) -> Catalog:
    """Open CIFAR-100; splits are `train` (50,000), `test` (10,000) and `all`.

    Args:
        raw: the official archive (its md5 is checked), or its .bin files in a folder or in another archive.
        labels: `fine`, `coarse` or `none`.
        scratch: folder for a decompressed copy.
        md5: what the archive must have; another for a made-up archive.
        num_train, num_test: images in the two files.

    Raises:
        ValueError: a file is missing, changed, cut short or damaged, or other labels.
    """
    if labels not in (*CLASSES, "none"):
        raise ValueError(f"params.yaml: data.labels must be fine, coarse or none for cifar100, got {labels}")
    batches = (Batch("train", "train.bin", num_train), Batch("test", "test.bin", num_test))
    num_classes = tuple(len(names) for names in CLASSES.values())
    contents = open_records(raw, scratch, Layout(ARCHIVE, md5, batches, num_classes))
    kind = "fine" if labels == "none" else labels
    numbers = contents.labels[:, list(CLASSES).index(kind)]
    return contents.catalog(*pick_labels("cifar100", labels, kind, numbers, CLASSES[kind]))
