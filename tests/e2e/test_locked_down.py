"""What runs in containers, with no more rights than docker-compose.yml gives: another user without
capabilities, and a file system that can be written to in few places."""

from __future__ import annotations

import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
STUDY = """
name = "small"
repeats = 1
data = { name = "digits", validation = 0.2 }
trial = { model = "proxy", epochs = 1, batch_size = 256, flip = false }
space = { lr = { low = 1e-3, high = 1.0, log = true } }
budget = { epochs = 1 }
arms = { random = { sampler = "random" } }
"""


def locked(service: str, folder: Path, *words: str) -> list[str]:
    """A command with a service's rights, in ``folder``, which is /mnt there and its only disk."""
    own = SERVICES[service]
    user, group = own["user"].split(":")
    mounts = []
    # Not /tmp: there is what the tests need. It is a part of the file system that is read-only.
    for entry in own["tmpfs"]:
        place, _, options = entry.partition(":")
        if place != "/tmp":
            if not Path(place).exists():
                parent, _, name = place.rpartition("/")
                mounts += [f"mount -t tmpfs tmpfs {parent}", f"mkdir {parent}/{name}"]
            mounts.append(f"mount -t tmpfs -o {options or 'mode=1777'} tmpfs {place}")
    script = "; ".join(
        [
            "set -e; mount --make-rprivate /",
            f"mount --bind {shlex.quote(str(folder))} /mnt",
            *mounts,
            "mount -o remount,bind,ro /; cd /mnt",
            f"exec setpriv --reuid {user} --regid {group} --clear-groups --bounding-set=-all "
            '--inh-caps=-all --no-new-privs "$@"',
        ]
    )
    return ["unshare", "--mount", "sh", "-c", script, "sh", *words]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A disk for whoever is locked up."""
    disk = tmp_path / "disk"
    (disk / "tmp").mkdir(parents=True)
    (disk / "study.toml").write_text(STUDY)
    disk.chmod(0o777)
    (disk / "tmp").chmod(0o777)
    try:
        probe = [sys.executable, "-c", "import os; os.listdir('/')"]
        works = subprocess.run(locked("create", disk, *probe), capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not here")
    if works.returncode:
        pytest.skip(f"cannot be locked up here: {works.stderr.decode()[-200:]}")
    return disk


def test_a_study_is_trained(folder: Path, environment: dict[str, str]) -> None:
    settings = environment | {
        "HOME": "/mnt/tmp",
        "TMPDIR": "/mnt/tmp",
        "TUNEOFF_WORK": "/mnt/work",
        "TUNEOFF_STORAGE": "sqlite:////mnt/own.db",
    }
    touch = locked("create", folder, "sh", "-c", "touch /etc/tuneoff /usr/tuneoff; id -u")
    done = subprocess.run(touch, capture_output=True, text=True, check=True)
    assert done.stdout == "10001\n"
    assert done.stderr.count("Read-only file system") == 2
    for words in (["create", "study.toml"], ["worker", "small", "--device", "cpu"], ["status"]):
        done = subprocess.run(
            locked("create", folder, sys.executable, "-P", "-m", "tuneoff", *words),
            env=settings,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "1/1" in done.stdout
    assert (folder / "own.db").stat().st_uid == 10001


@pytest.fixture
def proxy(folder: Path, until: Callable[..., Any]) -> Iterator[int]:
    """The port of nginx with the template that the compose file mounts, and nobody behind it."""
    nginx = shutil.which("nginx", path="/usr/bin:/usr/sbin:/usr/local/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    template = (ROOT / "deploy" / "dashboard.conf.template").read_text()
    (folder / "users").write_text("tuneoff:{PLAIN}open-sesame\n")
    site = template.replace("${DASHBOARD}", "127.0.0.1:1")
    assert "auth_delay 3s;" in site
    site = site.replace("auth_delay 3s;", "auth_delay 1s;")
    site = site.replace("/run/secrets/dashboard_users", "/mnt/users")
    (folder / "site.conf").write_text(site.replace("listen 8080", f"listen 127.0.0.1:{port}"))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path /var/cache/nginx/{kind}_temp;" for kind in kinds)
    # As in the image: the process's number in /run, what is held up in /var/cache/nginx.
    (folder / "nginx.conf").write_text(
        "daemon off; pid /run/nginx.pid; error_log stderr; events {}\n"
        f"http {{ access_log off; {temporary} include /etc/nginx/conf.d/default.conf; }}\n"
    )
    fill = "cp site.conf /etc/nginx/conf.d/default.conf && exec"
    command = f"{fill} {nginx} -e stderr -c /mnt/nginx.conf"
    process = subprocess.Popen(locked("proxy", folder, "sh", "-c", command), stderr=subprocess.PIPE)
    until(lambda: code(port) or process.poll() is not None, "nginx")
    assert process.poll() is None, process.stderr and process.stderr.read()
    yield port
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def code(port: int, password: str = "") -> int:
    """The code of an answer; 0 if nobody listens."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    passwords.add_password(None, f"http://127.0.0.1:{port}/", "tuneoff", password, True)
    opener.add_handler(urllib.request.HTTPBasicAuthHandler(passwords))
    try:
        with opener.open(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, OSError):
        return 0


def test_the_proxy_serves(proxy: int) -> None:
    assert code(proxy) == 401
    assert code(proxy, "wrong") == 401
    assert code(proxy, "open-sesame") == 502  # let through, and nobody is behind it


def test_whoever_tries_passwords_is_held_up(proxy: int) -> None:
    with ThreadPoolExecutor(60) as tries:
        codes = Counter(tries.map(lambda i: code(proxy, f"guess{i}"), range(60)))
    # Each refusal takes its time, and the others are not even looked at.
    assert set(codes) == {401, 429}
    assert codes[429] > 10
    # Those who know it are not held up: as many at once as browsers ask for.
    with ThreadPoolExecutor(6) as readers:
        assert set(readers.map(lambda _: code(proxy, "open-sesame"), range(60))) == {502}
