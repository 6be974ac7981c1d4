"""The manifests of deploy/kubernetes."""

import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from realtime import draining
from realtime.operations import Operations
from tests.deploy.composition import image
from tests.processes import ROOT

pytestmark = pytest.mark.once

# The oldest that has supporters, and the newest whose schemas are here.
VERSIONS = ["1.34", "1.37"]
PATHS = sorted((ROOT / "deploy/kubernetes").iterdir())

Table = dict[str, Any]


def manifests() -> Iterator[Table]:
    for path in PATHS:
        yield from yaml.safe_load_all(path.read_text())


def of_kind(kind: str) -> dict[str, Table]:
    return {one["metadata"]["name"]: one for one in manifests() if one["kind"] == kind}


def pods() -> dict[str, Table]:
    """The specification of each pod, by the name of what makes it."""
    found = {}
    for name, one in (of_kind("Deployment") | of_kind("Job")).items():
        found[name] = one["spec"]["template"]["spec"]
    for name, one in of_kind("CronJob").items():
        found[name] = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def containers() -> Iterator[Table]:
    for pod in pods().values():
        yield from [*pod.get("initContainers", ()), *pod["containers"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_they_follow_the_schemas(version: str) -> None:
    kinds = set()
    for manifest in manifests():
        kubernetes_validate.validate(manifest, version, strict=True)
        kinds.add(manifest["kind"])
    assert kinds == {
        *["ConfigMap", "CronJob", "Deployment", "Ingress", "Job"],
        *["PodDisruptionBudget", "Secret", "Service"],
    }


def test_the_schemas_object() -> None:
    broken = of_kind("Deployment")["themis-web"]
    broken["spec"]["template"]["spec"]["terminationGrace"] = 30
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGrace"):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_no_pod_is_root_or_writes_where_it_likes() -> None:
    for name, pod in pods().items():
        assert pod["automountServiceAccountToken"] is False, name
        user = pod["securityContext"]
        assert user["runAsNonRoot"] is True, name
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["volumes"][0]["emptyDir"]["medium"] == "Memory", name
        assert f"\nUSER {user['runAsUser']}\n" in (ROOT / "Dockerfile").read_text()
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() == {"memory"}
        assert [one["name"] for one in container["volumeMounts"]] == ["tmp"]


def test_all_have_one_image_and_one_environment() -> None:
    assert len({container["image"] for container in containers()}) == 1
    sources = [{"configMapRef": {"name": "themis"}}, {"secretRef": {"name": "themis"}}]
    assert all(container["envFrom"] == sources for container in containers())
    config = of_kind("ConfigMap")["themis"]["data"]
    secret = of_kind("Secret")["themis"]["stringData"]
    assert secret["DJANGO_SECRET_KEY"] == ""
    known = (ROOT / "server/settings.py").read_text()
    for name in config | secret:
        assert f'"{name}"' in known


def test_an_example_of_a_secret_is_not_applied() -> None:
    """kubectl takes from a folder what ends in .json, .yaml or .yml."""
    for path in PATHS:
        assert ("kind: Secret" in path.read_text()) == (path.suffix == ".example")


def test_services_find_their_pods() -> None:
    labels = {
        name: one["spec"]["template"]["metadata"]["labels"]
        for name, one in of_kind("Deployment").items()
    }
    web = labels["themis-web"]
    assert of_kind("Service")["themis-web"]["spec"]["selector"] == web
    budget = of_kind("PodDisruptionBudget")["themis-web"]["spec"]
    assert budget["selector"]["matchLabels"] == web
    deployment = of_kind("Deployment")["themis-web"]["spec"]
    assert deployment["replicas"] > budget["minAvailable"]
    nobody = of_kind("Service")["themis-closed"]["spec"]["selector"]
    assert nobody not in labels.values()


def test_the_way_in_is_open_to_pages_and_sockets_only() -> None:
    (ingress,) = of_kind("Ingress").values()
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    goal = {one["path"]: one["backend"]["service"]["name"] for one in paths}
    closed = {path for path, name in goal.items() if name == "themis-closed"}
    assert closed == {*Operations(None)._answers} - {"/healthz"}
    assert goal["/"] == "themis-web"
    timeouts = [
        int(value.removesuffix("s"))
        for name, value in ingress["metadata"]["annotations"].items()
        if name.endswith("-timeout")
    ]
    conf = (ROOT / "deploy/nginx/nginx.conf").read_text()
    assert {*timeouts} == {int(*re.findall(r"proxy_read_timeout (\d+)s;", conf))}


def test_probes_ask_what_a_server_answers() -> None:
    (web,) = pods()["themis-web"]["containers"]
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert web[name]["httpGet"]["path"] == "/healthz"
        assert web[name]["httpGet"]["port"] == web["ports"][0]["name"]
    assert web["ports"][0]["containerPort"] == int(image()[1]["PORT"])


def test_a_server_has_time_to_send_its_pages_away() -> None:
    pod = pods()["themis-web"]
    (web,) = pod["containers"]
    sleep, pause = web["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    needed = int(pause) + draining.LONGEST_SECONDS
    assert pod["terminationGracePeriodSeconds"] > needed + 5
