"""Real images: sources (one file each), crops, decoding, and the prepared store. No torch, and no imports here.

The way of an image: `sources` opens a data set as a `Catalog` -> `splits` selects items -> `decode` reads and crops
them (`crops`) -> `store` keeps one uint8 array per split. A data set is added in `sources`, a crop in `crops`.
"""
