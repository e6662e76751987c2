"""A real browser, and pages opened in it as a user opens them: from disk, with nothing but files."""

import shutil

import pytest


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; skipped with what is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("needs a browser: chromium is not installed")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser):
    """Open a page; in the end it must have asked for files only, and complained of nothing."""
    contexts, requests, complaints = [], [], []

    def open_page(page, hash="", width=1280, height=800, *, dark=False, still=False):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
        )
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(5_000)
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda said: complaints.append(said.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(page.as_uri() + (f"#{hash}" if hash else ""))
        tab.wait_for_selector("html[data-ready]", state="attached")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert requests
    assert not [url for url in requests if not url.startswith(("file://", "data:", "blob:"))]
    assert not complaints
