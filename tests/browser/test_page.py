"""The page in a real browser: it shows what the state says, runs nothing of what it shows, and works by keyboard."""

import itertools

import pytest

from tests.browser.chromium import BINARY, Browser
from tests.unit.test_server import HOSTILE, TOKEN, Served
from tests.world import World

pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="no Chromium here (Debian: apt-get install chromium)"),
    pytest.mark.timeout(300),
]
TAB, ENTER = ("Tab", 9), ("Enter", 13, "\r")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with odd names and texts; one batch closed, one at the provider, one text refused."""
    world = World(
        tmp_path_factory.mktemp("page"),
        faults={"line_refused": {"contains": "badword", "message": "<b>no</b> & never"}},
        budget={"daily_usd": 1.0, "monthly_tokens": 100},
        batching={"linger_s": 0},
    )
    world.write("guide.md", "# Guide\n\nHow to renew a certificate.\n")
    world.write(
        HOSTILE, "# <script>window.hacked=1</script>\n\n<img src=x onerror=window.hacked=1> certificate\n"
    )
    world.write(b"caf\xe9\xe2\x80\xae.md", "# One\n\ncertificate\n\n# Two\n\nbadword\n")
    world.run()
    world.write("late.md", "# Late\n\nstill on its way\n")
    with world.worker() as context:
        world.take_turns(context, 6, quiet=False)
    return world


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def page(world, browser):
    """The page, once it has shown its data; at the end nothing may have been complained about."""
    with Served(world) as served:
        served.url = f"http://127.0.0.1:{served.door.port}/"
        browser.prefer(prefers_color_scheme="light")
        show(browser, served.url)
        yield served
        assert browser.complaints() == []
        assert browser.hosts() == {f"127.0.0.1:{served.door.port}"}


def show(browser, url):
    browser.open("about:blank#" + url)
    browser.open(url)
    browser.wait("document.body.dataset.seen")


def text(browser, selector):
    return browser.run(f"document.querySelector({selector!r}).innerText")


def ask(browser, form, field, value):
    browser.run(f"document.getElementById({field!r}).value = {value!r}")
    browser.run(f"document.getElementById({form!r}).requestSubmit()")


# --- trouble first ---


def test_a_server_that_goes_away_is_said_and_what_was_seen_stays(world, browser):
    with Served(world) as served:
        show(browser, f"http://127.0.0.1:{served.door.port}/")
    browser.run("document.getElementById('pause').click(), document.getElementById('pause').click()")
    browser.wait("document.querySelector('#connection .bad')")
    assert "does not answer" in text(browser, "#connection")
    assert text(browser, "#health") == "Not answering"
    assert "guide" not in text(browser, "#connection")
    assert "docs" in text(browser, "#source-box")


def test_without_a_state_the_page_says_what_to_do(tmp_path, browser):
    with Served(World(tmp_path)) as served:
        show(browser, f"http://127.0.0.1:{served.door.port}/")
        assert "no state" in text(browser, "#problem-list")
        assert text(browser, "#stages li:last-child .count") == "?"
        assert browser.complaints() == []


def test_nothing_of_what_is_shown_is_run_or_becomes_markup(page, browser):
    ask(browser, "find-form", "q", "certificate")
    browser.wait("document.querySelectorAll('#hits li').length === 3")
    ask(browser, "lookup-form", "ref", f"docs:{HOSTILE}")
    browser.wait("document.querySelector('#story .facts')")
    assert "onerror=alert(1)" in text(browser, "#story")
    assert "<b>no</b> & never" in text(browser, "#failure-box")
    assert "<script>" in text(browser, "#hits")
    assert browser.run("window.hacked") is None
    assert browser.run("document.querySelectorAll('main img, main b, main script').length") == 0


def test_bytes_that_are_no_text_and_marks_of_direction_are_seen(page, browser):
    assert "caf\\xe9\\u202e.md" in text(browser, "#failure-box")
    browser.run("document.querySelector('#failure-box button').click()")
    browser.wait("document.querySelector('#story .facts')")
    assert "badword" not in text(browser, "#story")
    assert "document docs:caf\\xe9\\u202e.md" in text(browser, "#story").replace("\n", " ")


def test_what_is_not_there_is_told_with_a_hint(page, browser):
    ask(browser, "lookup-form", "ref", "nope")
    browser.wait("document.querySelector('#story .bad')")
    assert "No document, chunk, batch or key named nope" in text(browser, "#story")


# --- what it shows ---


def test_the_flow_the_batches_the_money_and_the_sources(page, browser):
    counts = browser.run("[...document.querySelectorAll('#stages .count')].map((e) => e.innerText)")
    assert counts == ["4", "0", "0", "1", "0", "3"]
    rows = browser.run("[...document.querySelectorAll('#batch-box tbody tr')].map((e) => e.innerText)")
    assert len(rows) == 1
    assert "running" in rows[0]
    assert "within which the provider promises results" in text(browser, "#batches")
    assert browser.run("document.querySelectorAll('#batch-box .window').length") == 1
    assert "Per day" in text(browser, "#budgets")
    assert "tokens" in text(browser, "#budgets")
    meters = browser.run("[...document.querySelectorAll('[role=meter]')].map((e) => e.ariaValueText)")
    assert len(meters) == 2
    assert all("of" in told for told in meters)
    assert "docs" in text(browser, "#source-box")
    assert "could not be embedded" in text(browser, "#failure-box")


def test_a_batch_leads_to_its_history_and_the_address_can_be_kept(page, browser):
    browser.run("document.querySelector('#batch-box button').click()")
    browser.wait("document.querySelector('#story .facts')")
    address = browser.run("location.href")
    assert "#history:" in address
    show(browser, address)
    browser.wait("document.querySelector('#story .facts')")
    assert text(browser, "#story").startswith("batch ")


def test_words_that_were_looked_for_are_marked(page, browser):
    ask(browser, "find-form", "q", "RENEW certificate")
    browser.wait("document.querySelector('#hits mark')")
    first = "[...document.querySelectorAll('#hits li:first-child mark')].map((e) => e.innerText)"
    assert browser.run(first) == ["renew", "certificate"]
    ask(browser, "find-form", "q", "renewing certification")
    browser.wait(f"{first}.length === 2")
    ask(browser, "find-form", "q", "nowhere")
    browser.wait("document.querySelector('#hits').innerText.startsWith('Nothing was found')")


def test_hits_are_reached_by_keys_alone_and_narrowed_down(page, browser):
    browser.press("/", 191, "/")
    assert browser.run("document.activeElement.id") == "q"
    ask(browser, "find-form", "q", "certificate")
    browser.wait("document.querySelector('#hits .hits button')")
    browser.press("ArrowDown", 40)
    assert browser.run("document.activeElement === document.querySelector('#hits .hits button')")
    browser.press("ArrowDown", 40)
    assert browser.run("document.activeElement === document.querySelectorAll('#hits .hits button')[1]")
    browser.press("ArrowUp", 38)
    assert browser.run("document.activeElement === document.querySelector('#hits .hits button')")
    assert browser.run("document.querySelectorAll('#hits a:not([href^=http])').length") == 0


def test_hits_are_narrowed_by_fields_of_the_front_matter_and_lead_to_their_address(tmp_path, browser):
    source = {"name": "docs", "path": str(tmp_path / "docs"), "include": ["**/*.md", "**/*.html"]}
    world = World(tmp_path, sources=[source])
    for name, language in {"a": "de", "b": "de", "x/c": "<b>fr</b>", "x/d": "<b>fr</b>"}.items():
        world.write(f"{name}.md", f"---\nlang: {language}\n---\n# Un {name}\n\nneedle {name}\n")
    link = '<html><head><link rel="canonical" href="https://example.org/e"></head>'
    world.write(
        "e.html", f"{link}<body><main><h1>An address</h1><p>A needle that has one.</p></main></body></html>"
    )
    world.run()
    with Served(world) as served:
        show(browser, f"http://127.0.0.1:{served.door.port}/")
        ask(browser, "find-form", "q", "needle")
        browser.wait("document.querySelectorAll('#hits .hits > li').length === 5")
        links = "[...document.querySelectorAll('#hits .hits a')].map((e) => [e.innerText, e.href, e.rel])"
        assert browser.run(links) == [["An address", "https://example.org/e", "noopener noreferrer"]]
        assert "<b>fr</b> (2)" in text(browser, "#hits .facets[aria-label=lang]")
        browser.run("document.querySelector('#hits .facets[aria-label=lang] button:last-of-type').focus()")
        browser.press(*ENTER)
        browser.wait("document.querySelectorAll('#hits .hits > li').length === 2")
        pressed = "document.querySelector('#hits .facets[aria-label=lang] [aria-pressed=true]')"
        assert browser.run(f"document.activeElement === {pressed}")
        browser.press(*ENTER)
        browser.wait("document.querySelectorAll('#hits .hits > li').length === 5")
        assert browser.run("document.querySelectorAll('#hits b').length") == 0
        browser.picture(tmp_path / "page.png")
        assert browser.complaints() == []


def test_it_can_be_paused(page, browser):
    browser.run("document.getElementById('pause').click()")
    assert browser.run("document.getElementById('pause').ariaPressed") == "true"


# --- for everybody ---


def test_the_first_key_leads_past_the_head_and_enter_opens_a_story(page, browser):
    browser.press(*TAB)
    assert browser.run("document.activeElement.className") == "skip"
    browser.press(*ENTER)
    assert browser.run("document.activeElement.id") == "main"
    for _ in itertools.repeat(None, 10):
        browser.press(*TAB)
        if browser.run("Boolean(document.activeElement.closest('#batch-box'))"):
            break
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press(*ENTER)
    browser.wait("document.querySelector('#story .facts')")
    assert browser.run("document.activeElement.id") == "story"


def test_a_new_look_leaves_the_focus_where_it_was(page, browser):
    browser.run("document.querySelector('#batch-box button').focus()")
    browser.run(
        "import('/dom.js').then(({fill}) => fill(document.getElementById('batch-box'), 1, () => "
        "[...document.querySelectorAll('#batch-box > *')].map((each) => each.cloneNode(true))))"
    )
    assert browser.run("document.activeElement.dataset.key?.length") == 20


def test_everything_has_a_name_and_a_role(page, browser):
    ask(browser, "lookup-form", "ref", "guide.md")
    browser.wait("document.querySelector('#story details')")
    tree = browser("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]
    ]
    roles = {role for role, _ in found}
    assert {
        "banner",
        "navigation",
        "main",
        "contentinfo",
        "search",
        "table",
        "columnheader",
        "rowheader",
    } <= roles
    named = {"button", "link", "textbox", "searchbox", "meter", "table"}
    assert [role for role, name in found if role in named and not name] == []
    regions = [name for role, name in found if role == "region"]
    assert len(regions) == len(set(regions)) >= 7
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3')].map((e) => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert browser.run("document.documentElement.lang") == "en"
    assert browser.run("document.querySelectorAll('[aria-live=polite]').length") >= 3
    ids = browser.run("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_dark_and_light_and_without_motion(page, browser):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(ground)
    browser.prefer(prefers_color_scheme="dark", prefers_reduced_motion="reduce")
    assert browser.run(ground) != light
    assert browser.run("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


@pytest.mark.parametrize("width", [320, 390, 768, 1360])
def test_no_width_needs_scrolling_to_the_side(page, browser, width):
    browser.resize(width, 800)
    ask(browser, "lookup-form", "ref", "guide.md")
    browser.wait("document.querySelector('#story .facts')")
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    ask(browser, "find-form", "q", "certificate " + "x" * 300)
    browser.wait("document.querySelector('#hits .hits')")
    try:
        assert browser.run("document.documentElement.scrollWidth") <= width
    finally:
        browser.resize(1360, 900)


def test_the_login(world, browser):
    with Served(world, token=TOKEN) as served:
        url = f"http://127.0.0.1:{served.door.port}/"
        browser.open(url)
        assert browser.run("location.pathname") == "/login"
        browser.run(f"document.getElementById('token').value = {TOKEN!r}")
        browser.run("document.querySelector('form').requestSubmit()")
        browser.wait("location.pathname === '/' && document.body?.dataset.seen")
        assert browser.run("document.cookie") == ""
        assert browser.run("document.querySelector('[data-token]').hidden") is False
        browser.run("document.querySelector('[data-token]').requestSubmit()")
        browser.wait("location.pathname === '/login'")
        assert browser.complaints() == []
