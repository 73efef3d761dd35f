"""The settings: what each key accepts, and what the error says when it does not."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from flask_chatkit import ChatKit, ConfigurationError
from flask_chatkit.config import Settings, documented, signing_keys, unknown_keys


def read(environ: dict[str, str] | None = None, **config: Any) -> Settings:
    return Settings.from_config(config, environ or {})


def test_defaults_are_those_of_the_contract() -> None:
    """Nothing configured gives the documented defaults."""
    settings = read()
    assert settings.api_base == "https://api.openai.com/v1"
    assert settings.api_timeout == (3.05, 10.0)
    assert [str(item) for item in settings.ratelimit] == ["10 per 1 minute", "100 per 1 day"]
    assert [str(item) for item in settings.ratelimit_ip] == ["30 per 1 minute", "300 per 1 day"]
    assert settings.ratelimit_global == ()
    assert settings.cookie_name == "chatkit_visitor"
    assert settings.cookie_max_age == 30 * 24 * 3600
    assert settings.cookie_samesite == "Lax"
    assert settings.cookie_secure is None
    assert settings.enabled is True
    assert settings.script_url.startswith("https://cdn.platform.openai.com/")


WRONG = {
    "CHATKIT_ENABLED": ["yes", 2, None.__class__],
    "CHATKIT_API_KEY": [5, "wf_1", "sk with blanks", "sk\nx", "schlüssel"],
    "CHATKIT_WORKFLOW_ID": [7, "wf a", "sk-1"],
    "CHATKIT_ORGANIZATION": ["org\r\nX: y"],
    "CHATKIT_API_BASE": [
        "https://h:abc/v1",
        "https://h:99999",
        "https://:pw@h/v1",
        "https://h/\r\nv1",
        "https://[::1",
        "http://api.example.com/v1",
        "api.openai.com",
        "ftp://x",
        4,
        "https://",
    ],
    "CHATKIT_API_TIMEOUT": [0, -1, "soon", [1, 2, 3], True, float("nan"), None.__class__],
    "CHATKIT_SESSION_SECONDS": [0, 601, True, "601", "1.5", 1.5],
    "CHATKIT_SESSION_REQUESTS_PER_MINUTE": [0, "ten"],
    "CHATKIT_RATELIMIT": ["often", "10/fortnight", 10, "0/minute"],
    "CHATKIT_RATELIMIT_IP": ["-1/minute"],
    "CHATKIT_RATELIMIT_GLOBAL": ["x"],
    "CHATKIT_MESSAGE_RATELIMIT": ["x"],
    "CHATKIT_COOKIE_NAME": ["a b", "a;b", 3],
    "CHATKIT_COOKIE_MAX_AGE": [1, "1 day", 500 * 86400],
    "CHATKIT_COOKIE_PATH": ["x", "/a;b"],
    "CHATKIT_COOKIE_SECURE": ["perhaps"],
    "CHATKIT_COOKIE_SAMESITE": ["loose", 1],
    "CHATKIT_COOKIE_PARTITIONED": [7],
    "CHATKIT_TRUSTED_ORIGINS": [
        "*",
        ["https://*.example.com"],
        "example.com",
        "https://example.com/path",
        ["https://user@example.com"],
        [5],
        "https://x:99999",
        "https://x:0",
    ],
    "CHATKIT_COOKIE_DOMAIN": ["https://x", "ex;a", 5],
    "CHATKIT_SCRIPT_URL": [
        "http://cdn.example.com/x.js",
        "x.js",
        "//evil.example/x.js",
        "/\\evil/x",
        "https://[x",
    ],
    "CHATKIT_MAX_UPLOAD_BYTES": [0, "1MB"],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_wrong_value_is_refused_by_key_and_form(key: str, value: object) -> None:
    """A wrong value names its key and the accepted form."""
    with pytest.raises(ConfigurationError, match=f"{key} must be "):
        read(**{key: value})


@pytest.mark.parametrize("key", [key for key in WRONG if key != "CHATKIT_WORKFLOW_ID"])
def test_wrong_value_is_not_repeated(key: str) -> None:
    """A key pasted into the wrong variable stays out of the error."""
    with pytest.raises(ConfigurationError) as caught:
        read(**{key: "sk-pasted into the wrong variable"})
    assert "pasted" not in str(caught.value)


def test_values_from_the_environment_are_read_as_words() -> None:
    """What from_prefixed_env leaves as text is accepted where its meaning is clear."""
    settings = read(
        CHATKIT_ENABLED="False",
        CHATKIT_API_TIMEOUT="1, 2.5",
        CHATKIT_TRUSTED_ORIGINS="https://A.example:443 , http://b.example:8080/",
        CHATKIT_COOKIE_SAMESITE="none",
        CHATKIT_RATELIMIT="",
        CHATKIT_WORKFLOW_ID="",
        CHATKIT_SESSION_SECONDS="60",
        CHATKIT_COOKIE_PARTITIONED=1,
    )
    assert settings.session_seconds == 60
    assert settings.cookie_partitioned is True
    assert settings.enabled is False
    assert settings.api_timeout == (1.0, 2.5)
    assert settings.trusted_origins == {"https://a.example", "http://b.example:8080"}
    assert settings.cookie_samesite == "None"
    assert settings.ratelimit == ()
    assert settings.workflow_id is None


def test_empty_variables_are_not_set() -> None:
    """What a compose file passes on empty leaves each setting at its default; a limit at none."""
    names = [field.metadata["key"] for field in documented()]
    settings, defaults = read(**dict.fromkeys(names, "")), read()
    assert settings.changed_keys(defaults) == [
        "CHATKIT_RATELIMIT",
        "CHATKIT_RATELIMIT_IP",
        "CHATKIT_MESSAGE_RATELIMIT",
        "CHATKIT_CALL_RATELIMIT",
        "CHATKIT_UPLOAD_QUOTA",
    ]
    assert settings.ratelimit == ()


@pytest.mark.parametrize("word", ["none", " None ", ""])
def test_none_is_one_word_for_each_key(word: str) -> None:
    """The word none and an empty string mean the same for each key that can be none."""
    fields = [field for field in documented() if "none" in field.metadata]
    settings = read(**{field.metadata["key"]: word for field in fields})
    assert {"ratelimit", "upload_quota", "keep_days", "login_origins"} <= {f.name for f in fields}
    for field in fields:
        assert getattr(settings, field.name) == field.metadata["none"]
    with pytest.raises(ConfigurationError, match="CHATKIT_ENABLED must be True or False"):
        read(CHATKIT_ENABLED="none")


def test_every_wrong_setting_is_named() -> None:
    """One error names all settings that are wrong, and then all that contradict each other."""
    with pytest.raises(ConfigurationError) as caught:
        read(CHATKIT_SESSION_SECONDS=601, CHATKIT_ENABLED="yes", CHATKIT_RATELIMIT="often")
    assert str(caught.value) == (
        "CHATKIT_ENABLED must be True or False, not str; "
        "CHATKIT_SESSION_SECONDS must be a whole number of seconds from 1 to 600; "
        "CHATKIT_RATELIMIT must be rate limits such as 10/minute;100/day"
    )
    with pytest.raises(ConfigurationError, match=r"CHATKIT_COOKIE_PATH.*CHATKIT_COOKIE_DOMAIN"):
        read(
            CHATKIT_COOKIE_NAME="__Host-a", CHATKIT_COOKIE_PATH="/a", CHATKIT_COOKIE_DOMAIN="a.test"
        )


def test_one_number_of_seconds_is_both_timeouts() -> None:
    """One number, also from the environment, is the time to connect and to read."""
    for value in (5, "5", [5], (5, 5.0)):
        assert read(CHATKIT_API_TIMEOUT=value).api_timeout == (5.0, 5.0)


def test_timedelta_is_accepted_for_the_cookies_age() -> None:
    """A timedelta counts in seconds."""
    assert read(CHATKIT_COOKIE_MAX_AGE=timedelta(hours=1)).cookie_max_age == 3600


@pytest.mark.parametrize(
    ("config", "environ", "key"),
    [
        ({"CHATKIT_API_KEY": "sk-a", "OPENAI_API_KEY": "sk-b"}, {"OPENAI_API_KEY": "sk-c"}, "sk-a"),
        ({"OPENAI_API_KEY": "sk-b"}, {"OPENAI_API_KEY": "sk-c"}, "sk-b"),
        ({}, {"OPENAI_API_KEY": "sk-c\n"}, "sk-c"),
        ({"CHATKIT_API_KEY": ""}, {"OPENAI_API_KEY": "sk-c"}, "sk-c"),
        ({}, {}, None),
    ],
)
def test_key_comes_from_the_nearest_source(
    config: dict[str, Any], environ: dict[str, str], key: str | None
) -> None:
    """The kit's own key wins over the configuration's, and that over the environment's."""
    assert read(environ, **config).api_key == key


def test_secrets_stay_out_of_the_repr() -> None:
    """The repr of the settings contains neither the key nor a password in a URI."""
    settings = read(
        CHATKIT_API_KEY="sk-secret",
        CHATKIT_RATELIMIT_STORAGE_URI="redis://:hunter2@127.0.0.1",
        RATELIMIT_STORAGE_URI="redis://:hunter3@127.0.0.1",
        CHATKIT_DATABASE_URI="postgresql://u:hunter4@127.0.0.1/x",
    )
    assert not any(word in repr(settings) for word in ("sk-secret", "hunter"))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (
            {"CHATKIT_COOKIE_SAMESITE": "None", "CHATKIT_COOKIE_SECURE": False},
            "CHATKIT_COOKIE_SECURE",
        ),
        (
            {"CHATKIT_COOKIE_PARTITIONED": True, "CHATKIT_COOKIE_SECURE": False},
            "CHATKIT_COOKIE_SECURE",
        ),
    ],
)
def test_contradictions_are_refused(config: dict[str, Any], named: str) -> None:
    """An error names settings that contradict each other."""
    with pytest.raises(ConfigurationError, match=named):
        read(**config)


def test_setting_in_the_environment_only_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment has and the configuration lacks is logged, without its value."""
    monkeypatch.setenv("CHATKIT_API_KEY", "sk-hunter2")
    monkeypatch.setenv("FLASK_CHATKIT_SERVER", "shop.hunter2:chat")
    monkeypatch.setenv("CHATKIT_KEEP_DAYS", "90")
    monkeypatch.setenv("CHATKIT_OF_SOMEBODY_ELSE", "1")
    monkeypatch.setenv("CHATKIT_PROJECT", "")
    Settings.warn_unread_environment({"CHATKIT_KEEP_DAYS": 30})
    first, second = (one.getMessage() for one in caplog.records)
    assert first == (
        "CHATKIT_API_KEY is set in the environment, without effect: name it "
        "FLASK_CHATKIT_API_KEY, and call app.config.from_prefixed_env()"
    )
    assert second == (
        "FLASK_CHATKIT_SERVER is set in the environment, without effect: call "
        "app.config.from_prefixed_env() before registering the kit"
    )


def test_setting_in_the_environment_is_told_when_a_kit_is_registered(
    make_app: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site whose setting has no effect reads so when it starts."""
    monkeypatch.setenv("CHATKIT_KEEP_DAYS", "90")
    make_app()
    assert "CHATKIT_KEEP_DAYS is set in the environment, without effect" in caplog.text


def test_misspelled_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An unknown key of ours is logged with the one that was probably meant."""
    Settings.warn_unknown_keys({"CHATKIT_RATELIMT": "1/minute", "CHATKIT_ENABLED": True})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "CHATKIT_RATELIMT" in record.message
    assert "did you mean CHATKIT_RATELIMIT?" in record.message


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("CHATKIT_TIMEOUT", "CHATKIT_API_TIMEOUT"),
        ("CHATKIT_WORKFLOW", "CHATKIT_WORKFLOW_ID"),
        ("CHATKIT_REDIS_URL", "CHATKIT_RATELIMIT_STORAGE_URI"),
        ("CHATKIT_NONSENSE", None),
    ],
)
def test_near_miss_of_a_key_is_recognised(key: str, meant: str | None) -> None:
    """A key that people write in place of ours leads to ours."""
    assert list(unknown_keys({key: 1, "OTHER": 2})) == [(key, meant)]


def test_wrong_setting_leaves_nothing_registered() -> None:
    """A kit that can't be configured leaves the application as it was."""
    app = Flask("site")
    app.config["CHATKIT_SESSION_SECONDS"] = 601
    with pytest.raises(ConfigurationError, match="from 1 to 600"):
        app.register_blueprint(ChatKit())
    assert not app.blueprints
    assert "chatkit" not in app.extensions


def test_keys_are_documented_once() -> None:
    """Each documented key is unique, and says what it is and what its default is."""
    fields = list(documented())
    keys = [field.metadata["key"] for field in fields]
    assert len(set(keys)) == len(keys) >= 28
    assert all(field.metadata["doc"].endswith(".") and field.metadata["shown"] for field in fields)


def test_signing_keys_end_with_the_newest() -> None:
    """Fallback keys come first, as itsdangerous wants them."""
    config = {"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["old", b"older"]}
    assert signing_keys(config) == [b"old", b"older", b"new"]
    assert signing_keys({"SECRET_KEY_FALLBACKS": ["old"]}) == []


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"CHATKIT_COOKIE_PATH": "/chatkit"}, "CHATKIT_COOKIE_PATH"),
        ({"CHATKIT_COOKIE_DOMAIN": "example.com"}, "CHATKIT_COOKIE_DOMAIN"),
        ({"CHATKIT_COOKIE_SECURE": False}, "CHATKIT_COOKIE_SECURE"),
        ({"CHATKIT_COOKIE_NAME": "__host-chat"}, "CHATKIT_COOKIE_NAME"),
        (
            {"CHATKIT_COOKIE_NAME": "__Secure-chat", "CHATKIT_COOKIE_SECURE": False},
            "CHATKIT_COOKIE_SECURE",
        ),
    ],
)
def test_cookie_that_browsers_drop_is_refused(config: dict[str, object], key: str) -> None:
    """A name that promises browsers something is refused with settings that break the promise."""
    with pytest.raises(ConfigurationError, match=f"^{key} must"):
        Settings.from_config({"CHATKIT_COOKIE_NAME": "__Host-chat", **config}, {})


@pytest.mark.parametrize(
    "config",
    [
        {"CHATKIT_COOKIE_NAME": "__Host-chat"},
        {"CHATKIT_COOKIE_NAME": "__Host-chat", "CHATKIT_COOKIE_PATH": "/"},
        {"CHATKIT_COOKIE_NAME": "__Host-chat", "CHATKIT_COOKIE_SECURE": True},
        {"CHATKIT_COOKIE_NAME": "__Secure-chat", "CHATKIT_COOKIE_PATH": "/chatkit"},
        {"CHATKIT_COOKIE_NAME": "__Secure-chat", "CHATKIT_COOKIE_DOMAIN": "example.com"},
    ],
)
def test_cookie_that_browsers_keep_is_accepted(config: dict[str, object]) -> None:
    """A name with a prefix needs no further setting."""
    assert Settings.from_config(config, {}).cookie_name == config["CHATKIT_COOKIE_NAME"]


def test_login_origins_are_trusted() -> None:
    """An origin that may chat as the login may call, and no other one gains anything."""
    config = {
        "CHATKIT_TRUSTED_ORIGINS": ["https://a.example"],
        "CHATKIT_LOGIN_ORIGINS": "https://b.example:443/, https://c.example",
    }
    settings = Settings.from_config(config, {})
    assert settings.login_origins == {"https://b.example", "https://c.example"}
    assert settings.trusted_origins == {"https://a.example", *settings.login_origins}
    assert Settings.from_config({}, {}).login_origins == set()


@pytest.mark.parametrize("origin", ["http://shop.example", "http://10.0.0.1:8000"])
def test_login_origins_are_on_https(origin: str) -> None:
    """A page that comes over http may be anybody's, except on the machine itself."""
    with pytest.raises(ConfigurationError, match="CHATKIT_LOGIN_ORIGINS must be https:// origins"):
        read(CHATKIT_LOGIN_ORIGINS=["https://shop.example", origin])
    local = ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:5000"]
    assert read(CHATKIT_LOGIN_ORIGINS=local).login_origins == set(local)
