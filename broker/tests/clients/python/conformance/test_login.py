"""Row "login": checked when users are configured, ignored when not."""

import time

import pytest

from group import Group
from listening import Client
from raw import Raw

USERS = "# comment\nanna:secret\n\nodd\\nname:p:a:s:s\n"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A broker that wants a login."""
    users = tmp_path_factory.mktemp("users") / "users.txt"
    users.write_text(USERS)
    with Group(replicas=1, config={"auth.usersFile": str(users)}) as group:
        yield group


def test_the_right_login_and_passcode_open(guarded, version):
    with Raw.connect(guarded.address(), version, login="anna", passcode="secret") as client:
        client.check_usable()


def test_escapes_do_not_count_in_a_login(guarded, version):
    with Raw.connect(guarded.address(), version, login="odd\\nname", passcode="p:a:s:s") as client:
        client.check_usable()


@pytest.mark.parametrize(
    "wrong",
    [{}, {"login": "anna"}, {"passcode": "secret"}, {"login": "anna", "passcode": "Secret"}, {"login": "anna", "passcode": ""}, {"login": "bert", "passcode": "secret"}],
    ids=["none", "no passcode", "no login", "wrong passcode", "empty passcode", "unknown login"],
)
def test_a_failed_login_is_an_error_and_a_close_after_a_short_delay(guarded, version, wrong):
    with Raw(guarded.address(), version) as client:
        client.send("CONNECT", accept_version=version, host="test", **wrong)
        error = client.expect("ERROR")
        began = time.monotonic()
        client.expect_close()
        assert time.monotonic() - began > 0.3, "guessing is slowed down"
        assert "secret" not in str(error).lower()


def test_nothing_is_done_before_the_login(guarded, queue, version):
    with Raw(guarded.address(), version) as client:
        connect = client.encode("CONNECT", accept_version=version, host="test", login="anna", passcode="wrong")
        client.write(connect + client.encode("SEND", "x", destination=queue, persistent="true"))
        client.expect_error_and_close()
    with Raw.connect(guarded.address(), login="anna", passcode="secret") as client:
        assert client.browse(queue) == []


def test_without_users_every_login_opens(connect, version):
    connect(version, login="anybody", passcode="anything").check_usable()
    connect(version).check_usable()


def test_stomp_py_logs_in(guarded, queue, version):
    client = Client(guarded.addresses(), version, login="anna", passcode="secret")
    client.receipt("send", queue, "x")
    client.abort()
