"""What users see on MLflow's pages of real runs. ``make test-ui``; SCREENSHOTS=folder keeps pictures of the pages."""

import json
import re

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="there is no Playwright; type: make test-ui")
expect = playwright.expect

ADAM, SGD = "lenet5-digits-adam-0.002", "lenet5-digits-sgd-0.05"

pytestmark = [pytest.mark.ui, pytest.mark.timeout(900)]  # the first test makes the runs


@pytest.fixture(autouse=True, scope="module")
def patience():
    """How long a text may take to appear: pages load in steps."""
    expect.set_options(timeout=30_000)


def test_the_table_of_an_experiment_tells_the_runs_apart(pages):
    page = pages.open("experiments/1/runs")
    for name in (ADAM, SGD, "score-digits-1"):
        expect(page.get_by_role("link", name=name)).to_be_visible()
    expect(page.get_by_text(f"digits ({pages.made.version})")).to_have_count(2)
    page.get_by_role("button", name="Columns").click()
    for metric in ("val_accuracy", "test_accuracy"):
        page.get_by_placeholder("Search columns").fill(metric)
        page.get_by_text(metric, exact=True).last.click()
    page.keyboard.press("Escape")
    expect(page.get_by_text(str(pages.made.accuracy)[:6]).first).to_be_visible()
    pages.shoot("table", clip={"x": 200, "y": 0, "width": 1240, "height": 420})


def test_an_experiments_charts_begin_with_accuracy_and_loss_and_name_the_runs(pages):
    page = pages.open("experiments/1/runs?compareRunsMode=CHART")
    expect(page.get_by_text("Model metrics").first).to_be_in_viewport()
    expect(page.get_by_text("accuracy", exact=True).first).to_be_in_viewport()
    expect(page.get_by_text(re.compile(r"^\(\d+\)$"))).to_have_count(2)  # the other section is that of the system
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    for name in (ADAM, SGD):
        expect(page.get_by_text(f"{name} (accuracy)").first).to_be_attached()
    pages.shoot("charts")


def test_a_runs_page_says_what_it_is_and_lists_what_shapes_it(pages):
    page = pages.run("adam", height=1500)
    expect(page.get_by_text("lenet5, 61,706 weights, 10 classes of 32x32x1; digits version")).to_be_visible()
    told = page.get_by_role("listitem")
    how = "training: 4 epochs in batches of 64 on 2 ranks; adam, learning rate 0.002, seed 0"
    expect(told.filter(has_text=how)).to_be_visible()
    expect(told.filter(has_text=f"test: accuracy {pages.made.accuracy:.2%} of ")).to_be_visible()
    for text in ("jobs/train.py", f"digits ({pages.made.version})", "training.optimizer.name", "v1"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()
    expect(page.get_by_text("None", exact=True)).to_have_count(0)
    pages.shoot("run", clip={"x": 200, "y": 0, "width": 1240, "height": 900})


def test_a_runs_charts_are_drawn_over_the_epochs_and_its_machines_have_a_tab(pages):
    page = pages.run("adam", "/model-metrics", height=3600)
    for metric in ("accuracy", "val_accuracy", "val_loss", "learning_rate"):
        expect(page.get_by_text(metric, exact=True).first).to_be_attached()
    expect(page.get_by_text("gradient_norm")).to_have_count(0)
    expect(page.locator(".js-plotly-plot path.js-line").first).to_be_attached()
    pages.shoot("run-charts", clip={"x": 200, "y": 0, "width": 1240, "height": 900})
    page = pages.run("adam", "/system-metrics", height=3600)
    for metric in ("gradient_norm_c1", "rank_0_step_ms", "rank_1_cpu_utilization_percentage"):
        expect(page.get_by_text(metric, exact=True).first).to_be_attached()


def loaded(image):
    """Wait until a picture has its pixels."""
    expect(image).to_be_visible()
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0


@pytest.mark.parametrize(
    ("run", "path"),
    [
        ("adam", ["training_curves.png"]),
        ("adam", ["evaluation", "test", "confusion_matrix.png"]),
        ("adam", ["dataset", "samples.png"]),
        ("score", ["scoring", "histograms.png"]),
    ],
)
def test_a_runs_pictures_are_shown(pages, run, path):
    page = pages.run(run, "/artifacts")
    for name in path:
        page.get_by_text(name, exact=True).first.click()
    loaded(page.locator("img[src^='blob:']").filter(visible=True).first)
    if path[-1] == "confusion_matrix.png":
        pages.shoot("picture")


def test_the_report_opens_with_its_pictures(pages):
    page = pages.run("adam", "/artifacts")
    page.get_by_text("report.html", exact=True).click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="lenet5 on digits")).to_be_visible()
    loaded(frame.locator("img").first)
    pages.shoot("report")


def test_two_runs_are_compared_by_what_differs(pages):
    runs, experiments = json.dumps([pages.made.runs["adam"], pages.made.runs["sgd"]]), json.dumps(["1"])
    page = pages.open(f"compare-runs?runs={runs}&experiments={experiments}", height=1700)
    for name in (ADAM, SGD):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.get_by_text("training.seed", exact=True)).to_have_count(1)
    page.get_by_text("Show diff only").first.click()
    expect(page.get_by_text("training.seed", exact=True)).to_have_count(0)
    expect(page.get_by_text("training.optimizer.name", exact=True).last).to_be_visible()
    pages.shoot("compare", clip={"x": 200, "y": 0, "width": 1240, "height": 1250})


def test_the_registered_model_shows_aliases_and_how_good_its_versions_are(pages):
    page = pages.open("models/digits")
    for alias in ("champion", "previous"):
        expect(page.get_by_text(re.compile(rf"@\s{alias}$")).first).to_be_visible()
    expect(page.get_by_text("models:/digits@champion").first).to_be_attached()
    expect(page.get_by_text(re.compile(r"^Validation accuracy \d"))).to_have_count(2)
    pages.shoot("model", clip={"x": 200, "y": 0, "width": 1240, "height": 700})
    page = pages.open("models/digits/versions/1")
    expect(page.get_by_role("link", name=ADAM)).to_be_visible()
    expect(page.get_by_text(re.compile(r"@\schampion$"))).to_be_visible()
    expect(page.get_by_text(f"test: accuracy {pages.made.accuracy:.2%}")).to_be_visible()
    pages.shoot("version", clip={"x": 200, "y": 0, "width": 1240, "height": 700})


def test_the_trained_models_page_knows_its_version_and_its_test_metrics(pages):
    page = pages.run("adam")
    link = page.locator("a[href*='/models/m-']").first.get_attribute("href")
    page = pages.open(link.removeprefix("#/"), height=1500)
    expect(page.get_by_text("About this logged model")).to_be_visible()
    expect(page.get_by_text("test_accuracy", exact=True).first).to_be_visible()
    expect(page.get_by_text(f"digits (#{pages.made.version})").first).to_be_visible()
    expect(page.locator("a[href*='/models/digits/versions/1']").first).to_be_visible()
    expect(page.get_by_text("Not registered")).to_have_count(0)
    pages.shoot("trained-model")
