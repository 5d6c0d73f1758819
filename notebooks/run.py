"""Run a notebook from top to bottom, and keep only what does not depend on when and where it ran.

Example:
  python notebooks/run.py
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TUTORIAL = Path(__file__).with_name("tutorial.ipynb")
SECONDS = 300  # of one cell


def run(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Run all cells in a folder, and normalize what they leave.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
        ValueError: a cell writes to stderr, such as a warning.
    """
    client = NotebookClient(
        notebook, timeout=SECONDS, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    done: nbformat.NotebookNode = client.execute()
    normalize(done)
    return done


def normalize(notebook: nbformat.NotebookNode) -> None:
    """Neutral metadata, cells numbered from 1, pictures as PNG only."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{number}", nbformat.from_dict({})
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"cell {number}: must not write to stderr, got {output.text.strip().splitlines()[-1]}")
            data = output.get("data", {})
            if "image/png" in data:
                output.data = nbformat.from_dict({"image/png": data["image/png"], "text/plain": "a picture"})


def main() -> None:
    """Run the tutorial in the root of the repository, and write its outputs into it."""
    done = run(nbformat.read(TUTORIAL, as_version=4), TUTORIAL.parents[1])
    temporary = TUTORIAL.with_suffix(".ipynb.tmp")
    temporary.write_text(nbformat.writes(done) + "\n")
    temporary.replace(TUTORIAL)
    print(f"{TUTORIAL.name}: {len(done.cells)} cells, {TUTORIAL.stat().st_size / 1000:.0f} kB", file=sys.stdout)


if __name__ == "__main__":
    main()
