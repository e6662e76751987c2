"""A real browser, and pages opened in it as a user opens them: from disk, with nothing but files."""

import shutil

import pytest


@pytest.fixture(scope="session")
def window():
    """A window of Chromium that is not on the screen, with one tab; skipped with what is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("needs a browser: chromium is not installed")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        window = running.new_context()
        window.set_default_timeout(5_000)
        window.new_page()
        yield window
        running.close()


@pytest.fixture
def opened(window):
    """Open a page; in the end it must have asked for files only, and complained of nothing.

    The first page of each test is opened in the tab that all tests share, further ones in their own.
    """
    requests, complaints, tabs = [], [], []
    listeners = {
        "request": lambda request: requests.append(request.url),
        "console": lambda said: complaints.append(said.text),
        "pageerror": lambda error: complaints.append(str(error)),
    }

    def open_page(page, hash="", width=1000, height=600, *, dark=False, still=False, ready=True):
        tab = window.new_page() if tabs else window.pages[0]
        tabs.append(tab)
        tab.goto("about:blank")  # another hash alone would not load it anew
        tab.set_viewport_size({"width": width, "height": height})
        scheme, motion = "dark" if dark else "light", "reduce" if still else "no-preference"
        tab.emulate_media(color_scheme=scheme, reduced_motion=motion)
        for event, listener in listeners.items():
            tab.on(event, listener)
        tab.goto(page.as_uri() + (f"#{hash}" if hash else ""))
        if ready:
            tab.wait_for_selector("html[data-ready]", state="attached")
        return tab

    open_page.complaints = complaints
    yield open_page
    for tab in tabs:
        for event, listener in listeners.items():
            tab.remove_listener(event, listener)
    for tab in tabs[1:]:
        tab.close()
    assert requests
    assert not [url for url in requests if not url.startswith(("file://", "data:", "blob:"))]
    assert not complaints
