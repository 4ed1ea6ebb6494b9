//! Virtual time: what will happen, ordered by moment and, at one moment, by when it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use tandemmq_model::Time;

/// The clock and everything that waits for it.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    now: Time,
    planned: u64,
    heap: BinaryHeap<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    at: Time,
    order: u64,
    what: T,
}

// === impl Agenda ===

impl<T> Agenda<T> {
    /// An empty agenda at the origin of time.
    pub(crate) fn new() -> Self {
        Self {
            now: Time::ZERO,
            planned: 0,
            heap: BinaryHeap::new(),
        }
    }

    /// The moment reached.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Plans something; a moment that has passed means now.
    pub(crate) fn at(&mut self, at: Time, what: T) {
        self.planned += 1;
        self.heap.push(Entry {
            at: at.max(self.now),
            order: self.planned,
            what,
        });
    }

    /// Plans something after a while.
    pub(crate) fn after(&mut self, wait: Duration, what: T) {
        self.at(self.now + wait, what);
    }

    /// The next thing, if it comes until `end`; time goes on to it.
    pub(crate) fn next_until(&mut self, end: Time) -> Option<T> {
        if self.heap.peek()?.at > end {
            return None;
        }
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.what)
    }

    /// Nothing happens until then: time goes on to it.
    pub(crate) fn rest_until(&mut self, end: Time) {
        self.now = self.now.max(end);
    }
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self::new()
    }
}

// The heap gives the greatest first: later is less.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_by_moment_and_then_in_the_order_they_were_planned() {
        let mut agenda = Agenda::new();
        agenda.at(Time::from_millis(2), "third");
        agenda.at(Time::from_millis(1), "first");
        agenda.at(Time::from_millis(1), "second");
        let end = Time::from_millis(5);
        let seen: Vec<_> = std::iter::from_fn(|| agenda.next_until(end)).collect();
        assert_eq!(seen, ["first", "second", "third"]);
        assert_eq!(agenda.now(), Time::from_millis(2));
    }

    #[test]
    fn what_is_planned_for_the_past_happens_now() {
        let mut agenda = Agenda::new();
        agenda.rest_until(Time::from_millis(9));
        agenda.at(Time::from_millis(3), ());
        assert_eq!(agenda.next_until(Time::from_millis(9)), Some(()));
        assert_eq!(agenda.now(), Time::from_millis(9));
    }
}
