"""What ssh_config says of a host, as ssh reads it, and which client honours that."""

from __future__ import annotations

import base64
import os
import pwd
import subprocess
from pathlib import Path

import pytest

from sshrender.transports import sshconfig, sshkeywords, sshtokens
from sshrender.transports.interface import ConnectFailed, Refusal
from sshrender.transports.sshchoice import ChosenTransport
from sshrender.transports.sshconfig import Overrides, SshSettings
from sshrender.transports.sshkeywords import TREATMENTS


@pytest.fixture
def config(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file for ssh_config of a user whose home is the test's; nothing else is read."""
    monkeypatch.setattr(sshtokens, "home", lambda: home)
    (home / "config").write_text("")
    return home / "config"


def _resolved(config: Path, text: str, name: str = "node1") -> SshSettings:
    config.write_text(text)
    return sshconfig.resolve(name, Overrides(config_file=str(config)))


def test_every_keyword_that_ssh_prints_is_treated() -> None:
    """A new one of a later OpenSSH is to be decided about, not dropped."""
    shown = subprocess.run(["ssh", "-G", "node1"], capture_output=True, text=True, check=True).stdout
    assert sshkeywords.parse(shown).keys() - {""} <= TREATMENTS.keys()


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("IdentityFile ~/.ssh/%h-%p", ".ssh/node1.example-2222"),
        ("IdentityFile ${HOME}/keys/%n", "keys/node1"),
        ('IdentityFile "%d/my keys/id"', "my keys/id"),
        ("IdentityFile %d/%r@%h%%", "me@node1.example%"),
    ],
)
def test_tokens_variables_and_quotes_of_an_identity_file(
    config: Path, home: Path, text: str, file: str
) -> None:
    found = _resolved(config, f"Hostname node1.example\nPort 2222\nUser me\n{text}\n")
    assert found.identities == (str(home / file),)


def test_the_home_and_the_name_of_the_user_are_those_of_the_password_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenSSH's client heeds neither HOME nor LOGNAME, so cron and sudo do not change its keys."""
    user = pwd.getpwuid(os.getuid())
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("LOGNAME", "another")
    known = sshtokens.tokens("node1", "node1", 22, None, None)
    assert sshtokens.path("~/.ssh/%u", known) == f"{user.pw_dir}/.ssh/{user.pw_name}"
    assert sshtokens.path("%d/.ssh/%r", known) == f"{user.pw_dir}/.ssh/{user.pw_name}"


def test_tokens_of_the_other_paths(config: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM", str(home / "farm"))
    found = _resolved(
        config,
        "IdentityAgent ${FARM}/%n.sock\n"
        "UserKnownHostsFile /no/known-%n /no/second\nGlobalKnownHostsFile none\n"
        "ProxyCommand nc -X ${PROXY} %h %p %%\n",
    )
    assert found.agent_socket == str(home / "farm" / "node1.sock")
    assert found.known_hosts == ("/no/known-node1", "/no/second")
    # A shell runs it, and replaces variables.
    assert found.proxy_command == "nc -X ${PROXY} node1 22 %"


def test_a_known_hosts_file_with_a_space_is_one_file(config: Path, home: Path) -> None:
    """``ssh -G`` prints it without its quotes."""
    folder = home / "my  keys"
    folder.mkdir()
    for name in ("known hosts", "known", "a b c"):
        (folder / name).write_text("")
    named = f'"{folder}/a b c" /no/plain "{folder}/known hosts"'.replace("  ", " ")
    (home / "my keys").symlink_to("my  keys")
    found = _resolved(config, f"UserKnownHostsFile {named}\nGlobalKnownHostsFile none\n")
    single = home / "my keys"
    assert found.known_hosts == (f"{single}/a b c", "/no/plain", f"{single}/known hosts")


def test_a_known_hosts_file_with_a_space_that_is_not_there_is_refused_by_name(
    config: Path, home: Path
) -> None:
    with pytest.raises(ConnectFailed, match="UserKnownHostsFile names a file with a space"):
        _resolved(config, f'UserKnownHostsFile "{home}/nothing here"\n')
    found = _resolved(config, "GlobalKnownHostsFile none\nUserKnownHostsFile none\n")
    assert found.known_hosts == ()


@pytest.mark.parametrize("text", ["IdentityFile ~/%y", "IdentityFile ${NO_SUCH_VARIABLE}/id"])
def test_what_ssh_does_not_know_is_a_fault_of_the_configuration(config: Path, text: str) -> None:
    with pytest.raises(ConnectFailed) as caught:
        _resolved(config, f"{text}\n")
    assert caught.value.refusal is Refusal.CONFIGURATION


def test_the_digest_of_a_connection_is_that_of_ssh() -> None:
    tokens = sshtokens.tokens("n", "h", 22, None, None)
    assert len(tokens["C"]) == 40
    assert tokens["r"] == tokens["u"] == pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ()),
        # What Debian's own ssh_config has.
        ("SendEnv LANG LC_*\nHashKnownHosts yes\nGSSAPIAuthentication yes\n", ()),
        ("ConnectTimeout 5\nServerAliveInterval 10\nControlMaster auto\nForwardAgent yes\n", ()),
        ("CertificateFile ~/c\n", ("certificatefile",)),
        ("Ciphers aes256-ctr\nMACs hmac-sha2-256\n", ("ciphers", "macs")),
        ("AddressFamily inet\nBindAddress 127.0.0.1\n", ("addressfamily", "bindaddress")),
        ("ProxyUseFdpass yes\nProxyCommand x\n", ("proxyusefdpass",)),
        ("KnownHostsCommand /bin/false\n", ("knownhostscommand",)),
        ("PKCS11Provider /usr/lib/x.so\n", ("pkcs11provider",)),
    ],
)
def test_which_settings_need_the_client_of_openssh(
    config: Path, monkeypatch: pytest.MonkeyPatch, text: str, wanted: tuple[str, ...]
) -> None:
    monkeypatch.delenv("KRB5CCNAME", raising=False)
    assert _resolved(config, text).openssh_only == wanted


def test_with_a_ticket_gssapi_counts(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5CCNAME", "/somewhere")
    assert _resolved(config, "GSSAPIAuthentication yes\n").openssh_only == ("gssapiauthentication",)


def test_a_key_that_a_security_key_holds_needs_it(config: Path, home: Path) -> None:
    # A public key is enough: ssh-keygen writes both halves, and no device is here.
    kind = b"sk-ssh-ed25519@openssh.com"
    blob = len(kind).to_bytes(4, "big") + kind
    (home / "id_sk.pub").write_text(f"{kind.decode()} {base64.b64encode(blob).decode()} me\n")
    assert _resolved(config, f'IdentityFile "{home}/id_sk"\n').openssh_only == ("a security key",)


def test_a_jump_host_that_needs_it_decides_for_the_hosts_behind_it(config: Path) -> None:
    config.write_text("Host node1\nProxyJump gate\nHost gate\nCiphers aes256-ctr\n")
    overrides = Overrides(config_file=str(config), client="fabric")
    with pytest.raises(ConnectFailed, match="ciphers") as caught:
        ChosenTransport("node1", overrides)._uses_openssh(sshconfig.resolve("node1", overrides))
    assert caught.value.refusal is Refusal.CONFIGURATION


def test_a_jump_host_that_is_its_own_is_refused_as_ssh_refuses_it(config: Path) -> None:
    settings = _resolved(config, "Host *\nProxyJump gate\n")
    with pytest.raises(ConnectFailed, match="loop") as caught:
        sshconfig.route(settings)
    assert caught.value.refusal is Refusal.CONFIGURATION


def test_the_inventory_key_may_be_in_the_agent_only(config: Path, home: Path) -> None:
    (home / "key.pub").write_text("ssh-ed25519 AAAA me\n")
    overrides = Overrides(config_file=str(config), identity_file="~/key.pub")
    found = sshconfig.resolve("node1", overrides)
    assert found.identities == (str(home / "key.pub"),)
    assert found.identity_files == ()
    assert found.identities_only
    with pytest.raises(ConnectFailed, match="does not exist"):
        sshconfig.resolve("node1", Overrides(config_file=str(config), identity_file="~/none"))


def test_only_the_first_of_several_jump_hosts_is_reached_by_its_own(config: Path) -> None:
    """ssh_config(5), ProxyJump: the others are reached through the one before."""
    settings = _resolved(config, "Host node1\nProxyJump a,b\nHost a b\nProxyJump gate\n")
    assert [each.name for each in sshconfig.route(settings)] == ["b", "a", "gate"]
    settings = _resolved(config, "Host node1\nProxyJump a,b\nHost a\nProxyJump b\n")
    assert [each.name for each in sshconfig.route(settings)] == ["b", "a", "b"]


def test_jump_hosts_that_lead_to_each_other_are_refused(config: Path) -> None:
    text = "Host node1\nProxyJump a,c\nHost a\nProxyJump b\nHost b\nProxyJump a\n"
    with pytest.raises(ConnectFailed, match="circle: node1 → a → b → a"):
        sshconfig.route(_resolved(config, text))


@pytest.mark.parametrize(("text", "file"), [("HostKeyAlias farm\n", "farm"), ("", "node1")])
def test_the_token_of_the_host_key_is_its_alias(config: Path, home: Path, text: str, file: str) -> None:
    assert _resolved(config, f"{text}IdentityFile ~/%k\n").identities == (str(home / file),)
