"""Finds a Java that is new enough, and the jars of the broker, which Maven downloads once."""

import asyncio
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from xml.etree import ElementTree as ET

from local_stack.errors import StackError

POM = Path(__file__).parent / "kafka" / "pom.xml"
OLDEST_JAVA = 17
MAVEN_SECONDS = 600


@dataclass(frozen=True)
class Java:
    path: str
    version: int


class NoRealKafka(StackError):  # noqa: N818 -- the name describes a state
    """The real Kafka cannot run here. The message is the reason, shown if the in-memory Kafka is used instead."""


def kafka_version() -> str:
    """The version in the pom, which is the only place where it is written."""
    version = ET.parse(POM).findtext(".//{*}kafka.version")  # noqa: S314 -- our own file
    if version is None:
        raise StackError(f"{POM} does not contain kafka.version")
    return version


def cache_folder() -> Path:
    """A git-ignored folder in the checkout. If the checkout is not writable: a folder in the home folder."""
    for parent in POM.parents:
        if (parent / "requirements.lock").exists() and os.access(parent, os.W_OK):
            return parent / ".cache" / f"kafka-{kafka_version()}"
    return Path.home() / ".cache" / "candlekeep" / f"kafka-{kafka_version()}"


def find_java() -> Java:
    """The first Java on PATH or in JAVA_HOME that can run this Kafka. Raises NoRealKafka if there is none."""
    home = os.environ.get("JAVA_HOME")
    candidates = [shutil.which("java"), shutil.which("java", path=str(Path(home) / "bin")) if home else None]
    found = [java for path in candidates if path and (java := _probe(path))]
    for java in found:
        if java.version >= OLDEST_JAVA:
            return java
    if found:
        raise NoRealKafka(f"Java {found[0].version} is too old, Kafka needs {OLDEST_JAVA}")
    raise NoRealKafka("there is no java on PATH")


def _probe(path: str) -> Java | None:
    try:
        answer = subprocess.run([path, "-version"], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None  # on macOS, `java` may be a program that only offers to install Java
    version = java_major(answer.stderr)
    return Java(path, version) if version else None


def java_major(banner: str) -> int | None:
    """From the first line of `java -version`: 17 for "17.0.15", 8 for "1.8.0_402"."""
    match = re.search(r'version "(?:1\.)?(\d+)', banner)
    return int(match[1]) if match else None


async def jars(folder: Path) -> list[Path]:
    """The class path of the broker from the cache folder. Maven downloads the jars the first time."""
    present = sorted((folder / "libs").glob("*.jar"))
    if present:
        return present
    maven = shutil.which("mvn")
    if maven is None:
        raise NoRealKafka("there is no mvn on PATH to download it")
    folder.mkdir(parents=True, exist_ok=True)
    # Maven writes to a temporary folder, which is then renamed: a partial download is never used, and two
    # downloads at the same time both succeed.
    partial = Path(mkdtemp(prefix="libs-", dir=folder))
    partial.chmod(0o755)
    await _resolve(maven, partial)
    try:
        partial.rename(folder / "libs")
    except OSError:
        shutil.rmtree(partial)
    return sorted((folder / "libs").glob("*.jar"))


async def _resolve(maven: str, into: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(maven, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"),
        *(f"-DoutputDirectory={into}", "-DincludeScope=runtime"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), MAVEN_SECONDS)
    except TimeoutError:
        raise NoRealKafka(f"Maven did not download it within {MAVEN_SECONDS} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if process.returncode != 0:
            shutil.rmtree(into, ignore_errors=True)
    if process.returncode != 0:
        errors = [line for line in output.decode(errors="replace").splitlines() if "ERROR" in line]
        raise NoRealKafka(f"Maven could not download it ({(errors or ['no message'])[0].strip()[:200]})")
