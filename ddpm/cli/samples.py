"""ddpm samples: what is done with samples that are there: parts become one set, sets become files of other forms."""

from pathlib import Path

import click

from ddpm.cli import stage

NEXT = {
    "png": "any program that reads a folder of images",
    "zip": "any program that reads a zip of images",
    "npz": "the evaluator of ADM (guided-diffusion)",
    "grid": "look at them",
}


@click.group()
def samples() -> None:
    """Work with images that `sample` drew: join parts, or write them in the forms of other programs.

    \b
    Example:
      python -m ddpm samples merge work/part_0 work/part_1 --out work/whole
      python -m ddpm samples export data/samples --format npz --out work/npz
    """


@samples.command()
@click.argument("parts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the whole set.")
def merge(parts: tuple[Path, ...], out: Path) -> None:
    """Join PARTS, folders of `sample --range`, into the bytes that one `sample` would have written.

    The parts must be of one set and hold every image once; their sha256 are verified.

    \b
    Example:
      python -m ddpm samples merge work/part_0 work/part_1 --out work/whole
    """
    from ddpm.engine import sample_merge as engine
    from ddpm.experiment.workspace import require_writable

    found = engine.find_parts(parts)
    require_writable(out / "images.npy")
    with stage.progress("samples merge", found[-1].last, "images") as bar:
        engine.merge(found, out, bar.update)
    click.echo(
        f"{out}: {found[-1].last:,} images in images.npy. Next: python -m ddpm evaluate --samples {out / 'images.npy'}"
    )


@samples.command()
@click.argument("source", metavar="SAMPLES", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, type=click.Choice(list(NEXT)), help="png and grid give a folder.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Where; zip and npz: a file, or a folder, which gets samples_{N}x{H}x{W}x{C}.zip or .npz.",
)
@click.option(
    "--grid",
    default="10x10",
    show_default=True,
    callback=stage.rows_and_columns,
    help="ROWSxCOLUMNS of a sheet (grid).",
)
@click.option("--padding", default=2, show_default=True, type=click.IntRange(0), help="Pixels between images (grid).")
@click.option("--zoom", default=1, show_default=True, type=click.IntRange(1, 32), help="Pixels per pixel (grid).")
@click.option("--force", is_flag=True, help="Overwrite a file; replace the numbered PNGs of a folder.")
def export(source: Path, form: str, out: Path, grid: tuple[int, int], padding: int, zoom: int, force: bool) -> None:
    """Write SAMPLES, a folder with images.npy or an .npy file, in the form of other programs.

    \b
    png   000000.png, 000001.png, ...
    zip   the same in one file, stored; the same samples give the same bytes
    npz   arr_0, uint8 (N, H, W, 3), for the evaluator of ADM; gray is repeated; arr_1, labels of a conditional net
    grid  sheets for people: 00000.png, ...

    \b
    Example:
      python -m ddpm samples export data/samples --format zip --out work/samples.zip
      python -m ddpm samples export data/samples --format grid --grid 5x20 --zoom 4 --out work/sheets
    """
    from ddpm.engine import sample_files as engine

    opened = engine.open_samples(source)
    images = opened.images
    count, height, width, channels = images.shape
    unit, total = ("sheets", -(-count // (grid[0] * grid[1]))) if form == "grid" else ("images", count)
    if form in ("zip", "npz") and (out.is_dir() or out.suffix != f".{form}"):
        out = out / f"samples_{count}x{height}x{width}x{3 if form == 'npz' else channels}.{form}"
    if form in ("zip", "npz"):
        engine.require_free(out, force)
    with stage.progress(f"samples export {form}", total, unit) as bar:
        if form == "png":
            engine.write_folder(engine.numbered(images), out, force, bar.update)
        elif form == "grid":
            engine.write_folder(engine.sheets(images, *grid, padding, zoom), out, force, bar.update)
        elif form == "zip":
            engine.write_zip(engine.numbered(images), out, bar.update)
        else:
            engine.write_npz(opened, out, bar.update)
    about = " (gray, repeated to 3 channels)" if form == "npz" and channels == 1 else ""
    sheets_of = f" in {total:,} sheets" if form == "grid" else ""
    click.echo(f"{out}: {count:,} images{sheets_of}{about}. Next: {NEXT[form]}")
