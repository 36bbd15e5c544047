"""The IDs that mail servers give to messages, in their replies."""

from __future__ import annotations

from server.dispatcher.providers.smtp.queue_id import queue_id
from tests.kit.cases import each_case


@each_case(
    ("reply", "expected"),
    [
        ("2.0.0 Ok: queued as 4F1A2B", "4F1A2B"),
        ("2.0.0 Ok: queued as 4cPq2w3YbHz9rxl", "4cPq2w3YbHz9rxl"),
        ("Ok: queued as aBc-1_d.E", "aBc-1_d.E"),
        ("OK id=1sMrpq-0001Ah-UT", "1sMrpq-0001Ah-UT"),
        ("OK id=1wLWNN-00000002g1x-0ye6", "1wLWNN-00000002g1x-0ye6"),
        ("2.0.0 w3A1bCde012345 Message accepted for delivery", "w3A1bCde012345"),
        ("2.0.0: 4be1e5f3 Message accepted for delivery", "4be1e5f3"),
        (
            "2.6.0 <id@clarion.example.com> [InternalId=274498, Hostname=a.example] Queued mail for delivery",
            "274498",
        ),
        ("2.0.0 OK  1644855633 l11si9233120wms.107 - gsmtp", "l11si9233120wms.107"),
        ("ok 1644855633 qp 12345", "12345"),
        ("Ok 0102018f1a2b3c4d-5e6f7a8b-1111-2222-3333-444455556666-000000", None),
        ("2.0.0 Message queued with id 2a4c6e.", "2a4c6e"),
        ("Message Queued (8A2B.1)", "8A2B.1"),
        ("2.0.0 OK", ""),
        ("2.5.0 Message accepted for delivery", ""),
        ("OK Great success", ""),
        ("Queued (0.05 seconds)", ""),
        ("", ""),
    ],
)
def test_the_id_in_a_reply(reply: str, expected: str | None) -> None:
    assert queue_id(reply) == (reply.removeprefix("Ok ") if expected is None else expected)
