//! Browsers: a look at a queue that takes nothing.
//!
//! A browser walks the places up to the last one of its first moment and shows what is still
//! there when it comes by, what is in flight to consumers included. Its credit is what was not
//! written to the socket. When everything was written, `Delivery::End` follows.

use tandemmq_model::Delivery;

use super::destination::Place;
use super::dispatch::{Made, Round, entry_at, make, place_after};
use super::subscription::{Browse, Held, Source, SubKey};
use super::{Context, Live};
use crate::records;

/// What a browser has to show next.
enum Look {
    At { place: Place, made: Made },
    Unread,
    Nothing,
}

impl Live {
    pub(super) fn deliver_browser(&mut self, cx: &Context<'_>, key: SubKey, round: &mut Round) {
        while self.may_take(key) {
            match self.look(cx, key) {
                Look::At { place, made } => self.deliver(key, Held::Place(place), made, round),
                Look::Unread => {
                    self.set_unlisted(key);
                    return self.read_browser(cx, key);
                }
                Look::Nothing => {
                    self.set_unlisted(key);
                    self.end_browse(key, round);
                    break;
                }
            }
        }
        self.trim_browser_window(key);
    }

    fn set_unlisted(&mut self, key: SubKey) {
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.is_listed = false;
        }
    }

    /// Takes the next place of the walk.
    fn look(&mut self, cx: &Context<'_>, key: SubKey) -> Look {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return Look::Nothing;
        };
        let Source::Browser(browse) = &mut subscription.source else {
            return Look::Nothing;
        };
        let Some(found) = self.destinations.get(subscription.destination) else {
            return Look::Nothing;
        };
        if !found.destination.kind.is_queue() {
            return Look::Nothing;
        }
        let queue = &found.queue;
        loop {
            let after = || place_after(cx.state, queue, browse.cursor);
            let next = browse.behind.first().copied().or_else(after);
            let Some(place) = next.filter(|place| *place <= browse.bound) else {
                return Look::Nothing;
            };
            let (body, entry) = if place.is_persistent() {
                let entry = entry_at(cx.state, queue, place);
                let Some(entry) = entry.filter(|entry| !entry.is_expired(cx.now.wall_ms)) else {
                    browse.pass(place);
                    continue;
                };
                let body = match browse.window.remove(&place.offset) {
                    Some(body) => {
                        self.reads.used(&body);
                        body
                    }
                    None => match self.bodies.get(place.offset) {
                        Some(body) => body.clone(),
                        None => return Look::Unread,
                    },
                };
                (body, Some(entry))
            } else {
                let transient = queue.transient.get(&place);
                let fresh = transient.filter(|found| !found.is_expired(cx.now.wall_ms));
                (
                    fresh.map(|found| found.body.clone()).unwrap_or_default(),
                    None,
                )
            };
            browse.pass(place);
            // Unreadable, gone or expired: not shown.
            let Ok(message) = records::decode_message(&body) else {
                continue;
            };
            return Look::At {
                place,
                made: make(cx, self.epoch, found, place, entry, message),
            };
        }
    }

    fn end_browse(&mut self, key: SubKey, round: &mut Round) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let is_written = subscription.unacked.out == 0;
        let Source::Browser(browse) = &mut subscription.source else {
            return;
        };
        if is_written && !browse.has_ended {
            browse.has_ended = true;
            let end = Delivery::End {
                subscription: subscription.id,
            };
            round.entry(subscription.conn).or_default().push(end);
        }
    }
}

impl Browse {
    /// It may have something to show, and does not wait for a body.
    pub(super) const fn goes_on(&self) -> bool {
        !self.has_ended && self.reading == 0 && !self.waits_to_read
    }

    fn pass(&mut self, place: Place) {
        if !self.behind.remove(&place) {
            self.cursor = place;
        }
    }
}
