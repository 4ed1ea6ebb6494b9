//! Bodies of persistent messages: a bounded cache of fresh ones, and reads of the others.
//!
//! The State knows where a body is, not what it says. A body that was proposed here is kept until
//! it is dispatched or pushed out by later ones; any other is read from the journal, for a window
//! of the entries that are dispatched next. Bodies are kept encoded, in one buffer each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tandemmq_model::{Now, Offset, Record, RecordKind};

use super::destination::{DestKey, LiveQueue, Place};
use super::subscription::{Source, SubKey};
use super::{Context, Live};
use crate::EngineEffect;
use crate::state::State;

/// Entries of one window: enough for a read to be worth its way through the disk thread.
pub(crate) const WINDOW_ENTRIES_MAX: usize = 64;

/// Bytes of one window, or one entry if it is larger.
const WINDOW_BYTES_MAX: u64 = 1024 * 1024;

/// Offsets asked for and not answered, over all queues and browsers: 16 full windows keep several
/// reading threads busy.
const READING_MAX: usize = 16 * WINDOW_ENTRIES_MAX;

/// Bytes that were read and not used yet, over all. Above it a window that its consumers have no
/// credit for is dropped, and read again when they have.
const WINDOWS_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Entries of one queue that could not be read, beyond which it waits for the retry instead of
/// looking further: a disk that answers nothing must not be asked for the whole queue.
pub(crate) const UNREADABLE_MAX: usize = WINDOW_ENTRIES_MAX;

/// When an entry that could not be read is tried again: long enough for a hiccup to pass.
const RETRY_PERIOD: Duration = Duration::from_secs(1);

/// What one body takes beside its bytes.
const CACHED_FIXED: u64 = 128;

/// Fresh bodies by offset.
#[derive(Debug)]
pub(crate) struct Bodies {
    by_offset: BTreeMap<Offset, Bytes>,
    bytes: u64,
    bytes_max: u64,
}

impl Bodies {
    pub(crate) const fn new(bytes_max: u64) -> Self {
        Self {
            by_offset: BTreeMap::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// The oldest make room: what nobody has taken for long is read when somebody does.
    pub(crate) fn insert(&mut self, offset: Offset, body: Bytes) {
        self.bytes += body.len() as u64 + CACHED_FIXED;
        self.by_offset.insert(offset, body);
        while self.bytes > self.bytes_max {
            let (_, oldest) = self.by_offset.pop_first().expect("bytes are of bodies");
            self.bytes -= oldest.len() as u64 + CACHED_FIXED;
        }
    }

    pub(crate) fn get(&self, offset: Offset) -> Option<&Bytes> {
        self.by_offset.get(&offset)
    }

    pub(crate) fn take(&mut self, offset: Offset) -> Option<Bytes> {
        let body = self.by_offset.remove(&offset)?;
        self.bytes -= body.len() as u64 + CACHED_FIXED;
        Some(body)
    }

    pub(crate) fn forget(&mut self, offset: Offset) {
        let _ = self.take(offset);
    }
}

/// Who waits for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Queue(DestKey),
    Browser(SubKey),
}

#[derive(Debug, Default)]
pub(crate) struct Reads {
    asked: BTreeMap<Offset, Vec<Reader>>,
    /// Those who may ask when others were answered.
    waiting: VecDeque<Reader>,
    /// Bytes of all windows.
    windows_bytes: u64,
}

impl Reads {
    fn is_full(&self) -> bool {
        self.asked.len() >= READING_MAX
    }

    fn is_over(&self) -> bool {
        self.windows_bytes > WINDOWS_BYTES_MAX
    }

    /// Bodies of a window were used or are not wanted any more.
    pub(crate) fn drop_bodies(&mut self, window: &BTreeMap<Offset, Bytes>) {
        self.windows_bytes -= window.values().map(|body| body.len() as u64).sum::<u64>();
    }

    pub(crate) fn used(&mut self, body: &Bytes) {
        self.windows_bytes -= body.len() as u64;
    }

    /// Notes who wants these; returns those that nobody has asked for.
    fn ask(&mut self, reader: Reader, offsets: &[Offset]) -> Vec<Offset> {
        let mut unasked = Vec::new();
        for offset in offsets {
            let readers = self.asked.entry(*offset).or_default();
            if readers.is_empty() {
                unasked.push(*offset);
            }
            readers.push(reader);
        }
        unasked
    }
}

impl Live {
    // === asking ===

    /// Asks for the bodies of the entries that the queue dispatches next.
    pub(super) fn read_queue(&mut self, cx: &Context<'_>, key: DestKey) {
        if self.reads.is_full() {
            self.reads.waiting.push_back(Reader::Queue(key));
            return;
        }
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        let offsets = {
            let places = next_places(cx.state, &found.queue);
            let (bodies, queue) = (&self.bodies, &found.queue);
            window_of(cx.state, queue, places, |offset| {
                bodies.get(offset).is_some() || queue.window.contains_key(&offset)
            })
        };
        found.queue.reading = offsets.len();
        self.ask(Reader::Queue(key), &offsets);
    }

    /// Asks for the bodies of the entries that a browser shows next.
    pub(super) fn read_browser(&mut self, cx: &Context<'_>, key: SubKey) {
        if self.reads.is_full() {
            self.reads.waiting.push_back(Reader::Browser(key));
            return;
        }
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let Source::Browser(browse) = &mut subscription.source else {
            return;
        };
        let Some(found) = self.destinations.get(subscription.destination) else {
            return;
        };
        let (queue, bodies) = (&found.queue, &self.bodies);
        let bound = browse.bound;
        let after = places_after(cx.state, queue, browse.cursor).take_while(|at| *at <= bound);
        let places = browse.behind.iter().copied().chain(after);
        let offsets = window_of(cx.state, queue, places, |offset| {
            bodies.get(offset).is_some() || browse.window.contains_key(&offset)
        });
        browse.reading = offsets.len();
        self.ask(Reader::Browser(key), &offsets);
    }

    fn ask(&mut self, reader: Reader, offsets: &[Offset]) {
        let mut unasked = self.reads.ask(reader, offsets);
        unasked.sort_unstable();
        if !unasked.is_empty() {
            self.effects
                .push_back(EngineEffect::ReadBodies { offsets: unasked });
        }
    }

    // === answers ===

    pub(crate) fn handle_bodies(&mut self, now: Now, bodies: Vec<(Offset, Option<Record>)>) {
        for (offset, record) in bodies {
            let Some(readers) = self.reads.asked.remove(&offset) else {
                continue;
            };
            let body = record
                .filter(|record| record.known_kind() == Some(RecordKind::Enqueue))
                .map(|record| record.body);
            for reader in readers {
                match reader {
                    Reader::Queue(key) => self.queue_body(now, key, offset, body.clone()),
                    Reader::Browser(key) => self.browser_body(key, offset, body.clone()),
                }
            }
        }
        for reader in std::mem::take(&mut self.reads.waiting) {
            self.resume(reader);
        }
    }

    fn queue_body(&mut self, now: Now, key: DestKey, offset: Offset, body: Option<Bytes>) {
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        found.queue.reading -= 1;
        let is_done = found.queue.reading == 0;
        match body {
            Some(_) if found.consumers.is_empty() => {}
            Some(body) => {
                self.reads.windows_bytes += body.len() as u64;
                if let Some(before) = found.queue.window.insert(offset, body) {
                    self.reads.used(&before);
                }
            }
            None => self.set_unreadable(now, key, Place::persistent(offset)),
        }
        if is_done {
            self.list_queue(key);
        }
    }

    fn browser_body(&mut self, key: SubKey, offset: Offset, body: Option<Bytes>) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let Source::Browser(browse) = &mut subscription.source else {
            return;
        };
        browse.reading -= 1;
        let is_done = browse.reading == 0;
        // A browser only shows what can be read: an empty body stands for "not this one".
        let body = body.unwrap_or_default();
        self.reads.windows_bytes += body.len() as u64;
        if let Some(before) = browse.window.insert(offset, body) {
            self.reads.used(&before);
        }
        if is_done {
            self.list_subscriber(key);
        }
    }

    fn resume(&mut self, reader: Reader) {
        match reader {
            Reader::Queue(key) => {
                if let Some(found) = self.destinations.get_mut(key) {
                    found.queue.waits_to_read = false;
                }
                self.list_queue(key);
            }
            Reader::Browser(key) => {
                let found = self
                    .subscriptions
                    .get_mut(key)
                    .map(|found| &mut found.source);
                if let Some(Source::Browser(browse)) = found {
                    browse.waits_to_read = false;
                }
                self.list_subscriber(key);
            }
        }
    }

    /// The queue's consumers have no credit for the rest of its window.
    pub(super) fn trim_queue_window(&mut self, key: DestKey) {
        if self.reads.is_over()
            && let Some(found) = self.destinations.get_mut(key)
        {
            let window = std::mem::take(&mut found.queue.window);
            self.reads.drop_bodies(&window);
        }
    }

    /// The browser has no credit for the rest of its window.
    pub(super) fn trim_browser_window(&mut self, key: SubKey) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        if let Source::Browser(browse) = &mut subscription.source
            && (self.reads.is_over() || browse.has_ended)
        {
            self.reads.drop_bodies(&std::mem::take(&mut browse.window));
        }
    }

    // === what cannot be read ===

    /// Skipped for now, tried again later, never dropped.
    pub(super) fn set_unreadable(&mut self, now: Now, key: DestKey, place: Place) {
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        if found.queue.unreadable.insert(place) {
            self.retries
                .push_back((now.boot + RETRY_PERIOD, key, place));
        }
    }

    pub(super) fn retry_unreadable(&mut self, key: DestKey, place: Place) {
        let Some(found) = self.destinations.get_mut(key) else {
            return;
        };
        if found.queue.unreadable.remove(&place) {
            self.appear(key, place);
        }
    }
}

/// The offsets to read, in the order of dispatch, up to the limits of a window.
fn window_of(
    state: &State,
    queue: &LiveQueue,
    places: impl Iterator<Item = Place>,
    is_here: impl Fn(Offset) -> bool,
) -> Vec<Offset> {
    let Some(id) = queue.state else {
        return Vec::new();
    };
    let entries = state.queue(id).entries();
    let mut offsets = Vec::new();
    let mut bytes = 0;
    for place in places.take(WINDOW_ENTRIES_MAX) {
        let Some(entry) = entries.get(place.offset).filter(|_| place.is_persistent()) else {
            continue;
        };
        if is_here(place.offset)
            || queue.unreadable.contains(&place)
            || queue.condemned.contains(&place)
        {
            continue;
        }
        bytes += u64::from(entry.length);
        if bytes > WINDOW_BYTES_MAX && !offsets.is_empty() {
            break;
        }
        offsets.push(place.offset);
    }
    offsets
}

/// Places in the order of dispatch.
fn next_places(state: &State, queue: &LiveQueue) -> impl Iterator<Item = Place> {
    queue
        .behind
        .iter()
        .copied()
        .chain(places_after(state, queue, queue.cursor))
}

fn places_after(state: &State, queue: &LiveQueue, cursor: Place) -> impl Iterator<Item = Place> {
    let first = super::dispatch::place_after(state, queue, cursor);
    std::iter::successors(first, move |place| {
        super::dispatch::place_after(state, queue, *place)
    })
}
