"""A CycloneDX document for each image: packages of Python with their hashes, of Debian, and of the dashboard."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release.licences import Licensed

FORMAT: Final = SchemaVersion.V1_6


def of_image(folder: Path, debian: list[str], npm: list[Licensed]) -> str:
    """`folder` is that of the service, `debian` has lines of `dpkg-query`. Raises ValueError if it is not valid."""
    program = Path(sys.executable).with_name("cyclonedx-py")
    lock, project = str(folder / "requirements.lock"), str(folder / "pyproject.toml")
    options = ("--pyproject", project, "--output-reproducible", "--sv", FORMAT.to_version())
    command = (str(program), "requirements", lock, *options, "--of", "JSON")
    document = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for component in document["components"]:
        component.pop("description", None)  # the line of the lock file again
    document["metadata"]["component"]["type"] = "container"
    document["components"] += [_debian(line) for line in debian] + [_npm(each) for each in npm]
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    if (error := JsonStrictValidator(FORMAT).validate_str(text)) is not None:
        raise ValueError(f"the document of {folder.name} is not valid: {error}")
    return text


def _debian(line: str) -> dict[str, Any]:
    name, version, architecture = line.split()
    purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}?arch={architecture}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _npm(package: Licensed) -> dict[str, Any]:
    purl = f"pkg:npm/{package.name.replace('@', '%40')}@{package.version}"
    licence = {"expression": package.licence.strip("()")}
    return {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
        "licenses": [licence],
    }
