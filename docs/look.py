"""Look at the built site: its links, and each of its pages in a browser.

    python docs/look.py --links     pages, anchors, pictures and assets that are not there; nothing but Python needed
    python docs/look.py --browser   every page in Chromium, 390 and 1280 pixels wide, light and dark

The browser needs the extra ``look``, and Debian's packages ``chromium`` and ``chromium-driver`` or the same from
elsewhere. It fails where a page is wider than its window, a picture failed, a formula was not rendered, or something
came from elsewhere or caused an error. Its pictures lie in ``docs/_build/look``: they are for people to look at.
"""

import argparse
import shutil
import sys
import tempfile
import threading
from base64 import b64decode
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

BUILD = Path(__file__).parent / "_build"
WIDTHS = {"phone": 390, "desktop": 1280}
HEIGHT = 900
TALLEST = 8_000  # of a picture, in pixels
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# what is wrong with a page, in words; run when its formulas are set and its pictures are there
PROBLEMS = """
const finish = arguments[arguments.length - 1];
const typeset = window.MathJax && MathJax.startup ? MathJax.startup.promise : Promise.resolve();
for (const image of document.images) image.loading = "eager";
const loaded = [...document.images].map(image => image.decode().catch(() => null));
Promise.all([typeset, document.fonts.ready, ...loaded]).then(() => {
  const root = document.documentElement;
  const found = [];
  // code, tables and formulas may scroll in boxes of their own; what the page is made of may not
  const frames = [root, ...document.querySelectorAll(".bd-container, .bd-main, .bd-content, .bd-article-container")];
  const own = element => ["auto", "scroll"].includes(getComputedStyle(element).overflowX) && !frames.includes(element);
  const boxed = element => element !== document.body && (own(element) || boxed(element.parentElement));
  const name = element => `${element.tagName.toLowerCase()}.${element.className}`;
  const beyond = element => {
    const frame = frames.findLast(frame => frame !== element && frame.contains(element));
    return element.getBoundingClientRect().right > frame.getBoundingClientRect().left + frame.clientWidth + 0.5;
  };
  const seen = [...document.querySelectorAll("main *, footer *")].filter(
    element => element.checkVisibility() && !element.closest("mjx-assistive-mml"));
  const wide = seen.filter(element => beyond(element) && !boxed(element.parentElement));
  if (root.scrollWidth > root.clientWidth || wide.length)
    found.push(`wider than its frame of ${root.clientWidth} pixels: ${wide.slice(0, 3).map(name)}`);
  for (const element of seen) {
    if (element.clientWidth <= 1 || element.scrollWidth <= element.clientWidth) continue;
    if (!["hidden", "clip"].includes(getComputedStyle(element).overflowX)) continue;
    const edge = element.getBoundingClientRect().right + 1;
    // what a formula holds for screen readers is not seen anyway
    const parts = [...element.querySelectorAll(":not(mjx-assistive-mml, mjx-assistive-mml *)")];
    if (parts.some(part => part.getBoundingClientRect().right > edge && !boxed(part.parentElement)))
      found.push(`cut off: ${name(element)}`);
  }
  for (const image of document.images)
    if (!image.naturalWidth) found.push(`picture failed: ${image.src}`);
  for (const formula of document.querySelectorAll(".math"))
    if (!formula.querySelector("mjx-container") || formula.querySelector("mjx-merror, [data-mjx-error]"))
      found.push(`formula not rendered: ${formula.textContent.slice(0, 60)}`);
  for (const entry of performance.getEntriesByType("resource"))
    if (new URL(entry.name).host !== location.host) found.push(`from elsewhere: ${entry.name}`);
  finish(found);
});
"""


class Page(HTMLParser):
    """What a page can be linked to by, and what it refers to."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.assets = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Take note of the addresses of one element."""
        given = dict(attributes)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag in {"a", "area"}:
            self.links.add(given.get("href") or "")
        elif tag == "link":
            # those that are fetched, not those that say where a page lies
            (self.assets if given.get("rel") in {"stylesheet", "icon", "preload"} else self.links).add(
                given.get("href") or ""
            )
        self.assets |= {given[name] for name in ("src", "poster") if given.get(name)}
        self.assets |= {part.split()[0] for part in (given.get("srcset") or "").split(",") if part.strip()}


def pages_of(site):
    """Return the pages of a site, by path; what lies among its assets is a template of the theme, not a page."""
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts]
    return {path: Page(path.read_text(encoding="utf-8")) for path in paths}


def broken(path, page, pages):
    """Return what a page refers to that is not there."""
    for address in sorted(page.links | page.assets):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            if address in page.assets and parts.scheme != "data":
                yield f"from elsewhere: {address}"
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            yield f"not there: {address}"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            yield f"no such anchor: {address}"


def check_links(site):
    """Return a line for each broken link of a site."""
    pages = pages_of(site)
    if not pages:
        return [f"{site} has no pages: build them by `make docs`"]
    found = [f"{path.relative_to(site)}: {what}" for path, page in pages.items() for what in broken(path, page, pages)]
    print(f"{len(pages)} pages, {sum(len(page.links | page.assets) for page in pages.values())} references")
    return found


class Quiet(SimpleHTTPRequestHandler):
    """A server that does not print what it is asked for."""

    def log_message(self, *_):
        """Print nothing."""


@contextmanager
def served(site):
    """Serve a site on this machine and give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def chromium():
    """Start Chromium with a profile of its own."""
    from selenium import webdriver  # noqa: PLC0415 - only those who look need it

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "SEVERE"})
    with tempfile.TemporaryDirectory() as profile:
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
        browser = webdriver.Chrome(options=options, service=service)
        try:
            yield browser
        finally:
            browser.quit()


def set_view(browser, width, scheme):
    """Set the width of the window and the colours that pages are asked for."""
    size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def take_picture(browser, width, path):
    """Save a picture of the whole page."""
    height = min(browser.execute_script("return document.documentElement.scrollHeight"), TALLEST)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b64decode(shot["data"]))


def check_pages(site, pictures, only):
    """Return a line for each thing that is wrong with a page in a browser; save a picture of each."""
    found = []
    paths = [path.relative_to(site) for path in pages_of(site) if only in path.as_posix()]
    with served(site) as address, chromium() as browser:
        for name, width in WIDTHS.items():
            for scheme in ("light", "dark"):
                set_view(browser, width, scheme)
                for path in paths:
                    browser.get(f"{address}/{path.as_posix()}")
                    problems = browser.execute_async_script(PROBLEMS)
                    problems += [entry["message"] for entry in browser.get_log("browser")]
                    found += [f"{path} ({name}, {scheme}): {what}" for what in problems]
                    take_picture(browser, width, pictures / f"{name}-{scheme}" / path.with_suffix(".png"))
    print(f"{len(paths)} pages, pictures in {pictures}")
    return found


def main():
    """Check what is asked for, and exit with the list of what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", action="store_true", help="check links, anchors, pictures and assets")
    parser.add_argument("--browser", action="store_true", help="open every page in Chromium")
    parser.add_argument("--only", default="", help="of the pages in the browser, those with this in their path")
    parser.add_argument("--site", type=Path, default=BUILD / "html", help="where the site was built")
    parser.add_argument("--pictures", type=Path, default=BUILD / "look", help="where pictures go")
    asked = parser.parse_args()
    site = asked.site.resolve()
    found = check_links(site) if asked.links else []
    found += check_pages(site, asked.pictures, asked.only) if asked.browser else []
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
