"""A real Keycloak for tests of sign-in with OpenID Connect, without Docker.

The distribution comes once through Maven into the cache that Kafka's jars are in; the server is one
Java process with its database in memory, with one realm that tests share.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.kafka_broker import cache_folder, free_ports
from tests.parts import skip_or_fail

KEYCLOAK_VERSION = "26.0.7"
ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{KEYCLOAK_VERSION}:zip"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"

ADMIN, ADMIN_PASSWORD = "root", "root of the tests"
REALM = "bank"
CLIENT_ID, CLIENT_SECRET = "fraudwatch", "a secret that tests alone know"
PUBLIC_URL = "https://testserver"
PASSWORD = "password kept at the provider"
GROUPS = ("fraud-analysts", "fraud-leads", "fraud-officers", "canteen")


class KeycloakMissing(Exception):
    """No Keycloak can be had here: why."""


def fetch_keycloak() -> Path:
    """The folder of Keycloak, fetched on first use. Raises `KeycloakMissing`."""
    home = cache_folder() / f"keycloak-{KEYCLOAK_VERSION}"
    if not shutil.which("java"):
        raise KeycloakMissing("there is no java on the path (OpenJDK 17 or later)")
    if home.is_dir():
        return home
    if not shutil.which("mvn"):
        raise KeycloakMissing(f"there is no mvn on the path to fetch Keycloak, and none in {home}")
    home.parent.mkdir(parents=True, exist_ok=True)
    # Fetched beside and moved at the end: a run that is cut short leaves no half a cache.
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        command = ["mvn", "-B", "-q", COPY, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}"]
        done = subprocess.run(
            command, check=False, cwd=folder, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise KeycloakMissing(f"Maven could not fetch Keycloak: {done.stdout[-500:]}")
        with zipfile.ZipFile(next(Path(folder).glob("*.zip"))) as distribution:
            distribution.extractall(folder)
        (Path(folder) / home.name).rename(home)
    return home


class Keycloak:
    """One Keycloak on 127.0.0.1, and its administration by REST."""

    def __init__(self, home: Path, log: Path) -> None:
        self.port = free_ports(1)[0]
        self.home = home
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._known_token, self._token_until = "", 0.0
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}/realms/{REALM}"

    def start(self, timeout: float = 120) -> None:
        """Start it and wait until it answers."""
        environment = os.environ | {
            "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "JAVA_OPTS_KC_HEAP": "-Xms128m -Xmx512m",
            "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "sh",
                    str(self.home / "bin" / "kc.sh"),
                    "start-dev",
                    "--db=dev-mem",
                    "--http-host=127.0.0.1",
                    f"--http-port={self.port}",
                ],
                env=environment,
                stdout=log,
                stderr=log,
                # its own session: Ctrl-C in a terminal reaches the tests, not the server
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.http.get("/realms/master").status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            time.sleep(0.2)
        self.stop()
        tail = self.log.read_text(errors="replace")[-1000:]
        raise KeycloakMissing(f"Keycloak did not come up in {timeout} s: {tail}")

    def stop(self) -> None:
        """End it; nothing of it is kept."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        self.http.close()

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """Call the administration of the server; what it answers."""
        headers = {"Authorization": f"Bearer {self._token()}"}
        answer = self.http.request(method, f"/admin{path}", json=body, headers=headers)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def _token(self) -> str:
        """A token of the administrator: they live a minute, and each takes a slow hash."""
        if time.monotonic() >= self._token_until:
            self._token_until = time.monotonic() + 30
            answer = self.http.post(
                "/realms/master/protocol/openid-connect/token",
                data={
                    "grant_type": "password",
                    "client_id": "admin-cli",
                    "username": ADMIN,
                    "password": ADMIN_PASSWORD,
                },
            )
            self._known_token = str(answer.json()["access_token"])
        return self._known_token

    def add_person(self, name: str, *groups: str, units: tuple[str, ...] = ()) -> str:
        """A person of the realm with `PASSWORD`; their id, which is the token's `sub`."""
        self.admin(
            "POST",
            f"/realms/{REALM}/users",
            {
                "username": name,
                "enabled": True,
                "email": f"{name}@example.org",
                "emailVerified": True,
                "firstName": name.title(),
                "lastName": "Example",
                "attributes": {"units": list(units)},
                "groups": list(groups),
                "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
            },
        )
        found = self.admin("GET", f"/realms/{REALM}/users?exact=true&username={name}")
        return str(found[0]["id"])

    def move_person(self, person: str, *groups: str) -> None:
        """Leave a person in these groups alone."""
        path = f"/realms/{REALM}/users/{person}/groups"
        for group in self.admin("GET", path):
            self.admin("DELETE", f"{path}/{group['id']}")
        known = {g["name"]: g["id"] for g in self.admin("GET", f"/realms/{REALM}/groups")}
        for name in groups:
            self.admin("PUT", f"{path}/{known[name]}")

    def add_signing_key(self, priority: int) -> None:
        """Have the realm sign with a new key from now on."""
        realm = self.admin("GET", f"/realms/{REALM}")
        self.admin(
            "POST",
            f"/realms/{REALM}/components",
            {
                "name": f"rsa-{priority}",
                "parentId": realm["id"],
                "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "config": {"priority": [str(priority)], "algorithm": ["RS256"]},
            },
        )


def _mapper(kind: str, claim: str, **config: str) -> dict[str, object]:
    return {
        "name": claim,
        "protocol": "openid-connect",
        "protocolMapper": kind,
        "config": {"claim.name": claim, "id.token.claim": "true", **config},
    }


def realm() -> dict[str, object]:
    """A realm with the client of docs/sign-in.md."""
    client = {
        "clientId": CLIENT_ID,
        "secret": CLIENT_SECRET,
        "publicClient": False,
        "standardFlowEnabled": True,
        "directAccessGrantsEnabled": False,
        "redirectUris": [f"{PUBLIC_URL}/signin/provider/callback"],
        "attributes": {
            "pkce.code.challenge.method": "S256",
            "post.logout.redirect.uris": f"{PUBLIC_URL}/signin?bye=true",
        },
        "protocolMappers": [
            _mapper("oidc-group-membership-mapper", "groups", **{"full.path": "false"}),
            _mapper(
                "oidc-usermodel-attribute-mapper",
                "work.units",
                **{"user.attribute": "units", "multivalued": "true", "jsonType.label": "String"},
            ),
        ],
    }
    return {
        "realm": REALM,
        "enabled": True,
        "sslRequired": "none",
        # Cheap on purpose: what is tested is not how slow a hash can be.
        "passwordPolicy": "hashAlgorithm(pbkdf2-sha512) and hashIterations(10)",
        "groups": [{"name": name} for name in GROUPS],
        "clients": [client],
    }


@pytest.fixture(scope="session")
def keycloak() -> Iterator[Keycloak]:
    """A Keycloak that all tests of this run share; each test adds people of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fraudwatch-keycloak-"))
    try:
        try:
            server = Keycloak(fetch_keycloak(), folder / "keycloak.log")
            server.start()
        except KeycloakMissing as missing:
            skip_or_fail("oidc", str(missing))
        try:
            server.admin("POST", "/realms", realm())
            # Attributes that the realm's profile does not name are dropped unless it allows them.
            profile = server.admin("GET", f"/realms/{REALM}/users/profile")
            profile["unmanagedAttributePolicy"] = "ADMIN_EDIT"
            server.admin("PUT", f"/realms/{REALM}/users/profile", profile)
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
