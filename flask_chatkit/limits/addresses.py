"""The addresses and networks that requests are counted under."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from flask import Request

#: Sizes of the IPv6 networks that a customer may hold beside a /64, with addresses' worth.
WIDER = ((56, 5), (48, 10))


def address_of(request: Request) -> str:
    """Return the address that a request is counted under.

    One IPv6 customer holds a whole /64, so that counts as one address. Many hold more: see
    :func:`networks_of`.
    """
    return _counted_as(request.remote_addr or "")


@lru_cache(1024)
def _counted_as(remote: str) -> str:
    # Some proxies add the port.
    given = re.sub(r"^\[(.*)\](:\d+)?$|^([\d.]+):\d+$", r"\1\3", remote)
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        # A Unix socket without ProxyFix: everybody shares one quota, which is safe and noticed.
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


@lru_cache(1024)
def networks_of(address: str) -> tuple[tuple[str, int], ...]:
    """Return the networks that an address is in, and how many addresses' worth each has.

    :param address: as :func:`address_of` returns it.
    """
    if ":" not in address:
        return ()
    network = ipaddress.IPv6Network(address)
    return tuple((str(network.supernet(new_prefix=size)), times) for size, times in WIDER)
