"""docker-compose.yml, .env.example, the Dockerfile and what goes into the image."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from realtime import draining
from tests.deploy import composition
from tests.deploy.composition import COMPOSE
from tests.processes import ROOT
from tests.server.test_settings import KEY

pytestmark = pytest.mark.once

FILLED = {
    "DJANGO_ALLOWED_HOSTS": "themis.example",
    "DJANGO_SECRET_KEY": KEY,
    "POSTGRES_PASSWORD": "secret",
}


@pytest.fixture
def services() -> composition.Table:
    return composition.read(FILLED)


def seconds(duration: str) -> int:
    assert duration.endswith("s")
    return int(duration[:-1])


def is_valid(path: Path) -> bool:
    program = Path(sys.executable).with_name("check-jsonschema")
    schema = ["--builtin-schema", "vendor.compose-spec"]
    command = [str(program), *schema, str(path)]
    run = subprocess.run(command, capture_output=True, check=False)
    return run.returncode == 0


def test_it_follows_the_compose_specification(tmp_path: Path) -> None:
    assert is_valid(COMPOSE)
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE.read_text().replace("stop_grace_period", "stop_grace"))
    assert not is_valid(broken)


@pytest.mark.parametrize("name", FILLED)
def test_it_does_not_start_without_its_secrets(name: str) -> None:
    with pytest.raises(KeyError, match=rf"{name}: see \.env\.example"):
        composition.read(FILLED | {name: ""})


def test_the_example_names_all_variables_and_gives_no_secret() -> None:
    example = (ROOT / ".env.example").read_text()
    given = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    assert given == dict.fromkeys(FILLED, "")
    shown = dict(re.findall(r"^#(\w+)=(.*)$", example, re.MULTILINE))
    defaults = re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE.read_text())
    assert shown == dict(defaults)


def test_no_container_is_root_or_writes_where_it_likes(
    services: composition.Table,
) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        # Ours take the user of the Dockerfile.
        assert ("user" in service) != (service["image"] == "themis"), name
    assert [name for name in services if "build" in services[name]] == ["migrate"]
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\d+)$", last, re.MULTILINE) == ["10001"]


def test_only_nginx_listens_outside(services: composition.Table) -> None:
    assert [name for name in services if "ports" in services[name]] == ["nginx"]
    networks = yaml.safe_load(COMPOSE.read_text())["networks"]
    assert networks["data"]["internal"] is True
    for name, service in services.items():
        inside = {*service["networks"]} - {"front"}
        assert inside == (set() if name == "nginx" else {"data"}), name


def test_who_waits_for_another_waits_for_something(
    services: composition.Table,
) -> None:
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[name]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "no"


def test_the_servers_have_the_addresses_that_nginx_knows(
    services: composition.Table,
) -> None:
    known = dict(pair.split("=") for pair in services["nginx"]["extra_hosts"])
    conf = (ROOT / "deploy/nginx/nginx.conf").read_text()
    assert known.keys() == {*re.findall(r"server ([\w-]+):8000 ", conf)}
    for name, address in known.items():
        assert services[name]["networks"]["front"]["ipv4_address"] == address


def test_a_server_has_time_to_send_its_pages_away(services: composition.Table) -> None:
    for name in ("web-1", "web-2"):
        grace = seconds(services[name]["stop_grace_period"])
        assert grace > draining.LONGEST_SECONDS + 5


def test_workers_can_be_several(services: composition.Table) -> None:
    """Each is named after its container, and asked by that name."""
    worker = services["worker"]
    assert "--hostname=worker@%h" in worker["command"]
    assert '--destination="worker@$(hostname)"' in worker["healthcheck"]["test"][-1]
    assert "container_name" not in worker
    assert "hostname" not in worker


def test_static_files_go_through_one_volume(services: composition.Table) -> None:
    where = composition.image()[1]["DJANGO_STATIC_ROOT"]
    assert services["static"]["volumes"] == [f"static:{where}"]
    for name in ("web-1", "web-2", "nginx"):
        assert f"static:{where}:ro" in services[name]["volumes"]
    conf = (ROOT / "deploy/nginx/nginx.conf").read_text()
    assert f"root {where.removesuffix('/static')};" in conf


def test_a_container_is_no_developers_machine() -> None:
    """Else one whose key was forgotten would serve with DEBUG and a public key."""
    assert composition.image()[1]["DJANGO_DEBUG"] == "0"


def test_the_image_is_built_in_two_stages_from_the_lock_file() -> None:
    first, last = (ROOT / "Dockerfile").read_text().split("\nFROM ")[1:]
    assert "--require-hashes --requirement requirements/run.txt" in first
    assert "pip" not in last
    assert last.count("COPY --from=build") == 3
