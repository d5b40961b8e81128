"""The page, of networks and datasets of many kinds; opened in a browser where there is one."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from convoy.config import AugmentationConfig, TrainingConfig
from convoy.dataset.reading.examples import read_samples
from convoy.insight.page import Page
from convoy.insight.pictures import Card
from convoy.insight.predictions import predict
from convoy.insight.report import log_report, write_report
from tests.conftest import noise
from tests.insight.support import explained, network

pytestmark = pytest.mark.long

NASTY = ['<script>alert("1")</script>', "a & b", "$x^{", "\"'><img src=x>"]


class Parsed(HTMLParser):
    """What a page refers to, and whether its tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sources, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        assert not [name for name, _ in attributes if name.startswith("on")]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def written(trained, model, folder):
    """Write the report; returns (its text parsed, the names of its pictures)."""
    path = write_report(trained, model, folder)
    page = Parsed(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert "http" not in re.sub(r"data:image/png;base64,[\w+/=]+", "", path.read_text()).replace("https://www.w3", "")
    names = {file.name for file in (folder / "report").iterdir()}
    assert all((folder / "report" / name).read_bytes().startswith(b"\x89PNG") for name in names)
    return page, names


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A report of images of four classes with hostile names, the last of them without a sample."""
    folder = tmp_path_factory.mktemp("images")
    labels = np.arange(60, dtype=np.int32) % 3
    augmentation = AugmentationConfig(flip="horizontal")
    training = TrainingConfig(num_workers=0, epochs=3, augmentation=augmentation)
    trained = explained(folder / "data", noise(60, 12, 10, 3), labels, NASTY, training)
    return *written(trained, network((12, 10, 3), 4), folder / "out"), folder / "out" / "report.html"


def test_the_page_has_every_section_and_the_pictures_are_kept_beside_it(images):
    page, names, _ = images
    text = " ".join(page.words)
    for title in ("Training", "Confusion", "Classes", "Calibration", "Most wrong", "Least certain", "Evidence"):
        assert title in text
    for title in ("First-layer filters", "Inside the convolutions", "Layers while training", "Augmentation"):
        assert title in text
    assert names == {
        *("training_curves.png", "learning_rate.png", "confusion_matrix.png", "reliability.png", "most_wrong.png"),
        *("least_certain.png", "grad_cam.png", "filters.png", "layer_conv_1.png", "layer_conv_2.png"),
        *("dead_units.png", "gradient_norms.png", "augmented.png"),
    }
    assert "a: 50% of its units were dead after epoch 1." in text


def test_names_are_text_and_nothing_else(images):
    page, _, _ = images
    text = " ".join(page.words)
    for name in NASTY[:3]:
        assert name in text
    assert "<b>data</b>" in text


def test_a_class_that_validation_lacks_is_named_and_has_no_scores(images):
    page, _, _ = images
    assert f"Not among the evaluated samples: {NASTY[3]}." in page.words
    row = page.words[page.words.index("F1") :].index(NASTY[3])
    assert page.words[page.words.index("F1") :][row + 1 : row + 6] == ["–"] * 4 + ["0"]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        pytest.param((30, 2), "float32", marks=pytest.mark.long),
        ((6, 7, 5, 1), "float32"),
        pytest.param((8, 8, 2), "float64", marks=pytest.mark.long),
        ((8, 8, 3), "int16"),
    ],
)
def test_arrays_of_any_shape_have_a_report_without_what_is_for_images(tmp_path, shape, dtype):
    samples = np.random.default_rng(0).normal(0, 50, (20, *shape)).astype(dtype)
    trained = explained(tmp_path / "data", samples, np.arange(20, dtype=np.int32) % 2, ["a", "b"])
    page, names = written(trained, network(shape, 2, dtype, len(shape) - 1), tmp_path / "out")
    assert {"training_curves.png", "least_certain.png", "reliability.png"} <= names
    assert ("grad_cam.png" in names) == (len(shape) == 3)
    assert "Augmentation" not in page.words


def test_two_hundred_classes_fit(tmp_path):
    labels = np.arange(220, dtype=np.int32) % 10
    trained = explained(tmp_path / "data", noise(220, 8, 8, 1), labels, [f"class {i}" for i in range(200)])
    page, names = written(trained, network((8, 8, 1), 200), tmp_path / "out")
    assert "The 50 classes with the lowest F1, of 200." in page.words
    assert "confusion_matrix.png" in names


def test_a_network_that_is_always_right_has_none_that_are_wrong(tmp_path):
    samples = np.zeros((10, 4, 4, 1), np.uint8)
    model = network((4, 4, 1), 2)
    label = int(model.predict(samples[:1], verbose=0).argmax())
    trained = explained(tmp_path / "data", samples, np.full(10, label, np.int32), ["a", "b"])
    page, names = written(trained, model, tmp_path / "out")
    assert "None: all of 10 samples are predicted correctly." in page.words
    assert "most_wrong.png" not in names


def test_the_samples_worth_a_look_are_found(tmp_path):
    trained = explained(tmp_path / "data", noise(90, 6, 6, 1), np.arange(90, dtype=np.int32) % 3, ["a", "b", "c"])
    found = predict(network((6, 6, 1), 3), trained.path, trained.manifest)
    assert len(found) == found.rows == 90
    model = network((6, 6, 1), 3)
    found = predict(model, trained.path, trained.manifest)
    probabilities = model.predict(read_samples(trained.path, trained.manifest, "validation", np.arange(90)).images)
    assert found.labels.tolist() == [i % 3 for i in range(90)]
    wrong = found.most_wrong(1000)
    assert set(wrong) == set(np.flatnonzero(probabilities.argmax(1) != found.labels))
    assert (np.diff(found.of_true[wrong]) >= 0).all()
    doubtful = np.sort(probabilities, axis=1)
    assert found.least_certain(1)[0] == (doubtful[:, -1] - doubtful[:, -2]).argmin()
    assert sum(count for _, _, count in found.confused(100)) == len(wrong)
    part = predict(network((6, 6, 1), 3), trained.path, trained.manifest, rows=50)
    assert (len(part), part.rows) == (50, 90)


def test_paths_are_escaped_on_cards_and_in_tables(tmp_path):
    page = Page(tmp_path, "t", "u")
    page.section("s", "how")
    path = '"><script>x</script>\u202e\ud800.png'
    page.cards([Card([noise(3, 3, 3)], [""], "<i>", "&", path, True)])
    page.table(["path"], [[path]])
    parsed = Parsed(page.write("f").read_text(encoding="utf-8"))
    assert "script" not in parsed.tags
    assert "i" not in parsed.tags


def test_a_report_that_fails_is_a_warning(tmp_path, capsys):
    trained = explained(tmp_path / "data", noise(10, 6, 6, 1), np.arange(10, dtype=np.int32) % 2, ["a", "b"])
    logged = []
    log_report(trained, None, logged.append)
    assert logged == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the run has no report.html (")


PROBE = """<script>
window.failures = [];
window.addEventListener("error", event => window.failures.push(event.message || "a resource"), true);
window.addEventListener("load", () => {
  const images = [...document.images];
  const loaded = images.filter(image => image.complete && image.naturalWidth > 0).length;
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.title = `images ${loaded}/${images.length} failures ${window.failures.length} beyond ${wide}`;
});
</script>"""


def chromium():
    """The browser, if there is one: ``$CHROME``, or one of its usual names."""
    names = [os.environ.get("CHROME", ""), "chromium", "chromium-browser", "google-chrome", "chrome"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


def opened(text, folder, width):
    """Open a page in a browser of that width; returns (what it found, as ``PROBE`` says it, the console's lines)."""
    browser = chromium()
    if browser is None:
        pytest.skip("no Chromium here (set CHROME to its path)")
    copy = folder / "copy.html"
    copy.write_text(text.replace("<head>", "<head>" + PROBE, 1), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={folder}/profile", f"--window-size={width},900", "--enable-logging=stderr", "--v=0"]
    done = subprocess.run([*command, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    return title[1], [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.e2e
@pytest.mark.parametrize("width", [420, 1400])
def test_in_a_browser_every_picture_loads_and_the_console_is_silent(images, tmp_path, width):
    text = images[2].read_text(encoding="utf-8")
    pictures = text.count("<img ")
    assert pictures > 40
    assert opened(text, tmp_path, width) == (f"images {pictures}/{pictures} failures 0 beyond 0", [])


@pytest.mark.e2e
def test_the_browser_would_tell_of_a_picture_that_is_broken_and_of_errors(tmp_path):
    text = '<!doctype html><html><head></head><body><img src="data:image/png;base64,AAAA"><script>nothing()</script>'
    found, console = opened(text, tmp_path, 800)
    assert found.startswith("images 0/1 failures 2")
    assert len(console) == 1
