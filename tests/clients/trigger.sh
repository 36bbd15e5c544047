#!/usr/bin/env bash
# Triggers campaigns over REST with curl, and shows how to read responses and errors.
#
#   CLARION_API_KEY="$(cat .clarion/demo-key)" tests/clients/trigger.sh                     all three campaigns of the demo
#   CLARION_API_KEY=…                          tests/clients/trigger.sh 44 '{"user": {…}}'  a campaign of your own
#
# Prints one line per call: `204 TRIGGER_ID`, or the status and the reason, followed by a line per violation.
# Exits with 0 if every trigger was accepted. CLARION_TARGET is the gateway's address: host:port, or a URL.
set -euo pipefail

case "${CLARION_TARGET:=127.0.0.1:8080}" in
  http*://*) url="$CLARION_TARGET" ;;
  *) url="http://$CLARION_TARGET" ;;
esac
key="${CLARION_API_KEY:?must be an API key, such as \"\$(cat .clarion/demo-key)\"}"
files="$(mktemp -d)"
trap 'rm -rf "$files"' EXIT

# trigger CAMPAIGN BODY - passes the key by standard input and the body in a file, because every user of the
# machine can see command arguments.
trigger() {
  local status
  printf '%s' "$2" >"$files/request"
  status="$(printf 'header = "Authorization: Bearer %s"\n' "$key" |
    curl --config - --silent --show-error --max-time 30 \
      --header 'Content-Type: application/json' --data-binary "@$files/request" \
      --dump-header "$files/head" --output "$files/body" --write-out '%{http_code}' \
      "$url/api/client/campaigns/$1/trigger")"
  if [ "$status" = 204 ]; then
    echo "204 $(header x-trigger-id)"
  else
    explain "$status"
    return 1
  fi
}

# header NAME - prints a header of the last response.
header() {
  tr -d '\r' <"$files/head" | sed -n "s/^$1: //Ip"
}

# explain STATUS - prints why the last call failed, formatted with jq if it is installed.
explain() {
  if command -v jq >/dev/null; then
    jq --raw-output --arg status "$1" '
      (.details[] | select(.["@type"] | endswith("ErrorInfo")) | "\($status) \(.reason)"),
      (.details[] | select(.["@type"] | endswith("BadRequest")) | .field_violations[] |
        "  \(.field // "body"): \(.description) (\(.reason))")' "$files/body"
  else
    echo "$1 $(cat "$files/body")"
  fi
  local wait
  wait="$(header retry-after)"
  if [ -n "$wait" ]; then echo "  retry in $wait s"; fi
}

if [ $# -eq 2 ]; then
  trigger "$1" "$2"
  exit
fi
trigger 44 '{"user": {"external_id": "EXTERNAL_ID", "email": "test@test.com", "timezone": "America/Chicago",
  "locale": "en"}, "event": {"random_field": "value"}}'
trigger 45 '{"user": {"external_id": "EXTERNAL_ID", "phone": "+12025550123"}, "event": {"code": "123456"}}'
trigger 46 '{"user": {"external_id": "EXTERNAL_ID", "device_token": "DEVICE_TOKEN"}, "event": {"headline": "From curl"}}'
