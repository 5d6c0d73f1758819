"""Draw docs/images/theory/*.png, the figures of the chapters of theory: `python docs/draw_theory.py`.

The data are mixtures of normal distributions. For them the best possible network is known in closed form, so that what
the figures show is diffusion itself and no error of a training. Everything else is the code that the pipeline runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ddpm.diffusion.denoiser import Denoiser, denoiser, guided
from ddpm.diffusion.process import Prediction, q_sample
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS, Settings, State, full
from ddpm.diffusion.schedule import SCHEDULES, Schedule, linear
from ddpm.diffusion.sde import vp_linear
from ddpm.diffusion.variational import prior_bound, step_bound
from ddpm.drawing.look import BLUE, GREEN, INK, MUTED, ORANGE, as_image, name_axes, page
from ddpm.drawing.png import save_png
from ddpm.randomness import normal, uniform

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOLDER = Path(__file__).parent / "images" / "theory"
COLORS = 32  # of the palette: flat drawings need no more, and the files stay small
CHAIN = linear(1000, 1e-4, 0.02)
FLOW = vp_linear(1000, 1e-4, 0.02)
LINE = torch.tensor([[-0.8], [-0.1], [0.6]], dtype=torch.float64)  # a value is an image of one pixel
PLANE = torch.tensor([[-0.75, -0.45], [0.0, 0.7], [0.75, -0.45]], dtype=torch.float64)  # an image of two channels
WIDTH = 0.09  # standard deviation of a component


def mixed(x: Tensor, t: Tensor, schedule: Schedule, means: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Density of x_t, and E[x0 | x_t], where x0 is drawn from equally likely normal distributions.

    Args:
        x: (batch, dims, 1, 1).
        t: (batch,).
        means: (components, dims).
        width: standard deviation of each component in each dimension.
    """
    signal, noise = (table.reshape(-1, 1, 1) for table in schedule.scales(t))
    var = signal**2 * width**2 + noise**2
    off = x.flatten(1)[:, None] - signal * means
    logs = -(off.square() / var).sum(dim=2) / 2
    density = (logs.exp() / (2 * torch.pi * var[..., 0]) ** (means.shape[1] / 2)).mean(dim=1)
    best = means + signal * width**2 / var * off
    return density, (logs.softmax(dim=1)[..., None] * best).sum(dim=1).reshape(x.shape)


def best(schedule: Schedule, means: Tensor, width: float = WIDTH) -> Denoiser:
    """What a perfect network believes."""

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        x0_hat = mixed(x_t, t, schedule, means, width)[1]
        signal, noise = (table.reshape(-1, 1, 1, 1) for table in schedule.scales(t))
        return Prediction(x0_hat, (x_t - signal * x0_hat) / noise)

    return denoise


def draw(means: Tensor, num_images: int, purpose: str) -> tuple[Tensor, Tensor]:
    """Values of a mixture and unit normal noise of the same shape, (images, dims, 1, 1)."""
    index = torch.arange(num_images)
    shape = (means.shape[1], 1, 1)
    x0 = means[index % len(means)].reshape(-1, *shape) + WIDTH * normal(0, f"{purpose} x0", 0, index, shape).double()
    return x0, normal(0, f"{purpose} eps", 0, index, shape).double()


def run(
    sampler: str, denoise: Denoiser, schedule: Schedule, x_T: Tensor, num_steps: int, eta: float = 0.0
) -> list[State]:
    """All states of a sampler; steps as even as `karras` makes them in continuous time, `trailing` in a chain."""
    steps = SPACINGS["karras" if schedule.continuous else "trailing"](schedule, num_steps)

    def noise(k: int) -> Tensor:
        return normal(0, "path", k, torch.arange(len(x_T)), tuple(x_T.shape[1:])).double()

    start = State(steps[0], x_T, x_T)
    return [start, *SAMPLERS[sampler](denoise, schedule, x_T, steps, noise, Settings(eta=eta))]


def plot_paths(axes: Axes, states: list[State], color: str, num_paths: int, label: str = "") -> None:
    """Lines of x over t, noise on the left and data on the right."""
    for i in range(num_paths):
        line = [float(state.x_s[i, 0]) for state in states]
        axes.plot([s.s for s in states], line, color=color, linewidth=0.7, alpha=0.7, label="" if i else label)
    axes.set(xlim=(1000, 0), ylim=(-2.6, 2.6))


def forward() -> Image.Image:
    """The density of x_t over t with a few paths, and alpha_bar of four schedules."""
    heights = torch.linspace(-2.6, 2.6, 261, dtype=torch.float64)
    columns = [mixed(heights.reshape(-1, 1, 1, 1), full(heights, t), CHAIN, LINE, WIDTH)[0] for t in range(0, 1001, 10)]
    x0, eps = draw(LINE, 3, "forward")
    with page(7.6, 2.9) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
        scene = (torch.stack(columns, dim=1) / torch.stack(columns).amax(dim=1)).numpy()
        left.imshow(scene, origin="lower", extent=(0, 1000, -2.6, 2.6), aspect="auto", cmap="Blues", vmax=1.4)
        for i in range(3):
            line = [float(q_sample(CHAIN, x0, full(x0, t), eps)[i, 0]) for t in range(0, 1001, 10)]
            left.plot(range(0, 1001, 10), line, color=ORANGE, linewidth=1.2)
        left.grid(visible=False)
        name_axes(left, "Three values become noise", "t (noising steps)", "$x_t$")
        for (name, kind), style in zip(SCHEDULES.items(), ("-", "--", "-.", ":"), strict=True):
            right.plot(kind(1000, 1e-4, 0.02).alpha_bar, linestyle=style, label=name)
        right.legend()
        name_axes(right, r"Signal left, $\bar{\alpha}_t$", "t (noising steps)", "")
        return as_image(figure)


def learning() -> Image.Image:
    """Pairs of x_t and x0 at three noise levels, with the curve that makes the squared error least."""
    x0, eps = draw(LINE, 600, "learning")
    grid = torch.linspace(-2.6, 2.6, 400, dtype=torch.float64).reshape(-1, 1, 1, 1)
    with page(7.6, 2.7) as figure:
        for axes, t in zip(figure.subplots(1, 3, sharey=True), (40, 250, 600), strict=True):
            noisy = q_sample(CHAIN, x0, full(x0, t), eps)
            axes.plot(noisy.flatten(), x0.flatten(), ".", color=BLUE, markersize=2.5, alpha=0.5)
            axes.plot(
                grid.flatten(), best(CHAIN, LINE)(grid, full(grid, t)).x0_hat.flatten(), color=ORANGE, linewidth=2
            )
            axes.set(xlim=(-2.6, 2.6), ylim=(-1.3, 1.3))
            name_axes(axes, f"t = {t}", "$x_t$", "$x_0$" if t == 40 else "")
        return as_image(figure)


def sampling() -> Image.Image:
    """Paths of ancestral sampling, and where 2,000 of them end."""
    x_T = draw(LINE, 2000, "sampling")[1]
    states = run("ddpm", best(CHAIN, LINE), CHAIN, x_T, 250)
    heights = torch.linspace(-1.4, 1.4, 400, dtype=torch.float64)
    with page(7.6, 2.9) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[2, 1])
        plot_paths(left, states[::2], BLUE, 10)
        name_axes(left, "10 paths", "t (noising steps)", "$x_t$")
        right.hist(states[-1].x_s.flatten(), bins=70, density=True, color=BLUE, alpha=0.5, label="2,000 ends")
        density = mixed(heights.reshape(-1, 1, 1, 1), full(heights, 0), CHAIN, LINE, WIDTH)[0]
        right.plot(heights, density, color=ORANGE, linewidth=1.6, label="data")
        right.legend()
        name_axes(right, "Where they end", "$x_0$", "density")
        return as_image(figure)


def ddim() -> Image.Image:
    """Paths with and without noise from the same start, and the error of deterministic samplers over their cost."""
    x_T, exact = draw(LINE, 64, "ddim")[1], best(FLOW, LINE)
    truth = run("heun", exact, FLOW, x_T, 600)[-1].x_s
    with page(7.6, 2.9) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
        plot_paths(left, run("ddim", best(CHAIN, LINE), CHAIN, x_T, 100, eta=1.0), MUTED, 10, r"$\eta = 1$")
        plot_paths(left, run("ddim", best(CHAIN, LINE), CHAIN, x_T, 100), BLUE, 10, r"$\eta = 0$")
        left.legend(loc="lower left")
        name_axes(left, "10 starts, two paths each", "t (noising steps)", "$x_t$")
        looks = (("ddim", BLUE, "o-"), ("dpmpp-2m", GREEN, "s-"), ("heun", ORANGE, "^-"))
        for name, color, style in looks:
            counts = [5, 10, 20, 40, 80, 160]
            errors = [float((run(name, exact, FLOW, x_T, n)[-1].x_s - truth).square().mean().sqrt()) for n in counts]
            cost = [2 * n - 1 if name == "heun" else n for n in counts]
            right.loglog(cost, errors, style, color=color, markersize=4, label=name)
        right.legend()
        name_axes(right, "Error at the end (RMS)", "network evaluations", "")
        return as_image(figure)


def guidance() -> Image.Image:
    """Points of one class out of two that overlap, at four guidance scales."""
    classes = torch.tensor([[[-0.35, -0.2], [0.0, 0.5]], [[0.35, -0.2], [0.0, 0.5]]], dtype=torch.float64)
    nets = [best(CHAIN, means, 0.18) for means in (*classes, classes.reshape(-1, 2))]  # the last one: no label

    def predict(x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        said = torch.stack([net(x_t, t).eps_hat for net in nets])
        return said[labels, torch.arange(len(x_t))]

    x_T = draw(PLANE, 500, "guidance")[1]
    labels = torch.ones(len(x_T), dtype=torch.int64)
    with page(7.6, 2.4) as figure:
        for axes, scale in zip(figure.subplots(1, 4, sharey=True), (0.0, 1.0, 2.0, 5.0), strict=True):
            net = denoiser(CHAIN, "eps", guided(predict, labels, 2, scale), None)
            points = run("ddim", net, CHAIN, x_T, 50)[-1].x_s
            axes.plot(points[:, 0, 0, 0], points[:, 1, 0, 0], ".", color=BLUE, markersize=2, alpha=0.6)
            for means, color in zip(classes, (MUTED, ORANGE), strict=True):
                axes.plot(*means.T, "x", color=color, markersize=6)
            axes.set(xlim=(-1.3, 1.7), ylim=(-1.2, 1.4), xticks=(-1, 0, 1), aspect="equal")
            name_axes(axes, f"w = {scale:g}", "", "")
        return as_image(figure)


def likelihood() -> Image.Image:
    """The terms of the variational bound over t, and their sum from the noisy end."""
    x0 = (draw(LINE, 150, "likelihood")[0].clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1
    steps, bits = list(range(1, 1001)), []
    for t in steps:
        x_t = q_sample(CHAIN, x0, full(x0, t), normal(0, "bound", t, torch.arange(len(x0)), (1, 1, 1)).double())
        term = step_bound(CHAIN, x0, x_t, full(x0, t), best(CHAIN, LINE)(x_t, full(x0, t)), "fixed_small")
        bits.append(float(term.mean()))
    left_over = float(prior_bound(CHAIN, x0).mean())
    total = left_over + torch.tensor(bits).flip(0).cumsum(0).flip(0)
    with page(7.6, 2.7) as figure:
        left, right = figure.subplots(1, 2)
        left.loglog(steps, torch.tensor(bits).clamp(min=1e-6), color=BLUE, linewidth=1.2)
        name_axes(left, "Each term, $L_{t-1}$", "t", "bits/dim")
        right.semilogx(steps, total, color=BLUE, linewidth=1.6)
        label = f"{float(total[0]):.2f} in all"
        right.text(1.6, float(total[0]), label, color=INK, va="center")
        name_axes(right, "Sum of the terms from T down to t", "t", "bits/dim")
        return as_image(figure)


def score() -> Image.Image:
    """The score of points in a plane at three times, and the ways of the probability flow through them."""
    from matplotlib.ticker import NullLocator

    ticks = torch.linspace(-1.7, 1.7, 15, dtype=torch.float64)
    places = torch.cartesian_prod(ticks, ticks).reshape(-1, 2, 1, 1)
    x_T = torch.stack([uniform(0, "score", 0, torch.arange(14), 2)]).reshape(14, 2, 1, 1) * 3.2 - 1.6
    states = run("ddim", best(FLOW, PLANE), FLOW, x_T, 120)
    with page(7.6, 2.95) as figure:
        for axes, t in zip(figure.subplots(1, 3, sharey=True), (500, 200, 40), strict=True):
            eps_hat = best(FLOW, PLANE)(places, full(places, float(t))).eps_hat
            way = -eps_hat.flatten(1) / eps_hat.flatten(1).norm(dim=1, keepdim=True).clamp(min=0.4)
            axes.quiver(*places.flatten(1).T, *way.T, color=MUTED, scale=18, width=0.005)
            past = torch.stack([state.x_s.flatten(1) for state in states if state.s >= t])
            axes.plot(past[..., 0], past[..., 1], color=BLUE, linewidth=0.8)
            axes.plot(past[-1, :, 0], past[-1, :, 1], "o", color=ORANGE, markersize=3.5)
            axes.set(xlim=(-1.8, 1.8), ylim=(-1.8, 1.8), aspect="equal")
            axes.xaxis.set_major_locator(NullLocator())
            axes.yaxis.set_major_locator(NullLocator())
            name_axes(axes, f"t = {t}", "", "")
        return as_image(figure)


FIGURES: dict[str, Callable[[], Image.Image]] = {
    figure.__name__: figure for figure in (forward, learning, sampling, ddim, guidance, likelihood, score)
}
"""Name of the file -> what draws it."""


def picture(name: str) -> Image.Image:
    """One figure, in the palette that is stored."""
    return FIGURES[name]().quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def main() -> None:
    """Write all pictures, each with the sentence that says what it shows."""
    torch.set_num_threads(1)  # tensors this small lose time to threads
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, figure in FIGURES.items():
        about = {"ddpm.figure": (figure.__doc__ or "").partition("\n")[0], "ddpm.code": f"docs/draw_theory.py {name}"}
        save_png(picture(name), FOLDER / f"{name}.png", about)


if __name__ == "__main__":
    main()
