"""Runs each check in its own thread, so that one that fails or hangs does not stop the others."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from flask import Flask

from ..errors import ChatKitError, OptionError
from ..registry import ChatKitState
from . import (
    checks_hosted,
    checks_limits,
    checks_pages,
    checks_proxy,
    checks_served,
    checks_setup,
    checks_storage,
    checks_visitors,
)
from .report import CHECKS, Check, Finding, Result, error, skipped
from .site import Site

_MODULES = (
    *(checks_setup, checks_hosted, checks_served, checks_visitors),
    *(checks_limits, checks_storage, checks_pages, checks_proxy),
)
_PLACES = {module.__name__: place for place, module in enumerate(_MODULES)}
# The order matters: later checks use results of earlier ones.
CHECKS.sort(key=lambda made: _PLACES[made.run.__module__])

#: Settings whose values are secret as a whole.
_SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|API_KEY|PRIVATE")
#: Secrets in any string: keys, client secrets, the password of a URL.
_SECRETS = re.compile(r"\b(?:sk|ek|ck|sess)[-_][\w*.-]{6,}|(?<=://)[^\s/@]*:[^\s/@]*(?=@)")


def diagnose(
    app: Flask,
    kit: ChatKitState,
    url: str | None = None,
    pages: Sequence[str] = ("/",),
    advance: Callable[[int], object] = lambda _: None,
) -> list[Result]:
    """Check a kit's set-up.

    :param url: the running site's base URL; None to check the application only.
    :param pages: paths of pages that are fetched for their headers.
    :param advance: called with 1 after each check.
    :raises OptionError: the URL or a path is invalid.
    """
    site = Site(app, kit, _checked(url), tuple(_path(page) for page in pages))
    if site.served and site.has_key:
        # Imports take a while on a busy machine, which must not count for a check.
        with app.app_context(), suppress(ChatKitError):
            _ = site.kit.service
    hide = _hider(app.config)
    results = []
    for made in CHECKS:
        results += [
            Result(found.status, hide(found.found), hide(found.cure), made.name)
            for found in _within(made, site)
        ]
        advance(1)
    return results


def _within(made: Check, site: Site) -> Iterable[Finding]:
    """Run a check in a thread, at most its time; a failure is a finding."""
    if not site.settings.enabled and made.name != "settings":
        return [skipped("the kit is switched off")]
    if made.needs_key and not site.has_key:
        return [skipped("there is no SECRET_KEY")]
    found: list[Finding] = []

    def run() -> None:
        try:
            with site.app.app_context():
                found.extend(made.run(site))
        except Exception as failed:  # noqa: BLE001  reported as a finding
            found.append(error(f"this check failed ({type(failed).__name__})", made.cure))

    # A daemon: a thread that hangs must not block the end of the process.
    thread = threading.Thread(target=run, name=f"doctor-{made.name}", daemon=True)
    thread.start()
    thread.join(made.seconds)
    if thread.is_alive():
        return [*found, error(f"no result within {made.seconds:g} seconds", made.cure)]
    return found


def _hider(config: Mapping[str, object]) -> Callable[[str], str]:
    values = set()
    for name, value in config.items():
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")  # noqa: PLW2901
        given = value if isinstance(value, (list, tuple)) else [value]
        texts = [str(item) for item in given if isinstance(item, (str, bytes))]
        if _SECRET_NAME.search(name):
            values.update(texts)
        else:
            values.update(_password(item) for item in texts)
    # Short values may be words of the findings.
    secrets = sorted((value for value in values if len(value) > 7), key=len, reverse=True)

    def hide(line: str) -> str:
        line = " ".join(line.split())
        for secret in secrets:
            line = line.replace(secret, "[hidden]")
        return _SECRETS.sub("[hidden]", line)

    return hide


def _password(value: str) -> str:
    try:
        return urlsplit(value).password or ""
    except ValueError:
        return ""


def _checked(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment:
        raise OptionError("the URL must be the site's, such as https://www.example.com")
    return url


def _path(page: str) -> str:
    if not re.fullmatch(r"/[\x21-\x7e]*", page):
        raise OptionError("a page must be a path of the site, such as /help")
    return page
