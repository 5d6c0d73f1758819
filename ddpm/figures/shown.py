"""How noisy images are brought into the range of a picture."""

from collections.abc import Sequence

from ddpm.engine.reverse import Reverse


def shown_sizes(reverse: Reverse, times: Sequence[float]) -> list[float]:
    """What x_t is divided by to be shown: 1 where variance is preserved, else its own standard deviation.

    Args:
        times: t of each image.
    """
    return [(signal**2 + noise**2) ** 0.5 for signal, noise in reverse.schedule.path(times)]
