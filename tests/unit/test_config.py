"""Inventory and settings: all mistakes at once, with file, key and the nearest known key."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshrender.config import inventory
from sshrender.config.settings import resolve
from sshrender.config.units import parse_duration, parse_size
from sshrender.errors import ExitCode, UserError

EXAMPLE = Path(__file__).parents[2] / "hosts.example.toml"


def _load(tmp_path: Path, text: str) -> inventory.Inventory:
    file = tmp_path / "hosts.toml"
    file.write_text(text)
    return inventory.load(file)


def test_the_example_is_a_real_inventory() -> None:
    hosts = inventory.expand(inventory.load(EXAMPLE))
    names = [host.name for host in hosts]
    assert "node01" in names
    assert "node16" in names
    assert len(names) == len(set(names)) > 16
    assert any(host.slots == 32 for host in hosts)


def test_node_sets_defaults_and_overrides(tmp_path: Path) -> None:
    loaded = _load(
        tmp_path,
        """
        [san]
        path = "/san/x"
        [defaults]
        user = "render"
        idle_below = 0.3
        [[hosts]]
        name = "node[01-03],big"
        [[hosts]]
        name = "odd"
        user = "me"
        idle_below = 0.1
        """,
    )
    hosts = {host.name: host for host in inventory.expand(loaded)}
    assert sorted(hosts) == ["big", "node01", "node02", "node03", "odd"]
    assert hosts["node02"].user == "render"
    assert hosts["node02"].idle_below == 0.3
    assert (hosts["odd"].user, hosts["odd"].idle_below) == ("me", 0.1)
    chosen = inventory.select(list(hosts.values()), "node[02-03]")
    assert [host.name for host in chosen] == ["node02", "node03"]


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _load(
            tmp_path,
            """
            [san]
            pth = "/san"
            [defaults]
            idle_bellow = 0.5
            [[hosts]]
            name = "a"
            slotts = 3
            [[hosts]]
            port = 99999
            """,
        )
    what = caught.value.what
    assert caught.value.code is ExitCode.USAGE
    assert str(tmp_path / "hosts.toml") in what
    assert "did you mean idle_below?" in what
    assert "unknown key hosts[1].slotts (did you mean slots?)" in what
    assert "unknown key san.pth (did you mean path?)" in what
    assert "hosts[2].name is missing" in what
    assert "hosts[2].port" in what


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hosts = [", "not TOML"),
        ("", "hosts is missing"),
        ("hosts = []", "hosts"),
        ('[[hosts]]\nname = "node[1"', "not a node set"),
        ('[[hosts]]\nname = "a"\n[[hosts]]\nname = "a"', "twice"),
        ('[[hosts]]\nname = "n[1-4]"\n[[hosts]]\nname = "n2"', 'name = "n[1,3-4]"'),
        ('[[hosts]]\nname = "-oProxyCommand=x"', "no host name"),
        ('[[hosts]]\nname = "n[1-2]"\naddress = "10.0.0.1"', "one address cannot serve 2 hosts"),
        ('[[hosts]]\nname = "a"\nidle_below = 2.0', "above busy_above"),
        ('[[hosts]]\nname = "a"\npython = "python3; rm -rf /"', "python"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        _load(tmp_path, text)
    assert complaint in caught.value.what


@given(st.text(max_size=60))
def test_any_inventory_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("inv") / "hosts.toml"
    file.write_text(text, encoding="utf-8", errors="replace")
    try:
        inventory.load(file)
    except UserError as error:
        assert error.code is ExitCode.USAGE


def test_an_option_beats_a_variable_beats_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    user = tmp_path / "xdg"
    (user / "sshrender").mkdir(parents=True)
    (user / "sshrender" / "sshrender.toml").write_text('dpi = 72\ndevice = "jpeg"\nretries = 9\n')
    (tmp_path / "sshrender.toml").write_text('dpi = 100\ndevice = "pnggray"\n')
    named = tmp_path / "named.toml"
    named.write_text("dpi = 200\nwait = '5m'\n")
    environ = {"XDG_CONFIG_HOME": str(user), "SSHRENDER_DPI": "300", "SSHRENDER_STRICT": "1"}
    resolved = resolve({"page_timeout": "2m"}, named, environ)
    settings = resolved.settings
    assert (settings.dpi, settings.device, settings.retries) == (300, "pnggray", 9)
    assert (settings.page_timeout, settings.wait, settings.strict) == (120, 300, True)
    assert resolved.origins["page_timeout"] == "--page-timeout"
    assert resolved.origins["dpi"] == "SSHRENDER_DPI"
    assert resolved.origins["wait"] == str(named)
    assert resolved.origins["device"].endswith("sshrender.toml")
    assert resolved.origins["split"] == "default"


def test_mistakes_of_every_layer_are_reported_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sshrender.toml").write_text('devise = "png16m"\n')
    environ = {"SSHRENDER_RETRIES": "many", "XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(UserError) as caught:
        resolve({"device": "png16n", "dpi": "-1"}, None, environ)
    what = caught.value.what
    assert "--device png16n" in what
    assert "did you mean png16" in what
    assert "--dpi -1" in what
    assert "SSHRENDER_RETRIES many" in what
    assert "unknown key devise (did you mean device?)" in what


def test_the_nearest_known_key_is_named_however_far_it_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown key san\.qqq \(the nearest known key is path\)"):
        _load(tmp_path, '[san]\nqqq = 1\npath = "/san"\n[[hosts]]\nname = "a"\n')


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("45s", 45), ("10m", 600), ("1h30m", 5400), ("0.5s", 0.5), ("2d", 172800)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "ten", "-5", "1h30", "nan", "inf", "5 minutes", "1e12"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("512M", 512 << 20), ("2G", 2 << 30), ("2GiB", 2 << 30), ("100", 100)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_plain_name_needs_no_reader_of_node_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ClusterShell.NodeSet", None)
    assert inventory.node_names("node1.example") == ["node1.example"]
