"""What a person is told when a command of `smartfit` fails, and the exit status it ends with."""

from infra.local import console as out
from infra.local.postgres import PostgresError
from infra.local.provision import ProvisionError
from infra.local.readiness import NotReady
from infra.local.startup import Blocked, StartError
from infra.local.state import State, StateError
from infra.local.supervisor import log_file
from platform_api.core.settings import SettingsError
from platform_api.core.vault import VaultError

LOG_LINES = 12


def exit_status(error: Exception, state: State) -> int | None:
    """Say what is wrong and what to do; None for an error that none of the parts raises on purpose."""
    if isinstance(error, Blocked):
        out.complain("시작하지 않았습니다. 먼저 고칠 것:", "nothing was started; mend this first")
        for finding in error.findings:
            out.say(f"  {finding.subject}: {finding.korean}", finding.english, "red")
            out.console.print(f"      → {finding.remedy}", markup=False)
        return 2
    if isinstance(error, NotReady):
        out.complain(f"{error.service}이(가) 준비되지 않았습니다: {error.why}", f"{error.service} is not ready")
        file = log_file(state, error.service)
        for line in out.tail(file, LOG_LINES):
            out.console.print(f"    {line}", markup=False, style="dim")
        out.say(f"기록: {file}", f"log; more: smartfit logs {error.service}")
        return 1
    known = (StateError, StartError, PostgresError, ProvisionError, SettingsError, VaultError)
    if isinstance(error, known):
        out.complain("할 수 없습니다.", "failed")
        out.console.print(f"    {error}", markup=False)
        return 1
    return None
