"""The figures' numbers, and the report as a page: whole, by itself, readable without eyes."""

import re
from html.parser import HTMLParser

import numpy as np
import polars
import pytest
from scipy import stats

import maninegs_sampling as mn
from maninegs_sampling.analysis.bounds import data_distance_lower_bound
from maninegs_sampling.cli import main
from maninegs_sampling.data.datasets import synthetic_mvkl
from maninegs_sampling.reports import drawing, figures
from maninegs_sampling.reports.report import save_report
from tests import naive
from tests.analysis.test_settings import clustered
from tests.conftest import random_store

STORE = mn.ManifestationStore.from_dense(clustered(n=200, n_bits=14))
SETTINGS = mn.suggest(STORE, steps=1000, batch_size=16)


def test_figure_2_numbers():
    data = figures.distance_distributions(STORE, SETTINGS)
    histogram = np.array(naive.distance_histogram(STORE.to_dense()))
    end = np.flatnonzero(histogram)[-1]
    np.testing.assert_allclose(data.uniform, histogram[: end + 1] / histogram.sum())
    np.testing.assert_allclose(data.independent, stats.binom(14, 0.5).pmf(np.arange(end + 1)))
    assert list(data.gaussians) == [SETTINGS["mu"].start, SETTINGS["mu"].end]
    for mu, pmf in data.gaussians.items():
        exact = mn.TruncatedGaussian(mu, SETTINGS["sigma"], low=1, high=SETTINGS["high"]).pmf()
        np.testing.assert_array_equal(pmf[: len(exact)], exact[: len(pmf)])
        assert pmf.shape == data.uniform.shape


def test_figure_4_numbers():
    data = figures.lower_bounds(STORE)
    assert data.data == (14, data_distance_lower_bound(STORE))
    assert data.half[data.n_bits.tolist().index(35)] == pytest.approx(mn.distance_lower_bound(35))
    # the frequency that stands for the data's gives its mean distance
    p = STORE.to_dense().mean(axis=0)
    mean = (2 * p * (1 - p)).mean()
    at = data.n_bits.tolist().index(20)
    assert data.alike[at] == pytest.approx(20 * mean - 3 * np.sqrt(20 * mean * (1 - mean)))


def test_figure_5_numbers():
    data = figures.hardness_by_mu(STORE, [6, 1], sigma=2.0, batch_size=16, batches=30)
    for k, found in enumerate(data.measured):
        sampler = mn.ManiNegBatchSampler(
            STORE, batch_size=16, mu=(6.0, 1.0)[k], sigma=2.0, batches_per_epoch=30
        )
        batches = [sampler.batch(b, epoch=k) for b in range(30)]
        anchors, pairs = naive.hardness(STORE.to_dense(), batches)
        assert found.anchor_histogram.tolist() == anchors.tolist()
        assert found.pair_histogram.tolist() == pairs.tolist()
    assert data.mus == (6.0, 1.0)
    distances = np.array(naive.distance_histogram(STORE.to_dense()))
    assert data.uniform_mean == pytest.approx(distances @ np.arange(15) / distances.sum())


def test_annealing_numbers():
    data = figures.annealing(STORE, SETTINGS, steps=1000, batch_size=16, points=5, batches=10)
    assert data.steps.tolist() == [0, 250, 500, 749, 999]
    assert data.mus.tolist() == [SETTINGS["mu"](int(step)) for step in data.steps]
    np.testing.assert_allclose(data.shares.sum(axis=1), 1.0)
    means = data.shares @ np.arange(data.shares.shape[1])
    assert means[0] > means[-1]
    assert figures.annealing(STORE, SETTINGS, steps=1, batch_size=16).steps.tolist() == [0]


def test_every_figure_is_drawn(tmp_path):
    hard = figures.hardness_by_mu(STORE, [6, 1], sigma=2.0, batch_size=16, batches=1)
    drawn = [
        drawing.draw_distance_distributions(figures.distance_distributions(STORE, SETTINGS)),
        drawing.draw_lower_bounds(figures.lower_bounds(STORE)),
        drawing.draw_hardness(hard, figures.largest_step(STORE)),
        drawing.draw_annealing(figures.annealing(STORE, SETTINGS, steps=1, batch_size=16)),
        drawing.draw_coverage(np.array([0, 1, 1, 5])),
    ]
    for k, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{k}.png")
        assert (tmp_path / f"{k}.png").stat().st_size > 5000
        for axis in figure.axes[: 1 if k != 2 else 0]:
            assert axis.get_xlabel()
            assert axis.get_ylabel()


# The page

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Checks while it reads: tags close in order, ids are unique, nothing comes from outside."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.problems, self.headings, self.tags = [], set(), [], [], []
        self.feed(text)
        self.problems += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        self._look(tag, attributes)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._look(tag, dict(attributes))

    def _look(self, tag, attributes):
        if "id" in attributes:
            if attributes["id"] in self.ids:
                self.problems.append(f"id {attributes['id']} stands twice")
            self.ids.add(attributes["id"])
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "#"
            if not value.startswith(("#", "data:")):
                self.problems.append(f"{tag} {name}={value} comes from outside")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")


def page_of(text):
    page = Page(text)
    for inner in re.findall(r"url\(([^)]*)\)", text):
        if not inner.startswith(("#", "data:")) or inner.lstrip("#") not in page.ids:
            page.problems.append(f"url({inner}) leads nowhere")
    if "@import" in text or "<script" in text:
        page.problems.append("needs more than itself to be read")
    return page


def test_the_page_checker_finds_what_is_wrong():
    for wrong in (
        "<p><b></p></b>", "<p>", '<i id="a"></i><i id="a"></i>', '<img src="https://x.org/a.png">',
        '<p style="fill: url(#nothing)"></p>', "<script></script>",
    ):  # fmt: skip
        assert page_of(wrong).problems, wrong


def write_table(path, bits, **columns):
    table = {f"sign <{b}> & more": bits[:, b].astype(int) for b in range(bits.shape[1])}
    polars.DataFrame(table | columns).write_csv(path)
    return str(path)


def test_report_of_a_table(tmp_path, capsys, monkeypatch):
    bits = clustered()
    outcome = np.where(bits[:, 3], "bad", "good")
    table = write_table(tmp_path / "my cases.csv", bits, outcome=outcome)
    out = tmp_path / "report.html"
    assert main(["report", table, "--label", "outcome", "--out", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    text = out.read_text(encoding="utf-8")
    page = page_of(text)
    assert page.problems == []
    assert page.headings == [1] + [2] * (len(page.headings) - 1)
    assert ("html", {"lang": "en"}) in page.tags
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 5
    assert all(p["role"] == "img" and len(p["aria-label"]) > 40 for p in pictures)
    for tag, attributes in page.tags:
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")
    assert "my cases.csv" in text
    assert "Yes, but a training gain is not shown." in text
    assert "equals the label" in text
    assert "sign &lt;3&gt; &amp; more" in text
    assert "sign <3>" not in text
    assert "mn.ManiNegBatchSampler.wrap(loader, store, mu=mn.LinearAnnealing(" in text
    assert "prefers-color-scheme: dark" in text
    # the same table gives the same page
    again, opened = tmp_path / "again.html", []
    monkeypatch.setattr("webbrowser.open", opened.append)
    main(["report", table, "--label", "outcome", "--out", str(again), "--open"])
    assert opened == [again.as_uri()]
    assert again.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "bits",
    [np.eye(100, dtype=bool), random_store(200, 4).to_dense()],
    ids=["one distance", "few patterns"],
)
def test_report_of_data_without_near_negatives(tmp_path, bits):
    table = write_table(tmp_path / "cases.csv", bits)
    out = tmp_path / "report.html"
    assert main(["report", table, "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "No, not harder than uniform batches." in text
    assert page_of(text).problems == []


def test_report_of_one_pattern(tmp_path):
    schema = mn.Schema("two signs", (mn.Trait("a", "flag"), mn.Trait("b", "flag")))
    store = mn.ManifestationStore.from_dense(np.ones((3, 2), dtype=bool))
    save_report(tmp_path / "report.html", store, schema, source="three alike")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No, not harder than uniform batches." in text
    assert page_of(text).problems == []


def test_the_example_is_written_out_right(tmp_path):
    store, labels = synthetic_mvkl(400)
    out = tmp_path / "report.html"
    save_report(out, store, mn.MVKL, source="made up", labels=labels)
    text = out.read_text(encoding="utf-8")
    anchor = int(re.search(r"<p>Row ([\d,]+) has:", text)[1].replace(",", ""))
    rows = store.to_dense()
    distances = {i: naive.hamming(rows[anchor], rows[i]) for i in range(400)}
    found = re.findall(
        r"<th scope=row>(nearest|middle|farthest)</th><td class=number>(\d+)</td>"
        r"<td class=number>([\d,]+)</td><td>([^<]*)</td>",
        text,
    )
    assert [name for name, *_ in found] == ["nearest", "middle", "farthest"]
    others = sorted(d for d in distances.values() if d > 0)
    expected = [others[0], others[len(others) // 2], others[-1]]
    assert [int(d) for _, d, *_ in found] == expected
    for _, distance, row, words in found:
        assert distances[int(row.replace(",", ""))] == int(distance)
        assert len(words.split("; ")) == int(distance)


def test_the_example_of_many_bits_is_short(tmp_path):
    store = random_store(70, 300)
    schema = mn.Schema("codes", tuple(mn.Trait(f"bit {b:03}", "flag") for b in range(300)))
    out = tmp_path / "report.html"
    save_report(out, store, schema, source="codes", batch_size=8)
    text = out.read_text(encoding="utf-8")
    own = re.search(r"<p>Row ([\d,]+) has: (.*?)\.</p>", text)
    n_traits = store.to_dense()[int(own[1])].sum()
    listed = own[2].split("; ")
    assert (len(listed), listed[-1]) == (41, f"and {n_traits - 40} more")
    for name in ("nearest", "middle", "farthest"):
        distance, changes = re.search(
            rf"<th scope=row>{name}</th><td class=number>(\d+)</td>.*?</td><td>([^<]*)</td>", text
        ).groups()
        assert changes.endswith(f"; and {int(distance) - 40} more")


def test_a_figure_has_no_more_shapes_for_more_distances():
    shapes = []
    for n_bits in (10, 200):
        store = random_store(60, n_bits)
        hard = figures.hardness_by_mu(store, [3, 1], sigma=2.0, batch_size=8, batches=3)
        figure = drawing.draw_hardness(hard, figures.largest_step(store))
        shapes.append([len(axis.get_children()) for axis in figure.axes])
    assert shapes[0] == shapes[1]


ROW = re.compile(r"<th scope=row>([^<]*)</th>" + r"<td class=number>([\d.]+%?)</td>" * 4)


def test_the_batches_to_choose_are_those_of_the_samplers(tmp_path):
    table = write_table(tmp_path / "cases.csv", clustered())
    out = tmp_path / "report.html"
    assert main(["report", table, "--out", str(out)]) == 0
    found = {name: numbers for name, *numbers in ROW.findall(out.read_text(encoding="utf-8"))}
    store = mn.ManifestationStore.from_dense(clustered())
    asked = {
        "ManiNeg as suggested": {},
        "near cluster": {"center": "cluster"},
        "eight clusters": {"anchors_per_batch": 8},
        "eight clusters that cover the data": {"anchors_per_batch": 8, "coverage": "epoch"},
    }
    samplers = {"uniform, distinct patterns": mn.UniformDistinctBatchSampler(store, batch_size=64)}
    for name, options in asked.items():
        settings = mn.suggest(store, steps=9000, **options)
        settings = {**settings, "mu": settings["mu"].end}
        samplers[name] = mn.ManiNegBatchSampler(store, batch_size=64, **settings)
    assert list(found) == list(samplers)
    for name, sampler in samplers.items():
        hardness = mn.hardness(sampler, batches=20 * len(sampler))
        seen = mn.coverage(sampler, epochs=20)
        assert found[name] == [
            f"{hardness.masked_pair_mean:.2f}", f"{hardness.masked_nearest_mean:.2f}",
            f"{seen.seen_share:.0%}", f"{seen.gini:.2f}",
        ]  # fmt: skip


def test_batches_that_cannot_be_made_are_named_with_the_reason(tmp_path):
    table = write_table(tmp_path / "cases.csv", random_store(200, 4).to_dense())
    out = tmp_path / "report.html"
    assert main(["report", table, "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    # few patterns: only batches with equal ones can be full
    assert [name for name, *_ in ROW.findall(text)] == ["eight clusters that cover the data"]
    assert "<strong>near cluster:</strong> cannot be made of this data: batches of 64" in text
    assert "not yet shown for any of them" in text
