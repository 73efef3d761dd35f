"""How the widget looks: in a site's colours, in its place, in light and dark, and in print."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flask_chatkit import ChatKit
from flask_chatkit.testing import OpenAIStandIn
from tests.helpers.pages import HEAD, Sites, chat, launcher, ready, styled, until
from tests.helpers.paths import STATIC
from tests.helpers.sites import MakeApp

if TYPE_CHECKING:
    from playwright.sync_api import Page

AA = 4.5  # the contrast of WCAG 2 for text
Colour = tuple[float, ...]

#: A theme as shadcn writes it since its version 4, and as it did before.
SHADCN_4 = """
:root { --radius: 0.625rem; --background: oklch(1 0 0); --foreground: oklch(0.145 0 0);
  --primary: oklch(0.546 0.245 262.881); --primary-foreground: oklch(0.97 0.014 254.604);
  --font-sans: Georgia, serif; }
.dark { --background: oklch(0.145 0 0); --foreground: oklch(0.985 0 0);
  --primary: oklch(0.623 0.214 259.815); }
body { background: var(--background); color: var(--foreground); font-family: var(--font-sans); }
"""
SHADCN_3 = """
:root { --radius: 0.5rem; --background: 0 0% 100%; --foreground: 222.2 84% 4.9%;
  --primary: 142.1 76.2% 26.3%; --primary-foreground: 355.7 100% 97.3%; }
.dark { --background: 20 14.3% 4.1%; --foreground: 0 0% 95%; --primary: 142.1 70.6% 45.3%; }
body { background: hsl(var(--background)); color: hsl(var(--foreground)); font: 15px Verdana; }
"""
PLAIN = """
body { background: #fdf6e3; color: #073642; font: 17px/1.5 Georgia, serif; }
.buy { background: #b58900; border: 0; color: #fff; }
[data-theme="dark"] body { background: #002b36; color: #eee8d5; }
"""
#: stylesheet, switch to dark, (accent, background, foreground) in the light and in the dark,
#: radius, the font's first name, base size.
LOOKS: dict[str, tuple[str, str, list[tuple[Colour, Colour, Colour]], str | None, str, int]] = {
    "bootstrap": (
        "bootstrap/dist/css/bootstrap.css",
        "html.dataset.bsTheme = 'dark'",
        [
            ((13, 110, 253), (255, 255, 255), (33, 37, 41)),
            ((13, 110, 253), (33, 37, 41), (222, 226, 230)),
        ],
        "soft",
        "system-ui",
        16,
    ),
    "pico": (
        "@picocss/pico/css/pico.css",
        "html.dataset.theme = 'dark'",
        [
            ((1, 114, 173), (255, 255, 255), (55, 60, 68)),
            ((1, 114, 173), (19, 23, 31), (194, 199, 208)),
        ],
        "soft",
        "system-ui",
        18,
    ),
    "shadcn": (
        SHADCN_4,
        "html.classList.add('dark')",
        [
            ((21, 93, 252), (255, 255, 255), (10, 10, 10)),
            ((43, 127, 255), (10, 10, 10), (250, 250, 250)),
        ],
        "round",
        "Georgia",
        16,
    ),
    "older shadcn": (
        SHADCN_3,
        "html.classList.add('dark')",
        [
            ((16, 118, 54), (255, 255, 255), (2, 8, 23)),
            ((34, 197, 94), (12, 10, 9), (242, 242, 242)),
        ],
        "round",
        "Verdana",
        15,
    ),
    "plain": (
        PLAIN,
        "html.dataset.theme = 'dark'",
        [
            ((181, 137, 0), (253, 246, 227), (7, 54, 66)),
            ((181, 137, 0), (0, 43, 54), (238, 232, 213)),
        ],
        None,
        "Georgia",
        17,
    ),
}


@pytest.fixture
def site(openai_standin: OpenAIStandIn, make_app: MakeApp, serve: Any) -> Sites:
    """Serve pages, with OpenAI's part on another site."""
    return Sites(openai_standin, make_app, serve)


def look(page: Page, site: Sites, css: str, body: str, **more: Any) -> str:
    """Open a page with a stylesheet of the site's."""
    base = site({"/": styled("/look.css", body)}, files={"/look.css": css}, **more)
    page.goto(base)
    return base


def luminance(colour: Colour) -> float:
    parts = [part / 255 for part in colour[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_wcag() -> None:
    """The tests' own measure gives the known values."""
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert contrast((255, 0, 0), (255, 255, 255)) == pytest.approx(4.0, abs=0.01)


def rgb(written: str) -> Colour:
    """The three numbers of a colour as the widget writes it."""
    found = re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", written)
    assert found, written
    return tuple(int(part) for part in found.groups())


def seen(page: Page, selector: str, name: str = "background-color") -> Colour:
    """A colour as the browser paints it, whatever it is computed as."""
    painted = page.evaluate(
        """([selector, name]) => {
          const style = getComputedStyle(document.querySelector(selector));
          const canvas = document.createElement("canvas").getContext("2d");
          canvas.fillStyle = style.getPropertyValue(name);
          canvas.fillRect(0, 0, 1, 1);
          return [...canvas.getImageData(0, 0, 1, 1).data];
        }""",
        [selector, name],
    )
    assert painted[3] == 255, f"{selector} has a {name} that can be seen through: {painted}"
    return tuple(painted[:3])


def theme(page: Page, root: str = "[data-chatkit]") -> dict[str, Any]:
    """The theme that a widget's element was given last."""
    options = page.evaluate(
        "(element) => JSON.parse(JSON.stringify(__chatkitStandin.of(element).options))",
        page.locator(f"{root} openai-chatkit").element_handle(),
    )
    return options["theme"]


def colours(given: dict[str, Any]) -> tuple[Colour, Colour, Colour]:
    """The accent, background and foreground of a theme."""
    accent, surface = given["color"]["accent"]["primary"], given["color"]["surface"]
    return rgb(accent), rgb(surface["background"]), rgb(surface["foreground"])


def is_closest(found: Colour, wanted: Colour, ground: Colour) -> bool:
    """Whether a colour is the wanted one, or no further towards black or white than it must be."""
    if contrast(wanted, ground) >= AA:
        return found == wanted
    ink = (
        (0, 0, 0) if contrast((0, 0, 0), ground) > contrast((255, 255, 255), ground) else (255,) * 3
    )
    moves = [
        (f - w) / (i - w) for f, w, i in zip(found, wanted, ink, strict=True) if abs(i - w) > 25
    ]
    return max(moves) - min(moves) < 0.05 and AA <= contrast(found, ground) < AA * 1.1


# --- the site's own look --------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOOKS)
def test_chat_looks_like_the_site(page: Page, site: Sites, node_modules: Path, name: str) -> None:
    """Without a setting the chat has the site's colours, roundness and font, in light and dark."""
    css, switch, schemes, radius, font, size = LOOKS[name]
    if css.endswith(".css"):
        css = (node_modules / css).read_text("utf-8")
    preset = "plain" if name == "plain" else name.rpartition(" ")[2]
    body = (
        "<main><p>Words<button type=submit class='btn btn-primary buy'>Buy</button></p>"
        "{{ chatkit_themed(id='a', height=300) }}</main>"
        "{{ chatkit_floating(id='b', preset='" + preset + "') }}"
    )
    look(page, site, css, body)
    launcher(page).click()
    ready(page, "#a")
    ready(page, "#b")
    elements = page.locator("openai-chatkit").element_handles()
    for scheme, (accent, background, foreground) in zip(("light", "dark"), schemes, strict=True):
        if scheme == "dark":
            page.evaluate(f"const html = document.documentElement; {switch}")
            until(page, "__chatkitStandin.lastOptions.theme.colorScheme", "dark")
        for root in ("#a", "#b"):
            given = theme(page, root)
            found = colours(given)
            assert is_closest(found[0], accent, background), found
            assert found[1:] == (background, foreground)
            assert given["colorScheme"] == scheme
            assert given.get("radius") == radius
            assert given["typography"]["fontFamily"].startswith(font)
            assert given["typography"]["baseSize"] == size
        # What surrounds the conversation looks as it does.
        assert seen(page, "#b .chatkit-panel") == background
        assert seen(page, "#b .chatkit-bar h2", "color") == foreground
        fonts = page.locator("#b h2").evaluate("(node) => getComputedStyle(node).fontFamily")
        assert fonts.startswith(font)
        on = contrast(seen(page, ".chatkit-launcher"), seen(page, ".chatkit-launcher", "color"))
        assert on >= AA
        if name != "plain":
            painted = seen(page, "#b > .chatkit-launcher")
            assert max(abs(a - b) for a, b in zip(painted, accent, strict=True)) <= 1
    same = "(elements) => elements.every((one) => one.isConnected)"
    assert page.evaluate(same, elements)
    assert page.evaluate("__chatkitStandin.frameLoads") == 2
    assert page.evaluate("__chatkitStandin.problems") == []


@pytest.mark.parametrize("name", ["bootstrap", "pico"])
def test_framework_leaves_the_panel_in_shape(
    page: Page, site: Sites, node_modules: Path, name: str
) -> None:
    """What a framework does to dialogs and buttons does not move or stretch those of the chat."""
    css = (node_modules / LOOKS[name][0]).read_text("utf-8")
    look(page, site, css, "<p>Words</p>{{ chatkit_floating() }}")
    check_shape(page)


def test_stylesheet_of_a_site_leaves_the_panel_in_shape(page: Page, site: Sites) -> None:
    """Nor does what sites say of all their buttons, headings, paragraphs and pictures."""
    css = (
        "* { box-sizing: content-box; margin: 0; }"
        "button { background: linear-gradient(red, blue); display: block; margin: 2em 0;"
        " padding: 2em; width: 100%; text-transform: uppercase; border-radius: 0; }"
        "h2 { font-size: 4rem; margin: 3rem; color: red; } p { margin: 3rem; }"
        "svg, img { max-width: 100%; height: auto; display: block; }"
        "dialog { padding: 3rem; margin: auto; min-width: 100%; max-width: 50vw; inset: 0; }"
        "a { display: block; color: red; } div { text-align: right; }"
    )
    look(page, site, css, "<p>Words</p>{{ chatkit_floating() }}")
    check_shape(page)


def check_shape(page: Page) -> None:
    """Launcher and panel have their place and size, whatever the root's font size is."""
    rem = 16
    button = launcher(page).bounding_box()
    assert (button["width"], button["height"]) == pytest.approx((3.5 * rem, 3.5 * rem))
    assert 1000 - button["x"] - button["width"] == pytest.approx(1.25 * rem)
    assert 800 - button["y"] - button["height"] == pytest.approx(1.25 * rem)
    launcher(page).click()
    ready(page)
    settled(page)
    panel = page.locator("dialog").bounding_box()
    assert panel["width"] == pytest.approx(24 * rem)
    assert panel["height"] == pytest.approx(min(40 * rem, 800 - 6.75 * rem))
    assert panel["y"] + panel["height"] == pytest.approx(button["y"] - 0.75 * rem)
    assert panel["x"] + panel["width"] == pytest.approx(button["x"] + button["width"])
    bar, frame = (
        page.locator(f"dialog {part}").bounding_box() for part in (".chatkit-bar", "iframe")
    )
    for part in (bar, frame):
        assert part["x"] == panel["x"] + 1
        assert part["width"] == pytest.approx(panel["width"] - 2)
    assert bar["height"] == pytest.approx(3.25 * rem + 1)
    assert frame["height"] == pytest.approx(panel["height"] - bar["height"] - 2)
    for tool in page.locator(".chatkit-tool:visible").all():
        box = tool.bounding_box()
        assert (box["width"], box["height"]) == pytest.approx((2.75 * rem, 2.75 * rem))


def settled(page: Page) -> None:
    """Wait until the panel has come up."""
    page.evaluate(
        "Promise.all(document.querySelector('dialog').getAnimations().map((one) => one.finished))"
        ".then(() => null)"
    )


#: A site's colours, as they are written somewhere, and the accent that a chat takes if it is told
#: exactly.
NASTY: dict[str, tuple[str, Colour | None]] = {
    "yellow on white": ("--chatkit-primary: #ff0; --chatkit-bg: #fff; --chatkit-text: #ffa", None),
    "navy on black": ("--chatkit-primary: navy; --chatkit-bg: #000; --chatkit-text: #003", None),
    "grey on grey": ("--chatkit-primary: #777; --chatkit-bg: #777; --chatkit-text: #777", None),
    "light grey on grey": ("background: #8a8a8a; color: #bbb; accent-color: #999", None),
    "nothing": ("background: transparent; color: inherit", None),
    "half seen through": ("background: rgb(0 0 0 / 60%); color: rgb(255 255 255 / 50%)", None),
    "hardly seen through": ("background: rgb(0 0 0 / 20%); --chatkit-primary: #fe0", None),
    "gradient": ("background: linear-gradient(#000, #333); color: #fff; accent-color: #ccf", None),
    "oklch": ("--chatkit-primary: oklch(40% 0.1 250)", (18, 74, 123)),
    "lab": ("--chatkit-primary: lab(30% 20 -50)", (57, 62, 150)),
    "hsl": ("--chatkit-primary: hsl(280deg 60% 30% / 90%)", (92, 31, 122)),
    "hwb": ("--chatkit-primary: hwb(200 0% 60%)", (0, 68, 102)),
    "mixed": ("--chatkit-primary: color-mix(in oklab, navy, black 20%)", (0, 0, 93)),
    "wide": ("--chatkit-primary: color(display-p3 0.1 0.3 0.1)", (0, 78, 16)),
    "by scheme": ("--chatkit-primary: light-dark(#603, #fcf); color-scheme: light", (102, 0, 51)),
    "current": ("--chatkit-primary: currentcolor; color: #204060", None),
    "triplet": ("--chatkit-primary: 210 50% 30%", (38, 77, 115)),
    "property": (
        "--brand: #2a5; --chatkit-primary: color-mix(in srgb, var(--brand), #000 50%)",
        (17, 85, 43),
    ),
    "nonsense": ("--chatkit-primary: nonsense; --chatkit-bg: 12; --chatkit-text: ;", None),
    "system": ("background: Canvas; color: CanvasText; accent-color: LinkText", None),
}


def test_nasty_colours_stay_legible(page: Page, site: Sites) -> None:
    """However a site writes its colours, the accent and the words read on the chat's surface."""
    names = {name: f"case-{number}" for number, name in enumerate(NASTY)}
    css = "".join(f".{names[name]} {{ {said} }}" for name, (said, _) in NASTY.items())
    css += "body { background: #fdfdfd; margin: 0; } main { display: grid;"
    css += " grid-template-columns: repeat(5, 190px); }"
    body = "".join(
        f'<div class="{name}">{{{{ chatkit_themed(id="{name}", height=180) }}}}</div>'
        for name in names.values()
    )
    look(page, site, css, f"<main>{body}</main>")
    for name, root in names.items():
        ready(page, f"#{root}")
        given = theme(page, f"#{root}")
        surface = given["color"]["surface"]
        ground, words = rgb(surface["background"]), rgb(surface["foreground"])
        assert contrast(words, ground) >= AA, name
        wanted = NASTY[name][1]
        if "accent" in given["color"]:
            accent = rgb(given["color"]["accent"]["primary"])
            assert contrast(accent, ground) >= AA, name
            # The browser's own mathematics may round another way.
            assert not wanted or max(abs(a - b) for a, b in zip(accent, wanted, strict=True)) < 3
        assert ("accent" in given["color"]) or name in {"nothing", "half seen through", "nonsense"}
        assert given["colorScheme"] == ("dark" if luminance(ground) < 0.18 else "light")
    assert page.evaluate("__chatkitStandin.problems") == []


SITE = """
:root { --bs-primary: #7a1fa2; --bs-body-bg: #fff; --bs-body-color: #222; --bs-border-radius: 2rem;
  --bs-body-font-family: Verdana; --primary: #060; --background: #ffe; --foreground: #333;
  --radius: 0; }
body { background: #eef; color: #111; font: 16px Georgia; } a { color: #900; }
.own { --chatkit-primary: #046; --chatkit-bg: #def; --chatkit-text: #123; --chatkit-radius: 4px;
  --chatkit-font: Courier; }
"""


def test_what_was_said_wins_over_what_was_found(page: Page, site: Sites) -> None:
    """Options win over the chat's own properties, these over a preset, and a preset is a choice."""
    explicit = (
        "chatkit_themed(id='{}', height=200, accent='#a00', background='#ffffff',"
        " foreground='#000', radius='pill', font_family='Impact', base_size=14, density='compact')"
    )
    widgets = {
        "found": "chatkit_themed(id='found', height=200)",
        "shadcn": "chatkit_themed(id='shadcn', height=200, preset='shadcn')",
        "plain": "chatkit_inline(id='plain', height=200, preset='plain')",
        "none": "chatkit_inline(id='none', height=200)",
        "told": explicit.format("told"),
        "surface": "chatkit_themed(id='surface', height=200, background='#111111')",
        "dark": "chatkit_themed(id='dark', height=200, theme='dark')",
    }
    own = {
        "own": "chatkit_themed(id='own', height=200)",
        "own-shadcn": "chatkit_themed(id='own-shadcn', height=200, preset='shadcn')",
        "own-told": explicit.format("own-told"),
    }
    body = "<a href='#x'>Link</a>" + "".join(f"{{{{ {call} }}}}" for call in widgets.values())
    body += "<div class=own>" + "".join(f"{{{{ {call} }}}}" for call in own.values()) + "</div>"
    page.set_viewport_size({"width": 1000, "height": 2400})
    look(page, site, SITE, body)
    found = {}
    for root in (*widgets, *own):
        ready(page, f"#{root}")
        found[root] = theme(page, f"#{root}")
    assert colours(found["found"]) == ((122, 31, 162), (255, 255, 255), (34, 34, 34))
    assert found["found"]["radius"] == "pill"
    assert found["found"]["typography"] == {"fontFamily": "Verdana", "baseSize": 16}
    assert colours(found["shadcn"]) == ((0, 102, 0), (255, 255, 238), (51, 51, 51))
    assert found["shadcn"]["radius"] == "sharp"
    assert colours(found["plain"]) == ((153, 0, 0), (238, 238, 255), (17, 17, 17))
    assert "radius" not in found["plain"]
    assert found["none"] == {"colorScheme": "light"}
    for root in ("own", "own-shadcn"):
        assert colours(found[root]) == ((0, 68, 102), (221, 238, 255), (17, 34, 51))
        assert found[root]["radius"] == "soft"
        assert found[root]["typography"]["fontFamily"] == "Courier"
    for root in ("told", "own-told"):
        assert found[root] == {
            "colorScheme": "light",
            "color": {
                "accent": {"primary": "#a00", "level": 1},
                "surface": {"background": "#ffffff", "foreground": "#000"},
            },
            "radius": "pill",
            "density": "compact",
            "typography": {"fontFamily": "Impact", "baseSize": 14},
        }
    # An accent that was found reads on a surface that was told.
    accent = rgb(found["surface"]["color"]["accent"]["primary"])
    assert is_closest(accent, (122, 31, 162), (17, 17, 17))
    assert found["surface"]["colorScheme"] == "dark"
    # And on the dark that was told, where the site's light surface has no place.
    assert found["dark"]["colorScheme"] == "dark"
    assert "surface" not in found["dark"]["color"]
    accent = rgb(found["dark"]["color"]["accent"]["primary"])
    assert is_closest(accent, (122, 31, 162), (31, 31, 31))


def test_base_size_is_the_closest_there_is(page: Page, site: Sites) -> None:
    """A site's text may be smaller or larger than ChatKit's can be."""
    sizes = {11: 14, 14: 14, 17: 17, 18: 18, 24: 18}
    body = "".join(
        f"<div class=text-{size}>{{{{ chatkit_themed(id='a{size}', height=150) }}}}</div>"
        for size in sizes
    )
    look(page, site, "".join(f".text-{size} {{ font-size: {size}px; }}" for size in sizes), body)
    for size, given in sizes.items():
        ready(page, f"#a{size}")
        assert theme(page, f"#a{size}")["typography"]["baseSize"] == given


@pytest.mark.parametrize("macro", ["chatkit_floating", "chatkit_inline", "chatkit_themed"])
def test_chat_that_is_darker_than_its_page_is_dark_all_over(
    page: Page, site: Sites, macro: str
) -> None:
    """The title bar, and what is said before the chat works, have the colours of the chat."""
    page.route(re.compile("/deployments/"), lambda route: route.abort())
    call = f"{macro}(theme='dark', background='#181028', foreground='#e8e0ff')"
    look(page, site, "body { background: #fff; }", "{{ " + call + " }}")
    if macro == "chatkit_floating":
        launcher(page).click()
    page.get_by_role("button", name="Try again").wait_for()
    places = [".chatkit-notice"]
    if macro == "chatkit_floating":
        places.append(".chatkit-panel")
        assert seen(page, ".chatkit-bar h2", "color") == (232, 224, 255)
        assert seen(page, ".chatkit-close", "color") == (232, 224, 255)
    for place in places:
        assert seen(page, place) == (24, 16, 40)
        assert seen(page, place, "color") == (232, 224, 255)


def test_theme_set_by_the_page_reaches_the_title_bar(page: Page, site: Sites) -> None:
    """What setTheme says holds for the chat and for what surrounds it, until it is taken back."""
    look(page, site, "body { background: #fff; }", "{{ chatkit_floating() }}")
    launcher(page).click()
    ready(page)
    assert luminance(seen(page, ".chatkit-panel")) > 0.9
    page.evaluate("FlaskChatKit.get().setTheme('dark')")
    until(page, "__chatkitStandin.lastOptions.theme.colorScheme", "dark")
    ground = seen(page, ".chatkit-panel")
    assert luminance(ground) < 0.05
    assert contrast(seen(page, ".chatkit-bar h2", "color"), ground) >= AA
    surface = {"background": "#203040", "foreground": "#f0e0d0"}
    page.evaluate(f"FlaskChatKit.get().setTheme({json.dumps({'color': {'surface': surface}})})")
    until(page, "__chatkitStandin.lastOptions.theme.color?.surface", surface)
    assert seen(page, ".chatkit-panel") == (32, 48, 64)
    assert seen(page, ".chatkit-bar h2", "color") == (240, 224, 208)
    page.evaluate("FlaskChatKit.get().setTheme(null)")
    until(page, "__chatkitStandin.lastOptions.theme", {"colorScheme": "light"})
    assert luminance(seen(page, ".chatkit-panel")) > 0.9


# --- the launcher ---------------------------------------------------------------------------------

ACCENTS = [
    *(
        "#000",
        "#fff",
        "#767676",
        "#757575",
        "#0b5fff",
        "#ff0",
        "#f00",
        "#0f0",
        "#00f",
        "#0ff",
        "#f0f",
    ),
    *("#ffe000", "#0a7", "#e91e63", "#ff9800", "#8bc34a", "#009688", "teal", "tomato", "olive"),
    *("rgb(0 170 119)", "hsl(50 100% 50%)", "hsl(220 60% 50%)", "oklch(70% 0.2 140)"),
    *("lab(50% 60 -60)", "color(display-p3 1 0.3 0)", "hwb(120 20% 30%)", "rebeccapurple", "gold"),
]


@pytest.mark.parametrize("how", ["option", "property"])
def test_launchers_picture_reads_on_every_accent(page: Page, site: Sites, how: str) -> None:
    """Black or white, whichever reads better, on the accent as it was given."""
    if how == "option":
        call = "chatkit_floating(id='w{}', accent='{}')"
        css = ""
    else:
        call = "chatkit_floating(id='w{}')"
        css = "".join(
            f"#w{number} {{ --chatkit-primary: {accent}; }}"
            for number, accent in enumerate(ACCENTS)
        )
    calls = (call.format(number, accent) for number, accent in enumerate(ACCENTS))
    look(page, site, css, "".join("{{ " + each + " }}" for each in calls))
    launcher(page, f"#w{len(ACCENTS) - 1}").wait_for()
    for number, accent in enumerate(ACCENTS):
        ground = seen(page, f"#w{number} > .chatkit-launcher")
        ink = seen(page, f"#w{number} > .chatkit-launcher", "color")
        assert ink in {(0, 0, 0), (255, 255, 255)}, accent
        assert contrast(ground, ink) >= AA, accent
        assert seen(page, f"#w{number} svg", "fill") == ink
    if how == "property":
        assert seen(page, "#w5 > .chatkit-launcher") == (255, 255, 0)


def test_colours_of_a_launcher_are_the_sites_to_choose(page: Page, site: Sites) -> None:
    """By a property, also in shadcn's older notation; what is no colour changes nothing."""
    css = (
        "#a { --chatkit-primary: #046; --chatkit-on-primary: #ff0; }"
        "#b { --chatkit-primary: 210 50% 30%; } #c { --chatkit-primary: nonsense; }"
    )
    look(page, site, css, "".join(f"{{{{ chatkit_floating(id='{name}') }}}}" for name in "abcd"))
    found = {name: seen(page, f"#{name} > .chatkit-launcher") for name in "abcd"}
    assert found["a"] == (0, 68, 102)
    assert max(abs(a - b) for a, b in zip(found["b"], (38, 77, 115), strict=True)) <= 1
    assert found["c"] == found["d"] == (11, 95, 255)
    assert seen(page, "#a > .chatkit-launcher", "color") == (255, 255, 0)
    for name in "bcd":
        assert seen(page, f"#{name} > .chatkit-launcher", "color") == (255, 255, 255)


def test_preset_colours_the_launcher(page: Page, site: Sites) -> None:
    """A preset is enough for the launcher to have the site's colour, before the chat is opened."""
    css = (
        "#bootstrap { --bs-primary: #7a1fa2; } #pico { --pico-primary-background: #046; }"
        "#shadcn { --primary: oklch(0.4 0.1 140); } #auto { --pico-primary-background: #9a3412; }"
        "#older { --primary: 222 47% 11%; } #both { --bs-primary: #111; --chatkit-primary: #a00; }"
    )
    names = {"older": "shadcn", "both": "bootstrap"}
    names |= {name: name for name in ("bootstrap", "pico", "shadcn", "auto", "plain")}
    calls = (f"chatkit_floating(id='{name}', preset='{preset}')" for name, preset in names.items())
    look(page, site, css, "".join("{{ " + call + " }}" for call in calls))
    found = {name: seen(page, f"#{name} > .chatkit-launcher") for name in names}
    assert found["bootstrap"] == (122, 31, 162)
    assert found["pico"] == (0, 68, 102)
    assert found["auto"] == (154, 52, 18)
    assert found["both"] == (170, 0, 0)
    red, green, blue = found["shadcn"]
    assert green > max(red, blue)
    red, green, blue = found["older"]
    assert red < green < blue < 60
    assert found["plain"] == (11, 95, 255)


#: left, right, top or bottom of the launcher from the screen's edges, by option and by property.
PLACES: dict[str, tuple[str, str, dict[str, float]]] = {
    "plain": ("", "", {"end": 20, "bottom": 20}),
    "left": ("side='left'", "", {"left": 20, "bottom": 20}),
    "right": ("side='right'", "", {"right": 20, "bottom": 20}),
    "top": ("edge='top'", "", {"end": 20, "top": 20}),
    "top left": ("side='left', edge='top'", "", {"left": 20, "top": 20}),
    "offset": ("offset='30px'", "", {"end": 30, "bottom": 30}),
    "offsets": ("side='left', offset=['4rem', '2em']", "", {"left": 64, "bottom": 32}),
    "size": ("size='72px'", "", {"end": 20, "bottom": 20, "height": 72, "width": 72}),
    "large": ("size='6rem', side='right'", "", {"right": 20, "height": 96, "width": 96}),
    "styled offset": (
        "",
        "--chatkit-offset-inline: 50px; --chatkit-offset-block: 5vh",
        {"end": 50, "bottom": 40},
    ),
    "styled left": ("", "--chatkit-left: 7px; --chatkit-right: auto", {"left": 7, "bottom": 20}),
    "styled top": (
        "side='right'",
        "--chatkit-top: 9px; --chatkit-bottom: auto",
        {"right": 20, "top": 9},
    ),
    "styled size": ("", "--chatkit-size: 4rem", {"end": 20, "height": 64, "width": 64}),
    "both": ("offset='30px'", "--chatkit-offset-inline: 99px", {"end": 30, "bottom": 30}),
}


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_launcher_is_where_it_was_asked_for(page: Page, site: Sites, direction: str) -> None:
    """By option and by property, from the side that was named, else from where the writing ends."""
    ids = {name: name.replace(" ", "-") for name in PLACES}
    body = "".join(
        f'<div class="{ids[name]}">{{{{ chatkit_floating(id="{ids[name]}", {options}) }}}}</div>'
        for name, (options, _, _) in PLACES.items()
    )
    css = "".join(f".{ids[name]} {{ {said} }}" for name, (_, said, _) in PLACES.items())
    whole = styled("/look.css", body).replace('lang="en"', f'lang="en" dir="{direction}"')
    page.goto(site({"/": whole}, files={"/look.css": css}))
    for name, (_, _, wanted) in PLACES.items():
        launcher(page, f"#{ids[name]}").wait_for()
        box = launcher(page, f"#{ids[name]}").bounding_box()
        found = {
            "left": box["x"],
            "right": 1000 - box["x"] - box["width"],
            "top": box["y"],
            "bottom": 800 - box["y"] - box["height"],
            "height": box["height"],
            "width": box["width"],
        }
        found["end"] = found["left" if direction == "rtl" else "right"]
        assert {key: found[key] for key in wanted} == pytest.approx(wanted), name
        assert min(box["width"], box["height"]) >= 44


CORNERS = [(side, edge) for side in ("left", "right") for edge in ("top", "bottom")]


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_panel_stands_by_its_launcher(page: Page, site: Sites, direction: str) -> None:
    """In every corner panel and teaser are in view, next to the launcher, and cover none of it."""
    calls = [
        f"chatkit_floating(id='{side}-{edge}', side='{side}', edge='{edge}', size='60px',"
        " offset='24px 16px', width='20rem', height='25rem', teaser={'text': 'Hi', 'delay': 0})"
        for side, edge in CORNERS
    ]
    whole = styled("/x.css", "".join("{{ " + call + " }}" for call in calls))
    whole = whole.replace('lang="en"', f'lang="en" dir="{direction}"')
    page.emulate_media(reduced_motion="reduce")
    page.goto(site({"/": whole}, files={"/x.css": ""}))
    for side, edge in CORNERS:
        root = f"#{side}-{edge}"
        page.locator(f"{root} .chatkit-teaser").wait_for()
        button = launcher(page, root).bounding_box()
        for part in (".chatkit-teaser", "dialog"):
            if part == "dialog":
                launcher(page, root).click()
                ready(page, root)
            box = page.locator(f"{root} {part}").bounding_box()
            if side == "left":
                assert box["x"] == button["x"] == 24
            else:
                assert box["x"] + box["width"] == button["x"] + button["width"] == 976
            if edge == "top":
                assert box["y"] == button["y"] + button["height"] + 12
            else:
                assert box["y"] + box["height"] == button["y"] - 12
        assert (box["width"], box["height"]) == (320, 400)
        page.keyboard.press("Escape")


def test_panel_fits_every_screen(page: Page, site: Sites) -> None:
    """Nothing of the panel is out of the screen, and the conversation has most of it."""
    page.emulate_media(reduced_motion="reduce")
    call = "chatkit_floating(width='30rem', height='60rem')"
    look(page, site, "", "<p>Words</p>{{ " + call + " }}")
    launcher(page).click()
    ready(page)
    for width, height in ((320, 256), (390, 844), (600, 500), (1000, 500), (1600, 1200)):
        page.set_viewport_size({"width": width, "height": height})
        small = min(width, height) <= 480
        until(page, "document.querySelector('dialog').matches(':modal')", small)
        if small:
            until(page, "Math.round(document.querySelector('dialog').clientHeight)", height)
        box = page.locator("dialog").bounding_box()
        frame = page.locator("dialog iframe").bounding_box()
        for part in (box, frame):
            assert part["x"] >= 0
            assert part["y"] >= 0
            assert part["x"] + part["width"] <= width
            assert part["y"] + part["height"] <= height
        if small:
            assert (box["width"], box["height"]) == (width, height)
        assert frame["height"] >= min(height * 0.6, 320)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("__chatkitStandin.frameLoads") == 1


def test_order_of_layers_is_the_sites_to_choose(page: Page, site: Sites) -> None:
    """The launcher is above everything, unless an option or a property says where it is."""
    css = ".under { --chatkit-z-index: 3; }"
    look(
        page,
        site,
        css,
        "{{ chatkit_floating(id='a') }}{{ chatkit_floating(id='b', z_index=-5) }}"
        "<div class=under>{{ chatkit_floating(id='c') }}</div>",
    )
    launcher(page, "#b").wait_for()
    layers = {
        root: page.evaluate(
            "(id) => getComputedStyle(document.getElementById(id).firstElementChild).zIndex", root
        )
        for root in "abc"
    }
    assert layers == {"a": "2147483000", "b": "-5", "c": "3"}


CIRCLE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4" cy="4" r="4"/></svg>'
)


def test_launchers_picture_and_text(page: Page, site: Sites) -> None:
    """A glyph, an image or a text, by option and by property, is seen in the launcher's shape."""
    files = {
        "/look.css": '.drawn { --chatkit-icon: url("/c.svg"); --chatkit-label: "Ask"; }',
        "/c.svg": CIRCLE,
    }
    calls = {
        "glyph": "icon='headset'",
        "image": "icon='/c.svg'",
        "text": "icon='question', text='Help me'",
        "named": "text='Help', label='Help and orders', size='72px'",
    }
    body = "".join(
        f"{{{{ chatkit_floating(id='{name}', {call}) }}}}" for name, call in calls.items()
    )
    body += "<div class=drawn>{{ chatkit_floating(id='drawn') }}</div>"
    page.goto(site({"/": styled("/look.css", body)}, files=files))
    for root in (*calls, "drawn"):
        picture = page.locator(f"#{root} > .chatkit-launcher > :is(svg, img)").bounding_box()
        box = launcher(page, f"#{root}").bounding_box()
        side = 36 if root == "named" else 28
        assert (picture["width"], picture["height"]) == (side, side)
        assert picture["y"] + side / 2 == pytest.approx(box["y"] + box["height"] / 2)
        if root in {"glyph", "image"}:
            assert box["width"] == box["height"] == 56
            assert picture["x"] + side / 2 == pytest.approx(box["x"] + box["width"] / 2)
        else:
            assert box["width"] > box["height"]
    assert page.locator("#image img").evaluate("(image) => image.naturalWidth > 0")
    # The image that a property names takes the glyph's place.
    drawn = page.locator("#drawn svg")
    fill, image = drawn.evaluate(
        "(e) => [getComputedStyle(e).fill, getComputedStyle(e).backgroundImage]"
    )
    assert fill == "none"
    assert image.endswith('/c.svg")')
    assert page.get_by_role("button", name="Help me", exact=True).count() == 1
    assert page.get_by_role("button", name="Help and orders", exact=True).count() == 1
    for root, said in (("text", "Help me"), ("named", "Help")):
        label = page.locator(f"#{root} .chatkit-text")
        assert label.inner_text() == said
        inside, around = label.bounding_box(), launcher(page, f"#{root}").bounding_box()
        assert inside["x"] > around["x"]
        assert inside["x"] + inside["width"] < around["x"] + around["width"]


# --- what the visitor's system asks for -----------------------------------------------------------


def test_nothing_moves_for_who_wants_no_motion(page: Page, site: Sites) -> None:
    """The panel and what is shown while a chat loads stand still, and move for others."""
    page.route(re.compile("/deployments/"), lambda _route: None)
    look(page, site, "", "{{ chatkit_floating() }}")
    for motion, moves in (("reduce", False), ("no-preference", True)):
        page.emulate_media(reduced_motion=motion)
        page.reload()
        page.evaluate("FlaskChatKit.get().open(), null")
        page.locator(".chatkit-skeleton").wait_for()
        running = "document.querySelector('[data-chatkit]').getAnimations({subtree: true}).length"
        assert (page.evaluate(running) > 0) is moves


def test_more_contrast_draws_borders(page: Page, site: Sites) -> None:
    """Who asks for more contrast sees where launcher and panel end."""
    more = {"name": "prefers-contrast", "value": "more"}
    page.context.new_cdp_session(page).send("Emulation.setEmulatedMedia", {"features": [more]})
    look(page, site, "", "{{ chatkit_floating() }}")
    launcher(page).click()
    ready(page)
    for part in (".chatkit-launcher", ".chatkit-panel"):
        ground = seen(page, part)
        assert contrast(seen(page, part, "border-bottom-color"), ground) >= AA, part


def test_forced_colours_keep_the_shape(page: Page, site: Sites) -> None:
    """Where the system takes all colours away the launcher has a border, and icons are seen."""
    page.emulate_media(forced_colors="active")
    look(page, site, "", "{{ chatkit_floating() }}")
    shape = (
        "(node) => { const { borderTopStyle, borderTopWidth } = getComputedStyle(node);"
        " return [borderTopStyle, parseFloat(borderTopWidth)]; }"
    )
    style, width = launcher(page).evaluate(shape)
    assert style == "solid"
    assert width >= 2
    text = page.evaluate("getComputedStyle(document.querySelector('.chatkit-launcher')).color")
    assert seen(page, ".chatkit-launcher", "border-top-color") == rgb(text)
    assert seen(page, ".chatkit-launcher svg", "fill") == rgb(text)
    ground = seen(page, ".chatkit-launcher")
    assert contrast(rgb(text), ground) >= AA
    box = launcher(page).bounding_box()
    assert box["width"] == box["height"] == 56
    launcher(page).click()
    ready(page)
    icon = seen(page, ".chatkit-close svg", "stroke")
    assert contrast(icon, seen(page, ".chatkit-panel")) >= AA
    assert contrast(seen(page, ".chatkit-bar h2", "color"), seen(page, ".chatkit-panel")) >= AA


def test_launcher_and_panel_are_not_printed(page: Page, site: Sites) -> None:
    """On paper there is no launcher and no panel, and the chat in the text as it is shown."""
    look(page, site, "", "{{ chatkit_floating() }}<p>Words{{ chatkit_inline(height=200) }}")
    launcher(page).click()
    ready(page, "#chatkit-1")
    page.emulate_media(media="print")
    for part in (".chatkit-launcher", "dialog"):
        assert not page.locator(part).is_visible()
    assert page.locator(".chatkit-inline").bounding_box()["height"] == 200
    page.emulate_media(media="screen")
    assert page.locator("dialog").is_visible()


DARK = {
    "system": None,
    "data-theme": "html.dataset.theme = 'dark'",
    "data-bs-theme": "html.dataset.bsTheme = 'dark'",
    "class": "html.classList.add('dark')",
    "class of the body": "document.body.classList.add('dark')",
    "data-theme of the body": "document.body.dataset.theme = 'dark'",
}


def test_dark_is_dark_everywhere(page: Page, site: Sites) -> None:
    """However a page turns dark, launcher, panel, title bar and chat turn with it, and back."""
    css = "body { background: Canvas; color: CanvasText; }"
    look(page, site, css, "{{ chatkit_floating() }}{{ chatkit_inline(height=200) }}")
    launcher(page).click()
    ready(page, "#chatkit-1")
    ready(page, "#chatkit-2")
    light = seen(page, ".chatkit-launcher"), seen(page, ".chatkit-panel")
    assert light == ((11, 95, 255), (255, 255, 255))
    for name, switch in DARK.items():
        if switch is None:
            page.emulate_media(color_scheme="dark")
        else:
            page.evaluate(f"(() => {{ const html = document.documentElement; {switch}; }})()")
        for root in ("#chatkit-1", "#chatkit-2"):
            chat(page, root).locator("html[data-color-scheme=dark]").wait_for()
        assert seen(page, ".chatkit-launcher") == (138, 180, 255), name
        ground = seen(page, ".chatkit-panel")
        assert luminance(ground) < 0.05, name
        assert contrast(seen(page, ".chatkit-bar h2", "color"), ground) >= AA
        assert seen(page, "#chatkit-2 > .chatkit-body") == ground
        if switch is None:
            page.emulate_media(color_scheme="light")
        else:
            page.evaluate(
                "for (const node of [document.documentElement, document.body]) {"
                " node.className = ''; delete node.dataset.theme; delete node.dataset.bsTheme; }"
            )
        for root in ("#chatkit-1", "#chatkit-2"):
            chat(page, root).locator("html[data-color-scheme=light]").wait_for()
        assert (seen(page, ".chatkit-launcher"), seen(page, ".chatkit-panel")) == light, name
    assert page.evaluate("__chatkitStandin.frameLoads") == 2


def test_page_may_be_light_where_the_system_is_dark(page: Page, site: Sites) -> None:
    """What a page says of itself wins over the system, before and after the chat is opened."""
    page.emulate_media(color_scheme="dark")
    body = "{{ chatkit_floating() }}"
    light = f"{HEAD}</head><body>{body}".replace("<html", '<html data-bs-theme="light"')
    page.goto(site({"/": light}))
    assert seen(page, ".chatkit-launcher") == (11, 95, 255)
    launcher(page).click()
    ready(page)
    chat(page).locator("html[data-color-scheme=light]").wait_for()
    assert seen(page, ".chatkit-panel") == (255, 255, 255)


# --- the chat's own page --------------------------------------------------------------------------

AXE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
FULL = {
    "phone": ({"width": 390, "height": 844}, "light", "en"),
    "phone in the dark": ({"width": 390, "height": 844}, "dark", "ar"),
    "phone on its side": ({"width": 844, "height": 390}, "light", "de"),
    "tiny": ({"width": 320, "height": 256}, "light", "en"),
    "desk": ({"width": 1400, "height": 900}, "light", "en"),
    "desk in the dark": ({"width": 1400, "height": 900}, "dark", "ar"),
}


def test_full_page(page: Page, site: Sites, node_modules: Path, console: Any) -> None:
    """On a phone the chat is all of the page, elsewhere a column in the middle; nothing scrolls."""
    kit = ChatKit()
    for locale in ("en", "ar", "de"):
        kit.add_hosted(locale, "wf_standin", widget={"locale": locale})
    base = site({}, kit)
    axe = (node_modules / "axe-core" / "axe.min.js").read_text("utf-8")
    for name, (size, scheme, locale) in FULL.items():
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{base}/chatkit/{locale}/")
        ready(page)
        check_full_page(page, name)
        page.evaluate(axe)
        found = page.evaluate(
            "(runOnly) => axe.run({runOnly, resultTypes: ['violations'], iframes: false})", AXE
        )
        assert [each["id"] for each in found["violations"]] == [], name
    assert console.all == []


def check_full_page(page: Page, name: str) -> None:
    """Where everything is, in which colours, language and direction."""
    size, scheme, locale = FULL[name]
    width, height = size["width"], size["height"]
    box = page.locator("[data-chatkit]").bounding_box()
    head = page.locator("body > header").bounding_box()
    assert box["y"] >= head["y"] + head["height"]
    if name.startswith(("phone", "tiny")):
        assert (box["x"], box["width"]) == (0, width)
        assert box["y"] + box["height"] == height
    else:
        assert box["width"] == 56 * 16
        assert box["x"] == (width - box["width"]) / 2
        assert 0 < height - box["y"] - box["height"] <= 32
    assert box["height"] > height * 0.6
    assert page.locator("iframe").bounding_box()["height"] >= box["height"] - 2
    html = "document.documentElement"
    assert page.evaluate(f"[{html}.scrollWidth, {html}.scrollHeight]") == [width, height]
    ground = seen(page, "body")
    assert (luminance(ground) < 0.05) is (scheme == "dark")
    assert contrast(seen(page, "header a", "color"), ground) >= AA
    chat(page).locator(f"html[data-color-scheme={scheme}]").wait_for()
    direction = "rtl" if locale == "ar" else "ltr"
    assert page.evaluate(f"[{html}.lang, {html}.dir]") == [locale, direction]
    back = page.locator("header a").bounding_box()
    assert back["height"] >= 44
    if direction == "rtl":
        assert back["x"] + back["width"] > width / 2


def speaking(locale: str) -> ChatKit:
    """A kit whose chat speaks a language."""
    kit = ChatKit()
    kit.add_hosted("default", "wf_standin", widget={"locale": locale})
    return kit


def test_full_page_has_its_own_words(page: Page, site: Sites, browser: Any) -> None:
    """Title, way back and what is said without scripts are in the chat's language."""
    base = site({}, speaking("de"))
    words = json.loads((STATIC / "lang" / "de.json").read_text("utf-8"))["page"]
    page.goto(f"{base}/chatkit/")
    assert page.title() == words["chat"]
    back = page.get_by_role("link", name=words["back"])
    assert back.get_attribute("href") == "/"
    assert page.get_by_role("heading", level=1).inner_text() == words["chat"]
    context = browser.new_context(java_script_enabled=False)
    bare = context.new_page()
    bare.goto(f"{base}/chatkit/")
    assert bare.locator("main > noscript").inner_text().strip() == words["noscript"]
    assert bare.get_by_role("link", name=words["back"]).is_visible()
    context.close()
