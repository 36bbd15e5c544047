"""Which spans are recorded. A separate module, because it needs OpenTelemetry's SDK, which is an extra."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

__all__ = ["FollowingSampler"]


class FollowingSampler(Sampler):
    """Records what belongs to a recorded call: its children, and the traces that are linked to it.

    Of calls without a parent, those have been chosen before for which there is a span: see `may_record`.
    """

    def should_sample(  # noqa: PLR0917 - the signature of the base class
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide about one span."""
        sampler: Sampler = DEFAULT_ON
        if links:
            sampler = ALWAYS_ON if any(link.context.trace_flags.sampled for link in links) else ALWAYS_OFF
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Describe it, for the SDK."""
        return type(self).__name__
