"""What ``tidegate check`` finds out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from agent.commands.check import Findings, check_files, run_check, summary
from agent.keys.certificates import LEAF_LIFETIME
from agent.keys.pki import init_authority, issue_client, revoke_client, revoke_serial
from agent.offline import read_offline
from tests.support import pki
from tests.support.authorities import revocation_list
from tests.support.states import write_client, write_gateway, write_keys


def now() -> datetime:
    """The hour of a test, and not that at which this file was loaded: keys may have been made since."""
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with keys, and the state files of both roles."""
    directory = tmp_path_factory.mktemp("check")
    write_keys(directory)
    write_gateway(directory)
    write_client(directory)
    return directory


def test_a_valid_state_is_told_in_one_line(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(keys / "gateway.yaml", files=True, syntax="YAML") == 0
    assert run_check(keys / "client.yaml", files=True, syntax="YAML") == 0

    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{keys / 'gateway.yaml'}: valid: 1 tunnel on 1 listener, 1 client",
        f"{keys / 'client.yaml'}: valid: 1 service, 1 gateway",
    ]
    assert err == ""


def test_every_problem_is_a_line_that_an_editor_can_jump_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_gateway(tmp_path)
    path.write_text(path.read_text().replace("listen:", "lisen:").replace("name: web", "nam: web"))

    assert run_check(path, files=True, syntax="YAML") == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[:2] for line in err.splitlines()][:2] == [[str(path), "9"], [str(path), "10"]]
    assert 'did you mean "listen"?' in err


def test_every_key_that_cannot_be_read_is_told_where_it_is_named(tmp_path: Path) -> None:
    path = write_gateway(tmp_path)

    problems = [str(problem) for problem in check_files(read_offline(path), now=now()).problems]

    assert [problem.split(": ")[0] for problem in problems] == [
        f"{path}:5:15",
        f"{path}:5:37",
        f"{path}:5:65",
    ]
    assert all("there is no such file" in problem for problem in problems)


def test_keys_are_read_also_beside_other_problems(tmp_path: Path) -> None:
    path = write_gateway(tmp_path)
    path.write_text(path.read_text().replace("listen:", "lisen:"))

    checked = read_offline(path)
    found = check_files(checked, now=now())

    assert checked.state is None
    assert [problem.place.line for problem in found.problems if problem.place is not None] == [5] * 3
    assert "there is no such file" in found.problems[0].message


def test_keys_are_left_alone_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(write_gateway(tmp_path), files=False, syntax="YAML") == 0
    assert capsys.readouterr().err == ""


def test_a_key_that_is_not_that_of_its_certificate_is_a_problem(keys: Path, tmp_path: Path) -> None:
    path = write_gateway(tmp_path)
    (tmp_path / "pki").symlink_to(keys / "pki")
    path.write_text(path.read_text().replace("gateway.key", "homelab.key"))

    (problem,) = check_files(read_offline(path), now=now()).problems

    assert "is not the key of" in problem.message
    assert problem.place is not None
    assert problem.place.line == 5


@pytest.fixture(scope="module")
def more_keys(keys: Path) -> Path:
    """The same directory, with the certificates of another client and of one at a domain."""
    issue_client(keys / "pki", client_id="office")
    init_authority(keys / "at-domain")
    issue_client(keys / "at-domain", client_id="homelab", domain="example.com")
    return keys


def problems_with(path: Path, keys: Path, old: str, new: str) -> list[str]:
    """What is wrong with a state file that names other keys, without the name of the file."""
    path.write_text(path.read_text().replace("pki/", f"{keys}/pki/").replace(old, new))
    found = check_files(read_offline(path), now=now())
    return [str(problem).removeprefix(f"{path}:").replace(f"{keys}/", "") for problem in found.problems]


def test_a_client_with_the_certificate_of_another_is_told_both_names(more_keys: Path, tmp_path: Path) -> None:
    (problem,) = problems_with(write_client(tmp_path), more_keys, "pki/homelab.", "pki/office.")

    assert problem.startswith("5:15: ")
    assert problem.endswith(
        'pki/office.crt is that of "office" and client.id is homelab: '
        "make the two the same, or make a certificate with tidegate pki client DIR homelab"
    )


def test_a_certificate_for_another_purpose_is_a_problem_of_either_role(
    more_keys: Path, tmp_path: Path
) -> None:
    (of_client,) = problems_with(write_client(tmp_path), more_keys, "pki/homelab.", "pki/gateway.")
    (of_gateway,) = problems_with(write_gateway(tmp_path), more_keys, "pki/gateway.", "pki/homelab.")

    assert "pki/gateway.crt is not for a client" in of_client
    assert of_client.endswith("tidegate pki client DIR homelab")
    assert "pki/homelab.crt is not for a gateway" in of_gateway
    assert of_gateway.endswith("tidegate pki gateway")


def test_a_domain_after_the_id_is_the_gateways_affair(more_keys: Path, tmp_path: Path) -> None:
    assert problems_with(write_client(tmp_path), more_keys, "pki/homelab.", "at-domain/homelab.") == []


def test_a_certificate_that_names_no_purpose_may_be_used_for_any(more_keys: Path, tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "homelab")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now())
        .not_valid_after(now() + LEAF_LIFETIME)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "pki" / "any.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "pki" / "any.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    for path, cert in ((write_client(tmp_path), "homelab"), (write_gateway(tmp_path), "gateway")):
        mine = f"{more_keys}/pki/{cert}."
        assert problems_with(path, more_keys, mine, f"{tmp_path}/pki/any.") == []


def test_a_certificate_that_ends_soon_and_a_key_open_to_others_are_warnings(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_client(tmp_path)
    (tmp_path / "pki").mkdir()
    for name in ("homelab.crt", "homelab.key", "ca.crt"):
        (tmp_path / "pki" / name).write_bytes((keys / "pki" / name).read_bytes())
    (tmp_path / "pki" / "homelab.key").chmod(0o644)

    found = check_files(read_offline(path), now=now() + LEAF_LIFETIME - timedelta(days=1))

    assert found.problems == ()
    assert [problem.message.split(" ")[0] for problem in found.warnings] == ["warning:", "warning:"]
    assert run_check(path, files=True, syntax="YAML") == 0
    assert "chmod 600" in capsys.readouterr().err


def test_a_gateway_for_whoever_has_a_certificate_says_so(tmp_path: Path) -> None:
    path = write_gateway(tmp_path)
    path.write_text(path.read_text().replace("clients:\n  - id: homelab\n", ""))
    state = read_offline(path).state

    assert state is not None
    assert summary(state) == "valid: 1 tunnel on 1 listener, any client"


def with_lists(directory: Path, data: bytes) -> Path:
    """A gateway whose state names a revocation list with that content."""
    write_keys(directory)
    path = write_gateway(directory)
    (directory / "pki" / "crl.pem").write_bytes(data)
    path.write_text(
        path.read_text().replace("client_ca: pki/ca.crt", "client_ca: pki/ca.crt, crl: pki/crl.pem")
    )
    return path


def test_a_revocation_list_is_read_as_the_gateway_would_read_it(tmp_path: Path) -> None:
    path = with_lists(tmp_path, b"")
    issue_client(tmp_path / "pki", client_id="stolen")
    (tmp_path / "pki" / "crl.pem").unlink()
    revoke_client(tmp_path / "pki", name="stolen")

    assert check_files(read_offline(path), now=now()) == Findings()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello", "is no revocation list"),
        (
            revocation_list(pki.authority(), 7, issuer="Tidegate CA"),
            "is not signed by the authority of that name",
        ),
    ],
    ids=["empty", "garbage", "of another"],
)
def test_a_revocation_list_that_will_not_do_is_a_problem_where_it_is_named(
    tmp_path: Path, data: bytes, words: str
) -> None:
    path = with_lists(tmp_path, data)

    (problem,) = check_files(read_offline(path), now=now()).problems

    assert words in problem.message
    line = path.read_text().splitlines()[problem.place.line - 1] if problem.place is not None else ""
    assert problem.place is not None
    assert line[problem.place.col - 1 :].startswith("pki/crl.pem")


def test_a_revocation_list_that_was_to_be_replaced_is_a_warning(tmp_path: Path) -> None:
    path = with_lists(tmp_path, b"")
    (tmp_path / "pki" / "crl.pem").unlink()
    revoke_serial(tmp_path / "pki", serial=7)

    found = check_files(read_offline(path), now=now() + timedelta(days=9_999))

    assert "was to be replaced by" in "".join(warning.message for warning in found.warnings)


def test_the_proxy_of_a_client_is_read_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_keys(tmp_path)
    path = write_client(tmp_path)
    text, url = path.read_text(), tmp_path / "proxy.url"

    def found(proxy: str) -> tuple[list[str], list[str]]:
        path.write_text(text.replace("client:\n", f"client:\n  proxy: {proxy}\n"))
        seen = check_files(read_offline(path), now=now())
        return [str(one) for one in seen.problems], [str(one) for one in seen.warnings]

    place = f"{path}:{text.splitlines().index('client:') + 2}:10:"
    (problem,) = found("{file: proxy.url}")[0]
    assert problem.startswith(f"{place} {url} cannot be read; there is no such file")
    url.write_text("http://bob:hunter2@ss@proxy:3128\n")
    (problem,) = found("{file: proxy.url}")[0]
    assert problem.startswith(f"{place} {url}: ")
    assert "write @ as %40" in problem
    assert "hunter2" not in problem
    url.write_text("http://bob:hunter2@proxy:3128\n")
    url.chmod(0o644)
    assert found("{file: proxy.url}") == (
        [],
        [
            f"{place} warning: the password of the proxy in {url} is open to others (mode 0644): "
            f"run chmod 600 {url}"
        ],
    )
    (problem,) = found("{env: NO_SUCH_PROXY}")[0]
    assert problem.startswith(f"{place} $NO_SUCH_PROXY is not set: set it")
    monkeypatch.setenv("A_PROXY", "socks5://bob:hunter2@proxy")
    assert found("{env: A_PROXY}") == ([], [])


def test_a_state_file_with_the_password_of_a_proxy_is_for_its_owner(tmp_path: Path) -> None:
    write_keys(tmp_path)
    path = write_client(tmp_path)
    text = path.read_text()

    def warnings(proxy: str, mode: int) -> list[str]:
        path.write_text(text.replace("client:\n", f"client:\n  proxy: {proxy}\n"))
        path.chmod(mode)
        return [one.message for one in check_files(read_offline(path), now=now()).warnings]

    assert warnings("http://bob:hunter2@proxy:3128", 0o644) == [
        f"warning: the password of the proxy in {path} is open to others (mode 0644): run chmod 600 {path}"
    ]
    assert warnings("http://bob:hunter2@proxy:3128", 0o600) == []
    assert warnings("http://proxy:3128", 0o644) == []


def test_the_summary_counts_all_that_a_file_declares(tmp_path: Path) -> None:
    write_keys(tmp_path)
    path = write_client(tmp_path)
    text = path.read_text()
    socks5 = 'socks5: {listen: "127.0.0.1:1080"}\n'

    def said(content: str) -> str:
        path.write_text(content)
        state = read_offline(path).state
        assert state is not None
        return summary(state)

    own = 'tunnels: [{name: t, listen: ":1", service: web}]\n'
    assert said(text + socks5 + own) == (
        "valid: 1 service, 1 own tunnel, a SOCKS5 port at 127.0.0.1:1080, 1 gateway"
    )
    alone = text[: text.index("services:")] + socks5
    assert said(alone) == "valid: a SOCKS5 port at 127.0.0.1:1080, 1 gateway"
    rules = 'egress: {allow: [{client: homelab, to: "*", ports: 25}]}\n'
    assert said(write_gateway(tmp_path).read_text() + rules).endswith(", 1 client, 1 egress rule")


def test_the_password_of_a_socks5_port_is_read(tmp_path: Path) -> None:
    write_keys(tmp_path)
    path = write_client(tmp_path)
    port = 'socks5: {listen: "127.0.0.1:1080", user: mail, password: {file: socks5.password}}\n'
    path.write_text(path.read_text() + port)
    line = len(path.read_text().splitlines())
    secret = tmp_path / "socks5.password"

    def found() -> Findings:
        return check_files(read_offline(path), now=now())

    (problem,) = found().problems
    assert str(problem).startswith(f"{path}:{line}:58: {secret} cannot be read; there is no such file")
    secret.write_text("hunter2\n")
    secret.chmod(0o644)
    assert found().problems == ()
    assert [str(warning) for warning in found().warnings] == [
        f"{path}:{line}:58: warning: the password {secret} is open to others (mode 0644): "
        f"run chmod 600 {secret}"
    ]
    secret.chmod(0o600)
    assert found() == Findings()


def test_a_setting_in_vain_is_a_warning_where_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_gateway(tmp_path)
    more = "client: {clients}, service: web, balance: round_robin}}\n"
    with path.open("a") as file:
        file.write('  - {name: one, listen: ":1", ' + more.format(clients="[homelab]"))
        file.write('  - {name: two, listen: ":2", ' + more.format(clients="[homelab, office]"))
    path.write_text(path.read_text().replace("- id: homelab", "- id: homelab\n  - id: office"))

    assert run_check(path, files=False, syntax="YAML") == 0

    [warning] = capsys.readouterr().err.splitlines()
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if "one," in text)
    assert warning.startswith(f"{path}:{line}:")
    assert warning.endswith(
        " warning: balance has no effect on a tunnel with one client: list several, or remove it"
    )
