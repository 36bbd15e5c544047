"""Delivery: claims due messages from the queue, sends them, records the outcomes, and retries failures.

A message is a trigger or a webhook message. The terms used throughout:

- Lane: the part of the queue for one channel and one list of providers (`email/smtp,backup`), or for one
  webhook endpoint. Lanes are claimed separately, so that a slow provider delays only its own lanes.
- Slot: capacity for one message that is claimed for a provider and not yet sent. Each provider has a fixed
  number of slots.
- Room: how many more messages may be claimed for a provider now, by its free slots, circuit breaker and rate.
- Claim: a message that this dispatcher holds until its lease ends. A claim is either finished (an attempt was
  made or is not needed) or released (returned to the queue without an attempt).
"""
