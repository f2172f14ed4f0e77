"""A headless browser and pages opened in it. Skipped, with the reason, where there is no Chromium with its driver."""

import importlib.util
import shutil

import pytest
from pages import AT, NEURON, Page

from jaxbackprop.circuits.expression.trace_expression import trace_expression

CHROME = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser():
    if CHROME is None or shutil.which("chromedriver") is None:
        pytest.skip("no Chromium with its driver is installed")
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("selenium is not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_window_size(1400, 900)
    yield driver
    driver.quit()


@pytest.fixture
def open_page(browser, tmp_path):
    pages = []

    def opened(circuit, **how):
        pages.append(Page(browser, circuit, tmp_path, **how))
        return pages[-1]

    yield opened
    for page in pages:
        assert page.silent()


@pytest.fixture
def neuron(open_page):
    return open_page(trace_expression(NEURON, AT))
