//! Content of files that is read again when they change, without a restart.
//!
//! ```text
//! Unchanged --a file's place, size or time differs--> read again --good--> in use from now on
//!     ^                                                   |bad
//!     +------------ the old content stays in use <--------+  logged once, reload_failed = 1
//! ```
//!
//! A change is seen by what the name leads to (device, inode, size, time), so that a folder that
//! is swapped behind a symlink, as Kubernetes does, counts too. What is in use is swapped as a
//! whole; connections that exist keep what they began with.
//!
//! The same thread warns of certificates that end soon.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::metrics::Metrics;

/// Between two looks. A new certificate has days, a user that was removed waits this long.
const INTERVAL: Duration = Duration::from_secs(10);

/// A certificate that ends within this (seconds) is warned of.
const ENDS_SOON: i64 = 7 * 24 * 3600;

/// Between two warnings of the same certificate, in seconds.
const WARN_AGAIN: i64 = 24 * 3600;

/// What one reading gave.
#[derive(Debug)]
pub(crate) struct Loaded<T> {
    /// In use from now on.
    pub(crate) content: T,
    /// Certificates in it.
    pub(crate) ends: Vec<CertificateEnd>,
}

/// When a certificate ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CertificateEnd {
    /// Label of the metric: what it is used for.
    usage: &'static str,
    /// Seconds since 1970.
    not_after: i64,
}

/// What is in use now; cheap to clone.
pub(crate) struct Current<T>(watch::Receiver<Arc<T>>);

/// Looks after files.
#[derive(Debug)]
pub(crate) struct Reloader {
    watched: Vec<Watched>,
    ends: BTreeMap<&'static str, End>,
    metrics: Arc<Metrics>,
}

/// Files that are read together.
struct Watched {
    /// The key of the configuration.
    key: &'static str,
    files: Vec<PathBuf>,
    seen: Vec<Stamp>,
    read: Box<dyn FnMut() -> anyhow::Result<Vec<CertificateEnd>> + Send>,
}

/// Which file a name leads to, and in which state; none when there is none.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

#[derive(Debug)]
struct End {
    not_after: i64,
    warned: Option<i64>,
}

// === impl CertificateEnd ===

impl CertificateEnd {
    /// A certificate used for `usage` that ends at `not_after`, in seconds since 1970.
    pub(crate) const fn new(usage: &'static str, not_after: i64) -> Self {
        Self { usage, not_after }
    }
}

// === impl Current ===

impl<T> Current<T> {
    /// What is in use now.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys and passwords are in there.
        f.write_str("Current")
    }
}

// === impl Reloader ===

impl Reloader {
    /// Looks after nothing yet.
    pub(crate) const fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            watched: Vec::new(),
            ends: BTreeMap::new(),
            metrics,
        }
    }

    /// Reads `files` with `read`, now and whenever one of them changes. An error is one of now.
    pub(crate) fn open<T: Send + Sync + 'static>(
        &mut self,
        key: &'static str,
        files: Vec<PathBuf>,
        read: impl Fn() -> anyhow::Result<Loaded<T>> + Send + 'static,
    ) -> anyhow::Result<Current<T>> {
        // First the stamps: a change during the reading is a change after it.
        let seen = files.iter().map(|file| stamp(file)).collect();
        let loaded = read()?;
        let (sender, current) = watch::channel(Arc::new(loaded.content));
        self.metrics.reload_failed(key).set(0);
        self.take_ends(&loaded.ends);
        let read = move || {
            let loaded = read()?;
            sender.send_replace(Arc::new(loaded.content));
            Ok(loaded.ends)
        };
        self.watched.push(Watched {
            key,
            files,
            seen,
            read: Box::new(read),
        });
        Ok(Current(current))
    }

    /// Looks every ten seconds, on a thread of its own, for as long as the process lives.
    pub(crate) fn start(mut self) -> std::io::Result<()> {
        if self.watched.is_empty() {
            return Ok(());
        }
        let run = move || {
            loop {
                for warning in self.due_warnings(unix_now()) {
                    tracing::warn!("{warning}");
                }
                std::thread::sleep(INTERVAL);
                self.look();
            }
        };
        std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(run)?;
        Ok(())
    }

    /// Reads again what has changed.
    pub(crate) fn look(&mut self) {
        for at in 0..self.watched.len() {
            let watched = &mut self.watched[at];
            let now: Vec<Stamp> = watched.files.iter().map(|file| stamp(file)).collect();
            if now == watched.seen {
                continue;
            }
            watched.seen = now;
            let (key, result) = (watched.key, (watched.read)());
            self.metrics
                .reload_failed(key)
                .set(i64::from(result.is_err()));
            match result {
                Ok(ends) => {
                    self.take_ends(&ends);
                    tracing::info!(key, "files were read again");
                }
                Err(error) => tracing::warn!(
                    key,
                    "changed files are not usable, the old content stays in use: {error:#}"
                ),
            }
        }
    }

    fn take_ends(&mut self, ends: &[CertificateEnd]) {
        for end in ends {
            let gauge = self.metrics.certificate_not_after(end.usage);
            gauge.set(end.not_after);
            let not_after = end.not_after;
            let new = End {
                not_after,
                warned: None,
            };
            self.ends.insert(end.usage, new);
        }
    }

    /// What is to be said of certificates that end soon or have ended; once a day of each.
    fn due_warnings(&mut self, now: i64) -> Vec<String> {
        let mut warnings = Vec::new();
        for (usage, end) in &mut self.ends {
            let left = end.not_after - now;
            let silent = end.warned.is_some_and(|at| now - at < WARN_AGAIN);
            if left > ENDS_SOON || silent {
                continue;
            }
            end.warned = Some(now);
            warnings.push(match left {
                ..=0 => format!("the certificate for {usage} has ended: connections are refused"),
                _ => format!(
                    "the certificate for {usage} ends in {} hours: renew it",
                    left / 3600
                ),
            });
        }
        warnings
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("key", &self.key)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

fn stamp(file: &Path) -> Stamp {
    let meta = std::fs::metadata(file).ok()?;
    Some((
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
    ))
}

fn unix_now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn text_of(file: &Path) -> anyhow::Result<Loaded<String>> {
        let content = std::fs::read_to_string(file)?;
        anyhow::ensure!(content != "bad", "it is bad");
        Ok(Loaded {
            content,
            ends: Vec::new(),
        })
    }

    #[test]
    fn changed_file_is_read_again_and_a_bad_one_leaves_the_old_content() {
        let folder = TempDir::new();
        let file = folder.path().join("f");
        std::fs::write(&file, "one").unwrap();
        let metrics = Arc::new(Metrics::new());
        let mut reloader = Reloader::new(Arc::clone(&metrics));
        let read = {
            let file = file.clone();
            move || text_of(&file)
        };
        let current = reloader.open("k", vec![file.clone()], read).unwrap();
        assert_eq!(*current.get(), "one");
        for (written, in_use, failed) in [("bad", "one", 1), ("three", "three", 0)] {
            std::fs::write(&file, written).unwrap();
            assert_ne!(*current.get(), written, "not before somebody looks");
            reloader.look();
            assert_eq!(*current.get(), in_use);
            assert_eq!(metrics.reload_failed("k").get(), failed);
        }
        std::fs::remove_file(&file).unwrap();
        reloader.look();
        assert_eq!(*current.get(), "three", "a file that is gone is a bad one");
        assert_eq!(metrics.reload_failed("k").get(), 1);
    }

    #[test]
    fn folder_swapped_behind_a_symlink_is_a_change() {
        let folder = TempDir::new();
        for name in ["old", "new"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("f"), name).unwrap();
        }
        let link = folder.path().join("..data");
        std::os::unix::fs::symlink("old", &link).unwrap();
        std::os::unix::fs::symlink("..data/f", folder.path().join("f")).unwrap();
        let file = folder.path().join("f");
        let mut reloader = Reloader::new(Arc::new(Metrics::new()));
        let read = {
            let file = file.clone();
            move || text_of(&file)
        };
        let current = reloader.open("k", vec![file], read).unwrap();
        let next = folder.path().join("..data_tmp");
        std::os::unix::fs::symlink("new", &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
        reloader.look();
        assert_eq!(*current.get(), "new");
    }

    #[test]
    fn certificate_that_ends_soon_is_warned_of_once_a_day() {
        const DAY: i64 = 24 * 3600;
        let mut reloader = Reloader::new(Arc::new(Metrics::new()));
        let end = CertificateEnd::new("peers", 100 * DAY);
        reloader.take_ends(&[end]);
        let mut said = |day: i64, hour: i64| {
            let warnings = reloader.due_warnings(day * DAY + hour * 3600);
            warnings.first().cloned().unwrap_or_default()
        };
        assert_eq!(said(92, 0), "", "more than a week is left");
        assert!(said(93, 1).contains("ends in 167 hours"));
        assert_eq!(said(93, 23), "", "it was said today");
        assert!(said(94, 1).contains("ends in 143 hours"));
        assert!(said(101, 0).contains("has ended"));
        assert_eq!(
            reloader.metrics.certificate_not_after("peers").get(),
            100 * DAY
        );
    }
}
