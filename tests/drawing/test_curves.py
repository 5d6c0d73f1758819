import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image, ImageColor

from ddpm.drawing.curves import QUARTER_COLORS, QUARTERS, Row, loss_curve, running_mean, scale_loss, schedule_curves
from ddpm.drawing.look import page
from ddpm.drawing.png import read_about, save_png


def rows(count: int = 60) -> list[Row]:
    """A falling loss, as results/train.csv holds it: text, and a held-out loss in every twentieth row."""
    noise = np.random.default_rng(0).normal(size=count)
    return [
        {
            "step": str(i + 1),
            "loss": str(0.05 + np.exp(-i / 9 + 0.1 * noise[i])),
            "valid_loss": str(0.06 + np.exp(-i / 9)) if i % 20 == 19 else "",
            "learning_rate": str(2e-4 * min(i / 10, 1)),
            "grad_norm": str(0.3 + np.exp(-i / 5)),
        }
        for i in range(count)
    ]


def tables(steps: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    beta = np.concatenate([[0.0], np.linspace(1e-4, 0.02, steps)])
    return np.cumprod(1 - beta), beta


def test_the_same_numbers_give_the_same_bytes_under_any_matplotlibrc(tmp_path: Path) -> None:
    about = {"section train": "steps: 60", "seed": "0"}
    save_png(loss_curve(rows()), tmp_path / "a.png", about)
    save_png(schedule_curves(*tables()), tmp_path / "c.png", about)
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 20, "axes.grid": False, "lines.linewidth": 7}):
        save_png(loss_curve(rows()), tmp_path / "b.png", about)
        save_png(schedule_curves(*tables()), tmp_path / "d.png", about)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "c.png").read_bytes() == (tmp_path / "d.png").read_bytes()
    assert dict(mpl.rcParams) == before
    assert read_about(tmp_path / "a.png") == about


def test_text_and_numbers_draw_the_same_curve() -> None:
    numbers = [{name: float(cell) if cell else None for name, cell in row.items()} for row in rows()]
    assert loss_curve(rows()) == loss_curve(numbers)


def test_held_out_loss_is_drawn_where_it_was_measured() -> None:
    without = [{**row, "valid_loss": ""} for row in rows()]
    assert count_of(loss_curve(rows()), "#d55e00") > 100
    assert count_of(loss_curve(without), "#d55e00") == 0


def parted(count: int = 60, *without: str) -> list[Row]:
    """`rows` with the held-out loss of each quarter of t, 2, 4, 8 and 16 times smaller than the whole."""
    table = []
    for row in rows(count):
        cells = {
            name: str(float(row["valid_loss"]) / 2**k) if row["valid_loss"] else ""
            for k, name in enumerate(QUARTERS, start=1)
            if name not in without
        }
        table.append({**row, **cells})
    return table


def count_of(picture: Image.Image, color: str) -> int:
    """How many pixels have exactly this color."""
    return int((np.asarray(picture) == ImageColor.getrgb(color)).all(axis=-1).sum())


def colors(picture: Image.Image) -> list[int]:
    """How many pixels have exactly the color of each quarter."""
    return [count_of(picture, color) for color in QUARTER_COLORS]


def test_each_quarter_of_the_noise_levels_has_its_line_where_it_was_measured() -> None:
    some = parted(60, "valid_loss_25")
    some[19] = {**some[19], "valid_loss_100": ""}
    drawn = loss_curve(parted())
    assert (drawn.size, drawn.mode) == ((1216, 1120), "RGB")
    whole, part = colors(drawn), colors(loss_curve(some))
    assert min(whole) > 100
    assert part[0] == 0
    assert part[1] > 100
    assert 100 < part[3] < 0.8 * whole[3]


def test_quarters_that_were_never_measured_leave_the_figure_as_it_was() -> None:
    assert loss_curve([{**row, **dict.fromkeys(QUARTERS, "")} for row in rows()]) == loss_curve(rows())


@pytest.mark.parametrize(("values", "scale"), [([1.0, 3.9], "linear"), ([1.0, 4.1], "log"), ([0.0, 9.0], "linear")])
def test_losses_that_differ_by_much_get_a_log_axis(values: list[float], scale: str) -> None:
    with page(4, 3) as figure:
        axes = figure.subplots()
        axes.plot([1, 2], values)
        scale_loss(axes, np.array(values))
        assert axes.get_yscale() == scale
        assert scale == "log" or axes.get_ylim()[0] == 0


def test_running_mean_keeps_a_straight_line_to_its_ends() -> None:
    line = np.linspace(3.0, 7.0, 41)
    np.testing.assert_allclose(running_mean(line, 5), line)
    spike = np.zeros(9)
    spike[4] = 1
    np.testing.assert_allclose(running_mean(spike, 1), [0, 0, 0, 1 / 3, 1 / 3, 1 / 3, 0, 0, 0], atol=1e-15)


def test_one_row_and_one_step_are_enough() -> None:
    assert loss_curve(rows(1)).size == (1216, 864)
    assert schedule_curves(*tables(1)).size == (1216, 832)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": ""}, "row 2 must have a number in loss, got ''"),
        ({"grad_norm": None}, "row 2 must have a number in grad_norm, got None"),
        ({"valid_loss": "low"}, "row 2 must have a number in valid_loss, got 'low'"),
        ({"valid_loss_50": "low"}, "row 2 must have a number in valid_loss_50, got 'low'"),
    ],
)
def test_bad_cells_are_named(change: dict[str, str | None], message: str) -> None:
    table = parted(3)
    table[1] = {**table[1], **change}
    with pytest.raises(ValueError, match=message):
        loss_curve(table)


def test_missing_rows_columns_and_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="needs at least one logged step"):
        loss_curve([])
    with pytest.raises(ValueError, match="row 1 must have the column learning_rate, got step, loss"):
        loss_curve([{"step": 1.0, "loss": 1.0}])
    with pytest.raises(ValueError, match=r"tables of one length T \+ 1, got \(5,\) and \(4,\)"):
        schedule_curves(np.ones(5), np.ones(4))


def test_chunks_are_sorted_and_read_back(tmp_path: Path) -> None:
    image = Image.new("L", (2, 2))
    about = {"train": "steps: 450\nseed: 0", "schedule": "beta_T: 0.02", "zoom": "α"}
    save_png(image, tmp_path / "picture.png.tmp", about)
    assert list(read_about(tmp_path / "picture.png.tmp").items()) == sorted(about.items())
    save_png(image, tmp_path / "again.png", dict(reversed(about.items())))
    written = (tmp_path / "again.png").read_bytes()
    assert written == (tmp_path / "picture.png.tmp").read_bytes()
    assert written.index(b"schedule") < written.index(b"train")


@pytest.mark.parametrize("key", ["", "k" * 80, "β", " beta"])
def test_keywords_that_png_forbids_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match=r"picture\.png: a PNG keyword must have 1\.\.79 plain characters"):
        save_png(Image.new("L", (2, 2)), tmp_path / "picture.png", {key: "text"})
    assert not (tmp_path / "picture.png").exists()


def test_only_png_files_have_chunks(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "picture.gif")
    with pytest.raises(ValueError, match=r"picture\.gif must be a PNG file, got GIF"):
        read_about(tmp_path / "picture.gif")


def test_importing_the_room_loads_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, ddpm.drawing.comparison, ddpm.drawing.curves, ddpm.drawing.evolution, ddpm.drawing.strips;"
        "print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
