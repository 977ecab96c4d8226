"""Check the built site: its links, and each of its pages in a browser.

    python docs/look.py --links     report missing pages, anchors, pictures and assets; needs only Python
    python docs/look.py --browser   open every page in Chromium, 390 and 1280 pixels wide, light and dark

The browser check needs the extra ``look`` and the Debian packages ``chromium`` and ``chromium-driver``, or the same
programs from another source. It fails if a page is wider than its window, a picture does not load, a formula is not
rendered, a resource comes from another host, or the browser reports an error. It saves a picture of every page in
``docs/_build/look`` for inspection by a person.
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
# pixels: widths and height of the window, and the largest height of a picture
WIDTHS = {"phone": 390, "desktop": 1280}
HEIGHT = 900
MAX_PICTURE_HEIGHT = 8_000
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
# returns a description of each problem of a page, after its formulas are typeset and its pictures are loaded
PROBLEMS = """
const finish = arguments[arguments.length - 1];
const typeset = window.MathJax && MathJax.startup ? MathJax.startup.promise : Promise.resolve();
for (const image of document.images) image.loading = "eager";
const loaded = [...document.images].map(image => image.decode().catch(() => null));
Promise.all([typeset, document.fonts.ready, ...loaded]).then(() => {
  const root = document.documentElement;
  const found = [];
  // code, tables and formulas may scroll in boxes of their own; the frames of the page may not
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
    // the parts of a formula for screen readers are invisible
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
    if (new URL(entry.name).host !== location.host) found.push(`from another host: ${entry.name}`);
  finish(found);
});
"""


class Page(HTMLParser):
    """The anchors of a page, its links, and the assets that it loads."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.assets = set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Add the anchors and the addresses of one element."""
        values = dict(attributes)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag in {"a", "area"}:
            self.links.add(values.get("href") or "")
        elif tag == "link":
            # only these are loaded; the others refer to related pages
            loaded = values.get("rel") in {"stylesheet", "icon", "preload"}
            (self.assets if loaded else self.links).add(values.get("href") or "")
        self.assets |= {values[name] for name in ("src", "poster") if values.get(name)}
        self.assets |= {part.split()[0] for part in (values.get("srcset") or "").split(",") if part.strip()}


def pages_of(site):
    """Return the pages of a site by path, without the HTML files in `_static`, which are templates of the theme."""
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts]
    return {path: Page(path.read_text(encoding="utf-8")) for path in paths}


def broken(path, page, pages):
    """Yield a description of each broken reference of a page."""
    for address in sorted(page.links | page.assets):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            if address in page.assets and parts.scheme != "data":
                yield f"from another host: {address}"
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            yield f"missing: {address}"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            yield f"missing anchor: {address}"


def check_links(site):
    """Return a line for each broken link of a site."""
    pages = pages_of(site)
    if not pages:
        return [f"{site} has no pages; run `make docs` to build them"]
    problems = [
        f"{path.relative_to(site)}: {problem}" for path, page in pages.items() for problem in broken(path, page, pages)
    ]
    print(f"{len(pages)} pages, {sum(len(page.links | page.assets) for page in pages.values())} references")
    return problems


class QuietHandler(SimpleHTTPRequestHandler):
    """Request handler that logs nothing."""

    def log_message(self, *_):
        """Print nothing."""


@contextmanager
def served(site):
    """Serve a site on this machine and yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def chromium():
    """Start Chromium with a temporary profile."""
    from selenium import webdriver  # noqa: PLC0415 - only the browser check needs it

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
    """Set the width of the window and the preferred colour scheme."""
    size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def take_picture(browser, width, path):
    """Save a picture of the page, from the top to at most MAX_PICTURE_HEIGHT."""
    height = min(browser.execute_script("return document.documentElement.scrollHeight"), MAX_PICTURE_HEIGHT)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b64decode(shot["data"]))


def check_pages(site, pictures, only):
    """Return a line for each problem of a page in the browser; save a picture of each page."""
    problems = []
    paths = [path.relative_to(site) for path in pages_of(site) if only in path.as_posix()]
    with served(site) as address, chromium() as browser:
        for name, width in WIDTHS.items():
            for scheme in ("light", "dark"):
                set_view(browser, width, scheme)
                for path in paths:
                    browser.get(f"{address}/{path.as_posix()}")
                    found = browser.execute_async_script(PROBLEMS)
                    found += [entry["message"] for entry in browser.get_log("browser")]
                    problems += [f"{path} ({name}, {scheme}): {problem}" for problem in found]
                    take_picture(browser, width, pictures / f"{name}-{scheme}" / path.with_suffix(".png"))
    print(f"{len(paths)} pages, pictures in {pictures}")
    return problems


def main():
    """Run the chosen checks; exit with the list of problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", action="store_true", help="check links, anchors, pictures and assets")
    parser.add_argument("--browser", action="store_true", help="open every page in Chromium")
    parser.add_argument("--only", default="", help="open only the pages whose path contains this text")
    parser.add_argument("--site", type=Path, default=BUILD / "html", help="folder of the built site")
    parser.add_argument("--pictures", type=Path, default=BUILD / "look", help="folder for the pictures")
    options = parser.parse_args()
    site = options.site.resolve()
    problems = check_links(site) if options.links else []
    problems += check_pages(site, options.pictures, options.only) if options.browser else []
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    main()
