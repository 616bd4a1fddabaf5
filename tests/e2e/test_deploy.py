"""docker-compose.yml, the Dockerfile and deploy/: what they say, and their commands as processes.

No Docker engine is needed: the end-to-end tests read the compose file, put folders in the place of
its mounts, and run each service's own command here, on a Postgres and an nginx of this machine.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psutil
import pytest
import sqlalchemy as sa
import yaml

from tuneoff.search.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
OTHER_MACHINES = ROOT / "deploy" / "other-machines.yml"
KUBERNETES = ROOT / "deploy" / "kubernetes.yaml"
DOCKERFILE = ROOT / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = f"tuneoff:{PROJECT['version']}"

VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")


def interpolate(value: Any, settings: Mapping[str, str]) -> Any:
    """A part of a compose file with its variables replaced, as Compose does it."""
    if isinstance(value, Mapping):
        return {key: interpolate(inner, settings) for key, inner in value.items()}
    if isinstance(value, list):
        return [interpolate(inner, settings) for inner in value]
    if not isinstance(value, str):
        return value

    def replace(found: re.Match[str]) -> str:
        name, operator, word = found.groups()
        if name is None:
            return "$"
        if settings.get(name):
            return settings[name]
        assert operator == "-", f"{name} is not set: {word}"
        return word

    return VARIABLE.sub(replace, value)


def compose(settings: Mapping[str, str] | None = None, file: Path = COMPOSE) -> dict[str, Any]:
    """A compose file, as it is with these variables set."""
    content: dict[str, Any] = interpolate(yaml.safe_load(file.read_text()), settings or {})
    return content


def seconds(duration: str) -> float:
    """A duration of a compose file, as in 1m30s."""
    units = {"h": 3600, "m": 60, "s": 1}
    return float(sum(int(n) * units[u] for n, u in re.findall(r"(\d+)([hms])", duration)))


def kubernetes() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(KUBERNETES.read_text()))


def pod(job: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def containers(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*pod(job).get("initContainers", []), *pod(job)["containers"]]


JOBS = {doc["metadata"]["name"]: doc for doc in kubernetes() if doc["kind"] == "Job"}
HEAD = KUBERNETES.read_text().split("apiVersion")[0]


def parse(words: list[str]) -> click.Context:
    """What click makes of the words after ``tuneoff``; UsageError if it makes nothing of them."""
    context = cli.make_context("tuneoff", list(words))
    name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None
    return command.make_context(name, rest, parent=context)


def check_schema(*files: Path) -> subprocess.CompletedProcess[str]:
    checker = Path(sys.executable).parent / "check-jsonschema"
    command = [str(checker), "--builtin-schema", "vendor.compose-spec", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class TestComposeFile:
    SERVICES: dict[str, Any] = compose()["services"]
    OURS = sorted(name for name, service in SERVICES.items() if service["image"] == IMAGE)

    @pytest.mark.slow
    def test_follows_the_specification(self, tmp_path: Path) -> None:
        done = check_schema(COMPOSE, OTHER_MACHINES)
        assert done.returncode == 0, done.stdout + done.stderr
        wrong = tmp_path / "docker-compose.yml"
        wrong.write_text(COMPOSE.read_text().replace("healthcheck:", "healthchek:"))
        assert check_schema(wrong).returncode == 1

    @pytest.mark.slow
    def test_which_services_are_ours(self) -> None:
        assert self.OURS == ["create", "dashboard", "workers-cpu", "workers-gpu"]

    @pytest.mark.parametrize("name", OURS)
    def test_command_is_one_of_tuneoff(self, name: str) -> None:
        command = self.SERVICES[name]["command"]
        context = parse(command)
        assert context.info_name == command[0]
        with pytest.raises(click.UsageError):
            parse([*command, "--no-such-option"])

    def test_all_that_services_refer_to_is_there(self) -> None:
        whole = compose()
        mentioned: dict[str, set[str]] = {"secrets": set(), "networks": set(), "volumes": set()}
        for service in self.SERVICES.values():
            for kind in ("secrets", "networks"):
                mentioned[kind] |= set(service.get(kind, ()))
            sources = [volume.split(":")[0] for volume in service.get("volumes", ())]
            mentioned["volumes"] |= {source for source in sources if source[0] not in "./"}
            assert all((ROOT / s).exists() for s in sources if s[0] == "." and s != "./data")
            assert set(service.get("depends_on", ())) <= set(self.SERVICES)
        for kind, names in mentioned.items():
            assert names == set(whole[kind]), kind

    def test_only_the_proxy_is_published_and_to_this_machine_alone(self) -> None:
        published = {name: s["ports"] for name, s in self.SERVICES.items() if "ports" in s}
        assert published == {"proxy": ["127.0.0.1:8080:8080"]}

    @pytest.mark.parametrize("name", SERVICES)
    def test_no_container_may_do_more_than_it_needs(self, name: str) -> None:
        service = self.SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert not service.get("privileged", False)
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert min(map(int, service["user"].split(":"))) > 0
        assert "/tmp" in service["tmpfs"]

    def test_the_proxy_reaches_nothing_but_the_dashboard(self) -> None:
        networks = {name: set(s["networks"]) for name, s in self.SERVICES.items()}
        assert networks["proxy"] & networks["dashboard"]
        assert not networks["proxy"] & networks["postgres"]
        assert networks["postgres"] == {"storage"}
        assert compose()["networks"]["storage"]["internal"]

    def test_other_machines_are_let_in_on_one_address_that_must_be_named(self) -> None:
        with pytest.raises(AssertionError, match="POSTGRES_ADDRESS is not set"):
            compose(file=OTHER_MACHINES)
        more = compose({"POSTGRES_ADDRESS": "10.0.0.1"}, OTHER_MACHINES)["services"]
        assert more["postgres"]["ports"] == ["10.0.0.1:5432:5432"]
        assert set(more["postgres"]["networks"]) <= set(compose()["networks"])

    def test_images_have_versions(self) -> None:
        for service in self.SERVICES.values():
            assert re.fullmatch(r"\w+:\d+(\.\d+)+", service["image"])
        images = [self.SERVICES[name]["image"] for name in ("postgres", "backup")]
        assert len(set(images)) == 1  # pg_dump must not be older than its server

    @pytest.mark.parametrize("name", ["workers-gpu", "workers-cpu"])
    def test_workers_start_after_create_and_have_time_to_leave(self, name: str) -> None:
        workers = self.SERVICES[name]
        assert workers["depends_on"] == {"create": {"condition": "service_completed_successfully"}}
        assert workers["restart"] == "on-failure"
        assert seconds(workers["stop_grace_period"]) > 60  # the launcher waits so long itself

    def test_gpus_are_reserved(self) -> None:
        (device,) = self.SERVICES["workers-gpu"]["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        assert "deploy" not in self.SERVICES["workers-cpu"]


class TestKubernetes:
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("version", ["1.31", "1.37"])
    def test_follows_the_schemas_of_kubernetes(self, version: str) -> None:
        import kubernetes_validate

        for document in kubernetes():
            kubernetes_validate.validate(document, version, strict=True)
        document["spec"]["paralelism"] = 4
        with pytest.raises(kubernetes_validate.ValidationError, match="paralelism"):
            kubernetes_validate.validate(document, version, strict=True)

    @pytest.mark.parametrize("name", JOBS)
    def test_commands_are_those_of_tuneoff(self, name: str) -> None:
        for container in containers(JOBS[name]):
            assert container["image"] == IMAGE
            words = container.get("args")
            if words is None:
                (script,) = container["command"][2:]
                words = shlex.split(re.findall(r"tuneoff ([^>;]+)", script)[0])
            parse(words)

    @pytest.mark.parametrize("name", JOBS)
    def test_all_that_pods_refer_to_is_there_or_made_by_the_commands_at_the_head(
        self, name: str
    ) -> None:
        documents = {(doc["kind"], doc["metadata"]["name"]) for doc in kubernetes()}
        made = dict(re.findall(r"kubectl create secret generic (\S+) --from-file=(\S+)=", HEAD))
        maps = dict(re.findall(r"kubectl create configmap (\S+) --from-file=(\S+)=", HEAD))
        files: dict[str, str] = {}  # in which volume there is which file
        for volume in pod(JOBS[name])["volumes"]:
            if "secret" in volume:
                files[volume["name"]] = made[volume["secret"]["secretName"]]
            elif "configMap" in volume:
                files[volume["name"]] = maps[volume["configMap"]["name"]]
            elif "emptyDir" in volume:
                files[volume["name"]] = ""
            else:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in documents
                files[volume["name"]] = ""
        settings = next(doc["data"] for doc in kubernetes() if doc["kind"] == "ConfigMap")
        for container in containers(JOBS[name]):
            assert [source["configMapRef"]["name"] for source in container["envFrom"]] == [
                doc["metadata"]["name"] for doc in kubernetes() if doc["kind"] == "ConfigMap"
            ]
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert set(mounts) <= set(files)
            there = {f"{path}/{files[volume]}".rstrip("/") for volume, path in mounts.items()}
            assert settings["PGSERVICEFILE"] in there
            assert settings["HOME"] in there
            if container["name"] != "wait":
                assert settings["TUNEOFF_WORK"] in there
            words = container.get("args", [])
            assert {word for word in words if word.startswith("/")} <= there
            variables = set(
                re.findall(r"\$\(?(\w+)", " ".join([*words, *container.get("command", [])]))
            )
            assert variables <= set(settings)

    @pytest.mark.parametrize("name", JOBS)
    def test_no_container_may_do_more_than_it_needs(self, name: str) -> None:
        found = pod(JOBS[name])
        assert found["automountServiceAccountToken"] is False
        assert found["securityContext"]["runAsNonRoot"] is True
        assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(JOBS[name]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }

    def test_the_settings_are_those_of_compose(self) -> None:
        ours = next(doc["data"] for doc in kubernetes() if doc["kind"] == "ConfigMap")
        theirs = compose()["services"]["create"]["environment"]
        differs = {"STUDY_NAME", "PGSERVICEFILE"}
        assert {k: v for k, v in ours.items() if k not in differs} == {
            k: v for k, v in theirs.items() if k not in differs
        }

    def test_a_worker_that_was_told_to_leave_does_not_count_as_failed(self) -> None:
        workers = JOBS["tuneoff-workers"]["spec"]
        assert "completions" not in workers
        rules = workers["podFailurePolicy"]["rules"]
        codes = [rule["onExitCodes"] for rule in rules if "onExitCodes" in rule]
        names = [container["name"] for container in workers["template"]["spec"]["containers"]]
        assert codes == [
            {"containerName": names[0], "operator": "In", "values": [128 + signal.SIGTERM]}
        ]


class TestDockerfile:
    LINES = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text()).splitlines()

    def words(self, instruction: str) -> list[str]:
        return [line.split(None, 1)[1] for line in self.LINES if line.startswith(instruction + " ")]

    def test_signals_reach_tuneoff(self) -> None:
        assert [json.loads(words) for words in self.words("ENTRYPOINT")] == [["tuneoff"]]
        assert "tuneoff" in PROJECT["scripts"]

    def test_the_base_image_has_a_version_that_we_support(self) -> None:
        (base,) = self.words("FROM")
        assert re.fullmatch(r"python:3\.11\.\d+-slim", base)

    def test_the_user_is_the_one_that_kubernetes_expects(self) -> None:
        user = int(self.words("USER")[-1].split(":")[0])
        assert user != 0
        for job in JOBS.values():
            assert pod(job)["securityContext"]["runAsUser"] == user

    def test_what_it_copies_is_there_and_not_ignored(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        assert "*" in ignored
        kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
        copied = {name for words in self.words("COPY") for name in words.split()[:-1]}
        assert copied == kept
        assert all((ROOT / name).exists() for name in copied)
        secret = compose()["secrets"]["postgres_password"]["file"].removeprefix("./")
        assert not any(fnmatch.fnmatch(secret, f"{pattern}*") for pattern in kept)
        assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()

    def test_its_extras_are_ours(self) -> None:
        (default,) = self.words("ARG")
        extras = re.findall(r"--extra (\w+)", default)
        assert "postgres" in extras
        assert set(extras) <= set(PROJECT["optional-dependencies"])


# Processes

STUDY = """
name = "small"
repeats = 1

[data]
name = "digits"
validation = 0.2

[trial]
model = "proxy"
epochs = 3
batch_size = 64
flip = false

[space]
lr = { low = 1e-3, high = 1.0, log = true }

[budget]
epochs = 6

[arms.hand]
configs = [{ lr = 0.01 }, { lr = 0.1 }]

[arms.random]
sampler = "random"

[promote]
top = 1
seeds = 1
epochs = 3
"""
SETTINGS = {
    "STUDY": "studies/small.toml",
    "STUDY_NAME": "small",
    "BACKUP_HOUR": "0",
    "BACKUP_KEEP": "2",
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def two_cores() -> None:
    """In a child, before its program starts: as many workers as cores would be too many."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


@dataclass
class Watcher:
    """Looks at the arguments and the environment of every descendant of this process."""

    secrets: dict[str, str] = field(default_factory=dict)  # what must not be seen, by its name
    seen: dict[str, str] = field(default_factory=dict)  # where it was, by its name
    looked_at: set[str] = field(default_factory=set)  # names of programs

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(0.2):
            for process in me.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    arguments = process.cmdline()
                    self.looked_at.add(process.name())
                    text = "\0".join([*arguments, *process.environ().values()])
                    for name, secret in self.secrets.items():
                        if secret in text:
                            self.seen[name] = " ".join(arguments)[:60]

    def close(self) -> None:
        self._over.set()
        self._thread.join()


class Stack:
    """The services of docker-compose.yml as processes, with folders for their mounts."""

    def __init__(self, folder: Path, environment: Mapping[str, str], binaries: Path) -> None:
        self.project = folder / "project"  # what a clone of the repository is to Compose
        self.folder = folder
        self.content = compose(SETTINGS)
        self.services = self.content["services"]
        self.port = free_port()
        self.watcher = Watcher()
        path = f"{binaries}{os.pathsep}{environment['PATH']}"
        self._environment = {**environment, "PATH": path, "PGPORT": str(self.port)}
        self._started: list[tuple[str, subprocess.Popen[bytes]]] = []
        (self.project / "studies").mkdir(parents=True)
        (self.project / "studies" / "small.toml").write_text(STUDY)
        (self.project / "deploy").symlink_to(ROOT / "deploy")
        for volume in self.content["volumes"]:
            (folder / volume).mkdir()

    def mounts(self, name: str) -> dict[str, Path]:
        """Paths in a service's container, and what is there, the longest first."""
        service = self.services[name]
        found = {}
        for secret in service.get("secrets", ()):
            found[f"/run/secrets/{secret}"] = self.project / self.content["secrets"][secret]["file"]
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            base = self.project if source[0] == "." else self.folder
            found[target] = base / source
        return dict(sorted(found.items(), key=lambda item: -len(item[0])))

    def localise(self, name: str, text: str) -> str:
        """A text of a service with the paths of its container replaced by those here."""
        mounts = self.mounts(name)
        if not mounts:
            return text
        paths = "|".join(re.escape(path) for path in mounts)
        return re.sub(rf"(?<![\w/])({paths})\b", lambda m: str(mounts[m[1]].absolute()), text)

    def environment(self, name: str, **changes: str) -> dict[str, str]:
        """What a service's processes are told."""
        own = self.services[name].get("environment", {})
        return (
            self._environment
            | {key: self.localise(name, str(value)) for key, value in own.items()}
            | changes
        )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start(
        self,
        name: str,
        words: list[str] | None = None,
        changes: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """A service's command, or another one in its place, in the background."""
        words = self.services[name]["command"] if words is None else words
        words = [self.localise(name, word) for word in words]
        if self.services[name]["image"] == IMAGE:
            words = [sys.executable, "-P", "-m", "tuneoff", *words]
        with self.log(name).open("ab") as output:
            process = subprocess.Popen(
                words,
                cwd=self.project,
                env=self.environment(name, **(changes or {})),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **options,
            )
        self._started.append((name, process))
        return process

    def run(self, name: str, words: list[str] | None = None, **options: Any) -> int:
        """The same, to its end: its exit code."""
        return self.start(name, words, **options).wait(240)

    def healthcheck(self, name: str) -> int:
        """The exit code of a service's health check."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        return self.run(name, ["sh", "-c", *words] if kind == "CMD-SHELL" else words)

    def end(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
        """End a process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        return process.wait(60)

    def said(self) -> str:
        """All that any process of ours has said or logged."""
        files = [*self.folder.glob("*.log"), *(self.folder / "work").rglob("*.log")]
        assert files
        return "".join(file.read_text(errors="replace") for file in files)

    def url(self, database: str) -> sa.URL:
        """Of a database on its Postgres, with the password that stands in the secret."""
        secret = self.mounts("postgres")["/run/secrets/postgres_password"].read_text().strip()
        where = {"host": "127.0.0.1", "port": self.port, "database": database}
        return sa.URL.create("postgresql+psycopg", "tuneoff", secret, **where)  # type: ignore[arg-type]

    def service_file(self, database: str) -> Path:
        """libpq's service file as deploy/secrets.sh wrote it, but for the address."""
        original = self.mounts("backup")["/run/secrets/pg_service.conf"]
        text = original.read_text().replace("dbname=tuneoff", f"dbname={database}")
        assert "host=postgres\n" in text or f"port={self.port}\n" in text
        path = self.folder / f"{database}.conf"
        path.write_text(text.replace("host=postgres\n", f"host=127.0.0.1\nport={self.port}\n"))
        return path

    def close(self) -> None:
        self.watcher.close()
        for name, process in reversed(self._started):
            if process.poll() is None:
                self.end(process, signal.SIGINT if name == "postgres" else signal.SIGKILL)


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str], postgres_server: Any
) -> Iterator[Stack]:
    """Secrets made by deploy/secrets.sh, and the compose file's Postgres, healthy and empty."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    server = type(postgres_server)()  # one more, whose users need passwords
    stack = Stack(tmp_path_factory.mktemp("deploy"), environment, server.bin)
    try:
        made = subprocess.run(
            ["sh", "deploy/secrets.sh"], cwd=stack.project, capture_output=True, check=True
        )
        stack.log("secrets").write_bytes(made.stdout + made.stderr)
        secrets = stack.project / "secrets"
        stack.watcher.secrets |= {
            name: (secrets / name).read_text().strip()
            for name in ("postgres_password", "dashboard_password")
        }
        assert stack.healthcheck("postgres") != 0
        start_postgres(stack, server)
        service = secrets / "pg_service.conf"
        text = stack.service_file("tuneoff").read_text()
        service.chmod(0o644)
        service.write_text(text)
        yield stack
    finally:
        stack.close()
        server.close()


def start_postgres(stack: Stack, server: Any) -> None:
    """Run the compose file's server command, and do what the image does on an empty volume."""
    import psycopg

    (server.folder / "pg_hba.conf").write_text(
        "local all postgres trust\nhost all all all scram-sha-256\n"
    )
    place = ["-D", str(server.folder), "-k", str(server.folder), "-h", "127.0.0.1"]
    stack.start(
        "postgres",
        [*stack.services["postgres"]["command"], *place, "-p", str(stack.port)],
        user=server._server.system_user,
    )
    deadline = time.monotonic() + 90
    while stack.healthcheck("postgres"):
        assert time.monotonic() < deadline, stack.log("postgres").read_text()
        time.sleep(0.2)
    own = stack.services["postgres"]["environment"]
    password = Path(stack.localise("postgres", own["POSTGRES_PASSWORD_FILE"])).read_text().strip()
    with psycopg.connect(
        host=str(server.folder), port=stack.port, user="postgres", autocommit=True
    ) as connection:
        user, database = own["POSTGRES_USER"], own["POSTGRES_DB"]
        connection.execute(f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{password}'")
        connection.execute(f"CREATE DATABASE {database} OWNER {user}")
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("max_connections", "timezone")
        }
    assert shown == {"max_connections": ("250",), "timezone": ("UTC",)}


@pytest.fixture(scope="module")
def trained(stack: Stack, read_ledger: Callable[..., Any], until: Callable[..., Any]) -> Stack:
    """The same after ``create`` and the workers, who were stopped once and started again."""
    assert stack.run("create") == 0, stack.said()
    ledger = read_ledger(stack.url("tuneoff"))
    service = stack.services["workers-cpu"]
    workers = stack.start("workers-cpu", preexec_fn=two_cores)
    until(lambda: ledger.attempts() or workers.poll() is not None, "a trial")
    workers.send_signal(getattr(signal, service["stop_signal"]))
    code = workers.wait(seconds(service["stop_grace_period"]))
    assert code == 128 + signal.SIGTERM, stack.said()
    # Docker restarts what it has not stopped itself only after a failure: so this is one.
    assert service["restart"] == "on-failure"
    assert stack.run("workers-cpu", preexec_fn=two_cores) == 0, stack.said()
    return stack


@pytest.fixture
def dashboard(trained: Stack, until: Callable[..., Any]) -> Iterator[int]:
    """The port of the dashboard itself."""
    port = free_port()
    command = trained.services["dashboard"]["command"]
    assert command[1:] == ["--host", "0.0.0.0", "--port", "8080"]
    process = trained.start("dashboard", [command[0], "--host", "127.0.0.1", "--port", str(port)])
    until(lambda: answer(port, "GET", "/") or process.poll() is not None, "the dashboard")
    yield port
    trained.end(process)


@pytest.fixture
def proxy(trained: Stack, dashboard: int, until: Callable[..., Any]) -> Iterator[int]:
    """The port of nginx before the dashboard, with the template that the compose file mounts."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    service = trained.services["proxy"]
    assert service["environment"] == {"DASHBOARD": "dashboard:8080"}
    # The image's own entry point does this with every template.
    target = "/etc/nginx/templates/default.conf.template"
    template = trained.mounts("proxy")[target].read_text()
    site = trained.localise("proxy", template.replace("${DASHBOARD}", f"127.0.0.1:{dashboard}"))
    assert "listen 8080;" in site
    assert "auth_delay 3s;" in site
    site = site.replace("auth_delay 3s;", "auth_delay 1s;")
    folder = trained.folder / "nginx"
    folder.mkdir()
    (folder / "site.conf").write_text(site.replace("listen 8080;", f"listen 127.0.0.1:{port};"))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        # nginx's workers must get at the secrets in pytest's folder, which is only ours.
        f"{'user root;' if os.getuid() == 0 else ''}\n"
        f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log {trained.log('access')};\n{temporary}"
        f"include {folder}/site.conf;\n}}\n"
    )
    process = trained.start("proxy", [nginx, "-e", "stderr", "-c", f"{folder}/nginx.conf"])
    until(lambda: answer(port, "GET", "/") or process.poll() is not None, "nginx")
    assert process.poll() is None, trained.log("proxy").read_text()
    yield port
    trained.end(process)


def answer(port: int, method: str, path: str, login: str = "", **headers: str) -> tuple[int, bytes]:
    """Status and body; (0, b"") if nobody listens, which is false."""
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return ()  # type: ignore[return-value]
    finally:
        connection.close()


def check_secrecy(stack: Stack, *programs: str) -> None:
    """No password in any process's arguments or environment, nor in anything said."""
    assert stack.watcher.looked_at >= set(programs)
    assert stack.watcher.seen == {}
    said = stack.said()
    for name, secret in stack.watcher.secrets.items():
        assert secret not in said, name


@pytest.mark.slow
@pytest.mark.timeout(900)  # the first of them trains
class TestProcesses:
    def test_secrets_are_closed_to_other_users_and_made_once(self, stack: Stack) -> None:
        folder = stack.project / "secrets"
        assert folder.stat().st_mode & 0o777 == 0o700
        content = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert {Path(s["file"]).name for s in stack.content["secrets"].values()} <= set(content)
        again = subprocess.run(
            ["sh", "deploy/secrets.sh"], cwd=stack.project, capture_output=True, check=True
        )
        assert b"nothing changed" in again.stdout
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == content

    def test_a_wrong_password_is_refused(self, stack: Stack) -> None:
        wrong = stack.folder / "wrong.conf"
        text = stack.service_file("tuneoff").read_text()
        wrong.write_text(re.sub("password=.*", "password=wrong", text))
        changes = {"PGSERVICEFILE": str(wrong)}
        assert stack.run("create", ["status", "small"], changes=changes) == 2
        assert "password authentication failed" in stack.log("create").read_text()

    def test_the_study_is_run_to_its_end(
        self, trained: Stack, read_ledger: Callable[..., Any]
    ) -> None:
        trials = read_ledger(trained.url("tuneoff")).trials()
        searches = {trial["search"] for trial in trials}
        assert searches == {"small/hand/0", "small/random/0", "small/full"}
        assert {trial["state"] for trial in trials} == {"COMPLETE"}
        check_secrecy(trained, Path(sys.executable).name, "postgres")

    def test_the_watch_for_passwords_can_see_one(self, stack: Stack) -> None:
        watcher = Watcher({"canary": "f00dcafe", "other": "beefcafe"})
        sleep = "import time; time.sleep(60)"
        process = stack.start("create", ["sh"], changes={"CANARY": "f00dcafe"})
        process.wait(60)
        process = subprocess.Popen(
            [sys.executable, "-c", sleep, "beefcafe"], env={**os.environ, "CANARY": "f00dcafe"}
        )
        try:
            deadline = time.monotonic() + 90
            while set(watcher.seen) != {"canary", "other"}:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait(30)
            watcher.close()

    def test_the_proxy_lets_readers_read_and_nothing_else(
        self, trained: Stack, dashboard: int, proxy: int, read_ledger: Callable[..., Any]
    ) -> None:
        login = f"tuneoff:{trained.watcher.secrets['dashboard_password']}"
        before = read_ledger(trained.url("tuneoff")).trials()
        status, body = answer(proxy, "GET", "/api/studies", login)
        assert status == 200
        summaries = json.loads(body)["study_summaries"]
        names = {summary["study_name"] for summary in summaries}
        searches = {f"small/{search}" for search in ("hand/0", "random/0", "full", "ensemble")}
        assert names == {"small", *searches}
        assert answer(proxy, "HEAD", "/dashboard/", login)[0] == 200

        for wrong in ("", "tuneoff:wrong", "nobody:", login.replace("tuneoff", "Tuneoff")):
            assert answer(proxy, "GET", "/api/studies", wrong)[0] == 401
            assert answer(proxy, "GET", "/dashboard/", wrong)[0] == 401
        for summary in summaries:
            path = f"/api/studies/{summary['study_id']}"
            for method in ("DELETE", "POST", "PUT", "PATCH", "OPTIONS", "delete", "PROPFIND"):
                assert answer(proxy, method, path, login)[0] in (400, 403)
                assert answer(proxy, method, path)[0] in (400, 401, 403)
            assert answer(proxy, "DELETE", path, login)[0] == 403
            assert answer(proxy, "GET", path, login, X_HTTP_Method_Override="DELETE")[0] == 200
            assert answer(proxy, "GET", path, login)[0] == 200
        assert read_ledger(trained.url("tuneoff")).trials() == before
        check_secrecy(trained, "nginx")

        # It is the proxy that protects: the dashboard does as it is told.
        engine = sa.create_engine(trained.url("tuneoff"))
        with engine.begin() as connection:
            connection.execute(
                sa.text("INSERT INTO studies (study_id, study_name) VALUES (9999, 'spare')")
            )
        engine.dispose()
        assert answer(proxy, "DELETE", "/api/studies/9999", login)[0] == 403
        assert answer(dashboard, "DELETE", "/api/studies/9999")[0] == 204

    def test_a_dump_can_be_restored(
        self, trained: Stack, read_ledger: Callable[..., Any], until: Callable[..., Any]
    ) -> None:
        folder = trained.mounts("backup")["/var/lib/postgresql"]
        old = [folder / f"tuneoff-2020-01-0{day}.dump" for day in (1, 2, 3)]
        for path in (*old, folder / "tuneoff-2020-01-04.dump.part"):
            path.write_text("old")
            os.utime(path, (0, 0))
        assert trained.healthcheck("backup") != 0
        process = trained.start("backup")
        until(lambda: not old[1].exists() or process.poll() is not None, "a dump")
        trained.end(process)
        *others, dump = sorted(folder.iterdir())
        assert others == [old[2]]
        assert re.fullmatch(r"tuneoff-20\d\d-\d\d-\d\d\.dump", dump.name)
        assert trained.healthcheck("backup") == 0

        # The command that the script's head tells, into another database.
        said = (ROOT / "deploy" / "backup.sh").read_text()
        found = re.search(r"docker compose exec backup (pg_restore .*?\.dump)\n", said, re.DOTALL)
        assert found is not None
        *restore, dumped = shlex.split(found[1].replace("\\\n#", ""))
        assert dumped == "/var/lib/postgresql/tuneoff-2026-11-23.dump"
        engine = sa.create_engine(trained.url("tuneoff"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE restored"))
        engine.dispose()
        changes = {"PGSERVICEFILE": str(trained.service_file("restored"))}
        dumped = f"/var/lib/postgresql/{dump.name}"
        assert trained.run("backup", [*restore, dumped], changes=changes) == 0, trained.said()
        here, there = (read_ledger(trained.url(name)) for name in ("tuneoff", "restored"))
        assert there.attempts() == here.attempts() != []
        assert there.trials() == here.trials()
        assert trained.run("create", ["status", "small"], changes=changes) == 0, trained.said()

        text = trained.folder / "dump.log"
        assert trained.run("backup", ["pg_restore", "--file", str(text), dumped]) == 0
        assert "small/hand/0" in text.read_text()
        check_secrecy(trained, "sh")

    def test_a_dump_that_fails_leaves_the_others_alone(
        self, stack: Stack, until: Callable[..., Any]
    ) -> None:
        folder = stack.folder / "other-backups"
        folder.mkdir()
        (folder / "tuneoff-2020-01-01.dump").write_text("old")
        command = stack.services["backup"]["command"]
        assert command[-1] == "/var/lib/postgresql"
        changes = {"PGSERVICEFILE": str(stack.service_file("no_such_database"))}
        process = stack.start("backup", [*command[:-1], str(folder)], changes=changes)
        log = stack.log("backup")
        until(lambda: "trying again" in log.read_text(), "a failed dump")
        stack.end(process)
        assert [path.name for path in folder.iterdir()] == ["tuneoff-2020-01-01.dump"]
