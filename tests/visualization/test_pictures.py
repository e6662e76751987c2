"""Pictures show the numbers they were given, refuse what has no picture, and leave matplotlib as it is."""

import html
import re

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from captum_xg.errors import CaptumXGError, InputError, OptionError, OptionTypeError
from captum_xg.visualization import feature_bars, image_grid, token_figure, token_html


def drawn_in(axes):
    (image,) = axes.images
    return np.asarray(image.get_array())


@given(
    n=st.integers(1, 3),
    channels=st.sampled_from([1, 3]),
    methods=st.integers(1, 3),
    scale=st.sampled_from(["example", "all"]),
    seed=st.integers(0, 99),
)
def test_panels_are_sums_over_channels_in_units_of_one_scale_for_all_methods(n, channels, methods, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, channels, 5, 6, generator=generator)
    maps = {f"m{k}": torch.randn(n, channels, 5, 6, generator=generator, dtype=torch.float64) for k in range(methods)}
    figure = image_grid(images, maps, scale=scale, percentile=100)
    panels = np.array(figure.axes[: n * (methods + 1)]).reshape(n, methods + 1)
    pixels = torch.stack([a.sum(1) for a in maps.values()], 1)
    largest = pixels.abs().amax((1, 2, 3)) if scale == "example" else pixels.abs().max().expand(n)
    for i in range(n):
        expected = images[i, 0] if channels == 1 else images[i].permute(1, 2, 0)
        np.testing.assert_allclose(drawn_in(panels[i, 0]), expected, rtol=1e-6)
        for k in range(methods):
            np.testing.assert_allclose(drawn_in(panels[i, k + 1]), pixels[i, k] / largest[i], rtol=1e-6)
            assert panels[i, k + 1].images[0].get_clim() == (-1, 1)
    assert panels[0, 1].get_title() == "m0"


@pytest.mark.parametrize("methods", [1, 2])
@pytest.mark.parametrize("scale", ["example", "all"])
def test_what_is_written_stays_inside_of_the_figure(methods, scale):
    maps = {f"method {k}": torch.randn(1, 1, 9, 9) for k in range(methods)}
    figure = image_grid(
        torch.rand(1, 1, 9, 9), maps, labels=["a long name of a class, longer than an image"], scale=scale
    )
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    for axes in figure.axes:
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            box = text.get_window_extent()
            assert -1 <= box.x0 <= box.x1 <= width + 1
            assert -1 <= box.y0 <= box.y1 <= height + 1


def test_a_single_pixel_does_not_make_all_others_white():
    maps = torch.full((1, 1, 20, 20), 1.0)
    maps[0, 0, 3, 4] = 1e6
    figure = image_grid(torch.rand(1, 1, 20, 20), maps)
    assert drawn_in(figure.axes[1])[0, 0] == 1


def test_normalised_images_are_seen_as_they_were():
    images, mean, std = torch.rand(2, 3, 4, 4), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    shape = (1, 3, 1, 1)
    normalised = (images - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape)
    figure = image_grid(normalised, torch.randn(2, 3, 4, 4), mean=mean, std=std)
    np.testing.assert_allclose(drawn_in(figure.axes[0]), images[0].permute(1, 2, 0), atol=1e-5)


@given(count=st.integers(1, 12), top=st.integers(1, 12), seed=st.integers(0, 99))
def test_bars_are_the_attributions_in_order_of_their_size(count, top, seed):
    attributions = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    (axes,) = feature_bars(attributions, [f"f{i}" for i in range(count)], top=top).axes
    order = attributions.abs().argsort(descending=True)[:top]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], attributions[order], rtol=1e-6)
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"f{int(i)}" for i in order]
    assert ("not shown" in axes.get_xlabel()) == (top < count)


@pytest.mark.parametrize("form", [tuple, np.array, lambda names: dict.fromkeys(names).keys()])
def test_names_may_be_the_columns_of_any_table(form):
    figure = feature_bars(torch.tensor([3.0, 2.0]), form(["age", "income"]))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["age", "income"]


def test_bars_of_several_examples_are_mean_sizes_for_each_method():
    one, other = torch.tensor([[1.0, -4.0], [-3.0, 4.0]]), torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    (axes,) = feature_bars({"one": one, "other": other}, ["a", "b"]).axes
    assert [bar.get_width() for bar in axes.patches] == [4, 2, 1, 0]


words = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8), min_size=2, max_size=9
)


@given(tokens=words, seed=st.integers(0, 99), dims=st.sampled_from([None, 3]))
def test_every_token_is_in_the_page_as_it_is_on_the_colour_of_its_sign(tokens, seed, dims):
    shape = (len(tokens),) if dims is None else (len(tokens), dims)
    attributions = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    page = token_html(tokens, attributions)
    found = re.findall(r'<span title="([^"]*)" style="background: rgb\((\d+), (\d+), (\d+)\)[^>]*>([^<]*)</span>', page)
    assert [html.unescape(text) for *_, text in found] == tokens
    numbers = attributions if dims is None else attributions.sum(1)
    for number, (told, red, _, blue, _) in zip(numbers.tolist(), found, strict=True):
        assert float(told) == pytest.approx(number, rel=1e-3, abs=1e-9)
        assert (int(red) - int(blue)) * number >= 0
    assert token_html(tokens, attributions[None]) == page == page._repr_html_()
    assert isinstance(token_figure(tokens, attributions), Figure)


def test_texts_of_different_lengths_leave_out_the_padding():
    page = token_html([["a"], ["b", "c"]], torch.tensor([[1.0, 99.0], [-1.0, 0.5]]), labels=["one", "<two>"])
    assert page.count("<span") == 3
    assert "(sum: -0.5, end of the colours: 1)" in page
    assert "&lt;two&gt;" in page


def test_texts_of_one_scale_have_one_colour_for_one_number():
    tokens, attributions = [["a"], ["b", "c"]], torch.tensor([[1.0, 0.0], [1.0, -4.0]])

    def colours(scale):
        return re.findall(r"background: (rgb\([^)]*\))", token_html(tokens, attributions, scale=scale))

    (one, other, _), (own, _, _) = colours("all"), colours("text")
    assert one == other != own
    with pytest.raises(OptionError, match="token_figure: `scale`"):
        token_figure(tokens, attributions, scale="example")


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (InputError, lambda: image_grid(torch.rand(1, 2, 4, 4), torch.rand(1, 2, 4, 4))),
        (InputError, lambda: image_grid(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 5))),
        (InputError, lambda: image_grid(torch.rand(1, 1, 4, 4), torch.full((1, 1, 4, 4), torch.nan))),
        (InputError, lambda: image_grid(torch.rand(1, 1, 4, 4), {})),
        (InputError, lambda: image_grid("photo.png", torch.rand(1, 1, 4, 4))),
        (OptionError, lambda: image_grid(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4), scale="row")),
        (OptionError, lambda: image_grid(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4), percentile=3)),
        (OptionError, lambda: image_grid(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4), mean=[0.5])),
        (OptionError, lambda: image_grid(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4), labels=["one"])),
        (OptionTypeError, lambda: feature_bars(torch.rand(2), "ab")),
        (OptionError, lambda: feature_bars(torch.rand(2), ["a"])),
        (InputError, lambda: feature_bars({"a": torch.rand(2), "b": torch.rand(3)}, ["a", "b"])),
        (InputError, lambda: feature_bars(torch.rand(2), ["a", "b"], values=torch.rand(3))),
        (InputError, lambda: feature_bars(torch.rand(0), [])),
        (OptionTypeError, lambda: token_html("a text", torch.rand(2))),
        (InputError, lambda: token_html(["a", "b"], torch.rand(1))),
        (InputError, lambda: token_figure([["a"], ["b"]], torch.rand(3, 1))),
    ],
)
def test_what_has_no_picture_is_refused_with_the_name_of_the_function(error, call):
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, CaptumXGError)
    assert re.match(r"(image_grid|feature_bars|token_html|token_figure): ", str(caught.value))


def test_nothing_global_changes():
    before, backend = dict(mpl.rcParams), mpl.get_backend()
    import matplotlib.pyplot as plt

    image_grid(torch.rand(1, 1, 4, 4), torch.randn(1, 1, 4, 4))
    feature_bars(torch.rand(3), list("abc"))
    token_figure(["a"], torch.rand(1))
    assert dict(mpl.rcParams) == before
    assert mpl.get_backend() == backend
    assert not plt.get_fignums()


def test_a_figure_shows_itself_in_a_notebook_that_never_asked_for_pyplot():
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(feature_bars(torch.tensor([1.0, -2.0]), ["age", "income"]))
    assert shown["image/png"].startswith(b"\x89PNG")
    assert "image/png" not in DisplayFormatter().format(Figure())[0]  # which is why
