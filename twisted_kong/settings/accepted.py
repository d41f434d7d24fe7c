"""The settings of Kong 3.9 that have no value here: names without effect, and names that are refused.

Without effect are those whose absence nobody is misled by; refused are those where going on would mean something else
than was asked. Settings of Kong's Enterprise edition are in neither list, and so unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_POSTGRES = """
    host port timeout user password database schema ssl ssl_version ssl_required ssl_verify
    max_concurrent_queries semaphore_timeout keepalive_timeout pool_size backlog"""

_WHY: Mapping[str, str] = {
    "there is one log, and `twistd` says where it goes": """
        proxy_error_log proxy_stream_access_log proxy_stream_error_log admin_access_log
        admin_error_log status_access_log status_error_log admin_gui_access_log admin_gui_error_log""",
    "nothing is ever reported to anybody": "anonymous_reports",
    "a write that has been answered is in force": """
        worker_consistency worker_state_update_frequency db_update_frequency db_update_propagation db_cache_ttl
        db_cache_neg_ttl db_resurrect_ttl db_cache_warmup_entities""",
    "`twistd` is told how to run the process": """
        nginx_user nginx_daemon nginx_main_worker_rlimit_nofile
        dedicated_config_processing""",
    "memory is not divided beforehand": "mem_cache_size lmdb_environment_path lmdb_map_size worker_events_max_payload",
    "keys are exchanged over elliptic curves alone": "ssl_dhparam",
    "OpenSSL bounds how many sessions it keeps": "ssl_session_cache_size",
    "what the Admin API shows is shown": "status_ssl_cert status_ssl_cert_key",
    "there is nobody to show it to": "admin_gui_ssl_cert admin_gui_ssl_cert_key",
    "there is no PostgreSQL": "pg_ssl_cert pg_ssl_cert_key "
    + " ".join(f"{prefix}{name}" for prefix in ("pg_", "pg_ro_") for name in _POSTGRES.split()),
    "there is no hybrid mode": """
        cluster_mtls cluster_cert cluster_cert_key cluster_ca_cert cluster_server_name cluster_control_plane
        cluster_listen cluster_dp_labels cluster_data_plane_purge_delay cluster_ocsp cluster_use_proxy
        cluster_max_payload cluster_rpc cluster_rpc_sync""",
    "there is no Kong Manager": "admin_gui_listen admin_gui_path admin_gui_api_url",
    "there are no plugins of Kong's": "plugins pluginserver_names vaults",
    "there is no Lua": """
        lua_max_req_headers lua_max_resp_headers lua_max_uri_args lua_max_post_args
        lua_ssl_protocols lua_package_path lua_package_cpath lua_socket_pool_size untrusted_lua
        untrusted_lua_sandbox_requires untrusted_lua_sandbox_environment openresty_path""",
    "there are no Wasm filters": "wasm_filters_path wasm_filters",
    "requests are not timed part by part": """
        request_debug request_debug_token""",
    "`tracing_*` are their names by now": "opentelemetry_tracing opentelemetry_tracing_sampling_rate",
    "nothing of ours goes through a proxy": "proxy_server proxy_server_ssl_verify",
    "error pages are the built-in ones": """
        error_template_html error_template_json error_template_xml error_template_plain""",
    "the gateway numbers itself": "node_id",
    "`dns_*` settings tell how names are asked for; there is no second client": """
        new_dns_client resolver_address resolver_hosts_file resolver_family resolver_valid_ttl resolver_error_ttl
        resolver_stale_ttl resolver_lru_cache_size resolver_mem_cache_size""",
}

INERT: Mapping[str, str] = MappingProxyType({name: why for why, names in _WHY.items() for name in names.split()})
"""Name to the reason why it has no effect."""

INERT_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "nginx_": "there is no nginx to inject other directives into",
        "pluginserver_": "there are no plugins of Kong's",
        "vault_": "there are no vaults",
    }
)
"""What a name begins with to the reason why it has no effect."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A setting that must be left alone: ``only`` is the one value that changes nothing, empty for none at all."""

    only: str
    reason: str


REFUSED: Mapping[str, Refused] = MappingProxyType(
    {
        "stream_listen": Refused("off", "TCP and UDP streams are not proxied"),
        "role": Refused("traditional", "there is no hybrid mode"),
        "wasm": Refused("off", "requests would pass without their filters"),
        **dict.fromkeys(
            (
                "nginx_admin_allow",
                "nginx_admin_deny",
                "nginx_admin_auth_basic",
                "nginx_admin_auth_basic_user_file",
                "nginx_admin_auth_request",
                "nginx_admin_ssl_crl",
                "nginx_admin_ssl_trusted_certificate",
            ),
            Refused("", "the Admin API would be open to whom it keeps out; see `admin_tokens`"),
        ),
    }
)


def why_inert(name: str) -> str | None:
    """Why a setting of Kong's has no effect; None for one that is not known to have none."""
    if name in INERT:
        return INERT[name]
    return next((why for prefix, why in INERT_FAMILIES.items() if name.startswith(prefix)), None)
