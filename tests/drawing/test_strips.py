import numpy as np
import pytest

from ddpm.drawing.strips import fit_labels, strip


def frames(columns: int, rows: int, channels: int = 1) -> np.ndarray:
    """Frames of 16 x 16; the frame of column c and row r is filled with 20 c + r."""
    values = (20 * np.arange(columns)[:, None] + np.arange(rows)[None]).astype(np.uint8)
    return np.broadcast_to(values[..., None, None, None], (columns, rows, 16, 16, channels)).copy()


@pytest.mark.parametrize("caption", ["", "Forward process"])
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_are_images_and_columns_are_time(caption: str, channels: int) -> None:
    zoom, padding = 3, 6
    sheet = np.asarray(strip(frames(4, 2, channels), [0, 10, 100, 1000], zoom, caption))
    pitch = 16 * zoom + padding
    assert sheet.shape[1:] == (4 * pitch + padding, 3)
    head = sheet.shape[0] - (2 * pitch + padding)
    for column in range(4):
        for row in range(2):
            top, left = head + padding + row * pitch, padding + column * pitch
            assert (sheet[top : top + 16 * zoom, left : left + 16 * zoom] == 20 * column + row).all()
    labels = sheet[head - 19 : head, padding : padding + 4 * pitch, 0].reshape(19, 4, pitch)
    assert (labels < 160).any(axis=(0, 2)).all()  # each column carries a label
    assert labels[:, :, -padding:].min() == 255  # and no label runs into the next
    above = sheet[: head - 23]
    assert (above < 128).any() == bool(caption)


def test_labels_lose_their_name_before_they_lose_legibility() -> None:
    assert fit_labels([0, 1000], 64) == ["t = 0", "t = 1000"]
    assert fit_labels([0, 1000], 34) == ["0", "1000"]
    refusal = r"labels such as '1000' do not fit over tiles of 8 pixels; raise figures\.zoom"
    with pytest.raises(ValueError, match=refusal):
        strip(frames(2, 1)[:, :, :, :8], [0, 1000], 1)


def test_a_long_caption_widens_the_picture() -> None:
    plain = np.asarray(strip(frames(2, 1), [0, 1000], 3))
    titled = np.asarray(strip(frames(2, 1), [0, 1000], 3, "a caption that is wider than two columns"))
    assert titled.shape[1] > plain.shape[1]
    assert (titled[:, -2:] == 255).all()
    np.testing.assert_array_equal(titled[-plain.shape[0] :, : plain.shape[1]], plain)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="each of the 4 columns needs one label, got 3"):
        strip(frames(4, 2), [0, 1, 2], 2)
    with pytest.raises(ValueError, match=r"frames must have the shape \(columns, rows, height, width, channels\)"):
        strip(frames(4, 2)[0], [0, 1], 2)
    with pytest.raises(ValueError, match="zoom must be at least 1, got 0"):
        strip(frames(1, 1), [0], 0)
    with pytest.raises(ValueError, match="images must be uint8"):
        strip(frames(1, 1).astype(np.float64), [0], 2)
