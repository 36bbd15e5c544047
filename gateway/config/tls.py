"""Envoy's TLS configuration: the listener's transport socket, and the file with the certificate."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["SECRET_FILE", "secret_resource", "transport_socket"]

SECRET_FILE = "tls.json"  # noqa: S105  # a file's name
"""The file with certificate and key, in Envoy's folder. Envoy reads it again whenever it is replaced."""
SECRET = "clarion"  # noqa: S105  # a resource's name
KINDS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def transport_socket() -> dict[str, Any]:
    """Return the listener's TLS settings. They refer to a file, so that the certificate can be replaced."""
    source = {"path_config_source": {"path": f"./{SECRET_FILE}"}, "resource_api_version": "V3"}
    context = {
        "@type": f"{KINDS}.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [{"name": SECRET, "sds_config": source}],
        },
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def secret_resource(certificate: str, key: str) -> str:
    """Return certificate and key in the format of Envoy's secret discovery."""
    pair = {"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}}
    secret = {"@type": f"{KINDS}.Secret", "name": SECRET, "tls_certificate": pair}
    return json.dumps({"resources": [secret]})
