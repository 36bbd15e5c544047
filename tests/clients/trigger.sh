#!/usr/bin/env bash
# Triggers campaigns over REST with curl; shows how answers and errors are read.
#
#   CLARION_API_KEY="$(cat .clarion/demo-key)" tests/clients/trigger.sh                     all three of the demo
#   CLARION_API_KEY=…                          tests/clients/trigger.sh 44 '{"user": {…}}'  one of your own
#
# Prints a line a call: `204 TRIGGER_ID`; or the status, the reason, and a line for each violation.
# Exits with 0 if every trigger was accepted. CLARION_TARGET is where the gateway listens: host:port, or its URL.
set -euo pipefail

case "${CLARION_TARGET:=127.0.0.1:8080}" in
  http*://*) url="$CLARION_TARGET" ;;
  *) url="http://$CLARION_TARGET" ;;
esac
key="${CLARION_API_KEY:?set it to an API key, such as \"\$(cat .clarion/demo-key)\"}"
answer="$(mktemp -d)"
trap 'rm -rf "$answer"' EXIT

# trigger CAMPAIGN BODY - the key goes by standard input and the body by a file: arguments can be seen by every
# user of the machine.
trigger() {
  local status
  printf '%s' "$2" >"$answer/request"
  status="$(printf 'header = "Authorization: Bearer %s"\n' "$key" |
    curl --config - --silent --show-error --max-time 30 \
      --header 'Content-Type: application/json' --data-binary "@$answer/request" \
      --dump-header "$answer/head" --output "$answer/body" --write-out '%{http_code}' \
      "$url/api/client/campaigns/$1/trigger")"
  if [ "$status" = 204 ]; then
    echo "204 $(header x-trigger-id)"
  else
    explain "$status"
    return 1
  fi
}

# header NAME - prints a header of the last answer.
header() {
  tr -d '\r' <"$answer/head" | sed -n "s/^$1: //Ip"
}

# explain STATUS - prints why the last call was refused, with jq if it is there, else as it came.
explain() {
  if command -v jq >/dev/null; then
    jq --raw-output --arg status "$1" '
      (.details[] | select(.["@type"] | endswith("ErrorInfo")) | "\($status) \(.reason)"),
      (.details[] | select(.["@type"] | endswith("BadRequest")) | .field_violations[] |
        "  \(.field // "body"): \(.description) (\(.reason))")' "$answer/body"
  else
    echo "$1 $(cat "$answer/body")"
  fi
  local wait
  wait="$(header retry-after)"
  if [ -n "$wait" ]; then echo "  try again in $wait s"; fi
}

if [ $# -eq 2 ]; then
  trigger "$1" "$2"
  exit
fi
trigger 44 '{"user": {"external_id": "EXTERNAL_ID", "email": "test@test.com", "timezone": "America/Chicago",
  "locale": "en"}, "event": {"random_field": "value"}}'
trigger 45 '{"user": {"external_id": "EXTERNAL_ID", "phone": "+12025550123"}, "event": {"code": "123456"}}'
trigger 46 '{"user": {"external_id": "EXTERNAL_ID", "device_token": "DEVICE_TOKEN"}, "event": {"headline": "From curl"}}'
