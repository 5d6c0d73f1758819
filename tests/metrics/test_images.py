"""What becomes of stored images before features: pooling by whole cells, and the two families' resize."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ddpm.metrics.images import INCEPTION_SIDE, pooled_pixels, pytorch_input, tf1_input


def noise(side: int, channels: int, num_images: int = 3, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num_images, side, side, channels)).astype(dtype)


@pytest.mark.parametrize(
    ("side", "pooled"), [(8, 8), (15, 15), (16, 16), (28, 14), (32, 16), (48, 16), (64, 16), (96, 16)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_pooling_is_the_mean_over_cells(side, pooled, channels):
    images = noise(side, channels)
    found = pooled_pixels(images)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255.0
    expected = F.avg_pool2d(x, side // pooled).permute(0, 2, 3, 1).flatten(1).numpy()
    assert found.dtype == np.float32
    assert found.shape == (3, pooled * pooled * channels)
    assert found.shape[1] <= 768
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_pooling_keeps_rows_and_columns_apart():
    image = np.zeros((1, 32, 16, 1), np.uint8)
    image[0, 0:2, 2:4] = 255
    found = pooled_pixels(image).reshape(16, 8)
    assert found[0, 1] == 1.0
    assert found.sum() == 1.0


def test_pooled_black_and_white_are_0_and_1():
    assert pooled_pixels(np.full((1, 64, 64, 3), 255, np.uint8)).min() == 1.0
    assert pooled_pixels(np.zeros((1, 64, 64, 3), np.uint8)).max() == 0.0


@pytest.mark.parametrize("side", [17, 23, 34])
def test_sides_without_even_cells_are_refused(side):
    with pytest.raises(ValueError, match=f"sides must pool to 8..16 by one whole number, got {side}x{side}: crop them"):
        pooled_pixels(noise(side, 1))


@pytest.mark.parametrize(
    "images",
    [
        noise(16, 3, dtype=np.float32),
        noise(16, 3)[0],
        noise(16, 2),
        noise(16, 3)[:0],
        noise(16, 3).transpose(0, 3, 1, 2),
    ],
)
def test_only_stored_images_are_taken(images):
    with pytest.raises(ValueError, match="images must be uint8"):
        pooled_pixels(images)


def test_tf1_resize_reads_at_the_scaled_index():
    """A ramp of slope 1: output pixel i is i * side / 299, and stays at the last pixel beyond it."""
    ramp = torch.arange(32.0).expand(1, 3, 32, 32)
    expected = (torch.arange(INCEPTION_SIDE) * 32 / INCEPTION_SIDE).clamp_max(31)
    found = tf1_input(ramp) * 128 + 128
    torch.testing.assert_close(found, expected.expand(1, 3, INCEPTION_SIDE, INCEPTION_SIDE), rtol=0, atol=1e-4)
    torch.testing.assert_close(tf1_input(ramp.mT) * 128 + 128, found.mT)


def test_both_families_leave_299_alone_and_scale_to_one():
    x = torch.from_numpy(noise(INCEPTION_SIDE, 3, 1)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(tf1_input(x), (x - 128) / 128)
    torch.testing.assert_close(pytorch_input(x), x / 127.5 - 1)
    ends = torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    torch.testing.assert_close(tf1_input(ends)[:, 0, 0, 0], torch.tensor([-1.0, 127 / 128]))
    torch.testing.assert_close(pytorch_input(ends)[:, 0, 0, 0], torch.tensor([-1.0, 1.0]))


def test_the_families_differ():
    x = torch.from_numpy(noise(32, 3, 1)).permute(0, 3, 1, 2).float()
    assert (tf1_input(x) - pytorch_input(x)).abs().max() > 0.1
