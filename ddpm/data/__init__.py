"""Real images: sources, archives, crops, decoding, and the prepared stores. No torch, and no imports here.

The way of an image: `sources` opens a data set as a `Catalog`, from `files` in a folder, zip or tar -> `splits`
selects items -> `decode` reads them (`frames`) and crops them (`crops`) -> `store` opens what was kept, raw or
`encoded`. A data set is added in `sources`, a crop in `crops`.
"""
