"""The page: one file that needs nothing else, says what is missing, and lets no data become markup."""

import contextlib
import functools
import json
import pickle
import re
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from dtb.config import Config, ReportConfig
from dtb.errors import ConfigurationError, InputDataError, OutputInUseError
from dtb.evaluate.certificate.certificate import Certificate, CertificateTest
from dtb.evaluate.certificate.page import to_html
from dtb.evaluate.certificate.verdict import verdict_of
from dtb.evaluate.scores.statistics import Estimate
from dtb.report.collect import collect
from dtb.report.collected import Missing
from dtb.report.stage import report
from tests.report.runs import REGIONS, add_trial, make_run

ONLY_MAIN = Config(name="fake", report=ReportConfig(person_pages=0))


class Page(HTMLParser):
    """What a browser would load, show and link to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.tags, self.loaded, self.links, self.identifiers, self.text = html, [], [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.identifiers += [given["id"]] if "id" in given else []
        if tag == "a":
            self.links.append(given["href"])
        else:
            self.loaded += [given[name] for name in ("src", "href", "data", "srcset", "poster") if name in given]
        if tag == "svg" and "aria-hidden" not in given:
            assert given["role"] in {"img", "group"}
            assert given["aria-label"].strip()

    def handle_data(self, data):
        self.text += data

    @property
    def sections(self):
        found = {}
        for part in re.split(r'<section id="', self.html)[1:]:
            found[part.split('"')[0]] = part
        return found


@pytest.fixture(scope="module", autouse=True)
def drawn():
    """Figures by what draws them and of which numbers: those of this file are drawn once, which takes most of a page's time."""
    figures = {}

    def once(draw):
        @functools.wraps(draw)
        def drawn_or_found(*args, **named):
            with contextlib.suppress(pickle.PicklingError, AttributeError, TypeError):
                key = draw.__module__, draw.__qualname__, pickle.dumps((args, sorted(named.items())))
                if key not in figures:
                    figures[key] = draw(*args, **named)
                return figures[key]
            return draw(*args, **named)

        return drawn_or_found

    with pytest.MonkeyPatch.context() as patch:
        for module in [module for name, module in sys.modules.items() if name.startswith("dtb.report.")]:
            for name, value in list(vars(module).items()):
                if getattr(getattr(value, "__code__", None), "co_name", "") == "drawn_or_said":
                    patch.setattr(module, name, once(value))
        yield figures


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run")


def _page(run, tmp_path, config=None) -> Page:
    report(config or ONLY_MAIN, run, tmp_path / "page", resume=False)
    return Page((tmp_path / "page" / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(fake, tmp_path_factory):
    """The page of a run in which every stage is done."""
    return _page(fake.path, tmp_path_factory.mktemp("whole"))


def _copy(fake, tmp_path):
    shutil.copytree(fake.path, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.slow
def test_every_figure_and_section_is_there(fake, tmp_path, capsys):
    report(Config(report=ReportConfig(person_pages=2)), fake.path, tmp_path / "page", resume=False)
    assert "Warning" not in capsys.readouterr().err


def test_nothing_is_loaded_from_anywhere(whole):
    page = whole
    assert page.loaded
    assert all(place.startswith(("#", "data:image/png;base64,")) for place in page.loaded)
    assert not {"script", "iframe", "object", "embed", "base", "link"} & set(page.tags)
    styles = "".join(re.findall(r"<style>(.*?)</style>", page.html, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_identifiers_are_unique_and_every_link_within_the_page_has_its_target(whole):
    page = whole
    assert len(page.identifiers) == len(set(page.identifiers))
    inner = [link[1:] for link in page.links + page.loaded if link.startswith("#")]
    assert inner
    assert set(inner) <= set(page.identifiers)


@pytest.mark.slow
def test_pages_of_other_stages_are_copied_beside_it_and_all_lead_to_one_another(fake, tmp_path):
    run = _copy(fake, tmp_path)
    gain = Estimate(0.1, 0.05, 0.15, 30)
    test = CertificateTest("baseline", "a claim", "stroop", "mean RT r", 0.5, "ridge", 0.4, gain, 0.01, "bootstrap")
    page = to_html(Certificate("undecided", "A sentence.", (test,), ()), [])
    (run / "evaluate" / "certificate.html").write_text(page, encoding="utf-8")
    (run / "shards" / "quality.html").write_text("damaged, and so without links", encoding="utf-8")
    report(Config(name="fake", report=ReportConfig(person_pages=1)), run, tmp_path / "else where", resume=False)
    out = tmp_path / "else where"
    person = next((out / "people").glob("*.html"))
    for path in (out / "index.html", out / "certificate.html", person):
        links = [link for link in Page(path.read_text(encoding="utf-8")).links if link.endswith(".html")]
        named = {(path.parent / link).resolve() for link in links}
        assert {out / "index.html", out / "certificate.html", out / "quality.html"} <= named
        assert all(place.is_file() for place in named)
    assert person in {(out / link).resolve() for link in Page((out / "index.html").read_text(encoding="utf-8")).links}
    assert (out / "quality.html").read_text(encoding="utf-8") == "damaged, and so without links"


def test_it_opens_with_verdict_sentence_and_next_step_and_everything_else_is_folded(fake, whole):
    certificate = json.loads((fake.path / "evaluate" / "certificate.json").read_text())
    verdict = verdict_of(certificate)
    first, folded = whole.html.split('<div class="questions"')
    assert f'<p class="badge {verdict.key}">' in first
    assert f'<h1 id="verdict">{verdict.sentence}</h1>' in first
    assert f"<code>{verdict.command} </code>" in re.sub("</?span>", "", first)
    assert "20 people, 3 left out · 7 never seen in training" in first
    titles = [
        "Does it fit?",
        "Is it personal?",
        "What does a scan add?",
        "What would change it?",
        "Who are these people?",
        "How was it made?",
    ]
    assert re.findall(r"<summary><h2>(.*?)</h2>", folded) == titles
    assert '<details class="question" open' not in folded
    assert set(re.findall(r'<section id="([^"]+)"', whole.html)) == set(re.findall(r'<section id="([^"]+)"', folded))
    assert whole.text.count("Research use only") == 2, "at the top, which stays in sight, and at the end"


@pytest.mark.slow
def test_the_first_picture_has_twin_baseline_and_ceiling_of_each_task(fake, tmp_path):
    run = _with_figures(fake, tmp_path, lambda row: row.update(ceiling=0.9, best_lower=0.3, best_upper=0.7))
    html = _page(run, tmp_path).html
    (label,) = re.findall(r'aria-label="(r of predicted and observed mean RT\.[^"]*)"', html)
    for task in ("stroop", "hammer"):
        assert f"{task}: twin 0.61 (0.51 to 0.71), best baseline 0.51 (group mean), ceiling 0.9" in label
        assert f"<title>{task}, twin: 0.610 (0.51 to 0.71)</title>" in html


def test_what_came_from_the_data_stays_text(fake, tmp_path):
    run = _copy(fake, tmp_path)
    figures = json.loads((run / "evaluate" / "figures.json").read_text())
    certificate = json.loads((run / "evaluate" / "certificate.json").read_text())
    certificate["sentence"] = "<img src=x onerror=alert(1)> & more"
    (run / "evaluate" / "certificate.json").write_text(json.dumps(certificate))
    figures["rows"][0]["note"] = "</table><script>alert(2)</script>"
    (run / "evaluate" / "figures.json").write_text(json.dumps(figures))
    page = _page(run, tmp_path, Config(name="</title><script>alert(3)</script>", report=ReportConfig(person_pages=0)))
    assert not {"script", "img", "b"} & set(page.tags)
    for text in (
        "<img src=x onerror=alert(1)> & more",
        "<script>alert(1)</script> not finite",
        "no rest series <b>at all</b>",
    ):
        assert text in page.text


def test_a_task_has_its_domain_and_one_colour_of_its_domain_throughout(whole):
    people, times = whole.sections["people"], whole.sections["reaction-times"]
    for task, domain in (("stroop", "cognitive"), ("hammer", "affective")):
        assert re.search(rf'data-column="task"[^>]*>{task}</td><td[^>]*>{domain}</td>', people)
    assert set(re.findall(r"--task-\d", times)) == {"--task-0", "--task-1"}


def test_everyone_set_aside_is_counted_with_the_reason(whole):
    people = whole.sections["people"]
    assert "3 people were set aside (13%)" in people
    assert re.search(r"3 of 12 regions are present; 10 are needed</td><td class=\"number\">2<", people)


def test_quality_and_who_was_set_aside_in_training_are_counted(whole):
    people, training = whole.sections["people"], whole.sections["training"]
    assert re.search(r'head motion \(mm\)</td><td [^>]*class="number">0.095</td><td [^>]*>0 to 0.19</td>', people)
    assert "below &lt;chance&gt;" in people
    assert "Training set 1 person aside" in training
    assert "its &lt;connectome&gt; is absent" in training


def test_the_scan_of_the_example_is_drawn_as_a_carpet_with_its_design(whole):
    scan = whole.sections["scan"]
    assert (
        len(re.findall(rf'aria-label="\w+: carpet\. Signals of {len(REGIONS)} regions over 60 volumes of 1.5 s', scan))
        == 2
    )
    assert re.search(r'aria-label="stroop: design matrix: 60 volumes; regressors easy, easy_derivative, hard,', scan)


@pytest.mark.slow
def test_a_trial_is_shown_with_its_intervals_and_missed_where_there_was_none(fake, whole, tmp_path):
    assert "trial" not in whole.sections
    run = _copy(fake, tmp_path)
    doses = add_trial(run)
    trial = _page(run, tmp_path).sections["trial"]
    full = doses[(doses["arm"] == "personalised") & (doses["dose"] == 1.0)].iloc[0]
    assert f"personalised {full.effect:.2g} ({full.effect_lower:.2g} to {full.effect_upper:.2g})" in trial
    assert "personalised against population, at the full dose, differ by 0.3" in trial
    assert "Faster &lt;in&gt; the Stroop task" in trial
    assert "abstains" not in trial
    result = json.loads((run / "trial" / "trial.json").read_text())
    result["support"] |= {"r": 0.1, "is_shown": False}
    (run / "trial" / "trial.json").write_text(json.dumps(result))
    report(ONLY_MAIN, run, tmp_path / "page", resume=True)
    doubted = Page((tmp_path / "page" / "index.html").read_text(encoding="utf-8")).sections["trial"]
    assert doubted.index("The search abstains") < doubted.index("Faster &lt;in&gt; the Stroop task")
    (run / "trial" / "slopes.tsv").unlink()
    report(ONLY_MAIN, run, tmp_path / "page", resume=True)
    page = Page((tmp_path / "page" / "index.html").read_text(encoding="utf-8"))
    assert "The output of <code>dtb trial</code> lacks slopes.tsv" in page.sections["trial"]


PLACES = {
    "ingest": ["people", "twin"],
    "train": ["training"],
    "evaluate": ["beside-group-mean", "reaction-times", "choices", "bold", "personal", "own-data"],
    "simulate": ["twin"],
    "intervene": ["intervention"],
}


@pytest.mark.parametrize("present", ["ingest", "train"])
def test_a_stage_that_is_absent_is_explained_in_its_place(tmp_path, present):
    page = _page(make_run(tmp_path / "run", stages=(present,)).path, tmp_path)
    for stage, places in PLACES.items():
        for place in places:
            assert (f"<code>dtb {stage}</code> has not been run here." in page.sections[place]) == (stage != present)
    assert ">Nothing can be claimed: the twin has not been evaluated.</h1>" in page.html


def test_a_stage_that_left_rubble_is_explained_in_its_place(fake, tmp_path):
    run = _copy(fake, tmp_path)
    for folder in run.iterdir():
        (folder / "stage.json").write_text('{"stage": "')
    page = _page(run, tmp_path)
    for stage, places in PLACES.items():
        for place in places:
            assert f"What <code>dtb {stage}</code> left cannot be read" in page.sections[place]


def test_an_interrupted_training_shows_what_it_has_and_says_so(tmp_path):
    run = make_run(tmp_path / "run", stages=("train",)).path
    stage = json.loads((run / "train" / "stage.json").read_text())
    (run / "train" / "stage.json").write_text(json.dumps(stage | {"complete": False}))
    training = _page(run, tmp_path).sections["training"]
    assert "<code>dtb train</code> was interrupted or failed" in training
    assert "<svg" in training


def test_a_file_cut_short_is_named_and_the_rest_of_the_page_stands(fake, tmp_path):
    run = _copy(fake, tmp_path)
    for path in (run / "evaluate" / "subjects.parquet", next((run / "shards").glob("*.tar"))):
        path.write_bytes(path.read_bytes()[:1000])
    page = _page(run, tmp_path)
    assert "The output of <code>dtb evaluate</code> cannot be read" in page.sections["choices"]
    assert "cut short" in page.sections["people"]
    assert "<svg" in page.sections["training"]
    assert "<svg" in page.sections["intervention"]


@pytest.mark.slow
def test_a_figure_that_cannot_be_drawn_is_a_sentence_in_its_place_and_so_is_a_section(
    fake, tmp_path, monkeypatch, capsys, drawn
):
    def fail(*_, **__):
        raise ZeroDivisionError("nothing to <draw>")

    before = dict(drawn)
    drawn.clear()

    monkeypatch.setattr("dtb.report.figures.changes.median_of", fail)
    monkeypatch.setattr("dtb.report.page.failures_section", fail)
    page = _page(fake.path, tmp_path)
    everything = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "This figure could not be drawn (ZeroDivisionError: nothing to &lt;draw&gt;" in everything
    assert "Making it failed (ZeroDivisionError" in page.sections["failed-what-failed"]
    assert "<svg" in page.sections["training"]
    assert "methods" in page.sections
    assert "Warning: Not shown: what failed" in capsys.readouterr().err
    drawn.clear()
    drawn.update(before)


@pytest.mark.slow
def test_without_task_bold_its_place_says_that_there_is_none(tmp_path):
    run = make_run(tmp_path / "run", bold=False)
    page = _page(run.path, tmp_path)
    assert "This cohort has no task BOLD" in page.sections["bold"]
    assert "<svg" not in page.sections["bold"]
    assert "no time course to compare" in page.sections["twin"]
    assert "no task BOLD to learn from" in page.sections["training"]


def test_the_example_is_the_person_with_the_median_error_and_nobody_can_be_named_who_is_not_there(
    fake, whole, tmp_path
):
    subjects = pd.read_parquet(fake.path / "evaluate" / "subjects.parquet")
    error = (subjects["predicted_mean_rt"] - subjects["observed_mean_rt"]).abs().groupby(subjects["pseudonym"]).mean()
    median = error.sort_values().index[(len(error) - 1) // 2]
    assert f"<p>{median}. " in whole.sections["twin"]
    with pytest.raises(ConfigurationError, match="nobody with the pseudonym 'p9999'"):
        _page(fake.path, tmp_path / "nobody", Config(report=ReportConfig(subject="p9999")))
    assert not (tmp_path / "nobody").exists()


def test_a_page_is_made_anew_on_resume_and_never_over_something_else(fake, tmp_path):
    run = make_run(tmp_path / "run", stages=("train",)).path
    _page(run, tmp_path)
    with pytest.raises(OutputInUseError):
        report(ONLY_MAIN, run, tmp_path / "page", resume=False)
    shutil.rmtree(run / "train")
    shutil.copytree(fake.path / "shards", run / "shards")
    report(ONLY_MAIN, run, tmp_path / "page", resume=True)
    assert "<code>dtb train</code> has not been run here." in (tmp_path / "page" / "index.html").read_text()


def test_a_folder_without_any_stage_is_refused_and_a_dry_run_writes_nothing(fake, tmp_path, capsys):
    with pytest.raises(InputDataError, match="holds none of the folders"):
        report(Config(), tmp_path, tmp_path / "page", resume=False)
    report(Config(), fake.path, tmp_path / "page", resume=False, dry_run=True)
    assert not (tmp_path / "page").exists()
    assert "evaluate   done" in capsys.readouterr().out


def test_later_lines_of_a_resumed_training_win(fake, tmp_path):
    run = _copy(fake, tmp_path)
    with (run / "train" / "metrics.jsonl").open("a") as stream:
        stream.write('{"epoch": 24, "train_loss": 9.0, "validation_loss": 9.5}\n')
    learning = collect(run).learning
    assert not isinstance(learning, Missing)
    assert len(learning) == 25
    assert learning["validation_loss"].iloc[-1] == 9.5


@pytest.mark.slow
def test_people_from_the_best_to_the_worst_predicted_get_a_page_with_their_own_numbers(fake, tmp_path):
    config = Config(name="fake", report=ReportConfig(person_pages=2))
    main = _page(fake.path, tmp_path, config)
    links = [link for link in Page(main.sections["people-pages"]).links if link.startswith("people/")]
    subjects = pd.read_parquet(fake.path / "evaluate" / "subjects.parquet")
    error = (subjects["predicted_mean_rt"] - subjects["observed_mean_rt"]).abs().groupby(subjects["pseudonym"]).mean()
    ranked = list(error.sort_values().index)
    assert links == [f"people/{ranked[place]}.html" for place in (0, 3)], (
        "the best, and the example in place of the worst"
    )
    points = [link for link in Page(main.sections["reaction-times"]).links if link.startswith("people/")]
    assert set(points) == set(links), "points of people lead to their pages"
    for link in links:
        page = Page((tmp_path / "page" / link).read_text(encoding="utf-8"))
        pseudonym = link.removeprefix("people/").removesuffix(".html")
        own = subjects[(subjects["pseudonym"] == pseudonym) & (subjects["task"] == "stroop")].iloc[0]
        assert f"this person {own.observed_mean_rt:.3g}, their twin {own.predicted_mean_rt:.3g}" in page.html
        assert "../index.html" in page.links
        assert set(page.sections) == {"standing", "twin", "search", "person-change"}
        assert page.html.count("Research use only") == 2
        assert all(place.startswith(("#", "data:image/png;base64,")) for place in page.loaded)


@pytest.mark.slow
def test_a_persons_change_is_drawn_before_and_after_and_named_by_region_and_network(fake, tmp_path):
    table = tmp_path / "centres.tsv"
    rows = [
        f"{name}\t{-40 if place % 2 else 40}\t{15 * place - 90}\t{30 - place}" for place, name in enumerate(REGIONS)
    ]
    table.write_text("\n".join(["name\tx\ty\tz", *rows]))
    config = Config(name="fake", report=ReportConfig(person_pages=1, subject=fake.pseudonyms[0], atlas=table))
    report(config, fake.path, tmp_path / "page", resume=False)
    person = Page((tmp_path / "page" / "people" / f"{fake.pseudonyms[0]}.html").read_text(encoding="utf-8"))
    search = person.sections["person-change"]
    assert (
        len(re.findall(r'aria-label="Edges, (?:before|after|difference)\. 40 connections on a glass brain', search))
        == 3
    )
    changes = pd.read_parquet(fake.path / "intervene" / "changes").set_index("pseudonym")
    change_E, base_E = (changes.loc[fake.pseudonyms[0], name] for name in ("change_E", "base_E"))
    first, second = np.triu_indices(len(REGIONS), 1)
    largest = np.abs(change_E).argmax()
    plain = [name.replace("_", " ") for name in REGIONS]
    # What is drawn as before is what the change is relative to.
    drawn = np.argsort(-np.abs(change_E))[:40]
    before, after = (drawn[np.argmax(np.abs(values_E[drawn]))] for values_E in (base_E, base_E + change_E))
    for title, edge, value in (("before", before, base_E[before]), ("after", after, (base_E + change_E)[after])):
        named = f"{plain[first[edge]]} with {plain[second[edge]]}: {value:+.3f}".replace("-", "−")
        assert re.search(rf'aria-label="Edges, {title}\. [^"]*The strongest: {re.escape(named)}', search)
    # On the surface: the mean over a region's edges, before, after, and what is between.
    strength = [change_E[(first == place) | (second == place)].mean() for place in range(len(REGIONS))]
    told = re.findall(rf"<title>{re.escape(plain[0])}: (.*?)</title>", search.split('id="strength-2"')[1])[0]
    assert float(told.replace("−", "-")) == pytest.approx(strength[0], abs=5e-4)
    at_region = [np.sum(change_E[(first == place) | (second == place)] ** 2) for place in range(len(REGIONS))]
    assert f"<td>{REGIONS[first[largest]]}</td><td>{REGIONS[second[largest]]}</td>" in search
    ranked = search.split("The regions at whose edges most changes", 2)[2]
    assert REGIONS[np.argmax(at_region)] == re.search(r"<td>(.*?)</td>", ranked)[1]
    assert re.search(
        r"stroop: choices, share of right answers: easy \d+%, twin 75% \(15% to 100%\)", person.sections["twin"]
    )
    assert "nine in ten of its 4 sessions" in person.sections["twin"]


@pytest.mark.slow
def test_a_second_aim_is_shown_where_there_is_one(fake, whole, tmp_path):
    assert "Two aims" not in whole.sections["person-change"]
    run = _copy(fake, tmp_path)
    rows = [(share, 0.6 - share / 2, share, share != 0.5) for share in (0.0, 0.5, 1.0)]
    front = pd.DataFrame(rows, columns=["second_share", "target_gain", "second_gain", "on_front"])
    (run / "intervene" / "fronts").mkdir()
    front.assign(pseudonym=fake.pseudonyms[0]).to_parquet(run / "intervene" / "fronts" / "part-00000.parquet")
    config = Config(name="fake", report=ReportConfig(person_pages=0, subject=fake.pseudonyms[0]))
    shown = _page(run, tmp_path, config).sections["person-change"]
    assert "0%: 0.6 and 0; 50%: 0.35 and 0.5; 100%: 0.1 and 1." in shown


@pytest.mark.slow
def test_somebody_who_was_named_is_shown_even_where_the_search_failed_and_that_is_said(fake, tmp_path):
    failed = fake.pseudonyms[-1]
    config = Config(name="fake", report=ReportConfig(person_pages=1, subject=failed))
    assert f"<p>{failed}. The person named" in _page(fake.path, tmp_path, config).sections["twin"]
    page = Page((tmp_path / "page" / "people" / f"{failed}.html").read_text(encoding="utf-8"))
    assert f"There is no change to show for {failed}" in page.sections["person-change"]
    assert "not in the held-out data" in page.sections["standing"]


def _with_figures(fake, tmp_path, change):
    """Copy the run, with what `change` makes of each row of its figures and each test of its certificate."""
    run = _copy(fake, tmp_path)
    for name, key in (("figures.json", "rows"), ("certificate.json", "tests")):
        content = json.loads((run / "evaluate" / name).read_text())
        for row in content[key]:
            change(row)
        (run / "evaluate" / name).write_text(json.dumps(content))
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mark", "words"),
    [
        ("truth", "truth", "Perfect knowledge of this made-up cohort would reach about 0.123."),
        (
            "halves",
            "ceiling, est.",
            "own halves agree, about 0.123 is the most to expect (an estimate)",
        ),
        ("own_half", "own half", "Whoever knows the other half of each person's trials reaches 0.123."),
    ],
)
def test_of_a_ceiling_no_more_is_said_than_its_kind_allows(fake, tmp_path, kind, mark, words):
    run = _with_figures(fake, tmp_path, lambda row: row.update(ceiling=0.123, ceilings={kind: 0.123}))
    page = _page(run, tmp_path)
    assert words in page.text
    assert f"{mark.capitalize()} 0.123." in page.sections["choices"]
    assert "the most that could be reached" not in page.text


@pytest.mark.slow
def test_finding_ones_own_person_stands_beside_chance_and_the_other_half_and_no_bar_is_promised_where_there_is_none(
    fake, tmp_path
):
    run = _with_figures(fake, tmp_path, lambda row: row.update(ceiling=0.5, ceilings={"halves": 0.5}))
    personal = Page(_page(run, tmp_path).sections["personal"])
    assert "Own half 0.5. Chance 0.143." in personal.html
    assert "One half of each person's own data, taken as a twin of the other half, reaches 0.5." in personal.text
    assert "7 people. " in personal.text
    assert "the bar is" not in personal.text


def test_the_verdict_stands_first_in_a_row_and_each_cell_of_a_wide_table_says_its_column(whole):
    row = re.search(r'<tr role="row"><td.*?</tr>', whole.sections["personal"])[0]
    cells = re.findall(r'data-column="([^"]*)" class="[^"]*">(.*?)</td>', row)
    assert cells[0] == ("verdict", '<span class="verdict undecided">? undecided</span>')
    assert cells[1] == ("asked", "who is slow, beyond covariates")
    assert len(cells) == 7


@pytest.mark.slow
def test_as_many_people_as_are_asked_for_get_a_page_whoever_trained(tmp_path):
    fake = make_run(tmp_path / "run", num_people=6)
    _page(fake.path, tmp_path, Config(name="fake", report=ReportConfig(person_pages=len(fake.pseudonyms))))
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (tmp_path / "page" / "people").iterdir()}
    assert set(pages) == set(fake.pseudonyms)
    for html in pages.values():
        footer = html.split("<footer>")[1]
        assert "The twin was trained by dtb " in footer
        assert re.search(r"Cohort hash \w{12}; split hash a{12}; settings of ingest \w{12}", footer)


@pytest.mark.slow
def test_a_person_is_compared_with_others_who_have_the_value(fake, tmp_path):
    run = _copy(fake, tmp_path)
    subjects = pd.read_parquet(run / "evaluate" / "subjects.parquet")
    stroop = subjects["task"] == "stroop"
    subjects.loc[stroop, "observed_mean_rt"] = [np.nan, 0.5, 0.6, 0.7, 0.8, 0.9, np.nan]
    subjects.to_parquet(run / "evaluate" / "subjects.parquet")
    who = subjects.loc[stroop, "pseudonym"].iloc[3]
    _page(run, tmp_path, Config(name="fake", report=ReportConfig(person_pages=1, subject=who)))
    person = (tmp_path / "page" / "people" / f"{who}.html").read_text(encoding="utf-8")
    assert "50% of 4 others are below this person." in person


@pytest.mark.slow
def test_the_methods_are_prose_with_the_versions_of_the_machine_that_trained(fake, whole, tmp_path):
    methods = Page(whole.sections["methods"]).text
    for words in (
        "Connectomes are Pearson's correlations between the rest signals of regions, as Fisher's z.",
        "There are 12 regions and 66 edges.",
        "A hypernetwork reads a person's connectome",
        "AdamW with a learning rate of",
        "one fold of 5",
        "bootstrap draws over people",
        "10.34133/bmef.0231",
        "DeepSpeed (Rasley et al. 2020",
    ):
        assert words in methods
    run = _copy(fake, tmp_path)
    stage = json.loads((run / "train" / "stage.json").read_text())
    assert stage["versions"]["torch"]
    stage["versions"] |= {"torch": "9.9.9", "commit": "c0ffee" * 7}
    (run / "train" / "stage.json").write_text(json.dumps(stage))
    methods = _page(run, tmp_path).sections["methods"]
    assert "<td>torch</td><td>9.9.9</td>" in methods
    assert "<td>torch, where this page was made</td>" in methods
    assert "(commit c0ffeec0ffee) did the work" in methods
