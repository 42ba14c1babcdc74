"""The images of others that deploy/ names: present, pulled, or replaced by a stand-in of the same interface.

Stand-ins are for machines that reach a mirror of Debian, but no registry of images. They are made by debootstrap, apt
and the jars of the local stack, and they stay in the engine. Their names begin with `localhost`.
"""

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from local_stack.kafka_jars import NoRealKafka, jars
from local_stack.kafka_jars import cache_folder as jars_folder
from support.deploying.engine import Docker, EngineUnavailable, run

ROOT = Path(__file__).parents[3]
STAND_INS = ROOT / "tests/deploy/stand_ins"
NAMES = {
    "PYTHON_IMAGE": "python",
    "KAFKA_IMAGE": "kafka",
    "POSTGRES_IMAGE": "postgres",
    "PROMETHEUS_IMAGE": "prometheus",
    "PROXY_IMAGE": "proxy",
    "ALERTMANAGER_IMAGE": "alertmanager",
    "GRAFANA_IMAGE": "grafana",
}
DEBIAN = "trixie"
_PREFIX = "localhost/candlekeep-stand-in"
_PULL_SECONDS = 300.0
_BUILD_SECONDS = 600.0
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def default_images() -> dict[str, str]:
    """The image of each variable, as deploy/ names it."""
    files = ("Dockerfile", "compose.yaml", "compose.tls.yaml", "compose.monitoring.yaml")
    text = "".join((ROOT / "deploy" / file).read_text() for file in files)
    found = dict(re.findall(r"(?:ARG |\$\{)(\w+_IMAGE)(?:=|:-)([^\s}]+)", text))
    assert set(found) == set(NAMES)
    return found


def provide_images(docker: Docker, say: Callable[[str], None]) -> dict[str, str]:
    """A usable image for each variable. Those in the environment are used as they are."""
    provided: dict[str, str] = {}
    can_pull = True
    for variable, image in default_images().items():
        if chosen := os.environ.get(variable):
            provided[variable] = chosen
        elif docker.has_image(image) or (can_pull and (can_pull := _pull(docker, image))):
            provided[variable] = image
        else:
            provided[variable] = _stand_in(docker, NAMES[variable])
            say(f"{variable}: {image} cannot be pulled; a STAND-IN is used ({provided[variable]})")
    return provided


def _pull(docker: Docker, image: str) -> bool:
    try:
        docker.run("pull", "--quiet", image, seconds=_PULL_SECONDS)
    except (AssertionError, subprocess.TimeoutExpired):
        return False
    return True


def _stand_in(docker: Docker, name: str) -> str:
    """Its name with the hash of its files, so that a change of them makes a new one."""
    files = sorted(path for path in (STAND_INS / name).iterdir() if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    image = f"{_PREFIX}/{name}:{digest}"
    if docker.has_image(image):
        return image
    debian = debian_image(docker)
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        for path in files:
            shutil.copy(path, context)
        if name == "kafka":
            shutil.copytree(asyncio.run(_jar_folder()), context / "libs")
        build = (
            "build",
            "--quiet",
            "--network",
            "host",
            "--build-arg",
            f"DEBIAN_IMAGE={debian}",
            "--tag",
            image,
            folder,
        )
        docker.run(*build, seconds=_BUILD_SECONDS)
    return image


async def _jar_folder() -> Path:
    try:
        found = await jars(jars_folder())
    except NoRealKafka as error:
        raise EngineUnavailable(f"there are no jars for the stand-in of Kafka: {error}") from None
    return found[0].parent


def debian_image(docker: Docker) -> str:
    """A small Debian with the certificates that this machine trusts."""
    image = f"{_PREFIX}/debian:{DEBIAN}"
    if docker.has_image(image):
        return image
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise EngineUnavailable(
            "images cannot be pulled, and only root with the program debootstrap can make stand-ins"
        )
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        root = Path(folder) / "root"
        bootstrap = ("debootstrap", "--variant=minbase", "--include=ca-certificates", DEBIAN, str(root))
        run(bootstrap, environment=os.environ, seconds=_BUILD_SECONDS)
        if _CERTIFICATES.exists():
            shutil.copy(_CERTIFICATES, root / _CERTIFICATES.relative_to("/"))
        _import(docker, root, image)
    return image


def _import(docker: Docker, root: Path, image: str) -> None:
    archive = root.with_suffix(".tar")
    pack = ("tar", "-C", str(root), "--exclude=./var/cache/apt/archives/*.deb", "-cf", str(archive), ".")
    run(pack, environment=os.environ, seconds=_BUILD_SECONDS)
    path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    docker.run("import", "--change", path, str(archive), image, seconds=_BUILD_SECONDS)


def build_images(docker: Docker, images: Mapping[str, str], prefix: str, tag: str, names: tuple[str, ...]) -> None:
    """Builds Candlekeep's images with the script that operators use."""
    environment = {
        "BUILD_OPTIONS": "--network host",
        **docker.environment,
        "PYTHON_IMAGE": images["PYTHON_IMAGE"],
        "IMAGE_PREFIX": prefix,
        "IMAGE_TAG": tag,
    }
    run((str(ROOT / "deploy/build-images"), *names), environment=environment, seconds=_BUILD_SECONDS)
