"""Row "destinations": what a name means, temporary destinations, what is not supported yet."""

import pytest

from raw import collect

NOT_SUPPORTED = ["/queue/a.*", "/queue/a.>", "/topic/>", "/queue/a,/queue/b", "/queue/a?consumer.prefetchSize=1", "a,b"]


def test_queue_and_topic_prefixes_name_their_kind(connect, name, version):
    one, two = connect(version), connect(version)
    sender = connect(version)
    for client in (one, two):
        client.request("SUBSCRIBE", id="q", destination=f"/queue/{name}")
        client.request("SUBSCRIBE", id="t", destination=f"/topic/{name}")
    sender.request("SEND", "q", destination=f"/queue/{name}")
    sender.request("SEND", "t", destination=f"/topic/{name}")
    got = sorted((frame["destination"], client is one) for client, frame in collect([one, two], 3))
    assert got[0][0] == f"/queue/{name}", "one consumer of a queue gets it"
    assert got[1:] == [(f"/topic/{name}", False), (f"/topic/{name}", True)], "each subscriber of a topic gets it"
    assert one.nothing_comes(0.1) and two.nothing_comes(0.1)


def test_a_name_without_a_known_prefix_is_a_queue_of_that_name(connect, name, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=f"/queue/{name}")
    client.send("SEND", "x", destination=name)
    assert client.expect("MESSAGE")["destination"] == f"/queue/{name}"
    client.send("SEND", "y", destination=f"/other/{name}")
    client.request("SUBSCRIBE", id="2", destination=f"/queue//other/{name}")
    assert client.expect("MESSAGE").body == b"y"


def test_names_differ_by_case_and_hold_blanks_inside(connect, name, version):
    client = connect(version)
    for number, each in enumerate([f"/queue/{name}", f"/queue/{name.upper()}", f"/queue/{name} x"]):
        client.request("SUBSCRIBE", id=f"s{number}", destination=each)
    client.send("SEND", "x", destination=f"/queue/{name} x")
    message = client.expect("MESSAGE")
    assert message["destination"] == f"/queue/{name} x"
    assert client.nothing_comes()


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_a_temporary_destination_is_bound_to_its_connection(connect, name, version, kind):
    owner, other = connect(version), connect(version)
    owner.request("SUBSCRIBE", id="1", destination=f"/temp-{kind}/{name}")
    # The same name on another connection is another destination.
    other.request("SUBSCRIBE", id="1", destination=f"/temp-{kind}/{name}")
    other.request("SEND", "other's", destination=f"/queue/{name}.sync")
    owner.send("SEND", "mine", destination=f"/temp-{kind}/{name}")
    message = owner.expect("MESSAGE")
    assert (message["destination"], message.body) == (f"/temp-{kind}/{name}", b"mine")
    assert other.nothing_comes()


@pytest.mark.parametrize("kind", ["queue", "topic"])
def test_reply_to_a_temporary_destination_can_be_answered_by_another_connection(connect, name, queue, version, kind):
    asking, answering = connect(version), connect(version)
    own = f"/temp-{kind}/{name}"
    asking.request("SUBSCRIBE", id="answers", destination=own)
    answering.request("SUBSCRIBE", id="questions", destination=queue)
    asking.request("SEND", "?", destination=queue, reply_to=own, correlation_id="c1")
    question = answering.expect("MESSAGE")
    assert question["reply-to"].startswith(f"/remote-temp-{kind}/")
    answering.request("SEND", "!", destination=question["reply-to"], correlation_id=question["correlation-id"])
    answer = asking.expect("MESSAGE")
    assert (answer["destination"], answer["correlation-id"], answer.body) == (own, "c1", b"!")


def test_only_the_owner_may_subscribe_to_a_temporary_queue(connect, name, queue, version):
    owner, other = connect(version), connect(version)
    owner.request("SUBSCRIBE", id="1", destination=f"/temp-queue/{name}")
    other.request("SUBSCRIBE", id="2", destination=queue)
    owner.request("SEND", "?", destination=queue, reply_to=f"/temp-queue/{name}")
    remote = other.expect("MESSAGE")["reply-to"]
    other.refused("SUBSCRIBE", id="3", destination=remote)


def test_a_temporary_queue_goes_with_its_connection(connect, name, queue, version):
    owner, other = connect(version), connect(version)
    owner.request("SUBSCRIBE", id="1", destination=f"/temp-queue/{name}")
    other.request("SUBSCRIBE", id="2", destination=queue)
    owner.request("SEND", "?", destination=queue, reply_to=f"/temp-queue/{name}")
    remote = other.expect("MESSAGE")["reply-to"]
    owner.request("DISCONNECT")
    other.refused("SEND", "too late", destination=remote)


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
@pytest.mark.parametrize("destination", NOT_SUPPORTED)
def test_wildcards_and_composites_are_refused_as_not_supported_yet(connect, version, command, destination):
    error = connect(version).refused(command, id="1", destination=destination)
    assert "not supported yet" in error["message"]


@pytest.mark.parametrize("command", ["SEND", "SUBSCRIBE"])
def test_empty_names_and_no_destination_are_refused(connect, version, command):
    client = connect(version)
    for destination in ["", "/queue/", "/topic/", "/temp-queue/"]:
        client.refused(command, id="1", destination=destination)
    assert "destination" in client.refused(command, id="1")["message"]


def test_stomp_py_gets_an_answer_on_a_temporary_queue(stomp_py, name, queue, version):
    asking, answering = stomp_py(version), stomp_py(version)
    asking.receipt("subscribe", f"/temp-queue/{name}", id="1")
    answering.receipt("subscribe", queue, id="1")
    asking.receipt("send", queue, "?", headers={"reply-to": f"/temp-queue/{name}"})
    question = answering.message()
    answering.receipt("send", question.headers["reply-to"], "!")
    assert asking.message().body == "!"
