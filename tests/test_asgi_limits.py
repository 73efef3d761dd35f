"""What a served chat refuses is refused by ASGI, too: by tests of ``test_api_limits``."""

from __future__ import annotations

from tests.helpers import asgi_server
from tests.server.protocol import test_api_limits

start = asgi_server.start
serve = asgi_server.serve
shop = test_api_limits.shop

test_limit_of_messages = test_api_limits.test_messages_have_a_limit_told_in_words
test_limit_of_calls = test_api_limits.test_limit_on_calls_for_json
test_limit_at_a_time = test_api_limits.test_limits_hold_for_calls_at_a_time
test_limit_of_bodies = test_api_limits.test_bodies_have_a_limit_each
test_limit_of_lengths = test_api_limits.test_too_long_messages
test_wrong_requests = test_api_limits.test_bad_requests
test_wrong_methods = test_api_limits.test_methods
test_origins = test_api_limits.test_foreign_origins
test_hooks = test_api_limits.test_login_hooks
test_disabled = test_api_limits.test_a_disabled_kit
