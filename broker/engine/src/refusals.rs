//! The sentences of refusals: what is wrong and what is allowed.

use bytestring::ByteString;
use tandemmq_model::limits::{
    NAME_BYTES_MAX, RECORD_BYTES_MAX, SUBSCRIPTIONS_MAX, TRANSACTION_BYTES_MAX,
    TRANSACTION_MESSAGES_MAX, TRANSACTIONS_MAX,
};
use tandemmq_model::{AckRef, Destination, Refusal, RefusalKind, SubscriptionId};

fn refusal(kind: RefusalKind, text: impl Into<ByteString>) -> Refusal {
    Refusal {
        kind,
        text: text.into(),
    }
}

pub(crate) fn journal_space(reason: &ByteString) -> Refusal {
    refusal(RefusalKind::NoSpace, reason.clone())
}

pub(crate) fn journal_full() -> Refusal {
    refusal(
        RefusalKind::NoSpace,
        "the journal is full: no persistent message is accepted until journal.maxBytes is raised \
         or the disk has room again",
    )
}

pub(crate) fn memory_full(max: u64) -> Refusal {
    refusal(
        RefusalKind::NoSpace,
        format!(
            "non-persistent messages fill the memory limit of {max} bytes: wait for consumers, \
             or send with persistent:true"
        ),
    )
}

pub(crate) fn too_much_waits() -> Refusal {
    refusal(
        RefusalKind::NoSpace,
        "too much of this connection waits for memory already: wait for an answer before the next \
         command",
    )
}

pub(crate) fn message_too_large() -> Refusal {
    refusal(
        RefusalKind::Limit,
        format!("the message with its headers is larger than {RECORD_BYTES_MAX} bytes"),
    )
}

pub(crate) fn bad_name() -> Refusal {
    refusal(
        RefusalKind::Limit,
        format!("a destination's name has 1 to {NAME_BYTES_MAX} bytes"),
    )
}

pub(crate) fn too_many_destinations(max: u32) -> Refusal {
    refusal(
        RefusalKind::Limit,
        format!("there are {max} destinations already: use one that exists, or raise the limit"),
    )
}

pub(crate) fn too_many_subscriptions() -> Refusal {
    refusal(
        RefusalKind::Limit,
        format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions"),
    )
}

pub(crate) fn too_many_transactions() -> Refusal {
    refusal(
        RefusalKind::Limit,
        format!("a connection has at most {TRANSACTIONS_MAX} open transactions"),
    )
}

pub(crate) fn transaction_too_large() -> Refusal {
    refusal(
        RefusalKind::Limit,
        format!(
            "a connection's open transactions have at most {TRANSACTION_MESSAGES_MAX} operations \
             and {TRANSACTION_BYTES_MAX} bytes: commit or abort"
        ),
    )
}

pub(crate) fn unknown_transaction(name: &str) -> Refusal {
    refusal(
        RefusalKind::Unknown,
        format!("transaction {name} is not open on this connection: BEGIN it first"),
    )
}

pub(crate) fn transaction_exists(name: &str) -> Refusal {
    refusal(
        RefusalKind::Exists,
        format!("transaction {name} is open already: commit or abort it, or use another name"),
    )
}

pub(crate) fn unknown_subscription(id: SubscriptionId) -> Refusal {
    refusal(
        RefusalKind::Unknown,
        format!("this connection has no subscription {id}"),
    )
}

pub(crate) fn subscription_exists(id: SubscriptionId) -> Refusal {
    refusal(
        RefusalKind::Exists,
        format!("subscription {id} exists already: unsubscribe it, or use another id"),
    )
}

pub(crate) fn unknown_delivery(which: &AckRef) -> Refusal {
    let what = match which {
        AckRef::Delivery(subscription, delivery) => {
            format!("delivery {delivery} of subscription {subscription}")
        }
        AckRef::Message(_, message) => format!("message {message}"),
    };
    refusal(
        RefusalKind::Unknown,
        format!("{what} is not waiting for an acknowledgement on this connection"),
    )
}

pub(crate) fn unknown_temporary(destination: &Destination) -> Refusal {
    refusal(
        RefusalKind::Unknown,
        format!("{destination} does not exist: its connection is gone or has not subscribed to it"),
    )
}

pub(crate) fn foreign_temporary(destination: &Destination) -> Refusal {
    refusal(
        RefusalKind::Denied,
        format!("only the connection that made {destination} may consume from it"),
    )
}
