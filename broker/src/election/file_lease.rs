//! `FileLease`: the Lease as numbered files in a folder that all brokers of a group share.
//!
//! ```text
//! lease.41  lease.42  lease.43      the newest counts, the last 16 are kept
//! .lease-a-0-3f9c….tmp              being written by broker a-0
//! ```
//!
//! Compare-and-swap is the exclusive creation of `lease.<revision + 1>`: the content is written and
//! synced under a temporary name, then `link`ed; "exists" is Conflict. So a reader sees whole files
//! only. Afterwards the folder is synced and listed: when the revision that was swapped is not
//! there any more, the own file is removed again and the answer is Conflict. A process that was
//! stopped before its `link` may else take a number that others used and pruned meanwhile. While
//! the swapped one is there, its successor's number cannot have been used before. (Revision 1 has
//! no predecessor to look for: it counts only while it is the newest.)
//!
//! Not flock: a stopped holder would block everybody. Not here: the time limit of a call
//! (`lease_task`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tandemmq_cluster::lease::{
    Lease, LeaseAnswer, LeaseRecord, LeaseRequest, LeaseStore, Revision,
};

mod content;

/// Revisions kept: enough to read what happened lately, and a reader that listed the folder has
/// that many swaps of time to open the newest file.
const KEPT_REVISIONS: u64 = 16;

/// Times a reader lists again because the file it was about to read was pruned.
const READ_ATTEMPTS: usize = 8;

/// The store of one broker or tool.
#[derive(Debug)]
pub(crate) struct FileLease {
    folder: PathBuf,
    /// Names the temporary files of this handle's owner.
    owner: String,
}

/// A swap that has been checked and written, but not linked yet.
struct Prepared {
    base: u64,
    lease: Lease,
    temporary: Temporary,
}

/// Removes the temporary name, whatever happens.
struct Temporary(PathBuf);

// === impl FileLease ===

impl FileLease {
    /// Opens the folder, making it if need be. `owner` is the broker's name; temporary files that
    /// an earlier process of that name left are removed.
    pub(crate) fn open(folder: &Path, owner: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let store = Self {
            folder: folder.to_owned(),
            owner: owner.to_owned(),
        };
        store.remove_leftovers()?;
        Ok(store)
    }

    fn remove_leftovers(&self) -> io::Result<()> {
        let prefix = format!(".lease-{}.", self.owner);
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(&prefix))
            {
                remove_if_there(&entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, revision: u64) -> PathBuf {
        self.folder.join(format!("lease.{revision}"))
    }

    /// All revisions in the folder, ascending.
    fn revisions(&self) -> io::Result<Vec<u64>> {
        let mut revisions = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("lease."));
            if let Some(Ok(revision)) = number.map(str::parse) {
                revisions.push(revision);
            }
        }
        revisions.sort_unstable();
        Ok(revisions)
    }

    /// The newest revision's number and content; 0 and the default for an empty folder.
    fn read(&self) -> io::Result<(u64, Lease)> {
        for _ in 0..READ_ATTEMPTS {
            let Some(newest) = self.revisions()?.last().copied() else {
                return Ok((0, Lease::default()));
            };
            match fs::read(self.path(newest)) {
                Ok(bytes) => {
                    let (uid, record) = content::decode(&bytes)?;
                    let revision = Revision(newest.to_string());
                    return Ok((
                        newest,
                        Lease {
                            uid,
                            revision,
                            record,
                        },
                    ));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(
            "the lease files change faster than they can be read",
        ))
    }

    fn swap(&self, uid: &str, revision: &Revision, record: LeaseRecord) -> LeaseAnswer {
        match self.prepare(uid, revision, record) {
            Ok(Some(prepared)) => self.publish(prepared),
            Ok(None) => LeaseAnswer::Conflict,
            Err(error) => self.unavailable(&error),
        }
    }

    /// Checks and writes the new content under a temporary name; none: the store holds another
    /// version.
    fn prepare(
        &self,
        uid: &str,
        revision: &Revision,
        record: LeaseRecord,
    ) -> io::Result<Option<Prepared>> {
        let (base, current) = self.read()?;
        if current.uid != uid || current.revision != *revision {
            return Ok(None);
        }
        let uid = if base == 0 {
            format!("{:032x}", random()?)
        } else {
            current.uid
        };
        let lease = Lease {
            uid,
            revision: Revision((base + 1).to_string()),
            record,
        };
        let name = format!(".lease-{}.{:032x}.tmp", self.owner, random()?);
        let temporary = Temporary(self.folder.join(name));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary.0)?;
        file.write_all(&content::encode(&lease.uid, &lease.record))?;
        file.sync_all()?;
        Ok(Some(Prepared {
            base,
            lease,
            temporary,
        }))
    }

    /// Gives the content its name; from the `link` on it may count.
    fn publish(&self, prepared: Prepared) -> LeaseAnswer {
        let Prepared {
            base,
            lease,
            temporary,
        } = prepared;
        let own = base + 1;
        match fs::hard_link(&temporary.0, self.path(own)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return LeaseAnswer::Conflict,
            Err(error) => return self.unavailable(&error),
        }
        drop(temporary);
        match self.settle(base, own) {
            Ok(true) => LeaseAnswer::Ok(lease),
            Ok(false) => LeaseAnswer::Conflict,
            Err(error) => {
                tracing::warn!(%error, "a lease file was linked, but the folder failed afterwards");
                LeaseAnswer::Unknown
            }
        }
    }

    /// After the link: true when nobody can have had the own number before.
    fn settle(&self, base: u64, own: u64) -> io::Result<bool> {
        File::open(&self.folder)?.sync_all()?;
        let revisions = self.revisions()?;
        let first = if base == 0 {
            revisions.last() == Some(&own)
        } else {
            revisions.contains(&base)
        };
        if !first {
            remove_if_there(&self.path(own))?;
            File::open(&self.folder)?.sync_all()?;
            return Ok(false);
        }
        for old in revisions {
            if old + KEPT_REVISIONS <= own {
                // Somebody else prunes too; one left over does no harm.
                let _ = remove_if_there(&self.path(old));
            }
        }
        Ok(true)
    }

    fn unavailable(&self, error: &io::Error) -> LeaseAnswer {
        LeaseAnswer::Unavailable(format!("{}: {error}", self.folder.display()))
    }
}

impl LeaseStore for FileLease {
    fn call(&mut self, request: LeaseRequest) -> LeaseAnswer {
        match request {
            LeaseRequest::Read => match self.read() {
                Ok((_, lease)) => LeaseAnswer::Ok(lease),
                Err(error) => self.unavailable(&error),
            },
            LeaseRequest::Swap {
                uid,
                revision,
                record,
            } => self.swap(&uid, &revision, record),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Left behind it is removed at the owner's next start.
        let _ = remove_if_there(&self.0);
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u128::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests;
