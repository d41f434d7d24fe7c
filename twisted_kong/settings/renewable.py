"""Which settings count from SIGHUP on, without a restart.

They are those that are read anew for every connection, handshake or request, or when the configuration is read. All
others shape what has been made at the start.
"""

from __future__ import annotations

from dataclasses import fields, replace

from twisted_kong.settings.declared import PROXY_OVERRIDES, Settings

RENEWABLE = frozenset(
    [
        "log_level",
        "proxy_access_log",
        "declarative_config",
        "declarative_config_string",
        "ssl_cert",
        "ssl_cert_key",
        "ssl_cipher_suite",
        "ssl_protocols",
        "ssl_ciphers",
        "ssl_prefer_server_ciphers",
        "ssl_session_tickets",
        "ssl_session_timeout",
        "admin_ssl_cert",
        "admin_ssl_cert_key",
        "client_ssl",
        "client_ssl_cert",
        "client_ssl_cert_key",
        "lua_ssl_trusted_certificate",
        "lua_ssl_verify_depth",
        "headers",
        "headers_upstream",
        "allow_debug_header",
        "gateway_reason_header",
        "error_default_type",
        "admin_gui_url",
        "trusted_ips",
        "real_ip_header",
        "real_ip_recursive",
        "port_maps",
        "upstream_keepalive_pool_size",
        "upstream_keepalive_max_requests",
        "upstream_keepalive_idle_timeout",
        "nginx_main_worker_shutdown_timeout",
        "drain_delay",
        "nginx_http_client_max_body_size",
        "nginx_admin_client_max_body_size",
        "nginx_http_client_body_buffer_size",
        "nginx_events_worker_connections",
        "max_connections_per_client",
        "max_tls_handshakes",
        "client_body_min_rate",
        "max_http2_resets",
        "max_http2_idle_frames",
        "nginx_http_client_header_timeout",
        "nginx_http_client_body_timeout",
        "nginx_http_send_timeout",
        "nginx_http_keepalive_timeout",
        "nginx_http_keepalive_requests",
        "nginx_http_http2_max_concurrent_streams",
    ]
)
"""Their names. A file that one names is read again even where the setting has not changed."""


def renewed(old: Settings, new: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings to go on with where those in force are ``old`` and those that are read by now ``new``, and the names
    of the ones that differ and need a restart, sorted."""
    differing = {each.name for each in fields(Settings) if getattr(old, each.name) != getattr(new, each.name)}
    given = {"inert", "ignored_environment", "given"}
    following = {name: getattr(new, name) for name in differing & (RENEWABLE | given)}
    following["given"] = {name: text for name, text in old.given.items() if not _renewable(name)}
    following["given"] |= {name: text for name, text in new.given.items() if _renewable(name)}
    return replace(old, **following), tuple(sorted(differing - RENEWABLE - given))


def _renewable(name: str) -> bool:
    return PROXY_OVERRIDES.get(name, name) in RENEWABLE
