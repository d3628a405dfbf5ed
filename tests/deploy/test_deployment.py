"""The systemd unit and the Containerfile name what there is, and allow no more than is needed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_painters import Live

from sfumato.cli import serve
from sfumato.server import door, run
from sfumato.server.settings import Settings, read_settings

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "deploy" / "sfumato.service"
CONTAINERFILE = ROOT / "deploy" / "Containerfile"
OTHERS = {"SFUMATO_COMPILE_CACHE"}
"""Variables of ours that are no settings of the server."""
INSTRUCTIONS = {
    *("FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL"),
    *("HEALTHCHECK", "ENTRYPOINT"),
}


def unit() -> dict[str, dict[str, list[str]]]:
    """The values of each key of each section."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            found[section] = {}
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            found[section].setdefault(key, []).append(value)
    return found


def instructions() -> list[tuple[str, str]]:
    lines = CONTAINERFILE.read_text().replace("\\\n", " ").splitlines()
    words = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return [(name, rest) for name, rest in words]


def variables(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(text))


def check_ours(given: dict[str, str]) -> None:
    """Every variable of ours is one that is read."""
    for name in given:
        known = name.removeprefix("SFUMATO_").lower() in Settings.model_fields
        assert known or name in OTHERS or not name.startswith("SFUMATO_"), name


def test_the_unit_waits_as_long_as_the_server_drains():
    service = unit()["Service"]
    (patience,) = service["TimeoutStopSec"]
    joining = 5  # of the worker, in `Service.drain`
    assert int(patience) > Settings.model_fields["drain"].default + joining + run.GRACE - 1
    assert int(*service["LimitNOFILE"]) > 2 * run.CONNECTIONS


def test_the_unit_starts_what_there_is():
    service = unit()["Service"]
    program, command, *words = shlex.split(*service["ExecStart"])
    assert (Path(program).name, command) == ("sfumato", "serve")
    serve.parser().parse_args(words)
    check_ours(variables(*service["Environment"]))


def test_the_unit_may_do_little():
    service = unit()["Service"]
    for name in ("NoNewPrivileges", "DynamicUser", "PrivateTmp", "ProtectHome"):
        assert service[name] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["StateDirectory"] == ["sfumato"]
    assert variables(*service["Environment"])["SFUMATO_FOLDER"] == "%S/sfumato"
    assert service["IPAddressDeny"] == ["any"]


def test_systemd_reads_the_unit(tmp_path: Path):
    """Where there is one; elsewhere the tests above have read it."""
    if (systemd := shutil.which("systemd-analyze")) is None:
        return
    # The program has to exist on this machine.
    text = re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text())
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    done = subprocess.run([systemd, "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    security = [systemd, "security", "--offline=true", "--threshold=20", "--no-pager", copy]
    done = subprocess.run(security, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]  # an exposure of at most 2.0 of 10


def test_the_container_has_all_that_the_package_is_made_of():
    found = instructions()
    assert {name for name, _ in found} == INSTRUCTIONS
    copied = [rest.split()[:-1] for name, rest in found if name == "COPY" and "--from" not in rest]
    sources = {source for each in copied for source in each}
    assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"], "pyproject.toml", "src"} == sources


def test_the_container_needs_a_token_and_no_root(monkeypatch: pytest.MonkeyPatch):
    found = dict(instructions())
    given = variables(found["ENV"])
    check_ours(given)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="`token` must be set"):
        read_settings()
    assert read_settings(token="secret").port == int(found["EXPOSE"])
    assert not found["USER"].startswith(("0", "root"))
    assert found["STOPSIGNAL"] == "SIGTERM"
    program, command = json.loads(found["ENTRYPOINT"])
    assert (Path(program).name, command) == ("sfumato", "serve")


def test_the_container_looks_at_its_health(open_live: Callable[..., Live]):
    text = dict(instructions())["HEALTHCHECK"]
    _, flag, code = json.loads(text[text.index("CMD ") + 4 :])
    assert flag == "-c"
    live = open_live(token="secret")
    here = code.replace("127.0.0.1:7860", f"127.0.0.1:{live.port}")
    assert here != code
    assert any(path in code for path in door.OPEN)
    exec(here)
    live.studio.service.drain(0)  # the worker has ended
    with pytest.raises(OSError, match="503"):
        exec(here)
