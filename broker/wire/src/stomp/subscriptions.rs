//! The subscriptions of one connection, and what a SUBSCRIBE asks for.
//!
//! The client names a subscription by its `id` (in 1.0 perhaps not at all, then by destination);
//! the engine knows it by a number that is never used again.

use std::collections::BTreeMap;

use bytestring::ByteString;
use tandemmq_model::{AckMode, Destination, Subscribe, SubscriptionId};

use super::destinations::{NameError, Names};
use super::{Frame, Version};
use crate::Limits;

/// ActiveMQ's `DEFAULT_QUEUE_PREFETCH`.
pub(crate) const QUEUE_PREFETCH: u32 = 1_000;

/// ActiveMQ's `DEFAULT_TOPIC_PREFETCH`.
pub(crate) const TOPIC_PREFETCH: u32 = 32_766;

/// Whether deliveries of a subscription are acknowledged by frames of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answering {
    /// `client`, `client-individual`.
    Acks,
    /// `auto`, and every browser.
    Nothing,
}

/// Whether a subscription takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Consume,
    Browse,
}

/// One subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) number: SubscriptionId,
    /// The `id` of SUBSCRIBE; only in 1.0 none.
    pub(crate) client_id: Option<ByteString>,
    pub(crate) destination: Destination,
    pub(crate) answering: Answering,
    pub(crate) purpose: Purpose,
    /// Which request made it.
    pub(crate) request: u64,
}

/// What a SUBSCRIBE asks for. `subscription` is filled in by [`Subscriptions::add`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) client_id: Option<ByteString>,
    pub(crate) subscribe: Subscribe,
}

/// Why a SUBSCRIBE or UNSUBSCRIBE was refused. The connection stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscribeError {
    #[error("{0} needs the header destination")]
    NoDestination(&'static str),
    #[error("{0} needs the header id")]
    NoId(&'static str),
    #[error("id too long: at most {max} bytes are allowed")]
    IdTooLong { max: usize },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("ack must be auto, client or client-individual")]
    AckMode,
    #[error(
        "activemq.prefetchSize must be a number from 1 to {max} (0, pulling, is not supported yet)"
    )]
    Prefetch { max: u32 },
    #[error("browser needs a queue")]
    BrowserOfTopic,
    #[error("browser needs STOMP 1.1 or later")]
    BrowserIn10,
    #[error("header {0} is not supported yet")]
    NotSupported(ByteString),
    #[error("a subscription with the id {0:?} exists: ids must be unique in a connection")]
    Exists(String),
    #[error("too many subscriptions: at most {max} are allowed in a connection")]
    TooMany { max: usize },
    #[error("no subscription with that {0}")]
    Unknown(&'static str),
}

// === impl Wish ===

impl Wish {
    /// Judges a SUBSCRIBE frame by itself.
    pub(crate) fn parse(
        frame: &Frame,
        version: Version,
        names: &Names,
        limits: &Limits,
    ) -> Result<Self, SubscribeError> {
        let destination = frame
            .kept("destination")
            .ok_or(SubscribeError::NoDestination("SUBSCRIBE"))?;
        let destination = names.source(&destination)?;
        let client_id = frame.kept("id");
        check_id(client_id.as_ref(), limits)?;
        if client_id.is_none() && version > Version::V1_0 {
            return Err(SubscribeError::NoId("SUBSCRIBE"));
        }
        refuse_unsupported(frame)?;
        let ack_mode = parse_ack_mode(frame.get("ack"))?;
        let browser = parse_browser(frame.get("browser"), version, &destination)?;
        let default = if destination.kind.is_queue() {
            QUEUE_PREFETCH
        } else {
            TOPIC_PREFETCH
        };
        let prefetch = match frame.get("activemq.prefetchSize") {
            None => default.min(limits.prefetch_max),
            Some(text) => parse_prefetch(text, limits.prefetch_max)?,
        };
        // A browser takes nothing, so there is nothing to acknowledge; `Auto` moves its window on
        // as copies are written, whatever the client asked for.
        let ack_mode = if browser { AckMode::Auto } else { ack_mode };
        let subscription = SubscriptionId::default();
        let subscribe = Subscribe {
            subscription,
            destination,
            ack_mode,
            prefetch,
            browser,
        };
        Ok(Self {
            client_id,
            subscribe,
        })
    }
}

fn check_id(id: Option<&ByteString>, limits: &Limits) -> Result<(), SubscribeError> {
    match id {
        Some(id) if id.len() > limits.name_bytes_max => Err(SubscribeError::IdTooLong {
            max: limits.name_bytes_max,
        }),
        _ => Ok(()),
    }
}

/// Refuses every header that would change what is delivered and that the engine cannot do yet:
/// ignored, it would look as if it worked. A value that asks for what happens anyway is fine.
fn refuse_unsupported(frame: &Frame) -> Result<(), SubscribeError> {
    for (name, value) in &frame.headers {
        let supported = match &**name {
            "activemq.prefetchSize" => true,
            // A hint about threads; ours is always as if true.
            "activemq.dispatchAsync" => true,
            "activemq.exclusive" | "activemq.retroactive" | "activemq.noLocal" | "no-local" => {
                value == "false"
            }
            "activemq.priority" => value == "0",
            "selector" => false,
            name => !name.starts_with("activemq."),
        };
        if !supported {
            return Err(SubscribeError::NotSupported(name.clone()));
        }
    }
    Ok(())
}

fn parse_ack_mode(text: Option<&str>) -> Result<AckMode, SubscribeError> {
    match text {
        None | Some("auto") => Ok(AckMode::Auto),
        Some("client") => Ok(AckMode::Client),
        Some("client-individual") => Ok(AckMode::Individual),
        Some(_) => Err(SubscribeError::AckMode),
    }
}

fn parse_browser(
    text: Option<&str>,
    version: Version,
    destination: &Destination,
) -> Result<bool, SubscribeError> {
    match text {
        Some("true") if version == Version::V1_0 => Err(SubscribeError::BrowserIn10),
        Some("true") if !destination.kind.is_queue() => Err(SubscribeError::BrowserOfTopic),
        text => Ok(text == Some("true")),
    }
}

fn parse_prefetch(text: &str, max: u32) -> Result<u32, SubscribeError> {
    match text.trim().parse() {
        Ok(prefetch) if (1..=max).contains(&prefetch) => Ok(prefetch),
        _ => Err(SubscribeError::Prefetch { max }),
    }
}

/// All subscriptions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_number: BTreeMap<SubscriptionId, Subscription>,
    by_client_id: BTreeMap<ByteString, SubscriptionId>,
    last: u32,
}

// === impl Subscriptions ===

impl Subscriptions {
    /// True when one more may be made under that id.
    pub(crate) fn check_room(&self, wish: &Wish, limits: &Limits) -> Result<(), SubscribeError> {
        if self.by_number.len() >= limits.subscriptions_max || self.last == u32::MAX {
            return Err(SubscribeError::TooMany {
                max: limits.subscriptions_max,
            });
        }
        match &wish.client_id {
            Some(id) if self.by_client_id.contains_key(id) => Err(SubscribeError::Exists(
                super::encoder::shorten(id, 128).to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Adds what `check_room` allowed and gives it its number.
    pub(crate) fn add(&mut self, wish: Wish, request: u64) -> Subscribe {
        let Wish {
            client_id,
            mut subscribe,
        } = wish;
        self.last += 1;
        let number = SubscriptionId(self.last);
        subscribe.subscription = number;
        if let Some(id) = &client_id {
            self.by_client_id.insert(id.clone(), number);
        }
        let (answering, purpose) = match (subscribe.browser, subscribe.ack_mode) {
            (true, _) => (Answering::Nothing, Purpose::Browse),
            (false, AckMode::Auto) => (Answering::Nothing, Purpose::Consume),
            (false, _) => (Answering::Acks, Purpose::Consume),
        };
        let destination = subscribe.destination.clone();
        let subscription = Subscription {
            number,
            client_id,
            destination,
            answering,
            purpose,
            request,
        };
        self.by_number.insert(number, subscription);
        subscribe
    }

    /// The subscription of that number, if it is still there.
    pub(crate) fn get(&self, number: SubscriptionId) -> Option<&Subscription> {
        self.by_number.get(&number)
    }

    /// The number behind a client's id.
    pub(crate) fn number(&self, client_id: &str) -> Option<SubscriptionId> {
        self.by_client_id.get(client_id).copied()
    }

    /// The engine refused the request that made one: forgets it.
    pub(crate) fn undo(&mut self, request: u64) {
        let number = self
            .by_number
            .values()
            .find(|own| own.request == request)
            .map(|own| own.number);
        if let Some(number) = number {
            self.remove(number);
        }
    }

    /// Ends it.
    pub(crate) fn remove(&mut self, number: SubscriptionId) {
        let removed = self.by_number.remove(&number);
        if let Some(id) = removed.and_then(|subscription| subscription.client_id) {
            self.by_client_id.remove(&id);
        }
    }

    /// The subscription that an UNSUBSCRIBE means: by `id`, in 1.0 also by `destination` (the
    /// oldest with that destination).
    pub(crate) fn find(
        &self,
        frame: &Frame,
        version: Version,
        names: &Names,
    ) -> Result<SubscriptionId, SubscribeError> {
        match (frame.get("id"), frame.shared("destination")) {
            (Some(id), _) => self.number(id).ok_or(SubscribeError::Unknown("id")),
            (None, Some(destination)) if version == Version::V1_0 => {
                let destination = names.source(destination)?;
                self.by_number
                    .values()
                    .find(|own| own.destination == destination)
                    .map(|own| own.number)
                    .ok_or(SubscribeError::Unknown("destination"))
            }
            _ => Err(SubscribeError::NoId("UNSUBSCRIBE")),
        }
    }
}
