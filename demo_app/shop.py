"""The shop's pages."""

from __future__ import annotations

from datetime import datetime, timezone

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from demo_app.catalogue import DELIVERY, HOURS, LANGUAGES, PRODUCTS, RETURN_DAYS, Product

LONGEST_NAME = 40
MAIL = "hello@larch-and-lantern.example"

pages = Blueprint("shop", __name__)


@pages.app_context_processor
def every_page() -> dict[str, object]:
    """Return the variables of the layout; ``?dir=rtl`` shows it from right to left."""
    return {
        "contact": {"href": f"mailto:{MAIL}", "label": "Write to the shop"},
        "customer": session.get("name"),
        "direction": "rtl" if request.args.get("dir") == "rtl" else "ltr",
        "hours": HOURS,
        "launcher": {},
        "mail": MAIL,
        "year": datetime.now(timezone.utc).year,
    }


@pages.get("/")
def home() -> str:
    """Show the landing page."""
    teaser = {"text": "Going out this weekend? I can help you pack.", "delay": 8}
    return render_template("home.html", products=PRODUCTS.values(), launcher={"teaser": teaser})


@pages.get("/favicon.ico")
def icon() -> ResponseReturnValue:
    """Send browsers that ask for an icon by its old name to the logo."""
    return redirect(url_for("static", filename="logo.svg"))


@pages.get("/help")
def help_() -> str:
    """Show the help page; ``?lang=ar`` shows its chat in another language."""
    language = LANGUAGES.get(request.args.get("lang", "en"), LANGUAGES["en"])
    return render_template(
        "help.html",
        delivery=DELIVERY,
        language=language,
        languages=LANGUAGES.values(),
        return_days=RETURN_DAYS,
    )


@pages.get("/products/<slug>")
def product(slug: str) -> str:
    """Show a product."""
    return render_template("product.html", product=_product(slug))


@pages.post("/products/<slug>")
def reserve(slug: str) -> ResponseReturnValue:
    """Pretend to reserve a product."""
    found = _product(slug)
    size = request.form.get("size")
    if size not in found.sizes:
        abort(400)
    shown = "" if len(found.sizes) == 1 else f" in {size}"
    flash(f"The {found.name}{shown} waits for you in the shop. Not really: this is a demo.")
    return redirect(url_for(".product", slug=slug))


@pages.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Sign in with any name: a pretended login, for a chat with a signed-in customer."""
    if request.method == "POST":
        name = " ".join(request.form.get("name", "").split())[:LONGEST_NAME]
        if name:
            session["name"] = name
            flash(f"Hello, {name}.")
            return redirect(url_for(".home"))
        return render_template("login.html", error="Please tell us a name."), 422
    return render_template("login.html")


@pages.post("/logout")
def logout() -> ResponseReturnValue:
    """Sign out."""
    session.pop("name", None)
    flash("You are signed out.")
    return redirect(url_for(".home"))


def missing(_error: HTTPException) -> ResponseReturnValue:
    """Show the page for unknown addresses."""
    return render_template("missing.html"), 404


def _product(slug: str) -> Product:
    return PRODUCTS.get(slug) or abort(404)
