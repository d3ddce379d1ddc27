"""The page in a real browser: sign in, look at 10,000 rows, a device, a model; nothing a device says is markup."""

import json
import random
import time
from collections.abc import Iterator

import pytest

from edgekit.fleet.store import DeviceKey, open_store
from edgekit.fleet.wire import Event, Info, decode
from edgekit_agent.protocol import Kind
from tests.sdk.fleet.web import made_fleet
from tests.sdk.fleet.web.browser import CHROMIUM, MISSING, Browser, signed_in, with_token
from tests.sdk.fleet.web.conftest import PASSWORD, TOKEN, Served, bearer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]

ROWS = 10_000
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, password_hash: str) -> Iterator[Served]:
    """A service with 10,000 devices, of which some have said what they are."""
    now_ms = int(time.time() * 1000)
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('page') / 'fleet.db'}") as store:
        made_fleet.unhurried(store)
        fleet = made_fleet.devices(ROWS)
        rng = random.Random(5)  # noqa: S311 - made-up figures
        one = [made_fleet.report(made, 1, now_ms, rng, samples=5) for made in fleet[:40]]
        # reports of others are those of the first ones under another name
        names = [made.key for made in fleet]
        store.reports.add([one[at % 40]._replace(site=key.site, device=key.device) for at, key in enumerate(names)])
        made_fleet.introduce(store, fleet[:30], now_ms)
        made_fleet.history(store, fleet[:6], range(now_ms - 1_800_000, now_ms - 60_000, 60_000))
        store.devices.put_presence(fleet[7].key, "offline", "connection-lost", now_ms)
        store.accounts.add_user("ann", password_hash, "operator")
        running = Served(store)
        yield running
        running.close()


@pytest.fixture(scope="module")
def browser(place: Served) -> Iterator[Browser]:
    with signed_in(place.url, with_token(TOKEN)) as opened:
        yield opened


def go(browser: Browser, to: str) -> None:
    browser.run(f"location.hash = {json.dumps(to)}")


def rows(browser: Browser) -> list[str]:
    found = browser.run(
        "[...document.querySelectorAll('.grid-rows .grid-row')].map((row) => [row.getAttribute('aria-rowindex'),"
        "row.querySelector('a').textContent]).sort((a, b) => a[0] - b[0]).map((pair) => pair[1])"
    )
    assert isinstance(found, list)
    return found


def test_sign_in_and_out_with_name_and_password(place: Served) -> None:
    with Browser() as browser:
        browser.open(place.url)
        browser.write("input[name=name]", "ann")
        browser.write("input[name=password]", "something wrong")
        browser.key("Enter", 13, "\r")
        browser.until("document.querySelector('.login .error')?.textContent === 'name or password is wrong'")
        browser.write("input[name=password]", PASSWORD)
        browser.key("Enter", 13, "\r")
        browser.until("document.querySelector('.who')?.textContent === 'ann · operator'")
        assert browser.run("document.cookie") == ""
        browser.click("#bar .right button:last-child")
        browser.until("document.querySelector('.login') !== null")
        assert browser.run("document.getElementById('bar').hidden")
        assert browser.complaints() == []


def test_ten_thousand_rows_are_a_few_nodes_and_scroll(browser: Browser) -> None:
    go(browser, "#/fleet")
    browser.until(f"document.querySelector('.grid')?.getAttribute('aria-rowcount') === '{ROWS + 1}'")
    browser.until("document.querySelectorAll('.grid-rows .grid-row').length > 10")
    assert rows(browser)[0] == "cam-00000"
    assert len(rows(browser)) < 80
    browser.run("document.querySelector('.grid').scrollTop = 1e9")
    browser.until("[...document.querySelectorAll('.grid-rows a')].some((one) => one.textContent === 'cam-09999')")
    assert len(rows(browser)) < 80


def test_the_table_sorts_and_is_moved_through_by_keys(browser: Browser) -> None:
    go(browser, "#/fleet")
    browser.until("document.querySelectorAll('.grid-rows .grid-row').length > 10")
    browser.click(".grid-head [role=columnheader]:first-child button")
    browser.until("document.querySelector('.grid-head [aria-sort=descending]') !== null")
    browser.until("[...document.querySelectorAll('.grid-rows a')].some((one) => one.textContent === 'cam-09999')")
    browser.run("document.querySelector('.grid').focus()")
    browser.key("End", 35)
    browser.until("document.querySelector('.grid-row.active a')?.textContent === 'cam-00000'")
    browser.key("ArrowUp", 38)
    browser.until("document.querySelector('.grid-row.active a')?.textContent === 'cam-00001'")
    active = "document.getElementById(document.querySelector('.grid').getAttribute('aria-activedescendant'))"
    assert browser.run(f"{active}.ariaSelected") == "true"
    browser.key("Enter", 13, "\r")
    browser.until("document.querySelector('main h1')?.textContent === 'cam-00001'")


def test_a_filter_is_the_languages_and_a_wrong_one_is_told(browser: Browser) -> None:
    go(browser, "#/models")
    browser.until("document.querySelector('main h1')?.textContent === 'Models'")
    go(browser, "#/fleet")
    browser.write(".filter input", "label.room=lab and site=aachen")
    browser.key("Enter", 13, "\r")
    browser.until("Number(document.querySelector('.grid').getAttribute('aria-rowcount')) === 4")
    browser.write(".filter input", "label.room=")
    browser.key("Enter", 13, "\r")
    browser.until("document.querySelector('#filter-said').textContent.length > 5")
    assert browser.run("document.querySelector('.filter input').ariaInvalid") == "true"
    browser.key("Escape", 27)
    browser.until(f"document.querySelector('.grid').getAttribute('aria-rowcount') === '{ROWS + 1}'")


def test_what_is_old_is_grey_and_says_why(browser: Browser) -> None:
    go(browser, "#/fleet")
    browser.until("document.querySelector('.counts button:nth-child(3) b')?.textContent === '1'")
    browser.click(".counts button:nth-child(3)")
    browser.until("document.querySelectorAll('.grid-rows .grid-row').length === 1")
    row = browser.run("document.querySelector('.grid-rows .grid-row').innerText")
    assert "connection-lost" in row
    assert browser.run("document.querySelector('.grid-rows .grid-row').classList.contains('stale')")
    browser.click(".counts button:nth-child(3)")


def test_a_row_follows_its_device_within_moments(browser: Browser, place: Served) -> None:
    go(browser, "#/fleet")
    browser.until("document.querySelectorAll('.grid-rows .grid-row').length > 10")
    browser.run("document.querySelector('.grid').scrollTop = 0")
    made = made_fleet.devices(3)[0]
    slow = made_fleet.Made(made.key, made.number, made.board, made.model, made.version, 7.0)
    place.store.reports.add([made_fleet.report(slow, 900, int(time.time() * 1000), random.Random(1))])  # noqa: S311
    browser.until(
        "[...document.querySelectorAll('.grid-row')].some((row) => row.innerText.includes('cam-00000')"
        "&& /\\b[67],\\d{3}\\b/.test(row.innerText))"
    )


def test_a_device_has_charts_that_end_with_its_reports(browser: Browser) -> None:
    go(browser, "#/device/bremen/cam-00001")
    browser.until("document.querySelectorAll('.chart canvas').length === 6")
    browser.until("document.querySelectorAll('.chart')[0].getAttribute('aria-label').startsWith('Latency: p50 ')")
    label = browser.run("document.querySelectorAll('.chart')[1].getAttribute('aria-label')")
    assert "from" in label
    assert browser.run("document.querySelectorAll('main tbody tr').length") > 10
    text = browser.text()
    for word in ("cam-00001", "bremen", "Raspberry Pi 5", "room=line-1", "kws", "1.2.0"):
        assert word in text
    assert browser.complaints() == []


def test_a_model_has_its_versions_side_by_side_across_hardware(browser: Browser) -> None:
    go(browser, "#/models/kws")
    browser.until("document.querySelectorAll('main table tbody tr').length >= 2")
    text = browser.text()
    assert "1.2.0" in text
    assert "Raspberry Pi 5" in text


def test_a_rollout_is_seen_and_paused(browser: Browser, place: Served) -> None:
    wanted = {"model": "kws", "version": "1.4.0", "filter": "label.room=lab and model=kws", "sha256": "ab" * 32}
    begun = place.ask("POST", "/api/v1/rollouts", wanted, bearer())
    assert begun.status == 200, begun.body
    number = begun.body["id"]
    go(browser, "#/rollouts")
    browser.click(f"main a[href='#/rollouts/{number}']")
    browser.until("document.querySelector('main h1')?.textContent === 'kws 1.4.0'")
    browser.until("document.querySelector('main').innerText.includes('label.room=lab')")
    browser.click(".head .end button:not([hidden])")
    browser.until("document.querySelector('.head .verdict').textContent === 'paused'")
    assert place.ask("GET", f"/api/v1/rollouts/{number}", headers=bearer()).body["state"] == "paused"
    assert browser.complaints() == []


def test_events_and_alerts_are_there(browser: Browser) -> None:
    for name, empty in (("events", "Nothing has happened."), ("alerts", "Nothing is wrong.")):
        go(browser, f"#/{name}")
        browser.until(f"document.querySelector('main').innerText.includes({json.dumps(empty)})")
        assert browser.run("document.querySelector('nav a[aria-current=page]').getAttribute('href')") == f"#/{name}"


def test_nothing_a_device_says_is_markup(browser: Browser, place: Served) -> None:
    """Names of models, labels, hardware, versions and events are text wherever they are shown."""
    now_ms = int(time.time() * 1000)
    key = DeviceKey("aachen", "cam-00000")
    model = "<b onclick=alert(1)>m<script>1<s>"
    info = {
        "schema": 1, "agent": MARKUP[:60], "hardware": {"board": MARKUP[:60], "arch": "<i>x</i>"}, "runtimes": {},
        "models": [{"name": model, "ver": "<u>1</u>", "art": "sha256:<i>", "format": "tflite", "rt": "<b>rt</b>"}],
        "labels": {"room": MARKUP[:60]},
    }  # fmt: skip
    raw = json.dumps(info).encode()
    described = decode(Kind.INFO, raw)
    assert isinstance(described, Info)
    place.store.devices.put_info(key, described, raw, now_ms)
    go(browser, "#/events")
    browser.until("document.querySelector('main h1')?.textContent === 'Events'")
    told = decode(Kind.EVENT, json.dumps({"ts": now_ms, "lvl": "error", "code": "<b>code", "msg": MARKUP}).encode())
    assert isinstance(told, Event)
    place.store.events.add(key, told, now_ms)
    browser.until(f"document.querySelector('main').innerText.includes({json.dumps(MARKUP)})")
    go(browser, "#/device/aachen/cam-00000")
    browser.until(f"document.querySelector('main').innerText.includes({json.dumps('room=' + MARKUP[:60])})")
    browser.until("document.querySelector('main').innerText.includes('<u>1</u>')")
    go(browser, "#/models")
    browser.until("document.querySelector('main').innerText.includes('<script>')")
    assert browser.run("document.querySelectorAll('main img, main script, main b b, main u').length") == 0
    assert browser.run("document.title") != "owned"
    assert browser.complaints() == []


def test_everything_comes_from_the_service(browser: Browser, place: Served) -> None:
    outside = {url for url in browser.requests() if not url.startswith((place.url, "data:"))}
    assert outside == set()


def test_the_assets_are_small() -> None:
    from edgekit.fleet.web import Assets

    assert sum(len(asset.data) for asset in Assets().files.values()) < 150_000


def test_the_page_is_usable_when_narrow_and_dark(browser: Browser) -> None:
    browser.theme("dark")
    browser.size(390, 760)
    try:
        go(browser, "#/fleet")
        browser.until("document.documentElement.dataset.theme === 'dark'")
        browser.until("document.querySelectorAll('.grid-rows .grid-row').length > 5")
        go(browser, "#/device/bremen/cam-00001")
        browser.until("document.querySelectorAll('.chart canvas').length === 6")
        too_wide = "document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth"
        assert browser.run(too_wide) <= 0
    finally:
        browser.size(1360, 860)
        browser.theme("light")


def test_figures_are_rounded_before_they_are_given_digits(browser: Browser) -> None:
    values = [9.998, 10.002, 0.1422, 0.0421, 99.96, 1234.5, 0]
    assert browser.run(f"import('/assets/js/format.js').then((all) => {values}.map(all.digits))") == [
        "10.0",
        "10.0",
        "0.142",
        "0.0421",
        "100",
        "1,235",
        "0",
    ]


def test_a_renewed_table_keeps_the_focus(browser: Browser) -> None:
    script = """import('/assets/js/dom.js').then(({ el, renew, table }) => {
      const place = document.body.appendChild(el("div"));
      const cells = ([a, b]) => [el("a", { href: "#/x" }, a), b];
      const draw = (rows) => renew(place, table("T", [["A", ""], ["B", "num"]], rows.map(cells)));
      draw([["one", "1"], ["two", "2"], ["three", "3"]]);
      const link = place.querySelectorAll("a")[1];
      link.focus();
      draw([["one", "5"], ["two", "6"]]);
      const found = [document.activeElement === link, place.innerText.replace(/\\s+/g, " ").trim()];
      draw([]);
      found.push(place.innerText.trim());
      place.remove();
      return found;
    })"""
    assert browser.run(script) == [True, "T A B one 5 two 6", "Nothing yet."]


def test_every_control_has_a_name(browser: Browser) -> None:
    for where in ("#/fleet", "#/device/bremen/cam-00001", "#/events"):
        go(browser, where)
        browser.until("document.querySelectorAll('main button, main input, main select').length > 0")
        nameless = browser.run(
            "[...document.querySelectorAll('button, input, select, a')].filter((one) => !(one.textContent.trim()"
            "|| one.ariaLabel || one.labels?.length || one.title)).map((one) => one.outerHTML)"
        )
        assert nameless == []


def test_the_session_that_ends_brings_back_the_sign_in(place: Served) -> None:
    with signed_in(place.url, with_token(TOKEN)) as browser:
        with place.store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM sessions")
        go(browser, "#/models")
        browser.until("document.querySelector('.login') !== null")
