"""The pictures in docs/circuits are what scripts/circuit_pictures.py draws, and every viewer shows their colours."""

import base64
import importlib.util
import io
import re
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "circuit_pictures.py"


@pytest.fixture(scope="module")
def drawn():
    spec = importlib.util.spec_from_file_location("circuit_pictures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pictures()


def test_the_pictures_are_up_to_date(drawn):
    """What is written in them, that is: places may differ in the last digit from machine to machine."""
    written = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "circuits").glob("*.svg")}
    assert set(written) == set(drawn)
    for name, text in drawn.items():
        assert re.findall(r">([^<>]+)</text>", text) == re.findall(r">([^<>]+)</text>", written[name]), (
            f"run python scripts/circuit_pictures.py: {name} has changed"
        )


def test_the_wrong_rule_is_marked(drawn):
    assert drawn["wrong_rule"].count("✗") == 1
    assert "✗" not in drawn["score_network"]


def test_every_shape_and_text_has_its_colour_as_an_attribute(drawn):
    """Inkscape, rsvg-convert and cairosvg know no CSS variables: without a fill of its own a shape is black."""
    for text in drawn.values():
        for element in ET.fromstring(text).iter():
            tag = element.tag.rpartition("}")[2]
            if tag in ("rect", "circle", "text", "path"):
                fill = element.get("fill", "")
                assert re.fullmatch("none|#[0-9a-f]{6}", fill), (tag, element.get("class"), fill)
            if tag == "path" and element.get("class") == "wire":
                assert re.fullmatch("#[0-9a-f]{6}", element.get("stroke", ""))


def test_variables_stand_only_where_a_viewer_must_know_them(drawn):
    """A viewer that does not know them skips the whole of @supports, and keeps to the attributes."""
    for text in drawn.values():
        style = text.partition("<style>")[2].partition("</style>")[0]
        assert "var(" not in style.partition("@supports(color:var(--ink)){")[0]
        assert "var(" not in text.replace(style, "")


def rasterised(svg: str) -> bytes:
    """A PNG, by a renderer that is no browser."""
    if shutil.which("rsvg-convert"):
        return subprocess.run(["rsvg-convert"], input=svg.encode(), capture_output=True, check=True).stdout
    cairosvg = pytest.importorskip("cairosvg", reason="neither rsvg-convert nor cairosvg is installed")
    return cairosvg.svg2png(bytestring=svg.encode())


def colours(png: bytes) -> dict[tuple[int, ...], float]:
    """The share of each colour among the pixels of a PNG of eight bits a channel."""
    chunks, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        chunks[kind] = chunks.get(kind, b"") + png[at + 8 : at + 8 + length]
        at += 12 + length
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    channels = {2: 3, 6: 4}[kind]
    raw = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    rows = np.zeros((height, width * channels), np.uint8)
    for y, (method, *line) in enumerate(raw.tolist()):
        above = rows[y - 1].tolist() if y else [0] * len(line)
        for i in range(len(line)):
            a, b, c = (line[i - channels], above[i], above[i - channels]) if i >= channels else (0, above[i], 0)
            near = min((a, b, c), key=lambda v, p=a + b - c: abs(p - v))
            line[i] = (line[i] + (0, a, b, (a + b) // 2, near)[method]) % 256
        rows[y] = line
    pixels, counts = np.unique(rows.reshape(-1, channels)[:, :3], axis=0, return_counts=True)
    return {tuple(map(int, p)): float(n) / (width * height) for p, n in zip(pixels, counts, strict=True)}


def test_a_renderer_that_is_no_browser_draws_the_colours(drawn):
    """White paper, green values, red gradients; and next to nothing is black."""
    shares = colours(rasterised(drawn["first"]))
    assert shares[255, 255, 255] > 0.8
    assert shares.get((0, 0, 0), 0) < 0.001
    assert any(g > 100 > max(r, b) for r, g, b in shares)
    assert any(r > 150 and max(g, b) < 100 for r, g, b in shares)


PICTURES = ("fork", "neuron", "score_network")
PROGRAMS = {
    "rsvg-convert": ["rsvg-convert", "{name}.svg", "-o", "{name}.png"],
    "inkscape": ["inkscape", "{name}.svg", "--export-type=png", "-o", "{name}.png"],
    "cairosvg": [sys.executable, "-m", "cairosvg", "{name}.svg", "-o", "{name}.png"],
}


def drawn_in(browser, svg: Path, width: int, height: int) -> bytes:
    browser.set_window_size(1400, 900)
    browser.get(svg.as_uri())
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})
    return base64.b64decode(shot["data"])


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_that_are_no_browsers_draw_what_a_browser_draws(drawn, browser, tmp_path, program):
    """The same darkness in each square of a letter's size, and every arrow has its head."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    if shutil.which(PROGRAMS[program][0]) is None or (program == "cairosvg" and not importlib.util.find_spec(program)):
        pytest.skip(f"{program} is not installed")

    def darkness(png):
        return 255 - np.asarray(image.open(io.BytesIO(png)).convert("L"), float)

    def squares(picture):
        grey = image.fromarray(picture.astype(np.uint8))
        return np.asarray(grey.resize((grey.width // 12, grey.height // 12), image.Resampling.BOX), float)

    for name in PICTURES:
        svg = tmp_path / f"{name}.svg"
        svg.write_text(drawn[name], encoding="utf-8")
        command = [part.format(name=name) for part in PROGRAMS[program]]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        picture = darkness((tmp_path / f"{name}.png").read_bytes())
        expected = darkness(drawn_in(browser, svg, picture.shape[1], picture.shape[0]))
        assert expected.max() > 150
        assert np.corrcoef(squares(picture).ravel(), squares(expected).ravel())[0, 1] > 0.97
        outside = drawn[name].partition('<g transform="translate')[0]  # where places are those of the whole
        heads = re.findall(r'class="tip" d="M[\d.]+ [\d.]+L([\d.]+) ([\d.]+)L', outside)
        assert heads
        for x, y in [(round(float(x)), round(float(y))) for x, y in heads]:
            assert (
                picture[y - 3 : y + 3, x - 9 : x - 2].mean() > 0.8 * expected[y - 3 : y + 3, x - 9 : x - 2].mean() > 30
            )
