"""supervisord keeps the services running; this writes its configuration and talks to it.

It listens on a unix socket inside the state folder, never on TCP. A process that ends, however it was killed, is
started again; one that cannot start is tried again with growing pauses.
"""

import contextlib
import http.client
import os
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from infra.local import environment
from infra.local.services import ROOT, Service
from infra.local.state import State, StateError

# A unix socket's path holds 107 bytes, and supervisord binds a longer temporary name first.
LONGEST_SOCKET = 107 - len(".1234567")
STOP_S = 60.0
PASSIVE = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
LOG_RETENTION = "log-retention"
"""supervisord's listener beside the services."""
_NOT_THERE = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)


class Supervisor:
    """The supervisor of one installation, running or not."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.configuration = state.run / "supervisord.conf"

    @property
    def _proxy(self) -> Any:
        # A connection for each use: a transport must not be shared by threads.
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self.state.socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def running(self) -> bool:
        """Whether it answers."""
        try:
            return str(self._proxy.getState()["statename"]) in ("RUNNING", "RESTARTING")
        except _NOT_THERE:
            return False

    def begin(self, services: Iterable[Service]) -> None:
        """Write the configuration and start supervisord; no service is started yet."""
        if len(os.fsencode(str(self.state.socket))) > LONGEST_SOCKET:
            raise StateError(
                f"{self.state.folder}: 경로가 너무 깁니다. --state로 짧은 경로를 고르세요 "
                "(path too long for a unix socket; choose a shorter --state)"
            )
        self._write(services)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.configuration)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment.base(self.state), cwd=ROOT)
        if done.returncode:
            raise StateError(f"supervisord를 시작할 수 없습니다 (cannot start): {(done.stderr or done.stdout).strip()}")
        deadline = time.monotonic() + 10
        while not self.running():
            if time.monotonic() > deadline:
                raise StateError(f"supervisord가 응답하지 않습니다 (no answer): {self.state.logs / 'supervisord.log'}")
            time.sleep(0.05)

    def update(self, services: Iterable[Service]) -> None:
        """Take in services whose description is new or has changed, without touching the others."""
        self._write(services)
        added, changed, removed = self._proxy.reloadConfig()[0]
        for name in [*changed, *removed]:
            self._proxy.stopProcessGroup(name, True)
            self._proxy.removeProcessGroup(name)
        for name in [*changed, *added]:
            self._proxy.addProcessGroup(name)

    def processes(self) -> dict[str, dict[str, Any]]:
        """{service: what supervisord knows of it}."""
        infos = self._proxy.getAllProcessInfo()
        return {str(info["name"]): info for info in infos if info["name"] != LOG_RETENTION}

    def pid(self, name: str) -> int:
        """Process id of a service; 0 while it is down."""
        return int(self._proxy.getProcessInfo(name)["pid"])

    def start(self, *names: str) -> None:
        """Start those of `names` that do not run."""
        infos = self.processes()
        for name in names:
            if infos[name]["statename"] in PASSIVE:
                with contextlib.suppress(xmlrpc.client.Fault):  # it may have been started meanwhile
                    self._proxy.startProcess(name, False)

    def restart(self, *names: str) -> None:
        """Stop side by side and start again."""
        self._stop(names, time.monotonic() + STOP_S)
        self.start(*names)

    def shut_down(self, timeout_s: float = STOP_S) -> list[int]:
        """Stop all services and supervisord; end what is left of this installation. Returns the pids left over."""
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(*_NOT_THERE, xmlrpc.client.Fault):
            pid = int(self._proxy.getPID())
            # All at once, the database last: others may still write what they have in hand.
            names = set(self.processes())
            for group in (names - {"postgres"}, names & {"postgres"}):
                self._stop(group, deadline)
            self._proxy.shutdown()
            with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                psutil.Process(pid).wait(max(1.0, deadline - time.monotonic()))
        return self.end_leftovers()

    def _stop(self, names: Iterable[str], deadline: float) -> None:
        waiting = set(names)
        for name in waiting:
            with contextlib.suppress(xmlrpc.client.Fault):  # it does not run
                self._proxy.stopProcess(name, False)
        while waiting and time.monotonic() < deadline:
            infos = self.processes()
            waiting = {name for name in waiting if infos[name]["statename"] not in PASSIVE}
            time.sleep(0.05 if waiting else 0)

    def leftovers(self) -> list[psutil.Process]:
        """Processes of this installation, by the mark in their environment."""
        mark, found = str(self.state.folder), []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(environment.MARK) == mark:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def end_leftovers(self) -> list[int]:
        """End such processes (after supervisord itself was killed): asked first, then made to. Returns their pids."""
        processes = self.leftovers()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
        _, alive = psutil.wait_procs(processes, timeout=10)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5)
        self.state.socket.unlink(missing_ok=True)
        return [process.pid for process in processes]

    def _write(self, services: Iterable[Service]) -> None:
        text = render(self.state, services)
        temporary = self.configuration.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o600)
        temporary.replace(self.configuration)


def log_file(state: State, service: str) -> Path:
    """Where a service's output goes."""
    return state.logs / f"{service}.log"


def render(state: State, services: Iterable[Service]) -> str:
    """supervisord's configuration."""
    root = "user=root\n" if os.geteuid() == 0 else ""
    head = f"""\
; Written by `smartfit up` at every start: changes here are lost.
[unix_http_server]
file={_escape(str(state.socket))}
chmod=0600

[supervisord]
{root}logfile={_escape(str(state.logs / "supervisord.log"))}
logfile_maxbytes=5MB
logfile_backups=2
pidfile={_escape(str(state.run / "supervisord.pid"))}
childlogdir={_escape(str(state.logs))}
directory={_escape(str(ROOT))}
umask=077

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
    return head + _log_retention(state) + "".join(_program(state, service) for service in services)


def _log_retention(state: State) -> str:
    command = [sys.executable, "-m", "infra.local.log_retention", str(state.logs), str(state.run / "supervisord.pid")]
    return f"""
[eventlistener:{LOG_RETENTION}]
command={_escape(shlex.join(command))}
directory={_escape(str(ROOT))}
events=TICK_3600
autorestart=true
startsecs=0
stdout_logfile=NONE
stderr_logfile={_escape(str(log_file(state, LOG_RETENTION)))}
stderr_logfile_maxbytes=1MB
stderr_logfile_backups=1
"""


def _program(state: State, service: Service) -> str:
    pairs = ",".join(f"{name}={_quote(value)}" for name, value in service.environment.items())
    return f"""
[program:{service.name}]
command={_escape(shlex.join(service.command))}
environment={_escape(pairs)}
directory={_escape(str(ROOT))}
autostart=false
autorestart=true
startsecs=1
startretries=100
stopsignal={service.stop_signal}
stopwaitsecs={service.stop_wait_s}
killasgroup=true
redirect_stderr=true
stdout_logfile={_escape(str(log_file(state, service.name)))}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def _quote(value: str) -> str:
    """A value of supervisord's `environment`, which is read as shlex reads a shell's words."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escape(value: str) -> str:
    """`%` is special in every value of the file; a line break would start another setting."""
    if "\n" in value:
        raise StateError(f"줄바꿈이 든 설정은 쓸 수 없습니다 (a setting with a line break): {value!r}")
    return value.replace("%", "%%")
