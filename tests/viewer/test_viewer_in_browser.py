"""The page in a real browser: filters, order, one example in full, keys, addresses, names that look like HTML."""

import numpy as np
import pytest
import torch
from scans import pictures, write_scan

from captum_xg.analysis import Cluster, Clusters, MeanMaps
from captum_xg.datasets.vocabulary import Vocabulary
from captum_xg.viewer import write_page

EVIL = "<img src=x onerror=\"document.title='hacked'\">"
CLASSES = ["boot", "coat", EVIL, "__proto__"]
N = 120


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A page of pictures with one run, and one that compares two."""
    folder = tmp_path_factory.mktemp("viewer")
    x, a, outputs, labels = pictures(N)
    run = write_scan(folder / "run", x, a, outputs, labels=labels, gone=(7, 100), method="XGradient")
    other = outputs.roll(1, 1)
    top = other.argmax(1, keepdim=True)
    second = write_scan(folder / "second", x, a.flip(-1) * 2, other, top, labels, gone=(8,), method="Saliency")
    clusters = by_hand(run)
    options = {"classes": CLASSES, "title": f"Test {EVIL}"}
    column = {"share <b>inside</b>": torch.linspace(0, 1, len(run))}
    one = write_page(run, x, folder / "one", clusters=clusters, columns=column, **options)
    two = write_page(run, x, folder / "two", compare=second, **options)
    return {"run": run, "second": second, "clusters": clusters, "one": one, "two": two, "labels": labels}


def by_hand(run):
    """Two clusters that no library is needed for."""
    index = (run.ids % 5 == 0).long()
    sizes = [int((index == k).sum()) for k in (0, 1)]
    each = [
        Cluster(f"{EVIL}/{k}", EVIL, n, n / len(run), None, 0.5, (int(run.ids[index == k][0]),))
        for k, n in enumerate(sizes)
    ]
    maps = MeanMaps((), *(torch.zeros(0),) * 5)
    return Clusters(tuple(each), run.ids, index, maps, torch.zeros(2, dtype=torch.int64))


def shown(tab):
    """The ids of the examples that are chosen, in their order."""
    return tab.evaluate("Array.from(captumXG.order, (i) => captumXG.column('id')[i])")


def settled(tab):
    """Wait until all cards that are seen are painted."""
    tab.locator(".card").first.wait_for()
    tab.wait_for_selector(".card.waiting", state="detached")


def slide(tab, label, place):
    """Move a slider."""
    tab.get_by_label(label).evaluate("(e, place) => { e.value = place; e.dispatchEvent(new Event('input')); }", place)


def test_every_filter_keeps_what_numpy_keeps(written, opened):
    run, tab = written["run"], opened(written["one"].path)
    ids, labels, predicted = run.ids.numpy(), run.labels.numpy(), run.predictions.numpy()
    confidence = run.outputs.double().softmax(1).amax(1).float().numpy()
    assert shown(tab) == ids.tolist()
    tab.get_by_role("button", name="✗ Wrong").click()
    assert shown(tab) == ids[labels != predicted].tolist()
    assert tab.locator("#count").inner_text() == f"{(labels != predicted).sum()} of {len(ids)} examples"
    tab.get_by_label("Class", exact=True).select_option("1")
    assert shown(tab) == ids[(labels != predicted) & (labels == 1)].tolist()
    tab.get_by_role("button", name="Reset filters").first.click()
    tab.get_by_label("Predicted as").select_option("3")
    assert shown(tab) == ids[predicted == 3].tolist()
    tab.get_by_role("button", name="predicted __proto__: remove this filter").click()
    slide(tab, "Confidence, to", 60)
    assert shown(tab) == ids[confidence <= np.float32(0.6)].tolist()
    tab.get_by_label("Search by id").fill("3, 7, 90-93")
    few = [i for i in (3, 90, 91, 92, 93) if confidence[ids == i] <= 0.6]
    assert shown(tab) == few
    tab.get_by_label("Search by id").fill("nonsense")
    assert shown(tab) == few
    assert tab.get_by_label("Search by id").get_attribute("aria-invalid") == "true"


def test_a_cluster_is_shown_as_a_filter_and_by_its_typical_examples(written, opened):
    tab, clusters = opened(written["one"].path), written["clusters"]
    tab.get_by_role("tab", name="Clusters").click()
    first = clusters.clusters[0]
    box = tab.locator("#panel-clusters article").first
    assert box.locator("h3").inner_text() == first.name
    assert box.locator(".typical").count() == len(first.typical)
    box.get_by_role("button", name="Show the examples of").click()
    assert shown(tab) == clusters.members(first.name).tolist()
    assert tab.get_by_role("tab", name="Examples").get_attribute("aria-selected") == "true"


def test_examples_come_in_the_order_of_the_chosen_number(written, opened):
    run, tab = written["run"], opened(written["one"].path)
    n = len(run)
    maps = torch.cat([batch["attributions"] for batch in run.batches(50)]).double()[:, 0]
    columns = {
        "id": run.ids, "gap": run.gaps[:, 0].abs(), "sum": maps.flatten(1).sum(1).float(), "label": run.labels,
        "absolute": maps.sum(1).abs().flatten(1).sum(1).float(), "F": run.outputs.gather(1, run.targets)[:, 0],
        "confidence": run.outputs.double().softmax(1).amax(1).float(), "further0": torch.linspace(0, 1, n),
    }  # fmt: skip
    sorts = [(key, sign) for key in columns for sign in ("", "-")]
    orders = tab.evaluate(
        "(sorts) => sorts.map((sort) => { captumXG.set({ sort }); return Array.from(captumXG.order); })",
        [sign + key for key, sign in sorts],
    )
    for (key, sign), order in zip(sorts, orders, strict=True):
        found, numbers = torch.tensor(order), columns[key]
        assert sorted(found.tolist()) == list(range(n))
        steps = numbers.double()[found].diff() * (-1 if sign else 1)
        assert bool((steps >= -1e-6 * numbers.abs().max()).all()), key


def test_one_example_in_full_says_what_the_folder_says(written, opened):
    run, tab = written["run"], opened(written["one"].path)
    tab.locator('.card[data-id="9"]').click()
    row = run[run.index(9)]
    detail = tab.get_by_role("dialog")
    detail.locator(".tops").wait_for()
    facts = dict(zip(detail.locator("dt").all_inner_texts(), detail.locator("dd").all_inner_texts(), strict=True))
    wanted = ("Output F(x)", "Sum of attributions", "Completeness gap")
    number = {name: float(facts[name].replace("−", "-").replace("+", "")) for name in wanted}
    assert number["Output F(x)"] == pytest.approx(float(row["outputs"][row["targets"][0]]), rel=1e-4)
    assert number["Sum of attributions"] == pytest.approx(float(row["attributions"].double().sum()), rel=1e-4)
    assert number["Completeness gap"] == pytest.approx(float(row["gap"][0]), rel=1e-2)
    assert facts["Target"] == CLASSES[int(row["targets"][0])]
    shares = detail.locator(".tops tbody tr").first.locator("td").first.inner_text()
    assert shares == f"{float(row['outputs'].softmax(0).max()) * 100:.0f}\u202f%"
    assert "9" in detail.get_by_role("heading").first.inner_text()


def test_keys_move_open_and_close(written, opened):
    tab = opened(written["one"].path)
    settled(tab)
    tab.locator(".card").first.focus()
    for key, place in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", N - 3), ("Home", 0)]:
        tab.keyboard.press(key)
        # A card far away is made once the page has scrolled there.
        tab.wait_for_selector(f'.card[data-id="{written["run"].ids[place].item()}"]:focus')
    tab.keyboard.press("ArrowDown")
    tab.wait_for_selector('.card:focus:not([data-id="0"])')
    tab.keyboard.press("ArrowUp")
    tab.wait_for_selector('.card[data-id="0"]:focus')
    tab.keyboard.press("Enter")
    detail = tab.get_by_role("dialog")
    detail.wait_for()
    assert "open=0" in tab.url
    tab.keyboard.press("ArrowLeft")  # there is none before the first
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert "open=2" in tab.url
    assert f"3 of {N - 2}" in detail.inner_text()
    tab.keyboard.press("Escape")
    tab.wait_for_selector(".card:focus")
    assert not detail.is_visible()
    assert "open=" not in tab.url
    assert tab.evaluate("document.activeElement.dataset.id") == "2"
    tab.get_by_role("tab", name="Examples").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.id") == "tab-classes"
    assert tab.locator("#panel-classes").is_visible()


@pytest.mark.thorough
def test_an_address_shows_to_others_what_it_was_copied_from(written, opened):
    tab = opened(written["one"].path)
    tab.get_by_role("button", name="✓ Right").click()
    tab.get_by_label("Class", exact=True).select_option("2")
    tab.get_by_label("Sort by").select_option("sum")
    tab.get_by_label("Colour scale").select_option("page")
    slide(tab, "Concentration (Gini), from", 20)
    tab.locator(".card").nth(2).click()
    again = opened(written["one"].path, tab.url.partition("#")[2])
    again.get_by_role("dialog").wait_for()
    assert shown(again) == shown(tab)
    assert shown(tab)
    heads = [each.get_by_role("dialog").locator("h2").inner_text() for each in (tab, again)]
    assert heads[0] == heads[1]
    assert again.evaluate("JSON.stringify(captumXG.state)") == tab.evaluate("JSON.stringify(captumXG.state)")


@pytest.mark.thorough
def test_a_wrong_address_is_no_accident(written, opened):
    tab = opened(written["one"].path, "sort=evil&class=x&a=99&b=-1&size=huge&tab=none")
    settled(tab)
    for hash in ("", "open=7", "in.gap=a..b", "contrast=x", "ids=%00", "cluster=1.5"):
        tab.evaluate("(hash) => { location.hash = hash; }", hash)
        tab.wait_for_timeout(50)
        assert shown(tab) == written["run"].ids.tolist()


def test_names_of_users_are_texts_and_never_html(written, opened):
    tab = opened(written["one"].path, "class=2")
    settled(tab)
    for name in ("Classes", "Clusters", "About", "Examples"):
        tab.get_by_role("tab", name=name).click()
        tab.wait_for_timeout(50)
    tab.locator(".card").first.click()
    tab.get_by_role("dialog").locator(".tops").wait_for()
    assert tab.evaluate("document.querySelectorAll('img, b b').length") == 0
    assert tab.title() == f"Test {EVIL}"
    assert tab.locator("#title").inner_text() == f"Test {EVIL}"
    assert EVIL in tab.locator(".tops").inner_text()
    assert "share <b>inside</b>" in tab.get_by_role("dialog").inner_text()


def test_two_runs_are_shown_beside_each_other(written, opened):
    run, second, tab = written["run"], written["second"], opened(written["two"].path)
    both = np.intersect1d(run.ids.numpy(), second.ids.numpy())
    assert shown(tab) == both.tolist()
    first, then = (each.predictions[torch.tensor([each.index(i) for i in both])].numpy() for each in (run, second))
    labels = written["labels"].numpy()[both]
    for value, kept in {
        "same": first == then, "changed": first != then,
        "fixed": (first != labels) & (then == labels), "broken": (first == labels) & (then != labels),
    }.items():  # fmt: skip
        tab.get_by_label("In the second run").select_option(value)
        assert shown(tab) == both[kept].tolist()
    tab.get_by_role("button", name="Reset filters").first.click()
    tab.locator(".card").first.click()
    detail = tab.get_by_role("dialog")
    detail.locator("section.set").nth(1).wait_for()
    assert detail.locator("section.set h3").all_inner_texts() == ["XGradient", "Saliency"]
    assert detail.locator("canvas").count() == 5
    tab.keyboard.press("Escape")
    tab.get_by_label("beside").select_option("")
    tab.locator(".card").first.click()
    detail.locator("section.set").first.wait_for()
    assert detail.locator("section.set").count() == 1


def test_the_colours_are_those_of_the_attributions(written, opened):
    run, tab = written["run"], opened(written["one"].path, "open=3&contrast=-2")
    tab.get_by_role("dialog").locator("canvas").nth(1).wait_for()
    pixels = tab.evaluate(
        """() => { const c = document.querySelectorAll('dialog canvas')[1]; const s = c.width / 12;
        const all = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return [...Array(144).keys()].map((k) => {
          const i = 4 * (Math.floor((k % 12 + .5) * s) + c.width * Math.floor((Math.floor(k / 12) + .5) * s));
          return all[i] - all[i + 2]; }); }"""
    )
    red_minus_blue = np.array(pixels)
    values = run[run.index(3)]["attributions"][0, 0].flatten().numpy()
    strong = np.abs(values) > np.abs(values).max() / 20
    assert (np.sign(red_minus_blue[strong]) == np.sign(values[strong])).all()
    order = np.argsort(values)
    assert np.corrcoef(np.argsort(np.argsort(red_minus_blue)), np.argsort(order))[0, 1] > 0.97


@pytest.mark.thorough
@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_screen_has_all_of_it_without_scrolling_sideways(written, opened, dark):
    tab = opened(written["one"].path, width=360, height=640, dark=dark, still=True)
    settled(tab)
    assert not tab.get_by_label("Class", exact=True).is_visible()
    tab.get_by_role("button", name="Filters").click()
    assert tab.get_by_label("Class", exact=True).is_visible()
    assert tab.get_by_label("Colour scale").is_visible()
    for hash in ("", "open=5", "tab=classes", "tab=clusters", "tab=about"):
        tab.evaluate("(hash) => { location.hash = hash; }", hash)
        tab.wait_for_timeout(150)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        for box in tab.locator(".prose, .detail-body").all():
            assert box.evaluate("(element) => element.scrollWidth") <= 360
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 128 * 3) == dark


def test_texts_are_words_on_colours(tmp_path, opened):
    vocabulary = Vocabulary(("good", "bad", "<i>", "film"))
    tokens = torch.tensor([[2, 5, 4, 0, 0], [3, 3, 1, 5, 2], [0, 2, 0, 0, 0]])
    a = torch.tensor([[0.5, 0.0, -1.0, 0.0, 0.0], [-1.0, 2.0, 0.1, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]])
    outputs = torch.stack([-a.sum(1), a.sum(1)], 1)
    run = write_scan(tmp_path / "run", tokens, a[:, None], outputs, torch.ones(3, 1, dtype=torch.int64), tokens=tokens)
    tab = opened(write_page(run, None, tmp_path / "page", vocabulary=vocabulary).path)
    settled(tab)
    texts = [[each.strip() for each in card.locator(".token").all_inner_texts()] for card in tab.locator(".card").all()]
    assert texts == [["good", "film", "<i>"], ["bad", "bad", "[unknown]", "film", "good"], ["", "good"]]
    title = tab.locator(".card").nth(1).locator(".token").nth(1).get_attribute("title")
    assert title == "+2"


def test_tables_are_bars_with_names_and_values(tmp_path, opened):
    x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    a = torch.tensor([[0.1, -0.6, 0.3], [0.0, 1.5, -2.0]])
    run = write_scan(tmp_path / "run", x, a[:, None], a.sum(1, keepdim=True), torch.full((2, 1), -1))
    tab = opened(write_page(run, x, tmp_path / "page", names=["age", "<b>", "height"]).path)
    settled(tab)
    first = tab.locator(".card").first
    assert first.locator(".feature-name").all_inner_texts() == ["<b>", "height", "age"]
    assert first.locator(".feature-value").all_inner_texts() == ["−2", "0.5", "1"]
    assert first.locator(".feature-number").all_inner_texts()[0] == "−0.6"
    first.click()
    assert "the only output" in tab.get_by_role("dialog").inner_text()


def test_a_page_without_its_data_says_so(written, window, tmp_path):
    copied = tmp_path / "index.html"
    copied.write_text(written["one"].path.read_text())
    (tmp_path / "viewer").symlink_to(written["one"].path.parent / "viewer")
    tab = window.pages[0]
    tab.goto(copied.as_uri())
    assert "must be copied as a whole" in tab.get_by_role("alert").inner_text()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "index.js").write_text('captumXG.open("{");')
    tab.goto(copied.as_uri())
    assert tab.get_by_role("alert").inner_text().startswith("This page cannot be shown: ")


@pytest.mark.slow
def test_twenty_thousand_examples_scroll(tmp_path, opened):
    n = 20_000
    x, a, outputs, labels = pictures(n, size=8)
    run = write_scan(tmp_path / "run", x, a, outputs, labels=labels, per_shard=1024)
    tab = opened(write_page(run, x, tmp_path / "page").path)
    settled(tab)
    for _ in range(40):
        tab.evaluate("document.getElementById('scroller').scrollTop += 2000")
        tab.wait_for_timeout(20)
        assert tab.locator(".item").count() < 120
    settled(tab)
    tab.locator(".card:not(.waiting)").first.focus()
    tab.keyboard.press("End")
    assert tab.evaluate("document.activeElement.dataset.id") == str(n - 1)
    settled(tab)
    tab.get_by_label("Sort by").select_option("sum")
    settled(tab)
    best = int(a.double().flatten(1).sum(1).argmax())
    assert tab.locator(f'.card[data-id="{best}"]').is_visible()


@pytest.mark.thorough
def test_only_what_is_seen_is_in_the_document_and_what_it_shows_is_right(tmp_path, opened):
    n = 3_000
    x, a, outputs, labels = pictures(n, size=6)
    run = write_scan(tmp_path / "run", x, a, outputs, labels=labels, per_shard=512)
    tab = opened(write_page(run, x, tmp_path / "page").path)
    for place in (0, 1500, n - 1):
        tab.evaluate("(place) => captumXG.focusOn(place)", place)
        settled(tab)
        assert tab.locator(".item").count() < 120
        assert tab.evaluate("document.activeElement.dataset.id") == str(place)
        # The input is the first tile: its mean grey tells which example was painted.
        greys = tab.evaluate(
            """() => { const c = document.activeElement.querySelector('canvas'); const s = c.height;
            const d = c.getContext('2d').getImageData(0, 0, s, s).data;
            let sum = 0; for (let i = 0; i < d.length; i += 4) sum += d[i]; return sum / (d.length / 4); }"""
        )
        assert greys == pytest.approx(float(x[place].mean()) * 255, abs=1.5)


def test_without_labels_classes_are_targets_and_their_examples_can_be_shown(tmp_path, opened):
    x, a, outputs, _ = pictures(24)
    targets = (torch.arange(24) % 3)[:, None]
    run = write_scan(tmp_path / "run", x, a, outputs, targets)
    tab = opened(write_page(run, x, tmp_path / "page").path, "tab=classes&ids=2")
    box = tab.locator("#panel-classes article").nth(2)
    assert "Examples8" in "".join(box.inner_text().split())
    box.get_by_role("button", name="Show the examples of").click()
    assert shown(tab) == list(range(2, 24, 3))
    tab.get_by_label("Target", exact=True).select_option("1")
    assert shown(tab) == list(range(1, 24, 3))
    tab.get_by_role("button", name="target class 1: remove this filter").click()
    assert len(shown(tab)) == 24


def test_numbers_of_any_size_are_what_they_are(tmp_path, opened):
    a = torch.tensor([[1e60, -2e60, 0.0], [1e-300, 0.0, -2e-300]], dtype=torch.float64)
    run = write_scan(tmp_path / "run", torch.rand(2, 3), a[:, None], torch.rand(2, 2))
    tab = opened(write_page(run, None, tmp_path / "page").path)
    settled(tab)
    numbers = [card.locator(".feature-number").all_inner_texts() for card in tab.locator(".card").all()]
    assert numbers == [["−2e60", "+1e60", "0"], ["−2e−300", "+1e−300", "0"]]
    tab.locator(".card").first.click()
    tab.get_by_role("dialog").locator(".facts").first.wait_for()
    assert "3e60" in tab.get_by_role("dialog").inner_text()
