"""Apache Kafka on a local JVM: one node that is broker and controller."""

import asyncio
import base64
import re
import shutil
import signal
import time
import uuid
from pathlib import Path
from typing import Self

from local_stack.errors import StackError
from local_stack.kafka_jars import Java, cache_folder, find_java, jars, kafka_version
from local_stack.kafka_properties import KafkaPorts, Member, properties
from local_stack.kafka_secure_listeners import SecureListeners, scram_options, secure_properties
from local_stack.kafka_wire import answers
from local_stack.ports import LOOPBACK, free_port
from local_stack.processes import Child, Command, run_to_end

STARTED = "Kafka Server started"
START_SECONDS = 120.0  # about 6 s on a quiet machine
STOP_SECONDS = 8.0
PORT_ATTEMPTS = 3


class RealKafka:
    """A running broker. `fresh`: its data folder was empty at the start, so topics must be filled again."""

    def __init__(self, child: Child, ports: KafkaPorts, *, fresh: bool, archive: Path | None) -> None:
        self.child = child
        self.ports = ports
        self.bootstrap = f"{LOOPBACK}:{ports.broker}"
        self.description = f"Apache Kafka {kafka_version()} (real)"
        self.is_real = True
        self.control = None
        self.fresh = fresh
        self._archive = archive

    @classmethod
    async def start(
        cls,
        *,
        data: Path,
        logs: Path,
        run: Path,
        ports: KafkaPorts | None = None,
        member: Member | None = None,
        secure: SecureListeners | None = None,
    ) -> Self:
        """Start a broker. `ports=None`: free ports, with further attempts if another process has taken one. Raises
        NoRealKafka if this machine cannot run Kafka, and StackError if Kafka did not start.
        """
        java = await asyncio.to_thread(find_java)
        cache = cache_folder()
        class_path = await jars(cache)
        archive = cache / f"classes-java{java.version}.jsa"
        broker = _Broker(java, class_path, archive, data, logs, run, member)
        broker.secure = secure
        for attempt in range(PORT_ATTEMPTS):
            chosen = ports or KafkaPorts(free_port(), free_port())
            try:
                child, fresh = await broker.start(chosen)
            except PortTaken:
                if ports or attempt == PORT_ATTEMPTS - 1:
                    raise
                continue
            return cls(child, chosen, fresh=fresh, archive=broker.unfinished_archive())
        raise AssertionError  # the loop returns or raises

    async def stop(self) -> None:
        await self.child.stop()
        if self._archive and self._archive.exists():
            # Keep the archive only after a clean stop. After a kill, it may be incomplete.
            if self.child.exit_code in {0, 128 + signal.SIGTERM, -signal.SIGTERM}:
                self._archive.rename(self._archive.with_name(self._archive.name.partition(".part")[0]))
            else:
                self._archive.unlink(missing_ok=True)


class PortTaken(StackError):  # noqa: N818 -- the name describes a state
    pass


class _Broker:
    def __init__(
        self,
        java: Java,
        class_path: list[Path],
        archive: Path,
        data: Path,
        logs: Path,
        run: Path,
        member: Member | None = None,
    ) -> None:
        self.secure: SecureListeners | None = None
        self._java, self._class_path, self._archive = java, class_path, archive
        self._data, self._logs, self._run, self._member = data, logs, run, member
        self._part = archive.with_name(f"{archive.name}.part-{uuid.uuid4().hex[:8]}")

    def unfinished_archive(self) -> Path | None:
        return None if self._archive.exists() else self._part

    async def start(self, ports: KafkaPorts) -> tuple[Child, bool]:
        self._data.mkdir(parents=True, exist_ok=True)
        file = self._data / "server.properties"
        content = properties(ports, self._data / "logs", self._member)
        file.write_text(content + (secure_properties(self.secure, ports) if self.secure else ""))
        started = self._data / "format.begun"
        if started.exists():  # a format was started and then killed
            shutil.rmtree(self._data / "logs", ignore_errors=True)
        fresh = not (self._data / "logs" / "meta.properties").exists()
        if fresh:
            started.touch()
            await self._format(file)
            started.unlink()
        log_file = self._logs / "kafka.log"
        log_file.unlink(missing_ok=True)
        command = Command(
            name="Kafka",
            argv=(*self._java_command(record=True), "kafka.Kafka", str(file)),
            # At the end of the first run, writing the class archive takes some seconds.
            grace_seconds=STOP_SECONDS if self._archive.exists() else 2 * STOP_SECONDS,
        )
        child = await Child.start(command, log_file=log_file, pid_file=self._run / "kafka.pid")
        await self._wait_until_ready(child, ports)
        return child, fresh

    def _java_command(self, *, record: bool) -> tuple[str, ...]:
        """A class-data archive reduces the start from 3.4 s to 1.4 s. The first run writes it when it stops."""
        sharing: tuple[str, ...] = ()
        if self._archive.exists():
            sharing = (f"-XX:SharedArchiveFile={self._archive}", "-Xlog:disable", "-Xlog:all=error:stderr")
        elif record:
            sharing = (f"-XX:ArchiveClassesAtExit={self._part}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
        class_path = ":".join(str(jar) for jar in self._class_path)
        heap = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC")
        return (self._java.path, *heap, *sharing, "-Djava.awt.headless=true", "-cp", class_path)

    async def _format(self, file: Path) -> None:
        cluster_id = self._member.cluster_id if self._member else new_cluster_id()
        tool = (*self._java_command(record=False), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}")
        quorum = ("--standalone",) if self._member is None or self._member.number == 1 else ()
        users = scram_options(self.secure) if self.secure else ()
        command = Command(name="Kafka's format", argv=(*tool, *quorum, *users, "-c", str(file)))
        log_file = self._logs / "kafka-format.log"
        child = await run_to_end(command, log_file=log_file, pid_file=self._run / "kafka-format.pid")
        if child.exit_code != 0:
            shutil.rmtree(self._data / "logs", ignore_errors=True)
            reason = " ".join(child.last_lines(1))
            raise StackError(f"Kafka could not format {self._data}: {reason} (log: {log_file})")

    async def _wait_until_ready(self, child: Child, ports: KafkaPorts) -> None:
        deadline = time.monotonic() + START_SECONDS
        try:
            # The log must confirm the start, too, because another broker could answer on the port.
            while STARTED not in child.log_file.read_text(errors="replace") or not await answers(ports.broker):
                if child.exit_code is not None:
                    raise _explain(child, self._data)
                if time.monotonic() > deadline:
                    raise StackError(f"Kafka did not answer within {START_SECONDS:.0f} s (log: {child.log_file})")
                await asyncio.sleep(0.05)
        except BaseException:
            child.kill()
            await child.wait()
            raise


def new_cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _explain(child: Child, data: Path) -> StackError:
    lines = child.last_lines(400)
    if any("Address already in use" in line for line in lines):
        return PortTaken(f"Kafka's port was taken while it started (log: {child.log_file})")
    causes = [line for line in lines if re.match(r"(Caused by: )?[\w.$]+(Exception|Error): ", line)]
    reason = (causes or lines or ["it logged nothing"])[-1].strip()[:300]
    return StackError(
        f"Kafka stopped while starting on {data}: {reason} (log: {child.log_file}). "
        "If its data is damaged, remove that folder; all configs are then published again from Postgres"
    )
