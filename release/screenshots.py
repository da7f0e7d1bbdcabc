"""Makes the pictures of docs/monitoring.md: the page of a monitor, in Chromium.

    python release/screenshots.py [FOLDER]

Needs what the tests of the page need: chromium, chromedriver and selenium.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.browser import DESKTOP, PHONE, chromium, see  # noqa: E402
from support.monitor import Scene  # noqa: E402

RUN = "llama-70b"
NODES = 64
LOST, LEFT = (17, 40), 63
# For the page to draw, after it has all news.
_DRAWN_S = 1.5


def name(number: int) -> str:
    return f"gpu-node-{number:03}"


def set_up(scene: Scene) -> None:
    """Three runs; one of them has lost three of its nodes, and the others wait for them."""
    jobs = scene.jobs
    jobs.expect(RUN, f"gpu-node-[000-{NODES - 1:03}]")
    for number in range(8):
        jobs.join("eval", f"cpu{number}", 8)
    for number in range(NODES):
        jobs.join(RUN, name(number), NODES)
    time.sleep(2)
    for number in LOST:
        jobs.lose(RUN, name(number))
    jobs.leave(RUN, name(LEFT))
    for number in range(NODES - 1):
        if number not in LOST:
            jobs.join(RUN, name(number), NODES, after_round=1)
    for number in range(4):
        jobs.join("sweep-12", f"host{number}", 4)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "monitoring"
    with closing(Scene()) as scene, chromium() as driver:
        set_up(scene)
        driver.get(scene.monitor.url)
        for picture, size, is_dark in (
            ("desktop-light", DESKTOP, False),
            ("desktop-dark", DESKTOP, True),
            ("phone-light", PHONE, False),
            ("phone-dark", PHONE, True),
        ):
            see(driver, size, is_dark=is_dark)
            time.sleep(_DRAWN_S)
            driver.save_screenshot(str(folder / f"{picture}.png"))
            print(folder / f"{picture}.png")


if __name__ == "__main__":
    main()
