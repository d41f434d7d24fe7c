"""``key-auth``: who gets past it, and what the origin is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import Head, Proxy, make

from twisted_kong.model.entities import Api, Consumer, Entity, KeyauthCredential, Plugin, Route, Service
from twisted_kong.proxy.keyauth import NO_KEY, SEVERAL_KEYS, WRONG_KEY
from twisted_kong.telemetry.accesslog import Logged

BOB = make(Consumer, username="bob", custom_id="b-1")
EVE = make(Consumer, custom_id="e-1")
NOBODY = make(Consumer, username="nobody")
KEY = make(KeyauthCredential, consumer={"id": BOB.id}, key="secret")
SERVICE = make(Service, name="s", host="10.0.0.1")
ROUTE = make(Route, name="r", paths=["/"], service={"id": SERVICE.id})

TOLD = (
    "x-consumer-id",
    "x-consumer-custom-id",
    "x-consumer-username",
    "x-credential-identifier",
    "x-anonymous-consumer",
)


def guard(**fields: Any) -> Plugin:
    """The plugin, of everything unless it is said of what."""
    plugin: Plugin = make(Plugin, name="key-auth", **fields)
    return plugin


def guarded(*more: Entity, **config: Any) -> Proxy:
    """A proxy that asks everybody for a key."""
    return Proxy(SERVICE, ROUTE, BOB, EVE, NOBODY, KEY, guard(config=config), *more)


def told(asked: Head | None) -> dict[str, str]:
    """What the origin was told of who asks."""
    assert asked is not None
    assert all(len(asked[name]) < 2 for name in TOLD)
    return {name: asked[name][0] for name in TOLD if asked[name]}


def passes(proxy: Proxy, target: str = "/", *lines: str, method: str = "GET") -> Head:
    """What an origin was asked for a request that gets past."""
    answer, asked = proxy.ask(target, *lines, method=method)
    assert answer.first == "HTTP/1.1 200 OK", answer.body
    assert asked is not None
    return asked


def refused(proxy: Proxy, target: str = "/", *lines: str) -> tuple[str, str]:
    """The message and the challenge of a 401, for which nobody was asked anything."""
    answer, asked = proxy.ask(target, *lines)
    assert asked is None
    assert answer.first == "HTTP/1.1 401 Unauthorized"
    body = json.loads(answer.body)
    assert body.keys() == {"message", "request_id"}
    (challenge,) = answer["www-authenticate"]
    return body["message"], challenge


# -- who gets past -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "target", "lines"),
    [
        ({}, "/", ["apikey: secret"]),
        ({}, "/", ["ApiKey:secret "]),
        ({}, "/?apikey=secret", []),
        ({}, "/?a=1&apikey=secret&b", []),
        ({}, "/?apike%79=%73ecret", []),
        ({}, "/?apikey&apikeys=x", ["apikey: secret"]),
        ({"key_names": ["X-Key", "other"]}, "/", ["x-key: secret"]),
        ({"key_names": ["X-Key", "other"]}, "/?other=secret", []),
        ({"key_names": ["X-Key"]}, "/?X-Key=secret", []),
        ({}, "/?apikey=wrong", ["apikey: secret"]),
        ({"key_names": ["a", "b"]}, "/?a=secret", ["b: wrong"]),
        ({"key_in_header": False}, "/?apikey=secret", ["apikey: wrong"]),
        ({"key_in_query": False}, "/?apikey=wrong", ["apikey: secret"]),
    ],
)
def test_key(config: dict[str, Any], target: str, lines: list[str]) -> None:
    """The key is in a header or in the query, under the first of the names that there is; a header counts before."""
    assert told(passes(guarded(**config), target, *lines))["x-consumer-id"] == BOB.id


@pytest.mark.parametrize(
    ("config", "target", "lines", "message"),
    [
        ({}, "/", [], NO_KEY),
        ({}, "/?apikey", [], NO_KEY),
        ({}, "/?apikey=", [], NO_KEY),
        ({}, "/", ["apikey:"], NO_KEY),
        ({}, "/?APIKEY=secret", [], NO_KEY),
        ({}, "/", ["x-key: secret"], NO_KEY),
        ({"key_in_header": False}, "/", ["apikey: secret"], NO_KEY),
        ({"key_in_query": False}, "/?apikey=secret", [], NO_KEY),
        ({}, "/", ["apikey: Secret"], WRONG_KEY),
        ({}, "/?apikey=secret%00", [], WRONG_KEY),
        ({}, "/?apikey=%FF", [], WRONG_KEY),
        ({}, "/?apikey=secret", ["apikey: wrong"], WRONG_KEY),
        ({}, "/", ["apikey: secret", "apikey: secret"], SEVERAL_KEYS),
        ({}, "/?apikey=secret&apikey=secret", [], SEVERAL_KEYS),
    ],
)
def test_no_key(config: dict[str, Any], target: str, lines: list[str], message: str) -> None:
    """Without a key, with one that nobody has, or with more than one, a request is refused before anybody is asked."""
    assert refused(guarded(**config), target, *lines) == (message, "Key")


@pytest.mark.parametrize(
    ("realm", "challenge"),
    [("kong", 'Key realm="kong"'), ('a"b\\', 'Key realm="a\\"b\\\\"'), ("a\r\nb", 'Key realm="a%0D%0Ab"')],
)
def test_realm(realm: str, challenge: str) -> None:
    """The challenge names the realm, whatever its characters."""
    assert refused(guarded(realm=realm))[1] == challenge


def test_answer_in_the_type_wanted() -> None:
    """The refusal comes in the media type that the client accepts, as every other does."""
    answer, _ = guarded().ask("/", "Accept: text/plain")
    assert answer["content-type"] == ["text/plain; charset=utf-8"]
    assert answer.body.startswith(NO_KEY.encode())


def test_body_of_who_is_refused() -> None:
    """The body of a request that is refused is not waited for."""
    answer, asked = guarded().ask("/", "Content-Length: 10", method="POST")
    assert (answer.first, asked) == ("HTTP/1.1 401 Unauthorized", None)


@pytest.mark.parametrize("ttl", [None, 0, 60])
def test_ttl(ttl: int | None) -> None:
    """A key with a time to live holds for so many seconds from its last change; one without holds for ever."""
    proxy = guarded(make(KeyauthCredential, consumer={"id": EVE.id}, key="brief", ttl=ttl))
    proxy.clock.advance(59)
    assert told(passes(proxy, "/?apikey=brief"))["x-consumer-id"] == EVE.id
    proxy.clock.advance(1)
    if ttl:
        assert refused(proxy, "/?apikey=brief") == (WRONG_KEY, "Key")
    else:
        passes(proxy, "/?apikey=brief")


def test_changes_are_in_force_at_once() -> None:
    """A key that comes or goes, and its consumer's new name, count for the next request."""
    proxy = guarded()
    new = make(KeyauthCredential, consumer={"id": EVE.id}, key="new")
    assert refused(proxy, "/?apikey=new")
    proxy.put(new)
    passes(proxy, "/?apikey=new")
    proxy.put(make(Consumer, id=EVE.id, username="eve"))
    assert told(passes(proxy, "/?apikey=new"))["x-consumer-username"] == "eve"
    proxy.delete(EVE)
    assert refused(proxy, "/?apikey=new")


# -- what the origin is told ---------------------------------------------------------------------------------------


def test_consumer_is_told() -> None:
    """The origin is told who asks and by which key."""
    assert told(passes(guarded(), "/?apikey=secret")) == {
        "x-consumer-id": BOB.id,
        "x-consumer-custom-id": "b-1",
        "x-consumer-username": "bob",
        "x-credential-identifier": KEY.id,
    }


@pytest.mark.parametrize("dash", ["-", "_"])
def test_nobody_makes_it_up(dash: str) -> None:
    """What a client says of who it is does not reach the origin, however it is spelled."""
    key = make(KeyauthCredential, consumer={"id": EVE.id}, key="eve")
    lines = [f"{name.replace('-', dash)}: root" for name in TOLD]
    asked = passes(guarded(key), "/?apikey=eve", *lines, "Connection: x-consumer-id", "X-Kept: 1")
    assert told(asked) == {"x-consumer-id": EVE.id, "x-consumer-custom-id": "e-1", "x-credential-identifier": key.id}
    assert not any("root" in values for values in asked.fields.values())
    assert asked["x-kept"] == ["1"]


@pytest.mark.parametrize(
    ("name", "value"), [("日本", "日本"), ("a\r\nX-Consumer-ID: root", "a%0D%0AX-Consumer-ID: root")]
)
def test_names_of_any_characters(name: str, value: str) -> None:
    """A name reaches the origin as UTF-8, and can end no field."""
    odd = make(Consumer, username=name)
    key = make(KeyauthCredential, consumer={"id": odd.id}, key="odd")
    assert told(passes(guarded(odd, key), "/?apikey=odd"))["x-consumer-username"] == value


@pytest.mark.parametrize(
    ("target", "lines", "sent"),
    [
        ("/?apikey=secret", [], "/"),
        ("/?a=1&apikey=secret&b=%41&&c", [], "/?a=1&b=%41&&c"),
        ("/?apike%79=secret&a", [], "/?a"),
        ("/?a=1", ["ApiKey: secret"], "/?a=1"),
        ("/?apikey=wrong&a", ["apikey: secret"], "/?a"),
        ("/?", ["apikey: secret"], "/?"),
    ],
)
def test_hidden(target: str, lines: list[str], sent: str) -> None:
    """A key to be hidden is taken out of header and query; all else reaches the origin as it came."""
    asked = passes(guarded(hide_credentials=True), target, *lines, "X-Kept: 1")
    assert (asked.first, asked["apikey"], asked["x-kept"]) == (f"GET {sent} HTTP/1.1", [], ["1"])


@pytest.mark.parametrize(("hide", "told"), [(True, b""), (False, b"secret")])
def test_hidden_from_the_log(hide: bool, told: bytes) -> None:
    """A header that a key to be hidden was found in is none that the access log tells."""
    proxy = guarded(hide_credentials=hide, key_names=["referer"])
    logged: list[bytes] = []

    class Log:
        def record(self, exchange: Logged) -> None:
            logged.append(exchange.field(b"referer"))

    proxy.listener.core.recorder.access_log = Log()  # type: ignore[assignment]  # all that is asked of one
    passes(proxy, "/", "Referer: secret")
    assert logged == [told]


def test_not_hidden() -> None:
    """Unless it is to be hidden, the key reaches the origin."""
    assert passes(guarded(), "/?apikey=secret").first == "GET /?apikey=secret HTTP/1.1"
    assert passes(guarded(), "/", "apikey: secret")["apikey"] == ["secret"]


@pytest.mark.parametrize("name", ["x-api-key", "x_api_key"])
def test_hidden_under_its_name(name: str) -> None:
    """It is hidden under the name it was found by; another one's argument is not touched."""
    proxy = guarded(hide_credentials=True, key_names=[name, "apikey"])
    asked = passes(proxy, "/?apikey=other", f"{name}: secret")
    assert (asked.first, asked[name]) == ("GET /?apikey=other HTTP/1.1", [])


# -- anonymous -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anonymous", [NOBODY.id, NOBODY.id.upper(), "nobody"])
@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize(("target", "lines"), [("/", []), ("/?apikey=wrong", []), ("/", ["apikey: a", "apikey: b"])])
def test_anonymous(anonymous: str, hide: bool, target: str, lines: list[str]) -> None:
    """Who has no key passes as the anonymous consumer, named by id or by username, and the origin is told."""
    asked = passes(guarded(anonymous=anonymous, hide_credentials=hide), target, *lines)
    assert told(asked) == {
        "x-consumer-id": NOBODY.id,
        "x-consumer-username": "nobody",
        "x-anonymous-consumer": "true",
    }


def test_known_all_the_same() -> None:
    """Who has a key is told as who they are."""
    asked = passes(guarded(anonymous="nobody"), "/?apikey=secret", "X-Anonymous-Consumer: true")
    assert told(asked)["x-consumer-id"] == BOB.id
    assert asked["x-anonymous-consumer"] == []


def test_no_anonymous() -> None:
    """An anonymous consumer that is not there is the gateway's fault; who has a key does not notice."""
    proxy = guarded(anonymous="gone")
    answer, asked = proxy.ask()
    assert (answer.first, asked) == ("HTTP/1.1 500 Internal Server Error", None)
    assert b"anonymous consumer gone is configured but doesn't exist" in answer.body
    passes(proxy, "/?apikey=secret")


@pytest.mark.parametrize("runs", [True, False])
def test_preflight(runs: bool) -> None:
    """A preflight needs a key unless it is let past; then it is nobody's."""
    proxy = guarded(run_on_preflight=runs)
    answer, asked = proxy.ask("/", "X-Consumer-ID: root", method="OPTIONS")
    assert answer.first == ("HTTP/1.1 401 Unauthorized" if runs else "HTTP/1.1 200 OK")
    assert runs or told(asked) == {}
    assert told(passes(proxy, "/?apikey=secret"))["x-consumer-id"] == BOB.id


# -- whose requests ------------------------------------------------------------------------------------------------


def names_asked(proxy: Proxy, path: str) -> str | None:
    """Under which of `NAMES` a request to this path has to bring its key; None if it needs none."""
    if proxy.ask(path)[0].first == "HTTP/1.1 200 OK":
        return None
    (found,) = (name for name in NAMES if proxy.ask(path, f"{name}: secret")[0].first == "HTTP/1.1 200 OK")
    return found


NAMES = ("both", "route", "service", "all")
OTHER = make(Route, name="other", paths=["/other"], service={"id": SERVICE.id})
ALONE = make(Service, name="alone", host="10.0.0.2")
APART = make(Route, name="apart", paths=["/apart"], service={"id": ALONE.id})
API = make(Api, name="api", hosts=["b.test"], upstream_url="http://10.0.0.3")
GUARDS = {
    "both": guard(route={"id": ROUTE.id}, service={"id": SERVICE.id}, config={"key_names": ["both"]}),
    "route": guard(route={"id": ROUTE.id}, config={"key_names": ["route"]}),
    "service": guard(service={"id": SERVICE.id}, config={"key_names": ["service"]}),
    "all": guard(config={"key_names": ["all"]}),
}


@pytest.mark.parametrize("missing", range(len(NAMES) + 1))
def test_the_most_specific(missing: int) -> None:
    """Of the plugins that are meant for a request the most specific one asks: it does not matter which came first."""
    names = NAMES[missing:]
    proxy = Proxy(SERVICE, ROUTE, OTHER, ALONE, APART, BOB, KEY)
    for name in names:
        assert names_asked(proxy, "/") is None or name != names[0]
        proxy.put(GUARDS[name])
    assert names_asked(proxy, "/") == (names[0] if names else None)
    assert names_asked(proxy, "/other") == next((name for name in names if name in ("service", "all")), None)
    assert names_asked(proxy, "/apart") == ("all" if names else None)


def test_disabled() -> None:
    """A plugin that is disabled asks nobody, and one less specific takes its place; so it is with one deleted."""
    proxy = Proxy(SERVICE, ROUTE, BOB, KEY, *GUARDS.values())
    assert names_asked(proxy, "/") == "both"
    proxy.put(Plugin.from_document({**GUARDS["both"].document(), "enabled": False}))
    assert names_asked(proxy, "/") == "route"
    proxy.delete(GUARDS["route"], GUARDS["service"])
    assert names_asked(proxy, "/") == "all"
    proxy.delete(GUARDS["all"])
    assert names_asked(proxy, "/") is None


def test_apis() -> None:
    """A plugin for all requests is for those of apis, too."""
    proxy = Proxy(make(Api, name="api", hosts=["a.test"], upstream_url="http://10.0.0.3"), BOB, KEY)
    passes(proxy)
    proxy.put(guard())
    assert refused(proxy) == (NO_KEY, "Key")
    assert told(passes(proxy, "/?apikey=secret"))["x-consumer-username"] == "bob"


def test_route_without_a_service() -> None:
    """Who has no key learns nothing of a route, not even that it leads nowhere."""
    proxy = Proxy(make(Route, paths=["/"]), BOB, KEY, guard())
    assert refused(proxy) == (NO_KEY, "Key")
    assert proxy.ask("/?apikey=secret")[0].first == "HTTP/1.1 503 Service Unavailable"


def test_consumer_is_known_to_the_exchange() -> None:
    """Whoever balances by consumer finds it on the exchange."""
    proxy = guarded()
    proxy.send("/?apikey=secret")
    connection: Any = next(iter(proxy.listener.connections))
    assert connection._exchange.consumer is proxy.snapshot.get("consumers", BOB.id)
