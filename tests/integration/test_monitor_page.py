"""The page, in a real browser: who is missing, live, by keyboard, on a phone, after a reconnect."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.browser import DESKTOP, PHONE, chromium, see
from support.cli import wait_for
from support.monitor import Scene

from rendezvous.monitor import Monitor, MonitorSecurity

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


class Page:
    def __init__(self, driver: Any, scene: Scene) -> None:
        self.driver = driver
        self.scene = scene
        see(driver, DESKTOP, is_dark=False)
        # A fragment alone would leave the page of the last test where it is.
        driver.get("about:blank")
        driver.get(scene.monitor.url)

    def text(self, name: str) -> str:
        return str(
            self.driver.execute_script(f"return document.getElementById('{name}').innerText")
        )

    def shows(self, name: str, part: str) -> None:
        wait_for(f"{name} shows {part!r}", lambda: part in self.text(name))

    @property
    def grid(self) -> Any:
        return self.driver.find_element("id", "grid")

    def says(self, label: str) -> None:
        """What the grid is called for those who do not see it."""
        wait_for(label, lambda: label in (self.grid.get_attribute("aria-label") or ""))

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    """5 of 8 are there, and the names of the others are known; another run is complete."""
    with closing(Scene()) as scene:
        scene.jobs.expect("train", "node[01-08]")
        for number in (1, 2, 3, 5, 6):
            scene.jobs.join("train", f"node{number:02}", 8)
        scene.jobs.join("eval", "host", 1)
        page = Page(browser, scene)
        yield page
        errors = [each for each in browser.get_log("browser") if "favicon" not in each["message"]]
        # A connection that was cut on purpose is told as a failed request.
        assert [e for e in errors if "net::ERR" not in e["message"]] == []


def test_who_is_missing_comes_first_and_is_live(page: Page) -> None:
    page.shows("verdict-big", "train: 3 of 8 nodes are missing")
    page.shows("verdict-list", "node[04,07-08]")
    page.says("8 nodes: 5 joined, 3 missing")
    assert page.driver.title == "3 missing · train"
    page.scene.jobs.join("train", "node07", 8)
    page.shows("verdict-big", "2 of 8 nodes are missing")
    page.says("8 nodes: 6 joined, 2 missing")
    page.shows("verdict-list", "node[04,08]")
    page.scene.jobs.lose("train", "node01")
    page.shows("verdict-big", "3 of 8 nodes are missing")
    page.shows("verdict-list", "node01 lost at")
    for name in ("node04", "node08", "node01"):
        page.scene.jobs.join("train", name, 8)
    # Nobody is missing any more, so that nothing keeps the other run from the first place.
    page.shows("runs", "round 1 runs with 8 nodes")
    page.says("8 nodes: 8 joined")
    page.shows("rounds", "Round 1")
    page.shows("rounds", "node01 came last")


def test_the_name_of_a_run_is_one_word_of_the_command_that_is_shown(page: Page) -> None:
    """Whoever joins chooses it, and whoever looks may paste the command into a shell."""
    name = "it's <b>; rm -rf ~"
    page.scene.jobs.join(name, "host", 2)
    page.shows("runs", name)
    page.driver.find_element("xpath", '//button[contains(., "rm -rf")]').click()
    page.shows("verdict-list", f"--run-id {shlex.quote(name)}")


def test_it_is_right_after_a_reconnect(page: Page) -> None:
    """Whether it missed some events, or speaks with another monitor than before."""
    page.says("5 joined, 3 missing")
    for onlooker in list(page.scene.monitor._feed._onlookers):
        onlooker.end()
    page.scene.jobs.join("train", "node04", 8)
    page.says("6 joined, 2 missing")
    port = page.scene.monitor.port
    page.scene.monitor.close()
    page.shows("link", "not connected")
    page.scene.jobs.join("train", "node07", 8)
    page.scene.jobs.lose("train", "node05")
    page.scene.monitor = Monitor(page.scene.server, f"127.0.0.1:{port}")
    page.shows("link", "live")
    page.says("6 joined, 1 lost, 1 missing")
    page.shows("verdict-big", "2 of 8 nodes are missing")


def test_it_is_used_by_keyboard_and_has_names(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.says("5 joined")
    page.driver.execute_script("arguments[0].focus()", page.grid)
    page.press(Keys.HOME, Keys.ARROW_RIGHT)
    page.shows("node", "node02 · joined · process 1")
    page.press(Keys.END)
    page.shows("node", "node08 · missing")
    page.press(Keys.ARROW_LEFT)
    page.shows("node", "node07 · missing")
    page.driver.execute_script(
        "arguments[0].focus()", page.driver.find_element("css selector", "summary")
    )
    page.press(Keys.ENTER)
    page.shows("shown", "8 nodes")
    page.driver.find_element("id", "find").send_keys("04")
    page.shows("shown", "1 node")
    page.shows("rows", "node04")
    # What is read out, and may be selected, is not written again where nothing has changed.
    page.driver.execute_script("window.seen = document.querySelector('#verdict-list li')")
    page.scene.jobs.join("third", "host", 1)
    page.shows("runs", "third")
    assert page.driver.execute_script("return window.seen.isConnected")
    # The runs are buttons: the one that is chosen stays chosen.
    page.driver.find_element("css selector", "#runs li:nth-child(2) button").send_keys(Keys.ENTER)
    page.shows("verdict-big", "eval: complete")
    page.says("1 node: 1 joined")
    focusable = "button, input, select, canvas, summary, [tabindex]"
    for each in page.driver.find_elements("css selector", focusable):
        if each.is_displayed():
            assert each.accessible_name, each.get_attribute("outerHTML")


@pytest.mark.parametrize("is_dark", [False, True])
def test_a_phone_shows_it_all(page: Page, is_dark: bool) -> None:
    see(page.driver, PHONE, is_dark=is_dark)
    page.says("5 joined, 3 missing")
    page.driver.execute_script("document.getElementById('all').open = true")
    page.shows("rows", "node08")
    width = page.driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= PHONE[0]
    # Text and what it stands on differ enough to be read: 4.5 to 1.
    for name in ("verdict-big", "facts", "log", "rounds", "server", "runs"):
        assert contrast(page.driver, name) >= 4.5, name


def contrast(driver: Any, name: str) -> float:
    """Of each word in it the worst."""
    return float(driver.execute_script(CONTRAST, name))


CONTRAST = """
const light = text => {
  const parts = text.match(/[\\d.]+/g).slice(0, 3).map(each => each / 255);
  const linear = parts.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const ground = node => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
};
let worst = 21;
const all = [document.getElementById(arguments[0])];
all.push(...all[0].querySelectorAll("*"));
for (const each of all) {
  if (![...each.childNodes].some(child => child.nodeType === 3 && child.data.trim())) continue;
  const a = light(getComputedStyle(each).color), b = light(ground(each));
  worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
return worst;
"""


def test_it_asks_for_a_token_where_one_is_needed(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"* reader {SECRET}\n")
    with closing(Scene(security=MonitorSecurity(token_file=path))) as scene:
        scene.jobs.join("train", "node1", 2)
        page = Page(browser, scene)
        page.shows("login", "A token is needed")
        for secret in ("wrong", SECRET):
            field = browser.find_element("id", "token")
            wait_for("it is asked for", field.is_displayed)
            field.clear()
            field.send_keys(secret + "\n")
        page.shows("verdict-big", "1 of 2 nodes is missing")
        assert not browser.find_element("id", "login").is_displayed()
