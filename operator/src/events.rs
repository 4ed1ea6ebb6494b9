//! Events of a BrokerCluster, as `kubectl describe` shows them.
//!
//! The recorder takes two Events of one reason and action for a repetition and keeps the first
//! text; what an Event is about is part of its action, so that the second change of master is not
//! told in the words of the first. An Event that cannot be written is only logged: the status says
//! what is.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use crate::api::BrokerCluster;
use crate::decide::step::Note;

/// The API server takes so many bytes of a note.
const MOST_NOTE: usize = 1_000;
/// And so many of an action.
const MOST_ACTION: usize = 120;

/// Writes Events.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// As an operator of this identity.
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: "tandemmq-operator".into(),
            instance: Some(identity.into()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Writes one.
    pub async fn tell(&self, cluster: &BrokerCluster, note: &Note) {
        tracing::info!(
            cluster = cluster.metadata.name,
            namespace = cluster.metadata.namespace,
            reason = note.reason.as_str(),
            "{}",
            note.text
        );
        let event = Event {
            type_: if note.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: note.reason.as_str().into(),
            note: Some(cut(&note.text, MOST_NOTE)),
            action: cut(&format!("Observe {}", note.about), MOST_ACTION),
            secondary: None,
        };
        let regarding = cluster.object_ref(&());
        if let Err(error) = self.recorder.publish(&event, &regarding).await {
            tracing::warn!(%error, reason = event.reason, "an Event is not written");
        }
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > most) {
        None => text.into(),
        Some((at, _)) => text[..at].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc");
        assert_eq!(cut("aä", 2), "a");
    }
}
