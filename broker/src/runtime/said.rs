//! What was said in the log lately, so that a trouble that repeats many times a second is one
//! line.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The same text is said again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Texts remembered. With so many different ones nobody needs another line before the first is
/// due again.
const TEXTS_MAX: usize = 64;

/// Texts and when they were said.
#[derive(Debug, Default)]
pub(crate) struct Said(HashMap<String, Instant>);

// === impl Said ===

impl Said {
    /// True when `text` was not said lately; from now on it was.
    pub(crate) fn is_new(&mut self, text: &str, now: Instant) -> bool {
        self.0.retain(|_, at| now.duration_since(*at) < AGAIN_AFTER);
        if self.0.contains_key(text) || self.0.len() >= TEXTS_MAX {
            return false;
        }
        self.0.insert(text.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_said_once_in_a_while() {
        let mut said = Said::default();
        let now = Instant::now();
        assert!(said.is_new("a", now) && said.is_new("b", now));
        let almost = now + AGAIN_AFTER - Duration::from_secs(1);
        assert!(!said.is_new("a", almost));
        let later = now + AGAIN_AFTER;
        assert!(said.is_new("a", later) && !said.is_new("a", later));
    }

    #[test]
    fn a_crowd_of_strangers_does_not_fill_the_log() {
        let mut said = Said::default();
        let now = Instant::now();
        let lines = (0..1_000).filter(|n| said.is_new(&n.to_string(), now));
        let lines = lines.count();
        assert_eq!(lines, TEXTS_MAX);
    }
}
