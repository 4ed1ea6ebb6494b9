"""The judge of a run: what clients wrote, were promised and got.

Every message has an id of the test's own, `<producer>-<sequence>`, in a header. The broker's
`message-id` names the entry in the queue: two of them for one id mean that one SEND was enqueued
twice. Judged:

1. what was acknowledged was received, or is still queued;
2. what was received was sent;
3. an id is enqueued at most as often as its SEND was written;
4. of the deliveries of one entry at most one lacks the redelivered flag;
5. on a destination with one consumer, first deliveries keep each producer's order;
6. an entry whose ACK was answered does not come again on a connection that was opened later.

A message without a RECEIPT is unknown: both are right. A run in which nothing was acknowledged or
received proves nothing and fails. Calls may come from several threads.
"""

import threading
from collections import defaultdict

SHOWN_MAX = 10


class Entry:
    """One entry of a queue."""

    def __init__(self):
        self.deliveries = 0
        self.unflagged = 0
        self.acked_before = None


class Sent:
    """What became of one id."""

    def __init__(self):
        self.written = 0
        self.acknowledged = False
        self.refused = 0
        self.queued = False
        self.entries = defaultdict(Entry)

    @property
    def received(self):
        return any(entry.deliveries for entry in self.entries.values())


class Checker:
    """The facts of a run, and the verdict."""

    def __init__(self):
        self._lock = threading.Lock()
        self._sent = defaultdict(Sent)
        self._first = defaultdict(dict)
        self._consumers = defaultdict(set)
        self._late = []
        self._broken = []
        self.connections = 0
        self.acknowledgements = 0
        self.receptions = 0

    # === facts ===

    def opened(self):
        """A connection is about to be opened: its number."""
        with self._lock:
            self.connections += 1
            return self.connections

    def written(self, id):
        """A SEND is about to be written; half of it counts."""
        with self._lock:
            self._sent[id].written += 1

    def acknowledged(self, id):
        """Its RECEIPT came."""
        with self._lock:
            self.acknowledgements += 1
            if id not in self._sent:
                self._broken.append(f"a RECEIPT came for {id}, which was never written")
            self._sent[id].acknowledged = True

    def refused(self, id):
        """An ERROR came for it."""
        with self._lock:
            self._sent[id].refused += 1

    def received(self, id, message_id, redelivered, destination, consumer, connection):
        """A consumer read it."""
        with self._lock:
            self.receptions += 1
            if id not in self._sent:
                self._broken.append(f"{id} was received but never sent")
                return
            sent = self._sent[id]
            if not sent.received and sent.written == 1:
                self._keep_order(id, destination)
            entry = sent.entries[message_id]
            entry.deliveries += 1
            entry.unflagged += not redelivered
            if entry.acked_before is not None and connection >= entry.acked_before:
                self._broken.append(f"{id} ({message_id}) came again after its ACK was answered")
            self._consumers[destination].add(consumer)

    def _keep_order(self, id, destination):
        producer, sequence = id.rsplit("-", 1)
        last = self._first[destination].get(producer, 0)
        if int(sequence) < last:
            self._late.append((destination, f"{id} came on {destination} after {producer}-{last}"))
        self._first[destination][producer] = max(last, int(sequence))

    def consumed(self, id, message_id):
        """The RECEIPT of a consumer's ACK came."""
        with self._lock:
            self._sent[id].entries[message_id].acked_before = self.connections + 1

    def queued(self, id, message_id):
        """It is in a queue at the end."""
        with self._lock:
            if id not in self._sent:
                self._broken.append(f"{id} is queued but was never sent")
                return
            self._sent[id].queued = True
            self._sent[id].entries[message_id]

    # === verdict ===

    def missing(self):
        """Ids that were acknowledged and are nowhere yet."""
        with self._lock:
            return [id for id, sent in self._sent.items() if sent.acknowledged and not sent.received and not sent.queued]

    def totals(self):
        with self._lock:
            all_sent = self._sent.values()
            deliveries = [sum(entry.deliveries for entry in sent.entries.values()) for sent in all_sent]
            return {
                "sent": sum(sent.written > 0 for sent in all_sent),
                "written again": sum(max(sent.written - 1, 0) for sent in all_sent),
                "acknowledged": sum(sent.acknowledged for sent in all_sent),
                "refused": sum(sent.refused > 0 for sent in all_sent),
                "unknown": sum(not sent.acknowledged and not sent.refused for sent in all_sent),
                "received": sum(count > 0 for count in deliveries),
                "still queued": sum(sent.queued for sent in all_sent),
                "delivered again": sum(max(count - 1, 0) for count in deliveries),
                "lost": sum(sent.acknowledged and not sent.received and not sent.queued for sent in all_sent),
                "enqueued too often": sum(is_too_often(sent) for sent in all_sent),
            }

    def violations(self):
        """Sentences, one for each broken rule; empty when all is well."""
        found = [f"{id} was acknowledged but neither received nor still queued" for id in self.missing()]
        totals = self.totals()
        if not totals["acknowledged"] or not totals["received"]:
            found.append("nothing was acknowledged or nothing received: an empty run")
        with self._lock:
            found += self._broken
            for id, sent in self._sent.items():
                if is_too_often(sent):
                    found.append(f"{id} was written {sent.written} times but enqueued as {', '.join(sent.entries)}")
                for message_id, entry in sent.entries.items():
                    if entry.unflagged > 1:
                        found.append(f"{id} ({message_id}) came {entry.unflagged} times without redelivered:true")
            # Competing consumers have no order among them.
            found += [text for destination, text in self._late if len(self._consumers[destination]) == 1]
        return found


def is_too_often(sent):
    return len(sent.entries) > sent.written - sent.refused


def judge(checker):
    """Prints totals and what is wrong; the exit code."""
    for name, count in checker.totals().items():
        print(f"  {name:<20}{count:>9}")
    violations = checker.violations()
    for text in violations[:SHOWN_MAX]:
        print(f"VIOLATION: {text}")
    if len(violations) > SHOWN_MAX:
        print(f"... and {len(violations) - SHOWN_MAX} more")
    return 1 if violations else 0
