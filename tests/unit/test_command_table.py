"""What all commands have in common, and that they reach every method of the admin API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.admin.services import SERVICES
from tests.kit.command_table import COMMANDS

COMMAND_MODULES = Path(__file__).parents[2] / "server"
OF_THIS_MACHINE = {"dispatch", "gateway", "health", "migrate", "portal", "serve", "up"}
"""Commands that run Clarion itself. `trigger` calls the API of callers."""
AS_FILE = {("audit", "export"), ("people", "export"), ("suppressions", "export")}
WITHOUT_A_COMMAND = {
    "CreateCampaign": "campaigns apply",
    "UpdateCampaign": "campaigns apply",
    "PreviewCampaign": "campaigns preview renders on its own, also from a file",
    "GetAdminKey": "operators list",
    "GetSession": "operators sessions list",
    "ListConfiguredProviders": "providers; the portal's form of campaigns offers them",
    "GetCaller": "the portal shows who is signed in",
    "CreateSession": "sign-in to the portal",
    "GetSignIn": "sign-in to the portal",
    "CreateSessionByOidc": "sign-in to the portal",
}


@pytest.mark.parametrize("words", [one for one in COMMANDS if one[0] not in {*OF_THIS_MACHINE, "trigger"}])
def test_commands_work_by_target_and_print_json(words: tuple[str, ...]) -> None:
    options = {option for one in COMMANDS[words].params for option in one.opts}
    wanted = {"--target", "--admin-key-file", "--ca-file"} | (set() if words in AS_FILE else {"--json"})
    assert wanted <= options


def test_every_method_has_a_command() -> None:
    sources = [*COMMAND_MODULES.glob("commands/*.py"), COMMAND_MODULES / "wiring/campaigns.py"]
    called = {name for one in sources for name in re.findall(r'"([A-Z][A-Za-z]+)"', one.read_text())}
    methods = {method.name for service in SERVICES.values() for method in service.descriptor.methods}
    assert methods - called <= set(WITHOUT_A_COMMAND)
    assert not called & set(WITHOUT_A_COMMAND)
