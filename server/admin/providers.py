"""ProviderService: the providers that campaigns can use, and how each is doing."""

from __future__ import annotations

from collections.abc import Sequence

from clarion.admin.v1 import provider_pb2 as pb
from clarion.admin.v1 import provider_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.campaign import TEST_PROVIDER
from ..domain.statistics import Kind
from ..domain.waiting import DispatcherReport, ProviderStatus
from ..intake.rules import require_valid
from ..store.pool import Pool, reached
from ..store.records.waiting import find_providers, find_reports
from ..store.statistics.read import ProviderResults, provider_results
from .call import AdminCall

__all__ = ["ProviderServicer"]


class ProviderServicer(provider_pb2_grpc.ProviderServiceServicer):
    """Returns the configured providers and their state.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListProviders(  # noqa: N802 - gRPC's name
        self, request: pb.ListProvidersRequest, call: AdminCall
    ) -> pb.ListProvidersResponse:
        """Return all providers."""
        require_valid(request)
        call.require()
        async with reached():
            _, reports = await find_reports(self._pool)
            results = await provider_results(self._pool)
        configured = {name for report in reports for name in report.providers or {}} - {TEST_PROVIDER}
        recent = {name for name, one in results.items() if one.counts.of or one.errors}
        return pb.ListProvidersResponse(
            providers=[
                _provider(name, reports, results.get(name, ProviderResults()))
                for name in sorted(configured | recent)
            ],
            dispatcher_count=len(reports),
        )

    async def ListConfiguredProviders(  # noqa: N802 - gRPC's name
        self, request: pb.ListConfiguredProvidersRequest, call: AdminCall
    ) -> pb.ListConfiguredProvidersResponse:
        """Return the providers that campaigns can use. They are the same for all projects."""
        require_valid(request)
        async with reached():
            found = await find_providers(self._pool)
        return pb.ListConfiguredProvidersResponse(
            configured_providers=[
                pb.ConfiguredProvider(provider=name, channels=sorted(channels))
                for name, channels in sorted((found or {}).items())
            ]
        )


def _provider(name: str, reports: Sequence[DispatcherReport], results: ProviderResults) -> pb.Provider:
    found = [
        (report, report.providers[name])
        for report in reports
        if report.providers and name in report.providers
    ]
    counts = results.counts.of
    return pb.Provider(
        provider=name,
        dispatchers=[_dispatcher(report, status) for report, status in found],
        messages_per_second=max((status.rate for _, status in found), default=0.0),
        delivered=counts.get(Kind.DELIVERED, 0),
        failed=counts.get(Kind.FAILED, 0),
        retried=counts.get(Kind.RETRIED, 0),
        last_success_time=timestamp(results.last_success) if results.last_success else None,
        errors=[
            pb.ProviderError(
                message=one.error,
                occurrences=one.count,
                first_time=timestamp(one.first_at),
                last_time=timestamp(one.last_at),
                trigger_id=str(one.trigger_id),
            )
            for one in results.errors
        ],
    )


def _dispatcher(report: DispatcherReport, status: ProviderStatus) -> pb.ProviderDispatcher:
    return pb.ProviderDispatcher(
        dispatcher_id=report.id,
        report_time=timestamp(report.at),
        hold=status.hold or "",
        hold_seconds=status.wait,
        last_error=status.error,
        suppression_paused=status.suppression_paused,
    )
