"""nginx in front of replicas, with the configuration that `deploy/` ships. Knows no jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from replicas import Process, answers
from service import free_port

SHIPPED = Path(__file__).parents[1] / "deploy" / "nginx" / "nginx.conf"
PACKAGE = "nginx"
MISSING = "nginx is missing and could not be fetched: apt-get install nginx-light"


class NoBalancer(LookupError):
    """There is no nginx on this machine."""


def find_nginx(folder: Path) -> Path:
    """The program: an installed one, else the Debian package unpacked into `folder`, which needs no root and starts no
    service. Raises `NoBalancer`."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is not None:
        return Path(found)
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise NoBalancer(MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    for before in ([], ["apt-get", "update"]):  # the lists of a fresh container are empty
        if before:
            subprocess.run(before, capture_output=True, check=False)
        subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, capture_output=True, check=False)
        for package in folder.glob(f"{PACKAGE}_*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
            return folder / "usr" / "sbin" / "nginx"
    raise NoBalancer(MISSING)


def configuration(folder: Path, port: int, urls: Sequence[str]) -> str:
    """The shipped configuration with the replicas' addresses in place of a name of the container network."""
    text = SHIPPED.read_text()
    # A name that is looked up at run time remembers no failures; a list of servers would, for ten seconds.
    servers = "".join(f"server {url.removeprefix('http://')} max_fails=0; " for url in urls)
    for shipped, here in (
        ("resolver 127.0.0.11 valid=5s ipv6=off;", f"upstream replicas {{ {servers}}}"),
        ("http://api:8080", "http://replicas"),
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
        ("/tmp/", f"{folder}/"),
        ("/dev/stdout", f"{folder}/access.log"),
        ("/dev/stderr", f"{folder}/error.log"),
    ):
        if shipped not in text:
            raise ValueError(f"{SHIPPED.name} holds no {shipped!r} any more")
        text = text.replace(shipped, here)
    return text


@asynccontextmanager
async def balancer(folder: Path, urls: Sequence[str]) -> AsyncIterator[str]:
    """URL of a running nginx over the replicas. Raises `NoBalancer`."""
    program = find_nginx(folder / "package")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, urls))
    # One process, so that ending it leaves no worker of its behind.
    flags = "daemon off; master_process off;"
    argv = [str(program), "-p", str(folder), "-c", str(file), "-e", str(folder / "start.log"), "-g", flags]
    process = Process("nginx", argv, dict(os.environ), lambda: answers(f"{url}/livez"), folder / "nginx.log")
    try:
        await process.start()
        yield url
    finally:
        process.kill()
