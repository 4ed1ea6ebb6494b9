//! What brokers wrote into their logs since some moment.

use std::fs;
use std::path::{Path, PathBuf};

/// A place in a broker's log.
#[derive(Debug, Clone)]
pub(super) struct LogMark {
    file: PathBuf,
    bytes: u64,
}

impl LogMark {
    /// The end of the log of the broker whose volume that is.
    pub(super) fn now(data_dir: &Path) -> Self {
        let file = data_dir.with_file_name("broker.log");
        let bytes = fs::metadata(&file).map_or(0, |data| data.len());
        Self { file, bytes }
    }

    /// The lines since then that have one of these words, in any case. A log that cannot be read has
    /// nothing to say.
    pub(super) fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let all = fs::read(&self.file).unwrap_or_default();
        // It was set aside at a start when it became too long.
        let from = usize::try_from(self.bytes)
            .ok()
            .filter(|from| *from <= all.len());
        let text = String::from_utf8_lossy(&all[from.unwrap_or(0)..]);
        let has = |line: &&str| {
            let line = line.to_lowercase();
            words.iter().any(|word| line.contains(&word.to_lowercase()))
        };
        text.lines().filter(has).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn only_lines_after_the_mark_count() {
        let temp = TempDir::new();
        let log = temp.path().join("broker.log");
        fs::write(&log, "damage 1\n").unwrap();
        let mark = LogMark::now(&temp.path().join("data"));
        fs::write(&log, "damage 1\nfine\nDamage 2\n").unwrap();
        assert_eq!(mark.lines_with(&["damage"]), ["Damage 2"]);
    }
}
