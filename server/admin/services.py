"""All services of the admin API. A new service is one entry in `SERVICES`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from clarion.admin.v1 import (
    api_key_pb2,
    api_key_pb2_grpc,
    audit_pb2,
    audit_pb2_grpc,
    campaign_draft_pb2,
    campaign_draft_pb2_grpc,
    campaign_pb2,
    campaign_pb2_grpc,
    delivery_pb2,
    delivery_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    person_pb2,
    person_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    statistics_pb2,
    statistics_pb2_grpc,
    suppression_pb2,
    suppression_pb2_grpc,
    system_pb2,
    system_pb2_grpc,
    webhook_pb2,
    webhook_pb2_grpc,
)

from ..store.pool import Pool
from .admin_keys import AdminKeyServicer
from .api_keys import ApiKeyServicer
from .audit_log import AuditServicer
from .campaign_drafts import CampaignDraftServicer
from .campaigns import CampaignServicer
from .deliveries import DeliveryServicer
from .oidc.sign_in import SignIn
from .operations import OperationServicer
from .people import PersonServicer
from .projects import ProjectServicer
from .providers import ProviderServicer
from .sessions import SessionServicer
from .statistics import StatisticsServicer
from .suppressions import SuppressionServicer
from .system import SystemServicer
from .webhooks import WebhookServicer

__all__ = ["DESCRIPTORS", "SERVICES", "Backend", "Service"]


@dataclass(frozen=True, slots=True)
class Backend:
    """What the services work with.

    Attributes:
        pool: The database.
        url_problems: Returns every problem of a webhook's URL.
        sign_in: Identifies people by OpenID Connect.
        data_folder: The data folder.
    """

    pool: Pool
    url_problems: Callable[[str], Awaitable[list[str]]]
    sign_in: SignIn
    data_folder: Path


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the admin API.

    Attributes:
        descriptor: Its description.
        build: Creates the servicer.
        add: The generated function that adds the servicer to a server.
        stub: The generated client.
    """

    descriptor: ServiceDescriptor
    build: Callable[[Backend], Any]
    add: Callable[[Any, Any], None]
    stub: Callable[[Any], Any]


SERVICES: Mapping[str, Service] = {
    "projects": Service(
        project_pb2.DESCRIPTOR.services_by_name["ProjectService"],
        lambda backend: ProjectServicer(backend.pool),
        project_pb2_grpc.add_ProjectServiceServicer_to_server,
        project_pb2_grpc.ProjectServiceStub,
    ),
    "admin_keys": Service(
        operator_pb2.DESCRIPTOR.services_by_name["AdminKeyService"],
        lambda backend: AdminKeyServicer(backend.pool),
        operator_pb2_grpc.add_AdminKeyServiceServicer_to_server,
        operator_pb2_grpc.AdminKeyServiceStub,
    ),
    "sessions": Service(
        operator_pb2.DESCRIPTOR.services_by_name["SessionService"],
        lambda backend: SessionServicer(backend.pool, backend.sign_in),
        operator_pb2_grpc.add_SessionServiceServicer_to_server,
        operator_pb2_grpc.SessionServiceStub,
    ),
    "api_keys": Service(
        api_key_pb2.DESCRIPTOR.services_by_name["ApiKeyService"],
        lambda backend: ApiKeyServicer(backend.pool),
        api_key_pb2_grpc.add_ApiKeyServiceServicer_to_server,
        api_key_pb2_grpc.ApiKeyServiceStub,
    ),
    "campaigns": Service(
        campaign_pb2.DESCRIPTOR.services_by_name["CampaignService"],
        lambda backend: CampaignServicer(backend.pool),
        campaign_pb2_grpc.add_CampaignServiceServicer_to_server,
        campaign_pb2_grpc.CampaignServiceStub,
    ),
    "campaign_drafts": Service(
        campaign_draft_pb2.DESCRIPTOR.services_by_name["CampaignDraftService"],
        lambda backend: CampaignDraftServicer(backend.pool),
        campaign_draft_pb2_grpc.add_CampaignDraftServiceServicer_to_server,
        campaign_draft_pb2_grpc.CampaignDraftServiceStub,
    ),
    "deliveries": Service(
        delivery_pb2.DESCRIPTOR.services_by_name["DeliveryService"],
        lambda backend: DeliveryServicer(backend.pool),
        delivery_pb2_grpc.add_DeliveryServiceServicer_to_server,
        delivery_pb2_grpc.DeliveryServiceStub,
    ),
    "operations": Service(
        operation_pb2.DESCRIPTOR.services_by_name["OperationService"],
        lambda backend: OperationServicer(backend.pool),
        operation_pb2_grpc.add_OperationServiceServicer_to_server,
        operation_pb2_grpc.OperationServiceStub,
    ),
    "suppressions": Service(
        suppression_pb2.DESCRIPTOR.services_by_name["SuppressionService"],
        lambda backend: SuppressionServicer(backend.pool),
        suppression_pb2_grpc.add_SuppressionServiceServicer_to_server,
        suppression_pb2_grpc.SuppressionServiceStub,
    ),
    "people": Service(
        person_pb2.DESCRIPTOR.services_by_name["PersonService"],
        lambda backend: PersonServicer(backend.pool),
        person_pb2_grpc.add_PersonServiceServicer_to_server,
        person_pb2_grpc.PersonServiceStub,
    ),
    "webhooks": Service(
        webhook_pb2.DESCRIPTOR.services_by_name["WebhookService"],
        lambda backend: WebhookServicer(backend.pool, backend.url_problems),
        webhook_pb2_grpc.add_WebhookServiceServicer_to_server,
        webhook_pb2_grpc.WebhookServiceStub,
    ),
    "statistics": Service(
        statistics_pb2.DESCRIPTOR.services_by_name["StatisticsService"],
        lambda backend: StatisticsServicer(backend.pool),
        statistics_pb2_grpc.add_StatisticsServiceServicer_to_server,
        statistics_pb2_grpc.StatisticsServiceStub,
    ),
    "providers": Service(
        provider_pb2.DESCRIPTOR.services_by_name["ProviderService"],
        lambda backend: ProviderServicer(backend.pool),
        provider_pb2_grpc.add_ProviderServiceServicer_to_server,
        provider_pb2_grpc.ProviderServiceStub,
    ),
    "system": Service(
        system_pb2.DESCRIPTOR.services_by_name["SystemService"],
        lambda backend: SystemServicer(backend.pool, backend.data_folder),
        system_pb2_grpc.add_SystemServiceServicer_to_server,
        system_pb2_grpc.SystemServiceStub,
    ),
    "audit": Service(
        audit_pb2.DESCRIPTOR.services_by_name["AuditService"],
        lambda backend: AuditServicer(backend.pool),
        audit_pb2_grpc.add_AuditServiceServicer_to_server,
        audit_pb2_grpc.AuditServiceStub,
    ),
}
"""The services, by the name that `AdminClient` has for each."""

DESCRIPTORS = {service.descriptor.full_name: service.descriptor for service in SERVICES.values()}
