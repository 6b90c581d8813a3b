"""Containers without a container engine: services of a compose file as processes in Linux namespaces.

A service gets namespaces of its own for network, mounts and processes; a root that overlays this machine's,
for its own files; the volumes, secrets, user, capabilities, environment and command of the file. The host is
a namespace as well, so that published ports are no ports of this machine. Networks are bridges in it. Health
checks, start conditions and restart rules are followed.

The substitute for an image: this machine's files, with the interpreter that runs the tests first in PATH. It
needs root.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_LISTENING = "0A"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}

_FORWARD = """
import asyncio, sys
host, port, to_host, to_port = sys.argv[1:]
async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def serve(reader, writer):
    try:
        there = await asyncio.open_connection(to_host, int(to_port))
    except OSError:
        return writer.close()
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
async def main():
    await (await asyncio.start_server(serve, host, int(port))).serve_forever()
asyncio.run(main())
"""
"""Docker's forwarding of a published port, for the address and port of the host."""


def why_not() -> str:
    """Why namespaces cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    for tool in ("ip", "unshare", "nsenter", "setpriv", "mount"):
        if shutil.which(tool) is None:
            return f"needs the command {tool}"
    made = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False
    )
    return "" if made.returncode == 0 else "may make no namespaces on this machine"


def inside(namespace: str, function: Callable[[], T]) -> T:
    """Call a function with the network of a namespace, in a thread of its own."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            with Path(f"/run/netns/{namespace}").open() as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


@dataclass(frozen=True)
class Image:
    """The parts of a service that its image decides.

    Attributes:
        user: User and group of its processes, and of new volumes.
        workdir: Working directory.
        environment: Variables.
        prepare: Shell lines that its entry point runs as root before the command.
        entrypoint: Where neither the file nor a caller says another.
    """

    user: tuple[int, int]
    workdir: str
    environment: Mapping[str, str]
    prepare: str = ""
    entrypoint: Sequence[str] = ()


@dataclass
class Network:
    """A bridge and the addresses given out on it."""

    bridge: str
    prefix: str
    given: int = 1

    def address(self) -> str:
        """The next free address."""
        self.given += 1
        return f"{self.prefix}.{self.given}"


@dataclass
class Container:
    """One replica of a service."""

    name: str
    service: Mapping[str, Any]
    image: Image
    folder: Path
    namespace: str
    addresses: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    is_wanted: bool = False
    helpers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> str:
        """All that it has printed so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def is_running(self) -> bool:
        """Whether its main process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Its first process, as this machine counts."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    @property
    def environment(self) -> dict[str, str]:
        """Variables of its processes: the image's, then the file's."""
        own = {name: _literal(value) for name, value in (self.service.get("environment") or {}).items()}
        return {**self.image.environment, **own}

    def run(self, command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as ``docker compose exec`` would."""
        into = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--root"]
        full = [*into, *self.as_user(), "env", "--ignore-environment", f"--chdir={self.image.workdir}"]
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return subprocess.run(
            [*full, *variables, *command], capture_output=True, text=True, timeout=timeout, check=False
        )

    def as_user(self) -> list[str]:
        """Prefix of its commands: the image's user, without the capabilities that the file drops."""
        user, group = self.image.user
        by = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        if "ALL" in (self.service.get("cap_drop") or []):
            by += ["--bounding-set=-all", "--inh-caps=-all"]
        if "no-new-privileges:true" in (self.service.get("security_opt") or []):
            by += ["--no-new-privs"]
        return by

    def health(self) -> bool:
        """Whether the file's health check succeeds now."""
        check = self.service["healthcheck"]
        kind, *command = (_literal(part) for part in check["test"])
        assert kind == "CMD"
        try:
            return self.run(command, timeout=_seconds(check["timeout"]) * 6).returncode == 0
        except (subprocess.TimeoutExpired, OSError, IndexError):
            return False  # it is slow, or away just now

    def kill(self) -> None:
        """End its processes at once; the restart rule may start it again."""
        os.kill(self.pid, signal.SIGKILL)

    def listening(self) -> set[tuple[str, int]]:
        """Addresses and ports at which somebody listens in its network."""
        return listening(self.pid)


class Project:
    """Services of one compose file, and the host that they would run on.

    Args:
        model: From ``docker compose config --format json``.
        images: By name.
        secrets: By the variable that the file takes each from.
        folder: For volumes, roots and logs.
        patience: How much longer than the file says a service may take to get healthy.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        images: Mapping[str, Image],
        secrets: Mapping[str, str],
        folder: Path,
        patience: float = 1.0,
    ) -> None:
        self._model = model
        self._images = images
        self._secrets = secrets
        self._folder = folder
        self._patience = patience
        self._tag = f"th{os.getpid() % 100_000}"
        self._networks: dict[str, Network] = {}
        self._count = 0
        self._over = threading.Event()
        self._restarter = threading.Thread(target=self._restart, daemon=True)
        self.containers: dict[str, Container] = {}
        self.host = f"{self._tag}-host"

    def __enter__(self) -> Project:
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        _call("ip", "netns", "add", self.host)
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", "public", "type", "bridge")
        self._ip("address", "add", "198.51.100.1/24", "dev", "public")
        self._ip("link", "set", "public", "up")
        for i, name in enumerate(self._model["networks"]):
            network = Network(f"br{i}", f"10.213.{i}")
            self._ip("link", "add", network.bridge, "type", "bridge")
            self._ip("address", "add", f"{network.prefix}.1/24", "dev", network.bridge)
            self._ip("link", "set", network.bridge, "up")
            self._networks[name] = network
        self._restarter.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._restarter.ident is not None:
            self._restarter.join()
        for container in self.containers.values():
            for process in [container.process, *container.helpers]:
                if process is not None and process.poll() is None:
                    process.kill()  # unshare takes all that it began with it
                    process.wait()
        for container in self.containers.values():
            _call("ip", "netns", "delete", container.namespace)
        _call("ip", "netns", "delete", self.host)

    def up(self, service: str, scale: int = 1) -> list[Container]:
        """Start a service when its dependencies are healthy; wait until it is healthy itself.

        One container after the other: Ray gives up a node that takes 15 s to start, as several at once may.
        """
        made = [self._create(service, f"{service}-{i + 1}") for i in range(scale)]
        for container in made:
            self._await_dependencies(container)
            container.is_wanted = True
            self._start(container)
            self._await_health(container)
        return made

    def run(self, service: str, options: Sequence[str], name: str = "") -> Container:
        """Start a container of a service with other options, as ``docker compose run`` does."""
        container = self._create(service, f"{service}-run-{name or self._count}", options)
        self._await_dependencies(container)
        self._start(container)
        return container

    def volume(self, name: str) -> Path:
        """Folder of a named volume."""
        return self._folder / "volumes" / name

    def _ip(self, *arguments: str) -> None:
        _call("ip", "-netns", self.host, *arguments)

    def _create(self, service: str, name: str, options: Sequence[str] | None = None) -> Container:
        described = dict(self._model["services"][service])
        if options is not None:
            described |= {"command": list(options), "ports": []}
        self._count += 1
        namespace = f"{self._tag}-{self._count}"
        _call("ip", "netns", "add", namespace)
        _call("ip", "-netns", namespace, "link", "set", "lo", "up")
        addresses = {}
        for i, network_name in enumerate(described["networks"]):
            network, here = self._networks[network_name], f"v{self._count}n{i}"
            addresses[network_name] = network.address()
            self._ip("link", "add", here, "type", "veth", "peer", "name", f"eth{i}", "netns", namespace)
            self._ip("link", "set", here, "master", network.bridge, "up")
            _call(
                *("ip", "-netns", namespace, "address", "add", f"{addresses[network_name]}/24"),
                *("dev", f"eth{i}"),
            )
            _call("ip", "-netns", namespace, "link", "set", f"eth{i}", "up")
        folder = self._folder / "containers" / name
        folder.mkdir(parents=True)
        container = Container(name, described, self._images[described["image"]], folder, namespace, addresses)
        self.containers[name] = container
        self._write_hosts()
        return container

    def _write_hosts(self) -> None:
        """Names as each container resolves them: of services that share a network with it."""
        for one in self.containers.values():
            lines = ["127.0.0.1 localhost"]
            for other in self.containers.values():
                for network in one.addresses.keys() & other.addresses.keys():
                    names = {other.name, other.name.rpartition("-")[0]}
                    lines.append(f"{other.addresses[network]} {' '.join(sorted(names))}")
            (one.folder / "hosts").write_text("\n".join(lines) + "\n")

    def _start(self, container: Container) -> None:
        script = container.folder / "start.sh"
        script.write_text(self._script(container))
        unshared = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc"]
        with (container.folder / "log").open("ab") as log:
            container.process = subprocess.Popen(
                ["ip", "netns", "exec", container.namespace, *unshared, "sh", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        container.starts += 1
        if container.starts == 1:
            to = next(iter(container.addresses.values()))
            for port in container.service.get("ports") or []:
                forward = [sys.executable, "-c", _FORWARD, port["host_ip"], port["published"]]
                container.helpers.append(
                    subprocess.Popen(
                        ["ip", "netns", "exec", self.host, *forward, to, str(port["target"])],
                        start_new_session=True,
                    )
                )

    def _script(self, container: Container) -> str:
        """Script that makes the root of a container and becomes its first process."""
        service, image, folder = container.service, container.image, container.folder
        root = folder / "root"
        kept = {folder / part for part in ("upper", "work", "tmp")}
        for path in {*kept, root}:
            path.mkdir(exist_ok=True)
        (folder / "tmp").chmod(0o1777)
        layers = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
        lines = [
            "set -e",
            "mount --make-rprivate /",
            f"mount -t overlay overlay -o {layers} {root}",
            f"mount --rbind /dev {root}/dev",
            f"mount -t tmpfs -o size={service.get('shm_size', 64 << 20)},mode=1777 shm {root}/dev/shm",
            f"mount -t proc proc {root}/proc",
            f"mount --bind {folder}/tmp {root}/tmp",
            f"mount -t tmpfs run {root}/run",
            f"cat {folder}/hosts > {root}/etc/hosts",
            f"mkdir -p {root}/run/secrets {root}{image.workdir}",
        ]
        for name in _interpreter():  # where this lies below /tmp, the folder mounted there hides it
            lines += [f"mkdir -p {root}{name}", f"mount --rbind {name} {root}{name}"]
            lines += [f"chmod o+x {root}{parent}" for parent in reversed(name.parents) if parent != Path("/")]
        for secret in service.get("secrets") or []:
            kept_in = folder / secret["source"]
            kept_in.write_text(self._secrets[self._model["secrets"][secret["source"]]["environment"]])
            target = f"{root}{secret['target']}"
            lines += [f"cat {kept_in} > {target}", f"chmod 0444 {target}", f"rm {kept_in}"]
        for mount in service.get("volumes") or []:
            assert mount["type"] == "volume"
            source = self.volume(mount["source"])
            if not source.exists():
                source.mkdir(parents=True)
                os.chown(source, *image.user)
            target = f"{root}{mount['target']}"
            lines += [f"mkdir -p {target}", f"mount --bind {source} {target}"]
        variables = [f"{name}={value}" for name, value in container.environment.items()]
        entrypoint = service.get("entrypoint") or image.entrypoint
        command = [_literal(part) for part in [*entrypoint, *(service.get("command") or [])]]
        main = [*container.as_user(), "env", "--ignore-environment", *variables, *command]
        exports = "\n".join(f"export {shlex.quote(variable)}" for variable in variables)
        body = f"{exports}\nset -e\n{image.prepare}\ncd {image.workdir}\n{shlex.join(main)} & wait $!"
        files = (service.get("ulimits") or {}).get("nofile")
        if files is not None:
            lines.append(
                f"ulimit -n {files} 2>/dev/null || ulimit -n $(ulimit -Hn)"
            )  # what this machine allows
        lines += [f"hostname {container.name}", f"exec chroot {root} sh -c {shlex.quote(body)}"]
        return "\n".join(lines) + "\n"

    def _await_dependencies(self, container: Container) -> None:
        for name, how in (container.service.get("depends_on") or {}).items():
            assert how["condition"] in ("service_healthy", "service_started")
            replicas = [c for c in self.containers.values() if c.name.rpartition("-")[0] == name]
            assert replicas, f"{container.name} needs {name}, which has not been started"
            for replica in replicas if how["condition"] == "service_healthy" else []:
                self._await_health(replica)

    def _await_health(self, container: Container) -> None:
        check = container.service["healthcheck"]
        allowed = _seconds(check["start_period"]) + check["retries"] * _seconds(check["interval"])
        end = time.monotonic() + allowed * self._patience
        while not container.health():
            if time.monotonic() > end:
                raise TimeoutError(f"{container.name} is not healthy; its log:\n{container.log[-4000:]}")
            time.sleep(1)

    def _restart(self) -> None:
        """Follow the restart rules: what ends by itself is started again."""
        while not self._over.wait(0.5):
            for container in list(self.containers.values()):
                ended = container.is_wanted and not container.is_running
                if ended and container.service.get("restart") == "unless-stopped":
                    self._start(container)


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports at which somebody listens in the network of a process; IPv6's in capitals."""
    found = set()
    for file in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{file}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == _LISTENING:
                address, port = local.split(":")
                found.add((_readable(address), int(port, 16)))
    return found


def _readable(address: str) -> str:
    """An address of /proc/net: the four bytes of IPv4, also within an IPv6 address."""
    if len(address) == 32 and address.startswith("0" * 16 + "FFFF0000"):
        address = address[24:]
    if len(address) != 8:
        return address
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(address)))


def _interpreter() -> list[Path]:
    """Folders of the interpreter of the tests, its packages and this repository."""
    repository = Path(__file__).parents[2]
    return sorted({repository, Path(sys.prefix), Path(sys.base_prefix)})


def _literal(value: object) -> str:
    """A value of the resolved file, in which a dollar sign is doubled."""
    return str(value).replace("$$", "$")


def _seconds(duration: str) -> float:
    """Go's way of writing a duration: 1m30s."""
    total, number = 0.0, ""
    for letter in duration:
        if letter in _UNITS:
            total, number = total + float(number) * _UNITS[letter], ""
        else:
            number += letter
    return total


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{shlex.join(command)}: {done.stderr.strip()}")


def resolve(file: Path, compose: Sequence[str], environment: Mapping[str, str]) -> Any:
    """A compose file as the engine would see it, all profiles on.

    Raises:
        ValueError: The file is refused.
    """
    done = subprocess.run(
        [*compose, "--file", str(file), "--profile", "*", "config", "--format", "json"],
        env={"HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(done.stderr.strip())
    return json.loads(done.stdout)
