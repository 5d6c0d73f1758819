"""The distance against steps: names that keep the protocol, evaluations that are counted, the floor, refusals."""

import json

import numpy as np
import pytest

from ddpm.drawing.by_steps import COLORS, MARKERS, by_steps
from ddpm.engine.choose import Protocol, draw_and_compare
from ddpm.engine.distributed import alone
from ddpm.figures import metric_by_steps
from ddpm.figures.metric_by_steps import Options, draw, samplers_of
from ddpm.metrics.features import build_extractor

FEW = Options(samplers="ddim,heun", steps=(3, 2), images=6)


@pytest.fixture
def drawn(monkeypatch):
    """Draw, and return what the picture was made of: lines, metric, text, floor."""

    def spied(made, options):
        seen = []
        monkeypatch.setattr(metric_by_steps, "by_steps", lambda *given: seen.append(given) or by_steps(*given))
        return draw(made, options), *seen[0]

    return spied


def test_points_are_named_counted_and_measured(material, drawn, tmp_path):
    made = material("sample.guidance_scale=1")
    picture, lines, metric, text, floor = drawn(made, FEW)
    assert metric == "frechet_pixels@6", "never FID: the reference is of pixels"
    assert text == "20 real images, spacing trailing (smoke only)"
    assert list(lines) == ["ddim, eta 0", "heun"]
    assert [nfe for nfe, _ in lines["ddim, eta 0"]] == [2, 3]
    assert [nfe for nfe, _ in lines["heun"]] == [3, 5], "2 N - 1"
    assert floor[0] == "6 held-out images"
    sample = made.reverse(sampler="ddim", steps=3, eta=0.0, num_images=6, seed=made.figures.seed).sample
    extractor = build_extractor("pixels", weights=None, download=False, device=made.device)
    protocol = Protocol(sample, made.statistics, "", extractor, "own", 3)
    record, _ = draw_and_compare(made.checkpoint, protocol, tmp_path, alone(made.device), lambda count: None)
    assert lines["ddim, eta 0"][1][1] == record["value"]
    assert draw(made, FEW).tobytes() == picture.tobytes()


def test_two_passes_of_guidance_are_two_evaluations(material, drawn):
    _, lines, _, text, _ = drawn(material("sample.guidance_scale=3"), Options(samplers="ddpm", steps=(2,), images=4))
    assert lines["ddpm, fixed_small"][0][0] == 4
    assert "guidance 3" in text


def test_the_floor_is_of_as_many_images_or_of_all_and_is_left_out_where_none_were_held_out(material, drawn):
    made = material()
    options = Options(samplers="ddpm", steps=(2,), images=12)
    assert drawn(made, options)[-1][0] == "10 held-out images"
    shape = (0, 8, 8, 1)
    np.save(made.places.data / "valid.npy", np.zeros(shape, np.uint8))
    np.save(made.places.data / "valid_labels.npy", np.zeros(0, np.int64))
    again = type(made)(made.figures, made.sample, made.places, made.device)
    assert drawn(again, options)[-1] is None


def test_what_cannot_be_measured_is_refused_before_anything_is_drawn(material):
    made = material()
    for options, words in (
        (Options(samplers="ddim,best"), "--samplers must be of ddpm, .*, got best"),
        (Options(samplers="ode"), "got ode"),
        (Options(samplers=""), "must name 1 to 7 different ones"),
        (Options(samplers="ddim,ddim"), "must name 1 to 7 different ones"),
        (Options(steps=()), "--steps must name at least one"),
        (Options(steps=(3, 21)), "sample.steps must be at most the checkpoint's T = 20, got 21"),
    ):
        with pytest.raises(ValueError, match=words):
            draw(made, options)
    with pytest.raises(ValueError, match="samples must be 8x8 like the reference, got 16x16"):
        draw(other_size(material), Options())
    assert samplers_of(" unipc , ddim") == ["unipc", "ddim"]


def other_size(material):
    """A net of larger images beside the statistics of small ones."""
    small = material()
    statistics = small.places.statistics.read_bytes()
    large = material("data.image_size=16", "model.attention=[8]")
    large.places.statistics.write_bytes(statistics)
    return large


def test_lines_can_be_told_apart_and_not_too_many_are_drawn():
    assert len(COLORS) == len(set(COLORS)) == len(MARKERS)
    lines = {str(k): [(5.0, 2.0), (9.0, 1.0)] for k in range(8)}
    with pytest.raises(ValueError, match="1 to 7 samplers can be told apart, got 8"):
        by_steps(lines, "fid@9", "about", None)
    picture = by_steps(dict(list(lines.items())[:7]), "fid@9", json.dumps({}), ("floor", 0.5))
    assert picture.width > 1000
