"""Widgets that have every component of openai-chatkit with every property: what the tests look at.

Each is a dict, as a ``.widget`` template makes it. ``gallery.py`` shows them as its variants
``widgets-*``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from chatkit.icons import IconName
from chatkit.widgets import CurveType

Widget = dict[str, Any]

SVG = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 160 90'><rect width='160' height='90'"
    " fill='#8fb8a4'/><circle cx='122' cy='26' r='14' fill='#f6d365'/><path d='M0 90 50 30 90 74"
    " 112 52 160 90Z' fill='#31523f'/></svg>"
)
IMAGE = f"data:image/svg+xml;base64,{base64.b64encode(SVG.encode()).decode()}"
ICONS: list[str] = list(get_args(get_args(IconName)[0]))
SIZES = ["3xs", "2xs", "xs", "sm", "md", "lg", "xl", "2xl", "3xl"]
TEXT_SIZES = ["xs", "sm", "md", "lg", "xl"]
RADII = ["2xs", "xs", "sm", "md", "lg", "xl", "2xl", "3xl", "4xl", "full", "100%", "none"]
TONES = ["primary", "secondary", "info", "discovery", "success", "caution", "warning", "danger"]
WEIGHTS = ["normal", "medium", "semibold", "bold"]
TEXT_COLOURS = "prose primary emphasis secondary tertiary success warning danger".split()
LOREM = "The larch is the only conifer of these hills that drops its needles before the winter."


def make(kind: str, **given: Any) -> Widget:
    """A component."""
    return {"type": kind, **given}


def text(value: str, **given: Any) -> Widget:
    return make("Text", value=value, **given)


def row(*children: Widget, **given: Any) -> Widget:
    return make("Row", children=list(children), **given)


def col(*children: Widget, **given: Any) -> Widget:
    return make("Col", children=list(children), **given)


def box(*children: Widget, **given: Any) -> Widget:
    return make("Box", children=list(children), **given)


def card(*children: Widget, **given: Any) -> Widget:
    return make("Card", children=list(children), **given)


def act(kind: str, **given: Any) -> Widget:
    """An action."""
    return {"type": kind, "payload": {"n": 1}, **given}


def wrapped(children: Iterable[Widget]) -> Widget:
    return row(*children, wrap="wrap", gap=2)


def texts() -> Iterator[Widget]:
    yield card(
        *[make("Title", value=f"Title {size}", size=size) for size in ("sm", "md", "lg", "xl")],
        *[make("Title", value=size, size=size) for size in ("2xl", "3xl", "4xl", "5xl")],
        make("Title", value=f"Title cut off: {LOREM}", truncate=True, weight="normal"),
        make("Title", value=LOREM * 2, maxLines=2, textAlign="center", color="success", size="sm"),
    )
    yield card(
        *[text(f"Text {size}", size=size) for size in TEXT_SIZES],
        *[text(f"Weight {weight}", weight=weight) for weight in WEIGHTS],
        text("Italic", italic=True),
        text("Struck through", lineThrough=True),
        text(f"Cut off: {LOREM}", truncate=True),
        text(LOREM * 3, maxLines=2),
        text("Two lines reserved", minLines=2),
        text("Two\nlines", streaming=True),
        text("At the end of 200 pixels", width=200, textAlign="end"),
    )
    yield card(
        *[text(f"Colour {name}", color=name) for name in TEXT_COLOURS],
        text("Colour red-500", color="red-500"),
        text("Colour alpha-70", color="alpha-70"),
        text("Colour of CSS", color="rebeccapurple"),
        text("Light and dark", color={"light": "#0a5c2b", "dark": "#9fe8b5"}),
        text("Too faint for its ground", color="#eeeeee"),
        *[make("Caption", value=f"Caption {size}", size=size) for size in ("sm", "md", "lg")],
        make("Caption", value=LOREM, truncate=True, weight="bold", textAlign="center"),
        make("Caption", value=LOREM * 2, maxLines=1, color="danger"),
        make("Markdown", value="**Bold**, `code` and\n\n- a [link](/orders)", streaming=True),
    )


def badges() -> Iterator[Widget]:
    for variant in ("solid", "soft", "outline"):
        tones = ["secondary", "success", "danger", "warning", "info", "discovery"]
        yield make("Caption", value=variant)
        yield wrapped(make("Badge", label=t, color=t, variant=variant) for t in tones)
    yield wrapped(make("Badge", label=f"Size {s}", size=s) for s in ("sm", "md", "lg"))
    yield wrapped(make("Badge", label=f"pill {p}", pill=p) for p in (True, False))


def buttons() -> Iterator[Widget]:
    for variant in ("solid", "soft", "outline", "ghost"):
        yield make("Caption", value=variant)
        yield wrapped(
            make("Button", label=tone, color=tone, variant=variant, onClickAction=act("press"))
            for tone in TONES
        )
    yield make("Caption", value="Sizes")
    yield wrapped(
        make("Button", label=size, size=size, onClickAction=act("press")) for size in SIZES
    )
    yield wrapped(
        make("Button", iconStart="star", uniform=True, size=size, onClickAction=act("press"))
        for size in SIZES
    )
    yield wrapped(
        make("Button", label=size, iconStart="bolt", iconSize=size, onClickAction=act("press"))
        for size in ("sm", "md", "lg", "xl", "2xl")
    )
    yield wrapped(
        [
            make("Button", label="Primary", style="primary", onClickAction=act("press")),
            make("Button", label="Secondary", style="secondary", onClickAction=act("press")),
            make("Button", label="Pill", pill=True, iconEnd="chevron-right"),
            make("Button", label="7", uniform=True, onClickAction=act("press")),
            make("Button", label="Disabled", disabled=True),
        ]
    )
    yield make("Button", label="Block", block=True, style="primary")


def icons() -> Iterator[Widget]:
    yield wrapped(make("Icon", name=name, size="lg") for name in ICONS)
    yield make("Divider")
    yield wrapped(
        make("Icon", name="star-filled", size=size, color=color)
        for size, color in zip(
            ["xs", "sm", "md", "lg", "xl", "2xl", "3xl"],
            ["danger", "warning", "success", "blue-500", "#7a1fa2", "secondary", "prose"],
            strict=True,
        )
    )
    yield wrapped(make("Icon", name=name) for name in ("lucide:truck", "lucide:none", "vendor:x"))


def borders() -> Iterator[Widget]:
    styles = ["solid", "dashed", "dotted", "double", "groove", "ridge", "inset", "outset"]
    for style in styles:
        border = {"size": 3, "style": style, "color": "blue-400"}
        yield box(text(style), border=border, padding=2)
    sides: Widget = {
        "x": 1,
        "top": {"size": 4, "color": "strong"},
        "bottom": {"size": 2, "color": {"light": "red-500", "dark": "red-300"}},
    }
    yield box(text("Sides"), border=sides, padding={"x": 3, "y": 1}, radius="md")
    yield box(text("y"), border={"y": {"size": 2, "color": "subtle"}, "left": 5, "right": 1})
    yield box(text("default"), border={"size": 1, "color": "default"}, padding="0.5rem 12px")
    yield wrapped(
        box(make("Caption", value=name), size=72, radius=name, border=1, align="center")
        for name in RADII
    )


def grounds() -> Iterator[Widget]:
    surfaces = ["surface", "surface-secondary", "surface-tertiary", "surface-elevated"]
    surfaces.append("surface-elevated-secondary")
    for name in [*surfaces, "yellow-100", "blue-900", "gray-500", "#14342b", "papayawhip"]:
        yield box(
            text(name),
            make("Caption", value="and its caption"),
            text("Danger", color="danger"),
            background=name,
            padding=3,
            radius="lg",
        )
    for gradient in (
        "linear-gradient(135deg, #0b3d91, #5b2a86 60%, blue-800)",
        "radial-gradient(circle at top left, #fff7d6, #ffd9b3)",
        "conic-gradient(from 90deg at center, #163b2c, #2b5d3b, #163b2c)",
    ):
        yield box(
            make("Title", value="A gradient"),
            text(gradient, size="sm"),
            row(
                make("Badge", label="Badge", color="info"),
                make("Button", label="Button", onClickAction=act("press")),
            ),
            background=gradient,
            padding=4,
            radius="xl",
        )
    yield box(
        text("From black to white no text can be read: it is refused", color="#ffffff"),
        background="linear-gradient(90deg, #000, #fff)",
        padding=3,
    )
    pair = {"light": "#ffe8cc", "dark": "#4a2c00"}
    yield box(text("Light and dark"), background=pair, padding=3)
    yield box(
        text("White on what is no colour", color="white"), background="url(/x.png)", padding=3
    )


def layouts() -> Iterator[Widget]:
    def cell(name: str = "", **given: Any) -> Widget:
        shade = {"background": "surface-tertiary", "padding": 2, "radius": "sm"}
        return box(make("Caption", value=name or "x"), **{**shade, **given})

    for align in ("start", "center", "end", "baseline", "stretch"):
        yield row(cell(align), cell(height=56), cell(), align=align, height=64)
    for justify in ("start", "center", "end", "between", "around", "evenly", "stretch"):
        yield row(cell(justify), cell(), cell(), justify=justify)
    for wrap in ("nowrap", "wrap", "wrap-reverse"):
        yield row(*[cell(wrap, width=130) for _ in range(5)], wrap=wrap, gap="4px")
    yield row(cell("flex 1", flex=1), cell("2 1 0", flex="2 1 0"), cell("none", flex="none"))
    yield row(cell("60 x 60", size=60), cell("50%", width="50%"), cell("auto", width="auto"))
    yield row(cell("min", minWidth=120, minHeight=48), cell(LOREM, maxWidth=120, maxHeight=40))
    yield row(cell("minSize", minSize=72), cell(LOREM, maxSize="6em"))
    yield row(cell("16/9", aspectRatio="16/9", width=96), cell("2", aspectRatio=2, width=96))
    yield row(cell("margin 3", margin=3), cell("sides", margin={"left": 6, "top": 1, "y": 2}))
    yield box(cell("a"), cell("b"), direction="row", gap=6, justify="end")
    yield col(cell("a"), cell("b"), gap=1, align="end")
    yield box(cell("a"), cell("b"), direction="col", gap=1, align="center")
    yield row(text("Left"), make("Spacer", minSize=80), text("Right"))
    yield col(text("Above"), make("Spacer", minSize=24), text("Below"))
    yield make("Divider", color="strong", size=3, spacing=2)
    yield make("Divider", flush=True, color={"light": "red-300", "dark": "red-700"})
    yield row(text("One"), make("Divider", size=2), text("Two"), height=32)
    yield make("Transition", children=text("In a transition", key="a"))


def boxes() -> Iterator[Widget]:
    """Each container with all that containers have."""
    edges = ("top", "right", "bottom", "left", "x", "y")
    sides = {side: number for number, side in enumerate(edges, 1)}
    for kind in ("Box", "Row", "Col", "Form"):
        for given in (
            {
                "align": "end",
                "justify": "between",
                "wrap": "wrap",
                "flex": "0 1 auto",
                "gap": 3,
                "height": 90,
                "width": "90%",
                "minHeight": 40,
                "minWidth": 60,
                "maxHeight": 120,
                "maxWidth": 420,
                "padding": dict(list(sides.items())[:4]),
                "margin": dict(list(sides.items())[:4]),
                "border": {
                    side: {"size": 1, "color": "strong", "style": "dashed"} for side in edges[:4]
                },
                "radius": "lg",
                "background": "surface-secondary",
            },
            {"size": 110, "minSize": 60, "maxSize": 160, "aspectRatio": "1", "border": 1},
            {
                "padding": {"x": 3, "y": 1},
                "margin": {"x": 1, "y": 2},
                "border": {side: {"size": 2, "color": "red-400"} for side in ("x", "y")},
            },
        ):
            yield make(kind, children=[text(kind), text("and more", size="sm")], **given)
    yield make("Form", children=[text("In a row"), text("of a form")], direction="row")


def images() -> Iterator[Widget]:
    yield make("Image", src=IMAGE, alt="Hills", flush=True, aspectRatio="4/1")
    yield wrapped(
        make("Image", src=IMAGE, alt=fit, fit=fit, size=72, frame=True, radius="sm")
        for fit in ("cover", "contain", "fill", "scale-down", "none")
    )
    places = ["top left", "top", "top right", "left", "center", "right"]
    places += ["bottom left", "bottom", "bottom right"]
    yield wrapped(
        make("Image", src=IMAGE, alt=place, position=place, width=48, height=48, radius="full")
        for place in places
    )
    yield row(
        make("Image", src=IMAGE, alt="Padded", width=120, background="green-200", margin=2),
        make("Image", src=IMAGE, alt="Grows", flex=1, minHeight=60, maxHeight=90),
    )
    sides: Widget = {"top": 1, "right": 2, "bottom": 3, "left": 4}
    yield make("Image", src=IMAGE, alt="Sides", width=90, margin=sides)
    yield make("Image", src=IMAGE, alt="x and y", width=90, margin={"x": 2, "y": 1})
    yield make("Image", src=IMAGE, alt="Least", minWidth=64, maxWidth=96)
    yield make("Image", src=IMAGE, alt="Least", minSize=32, maxSize=64)
    yield make("Image", src="https://elsewhere.test/none.png", alt="A picture that never comes")


def fields() -> list[Widget]:
    """A form's fields, each with all that it may have."""
    options = [
        {"value": "in", "label": "Inside", "description": "by the stove"},
        {"value": "out", "label": "Outside"},
        {"value": "no", "label": "On the roof", "disabled": True},
    ]
    return [
        make("Label", value="Your name", fieldName="guest.name", size="lg", weight="bold"),
        make(
            "Input",
            name="guest.name",
            required=True,
            placeholder="Ann",
            autoSelect=True,
            allowAutofillExtensions=False,
        ),
        make("Label", value="Code", fieldName="code", textAlign="end", color="secondary"),
        make("Input", name="code", pattern="[A-Z]{3}", defaultValue="ABC", variant="soft"),
        *[
            make("Input", name=kind, inputType=kind, placeholder=kind, variant="outline")
            for kind in ("number", "email", "text", "password", "tel", "url")
        ],
        wrapped(make("Input", name=f"i{s}", size=s, placeholder=s, pill=True) for s in SIZES),
        wrapped(
            make("Input", name=f"g{size}", gutterSize=size, placeholder=size)
            for size in ("2xs", "xs", "sm", "md", "lg", "xl")
        ),
        make("Input", name="off", disabled=True, defaultValue="Disabled"),
        make(
            "Textarea",
            name="wish",
            placeholder="Wishes",
            rows=2,
            maxRows=4,
            autoResize=True,
            pattern="[^<>]*",
            variant="soft",
            size="lg",
            gutterSize="lg",
            autoSelect=True,
            allowAutofillExtensions=False,
        ),
        make("Textarea", name="old", defaultValue="One\nTwo", required=True, variant="outline"),
        make("Textarea", name="shut", disabled=True, defaultValue="Disabled"),
        *[
            make(
                "Select",
                name=f"seat-{variant}",
                options=options,
                placeholder=variant,
                variant=variant,
                clearable=True,
                onChangeAction=act("change"),
            )
            for variant in ("solid", "soft", "outline", "ghost")
        ],
        wrapped(
            make("Select", name=f"s{s}", options=options, defaultValue="out", size=s, pill=True)
            for s in SIZES
        ),
        make("Select", name="s", options=options, block=True, searchable=True),
        make("Select", name="sx", options=options, disabled=True),
        *[
            make(
                "DatePicker",
                name=f"day-{variant}",
                placeholder=f"A day, {variant}",
                variant=variant,
                clearable=True,
                min="2026-01-01T00:00:00Z",
                max="2026-12-31T00:00:00Z",
                side="top",
                align="end",
            )
            for variant in ("solid", "soft", "outline", "ghost")
        ],
        make(
            "DatePicker",
            name="day",
            defaultValue="2026-11-20T00:00:00Z",
            block=True,
            pill=True,
            size="xl",
            onChangeAction=act("change"),
        ),
        make("DatePicker", name="dayx", placeholder="Never", disabled=True),
        make("Checkbox", name="dog", label="With a dog", defaultChecked=True),
        make("Checkbox", name="terms", label="I agree", required=True),
        make("Checkbox", name="cx", label="Not now", disabled=True, onChangeAction=act("change")),
        make(
            "RadioGroup",
            name="size",
            ariaLabel="Size",
            direction="row",
            required=True,
            onChangeAction=act("change"),
            options=[
                {"value": "s", "label": "Small"},
                {"value": "l", "label": "Large"},
                {"value": "x", "label": "None left", "disabled": True},
            ],
        ),
        make(
            "RadioGroup",
            name="how",
            direction="col",
            defaultValue="b",
            disabled=True,
            options=[{"value": "a", "label": "A"}, {"value": "b", "label": "B"}],
        ),
        text(
            "Write\nover me",
            size="lg",
            weight="semibold",
            editable={
                "name": "note",
                "placeholder": "A note",
                "required": True,
                "pattern": "[^<>]+",
                "autoComplete": "off",
                "autoSelect": True,
                "allowAutofillExtensions": False,
            },
        ),
        text("Not to be edited", editable=False),
        row(
            make("Button", label="Send", submit=True, style="primary"),
            make("Button", label="Look", onClickAction=act("look", handler="client")),
        ),
    ]


def form() -> Iterator[Widget]:
    yield make(
        "Form",
        onSubmitAction=act("send"),
        direction="col",
        gap=3,
        padding=1,
        children=fields(),
    )


STATUS = {"text": "Order 17 is on its way", "icon": "map-pin"}
ACTIONS = {
    "confirm": {"label": "Confirm", "action": act("confirm")},
    "cancel": {"label": "Cancel", "action": act("cancel")},
}


def cards() -> Iterator[Widget]:
    for size in ("sm", "md", "lg", "full"):
        yield card(text(f"A card of size {size}"), size=size, status=STATUS, **ACTIONS)
    yield card(
        text("A form: write below"),
        make("Input", name="why", required=True, placeholder="Why?"),
        asForm=True,
        **ACTIONS,
    )
    favicon = {"text": "From the shop", "favicon": IMAGE, "frame": True}
    yield card(text("Hidden at first"), collapsed=True, status=favicon)
    yield card(text("Padding 0"), padding=0, background="surface-secondary")
    yield card(text("Padding of sides"), padding={"x": 8, "y": 2}, status=favicon)
    sides = {"top": 1, "right": 8, "bottom": 3, "left": 4}
    yield card(
        text("Padding of four sides"),
        padding=sides,
        background={"light": "#f3e9ff", "dark": "#2b1a44"},
    )
    yield card(text("Always light"), make("Caption", value="caption"), theme="light", **ACTIONS)
    yield card(text("Always dark"), make("Caption", value="caption"), theme="dark", **ACTIONS)
    yield card(
        make("Image", src=IMAGE, alt="Hills", flush=True, aspectRatio="3/1"),
        make("Title", value="Rain over the hills", size="xl"),
        row(text("12 °C", size="xl", weight="bold"), make("Spacer"), make("Badge", label="Wind")),
        background="linear-gradient(160deg, #12395b, #0b1f33)",
        size="sm",
    )


def item(*children: Widget, **given: Any) -> Widget:
    return make("ListViewItem", children=list(children), **given)


def lists() -> Iterator[Widget]:
    rows = [
        item(
            make("Image", src=IMAGE, alt="", size=44, radius="md"),
            col(text(f"Row {n}", weight="semibold"), text(LOREM, size="sm", color="secondary")),
            make("Icon", name="chevron-right", color="secondary"),
            onClickAction=act("pick"),
            gap=3,
            align="center" if n % 2 else "start",
        )
        for n in range(1, 5)
    ]
    yield make("ListView", children=rows, limit=2, status=STATUS)
    button = make("Button", label="Call", size="sm", onClickAction=act("call"))
    yield make(
        "ListView",
        limit="auto",
        theme="dark",
        status={"text": "Dark", "favicon": IMAGE, "frame": True},
        children=[item(text("With a button"), button, onClickAction=act("pick")), item(text("a"))],
    )


MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun"]
DATA = [
    {"month": month, "sold": sold, "back": back, "rate": rate}
    for month, sold, back, rate in zip(
        MONTHS, [42, 55, 61, 38, 70, 84], [5, 8, 6, 9, 4, 7], [12, 15, 9, 24, 6, 9], strict=True
    )
]


def chart(*series: Widget, **given: Any) -> Widget:
    return make("Chart", **{"data": DATA, "series": list(series), "xAxis": "month", **given})


def charts() -> Iterator[Widget]:
    sold = {"type": "bar", "dataKey": "sold", "label": "Sold"}
    back = {"type": "bar", "dataKey": "back", "label": "Returned"}
    yield chart(sold, back, showYAxis=True, barGap=2, barCategoryGap=20, aspectRatio=2)
    yield chart(
        {**sold, "stack": "a", "color": "green"},
        {**back, "stack": "a", "color": {"light": "red-600", "dark": "red-300"}},
        {"type": "line", "dataKey": "rate", "label": "Rate", "color": "#7a1fa2"},
        showYAxis=True,
        showLegend=True,
        showTooltip=True,
        height=180,
    )
    yield chart(
        {"type": "area", "dataKey": "sold", "label": "Sold", "stack": "b", "curveType": "monotone"},
        {"type": "area", "dataKey": "rate", "label": "Rate", "stack": "b", "curveType": "monotone"},
        xAxis={"dataKey": "month", "labels": {"Jan": "January"}, "hide": False},
        height=160,
        width="100%",
    )
    yield chart(
        *[
            {"type": "line", "dataKey": key, "label": key, "color": color, "curveType": curve}
            for key, color, curve in (
                ("sold", "blue", "linear"),
                ("back", "orange-500", "natural"),
                ("rate", "pink", "step"),
            )
        ],
        xAxis={"dataKey": "month", "hide": True},
        showTooltip=False,
        minHeight=120,
        maxHeight=200,
    )
    small = [
        chart(
            {**sold, "type": kind}, showLegend=False, size=150, flex=1, minWidth=100, maxWidth=200
        )
        for kind in ("bar", "area")
    ]
    yield row(*small)
    yield row(chart(sold, showLegend=False, minSize=120, maxSize=160))


def curves() -> Iterator[Widget]:
    for curve in get_args(CurveType):
        series = {"type": "line", "dataKey": "sold", "label": curve, "curveType": curve}
        yield chart(series, height=80)


#: The gallery: a name, and its widgets.
GALLERY: dict[str, list[Widget]] = {
    "texts": list(texts()),
    "badges": [card(*badges())],
    "buttons": [card(*buttons())],
    "icons": [card(*icons())],
    "borders": [card(*borders())],
    "grounds": [card(*grounds())],
    "layouts": [card(*layouts())],
    "boxes": [card(*boxes())],
    "images": [card(*images())],
    "form": [card(*form())],
    "cards": list(cards()),
    "lists": list(lists()),
    "charts": [card(*charts())],
    "curves": [card(*curves())],
    "basic": [make("Basic", children=[text("A root without a frame"), *badges()], key="b")],
}
