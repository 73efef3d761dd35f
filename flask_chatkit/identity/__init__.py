"""Who a visitor is: the site's login or a signed cookie, and the sessions minted for them."""
