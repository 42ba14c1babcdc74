"""Builds a release into dist/: wheels, images, SBOMs, the list of licences, the Helm chart, and checksums of the files.

    python -m release.build [--trial] [--without-images]

`make release` calls it. The time of the commit is the time of all files, so a second build makes equal files.
"""

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

from release import licences, preconditions, sbom
from release.version import ROOT, differences, version

CHECKSUMS: Final = "SHA256SUMS"
DPKG: Final = ("--entrypoint", "dpkg-query")
DPKG_FORMAT: Final = "${Package} ${Version} ${Architecture}\n"


class NotReleased(Exception):  # noqa: N818 -- the name describes the result
    pass


def wheels(root: Path, dist: Path, epoch: int) -> None:
    """All members, without the network: the build backend is the locked one."""
    command = ("uv", "build", "--quiet", "--wheel", "--all-packages", "--offline", "--no-build-isolation")
    programs = Path(sys.executable).parent
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    target = ("--python", sys.executable, "--out-dir", str(dist))
    subprocess.run((*command, *target), cwd=root, env=environment, check=True)
    (dist / ".gitignore").unlink(missing_ok=True)
    members = [path for glob in ("libs", "services", "tools") for path in root.glob(f"{glob}/*/pyproject.toml")]
    if len(built := list(dist.glob("*.whl"))) != len(members):
        raise NotReleased(f"{len(built)} wheels for {len(members)} packages")


def chart(folder: Path, dist: Path, tag: str, epoch: int) -> None:
    """As `helm package` lays it out, with fixed times and owners."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(f"{folder.name}/{path.relative_to(folder)}")
            entry.size, entry.mtime, entry.mode = path.stat().st_size, epoch, 0o644
            archive.addfile(entry, io.BytesIO(path.read_bytes()))
    (dist / f"{folder.name}-{tag}.tgz").write_bytes(gzip.compress(plain.getvalue(), mtime=epoch))


def images(root: Path, dist: Path, tag: str) -> dict[str, list[str]]:
    """Builds them and writes images.txt. The Debian packages of each image, by the name of its service."""
    tool = os.environ.get("CONTAINER_TOOL", "docker")
    prefix, tag = os.environ.get("IMAGE_PREFIX", "localhost/candlekeep/"), os.environ.get("IMAGE_TAG", tag)
    subprocess.run((str(root / "deploy/build-images"),), cwd=root, check=True)
    lines, packages = [], {}
    for name in services(root):
        image = f"{prefix}{name}:{tag}"
        identity = _output(tool, "image", "inspect", "--format", "{{.Id}}", image)
        lines.append(f"{identity.strip()}  {image}\n")
        listed = _output(tool, "run", "--rm", "--network", "none", *DPKG, image, "-W", "-f", DPKG_FORMAT)
        packages[name] = listed.splitlines()
    (dist / "images.txt").write_text("".join(lines))
    return packages


def services(root: Path) -> dict[str, Path]:
    """The folder of each image."""
    locks = [*root.glob("services/*/requirements.lock"), *root.glob("tools/*/requirements.lock")]
    return {lock.parent.name: lock.parent for lock in sorted(locks)}


def licence_list(root: Path, dist: Path) -> list[licences.Licensed]:
    """The packages of the dashboard. Raises `NotReleased` for a licence that is not allowed."""
    npm = licences.of_npm(root)
    listed = licences.of_python(root) + npm
    if found := licences.problems(listed):
        raise NotReleased("\n".join(found))
    rows = "".join(f"{each.kind}\t{each.name}\t{each.version}\t{each.licence}\n" for each in listed)
    (dist / "licences.tsv").write_text("kind\tname\tversion\tlicence\n" + rows)
    return npm


def checksums(dist: Path) -> None:
    """In the format of `sha256sum --check`."""
    files = sorted(path for path in dist.iterdir() if path.is_file() and path.name != CHECKSUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (dist / CHECKSUMS).write_text("".join(lines))


def release(root: Path, dist: Path, *, trial: bool, with_images: bool) -> None:
    """Raises `NotReleased`."""
    tag, epoch = version(root), preconditions.commit_time(root)
    found = [f"another version in {place}: `make version VERSION={tag}`" for place in differences(root)]
    found += [] if trial else preconditions.problems(root, tag)
    if found:
        raise NotReleased("\n".join(found))
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    wheels(root, dist, epoch)
    npm = licence_list(root, dist)
    for folder in sorted(path.parent for path in root.glob("deploy/helm/*/Chart.yaml")):
        chart(folder, dist, tag, epoch)
    debian = images(root, dist, tag) if with_images else {}
    for name, folder in services(root).items():
        text = sbom.of_image(folder, debian.get(name, []), npm if name == "admin-api" else [])
        (dist / f"{name}-{tag}.cdx.json").write_text(text)
    checksums(dist)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m release.build", description=__doc__)
    parser.add_argument("--trial", action="store_true", help="build without the conditions of a release")
    parser.add_argument("--without-images", action="store_true", help="no container engine is needed")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    chosen = parser.parse_args()
    try:
        release(ROOT, chosen.dist, trial=chosen.trial, with_images=not chosen.without_images)
    except NotReleased as error:
        sys.exit("\n".join(f"release: {line}" for line in str(error).splitlines()))
    kind = "a trial, no release" if chosen.trial else "release"
    print(f"release: {kind} {version()}: {len(list(chosen.dist.iterdir()))} files in {chosen.dist}")


if __name__ == "__main__":
    main()
