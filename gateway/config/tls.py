"""Envoy's TLS configuration, and the files with certificates to which it refers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..settings import GatewaySettings, is_address

__all__ = [
    "SECRET_FILE",
    "PemContent",
    "listener_secrets",
    "name_matcher",
    "transport_socket",
    "upstream_secrets",
    "upstream_socket",
]

Config = dict[str, Any]

SECRET_FILE = "tls.json"  # noqa: S105  # a file's name
"""The file with certificate and key, in Envoy's folder. Envoy reads it again whenever it is replaced."""
CALLERS_FILE = "callers.json"
"""The file with the authorities of callers' certificates."""
TO_SERVERS_FILE = "to-servers.json"
"""The file with the gateway's own certificate for servers, and its key."""
SERVERS_FILE = "servers.json"
"""The file with the authorities of servers' certificates."""
KINDS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
OLDEST = {"tls_minimum_protocol_version": "TLSv1_2"}
OLDEST_OF_SERVERS = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
"""For connections to servers, Envoy's default maximum is 1.2."""


@dataclass(frozen=True, slots=True)
class PemContent:
    """What the files contain; `ca` is empty without a file of certificate authorities."""

    certificate: str
    key: str = field(repr=False)
    ca: str = ""
    expiry: Mapping[str, float] = field(default_factory=dict)
    """Setting → when what it names expires, in seconds since 1970."""


def transport_socket(settings: GatewaySettings) -> Config:
    """Return the listener's TLS settings. They refer to files, so that certificates can be replaced."""
    context: Config = {
        "@type": f"{KINDS}.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": OLDEST,
            "tls_certificate_sds_secret_configs": [_secret(SECRET_FILE)],
        },
    }
    if settings.tls_client_ca:
        # Not required: other callers have keys. One that is presented must be valid.
        context["common_tls_context"]["validation_context_sds_secret_config"] = _secret(CALLERS_FILE)
        context["require_client_certificate"] = False
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def upstream_socket(settings: GatewaySettings) -> Config:
    """Return the TLS settings of connections to servers."""
    name = settings.server_tls_name
    names = [name] if name else sorted({one.host for one in settings.parsed_upstreams})
    context = {
        "@type": f"{KINDS}.UpstreamTlsContext",
        **({"sni": name} if name else {}),
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": OLDEST_OF_SERVERS,
            "tls_certificate_sds_secret_configs": [_secret(TO_SERVERS_FILE)],
            "combined_validation_context": {
                "default_validation_context": {
                    "match_typed_subject_alt_names": [name_matcher(one) for one in names]
                },
                "validation_context_sds_secret_config": _secret(SERVERS_FILE),
            },
        },
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def listener_secrets(content: PemContent) -> Mapping[str, str]:
    """Return the files for the listener, by name."""
    found = {SECRET_FILE: _pair(SECRET_FILE, content)}
    return {**found, CALLERS_FILE: _authorities(CALLERS_FILE, content)} if content.ca else found


def upstream_secrets(content: PemContent) -> Mapping[str, str]:
    """Return the files for connections to servers, by name."""
    return {
        TO_SERVERS_FILE: _pair(TO_SERVERS_FILE, content),
        SERVERS_FILE: _authorities(SERVERS_FILE, content),
    }


def _secret(file: str) -> Config:
    """Return the reference to a file. The secret in it has the same name."""
    source = {"path_config_source": {"path": f"./{file}"}, "resource_api_version": "V3"}
    return {"name": file, "sds_config": source}


def _pair(name: str, content: PemContent) -> str:
    """Return certificate and key in the format of Envoy's secret discovery."""
    chain, key = {"inline_string": content.certificate}, {"inline_string": content.key}
    return _resource(name, tls_certificate={"certificate_chain": chain, "private_key": key})


def _authorities(name: str, content: PemContent) -> str:
    return _resource(name, validation_context={"trusted_ca": {"inline_string": content.ca}})


def _resource(name: str, **secret: Config) -> str:
    return json.dumps({"resources": [{"@type": f"{KINDS}.Secret", "name": name, **secret}]})


def name_matcher(host: str) -> Config:
    """Return a matcher of certificates for a host, a name or an address."""
    return {"san_type": "IP_ADDRESS" if is_address(host) else "DNS", "matcher": {"exact": host}}
