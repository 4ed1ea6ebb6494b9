//! Setting files aside: under other names, so that nothing of them is read as this member's any
//! more, and nothing is ever deleted that a person might still want.
//!
//! ```text
//! set-aside   magic u32 | what u8 (1 log, 2 everything) | run u32 | CRC u32
//! damaged-0003-journal-0000000000000007     the third time, a file of the log
//! aside-0004-identity                       the fourth time, the whole volume
//! ```
//! The marker is durable before the first rename; a start that finds it goes on where the last one
//! died. With the log goes the durable mark, and the member has no vote until it is repaired; with
//! everything goes the identity: the volume is blank and gets another incarnation.

use bytes::{Buf, BufMut, BytesMut};
use tandemmq_model::Offset;

use crate::control::{self, LogState};
use crate::storage::{Storage, StorageError};

const FILE: &str = "set-aside";
const MAGIC: u32 = 0x544d_5141; // "TMQA".

/// What is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SetAside {
    /// Segments, survivors, checkpoints, manifest: the member is repaired from its peers.
    Log = 1,
    /// The whole volume: it comes back as a new one.
    Everything = 2,
}

impl SetAside {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Log => "damaged-",
            Self::Everything => "aside-",
        }
    }

    fn takes(self, name: &str) -> bool {
        let log = ["journal-", "survivors-", "checkpoint-", "side-"];
        let is_log = log.iter().any(|kind| name.starts_with(kind)) || name == crate::manifest::FILE;
        match self {
            Self::Log => is_log,
            Self::Everything => is_log || is_about_the_member(name),
        }
    }
}

fn is_about_the_member(name: &str) -> bool {
    let files = [
        control::FILE,
        crate::identity::FILE,
        crate::identity::COPY,
        crate::identity::WITNESS_FILE,
    ];
    files.contains(&name)
}

/// True for a file that was set aside, in whatever version.
pub fn is_aside(name: &str) -> bool {
    name.starts_with("damaged-") || name.starts_with("aside-")
}

/// From the next start on: what is named here is not this member's any more.
pub(crate) fn begin<S: Storage>(storage: &S, what: SetAside) -> Result<(), StorageError> {
    let mut out = BytesMut::new();
    out.put_u32(MAGIC);
    out.put_u8(what as u8);
    out.put_u32(next_run(&storage.list()?));
    let crc = crc32c::crc32c(&out);
    out.put_u32(crc);
    storage.replace(FILE, &out)
}

/// One more than any run before.
pub(crate) fn next_run(names: &[String]) -> u32 {
    let run = |name: &String| {
        let rest = name
            .strip_prefix("damaged-")
            .or_else(|| name.strip_prefix("aside-"))?;
        rest.get(..4)?.parse::<u32>().ok()
    };
    names
        .iter()
        .filter_map(run)
        .max()
        .map_or(1, |last| last + 1)
}

/// Does what was begun, if anything was.
pub(crate) fn finish<S: Storage>(storage: &S) -> Result<Option<SetAside>, StorageError> {
    let names = storage.list()?;
    if !names.iter().any(|name| name == FILE) {
        return Ok(None);
    }
    let marker = storage.read_at(FILE, 0, 64)?;
    // A damaged marker takes the lesser step, which loses nothing either.
    let (what, run) = parse(&marker).unwrap_or_else(|| (SetAside::Log, next_run(&names)));
    for name in names.iter().filter(|name| what.takes(name)) {
        storage.rename(name, &format!("{}{run:04}-{name}", what.prefix()))?;
    }
    storage.sync_dir()?;
    if what == SetAside::Log {
        forget_the_mark(storage)?;
    }
    storage.remove(FILE)?;
    storage.sync_dir()?;
    Ok(Some(what))
}

fn parse(mut marker: &[u8]) -> Option<(SetAside, u32)> {
    let (body, mut crc) = marker.split_at_checked(marker.len().checked_sub(4)?)?;
    if crc.get_u32() != crc32c::crc32c(body) || marker.try_get_u32().ok()? != MAGIC {
        return None;
    }
    let what = match marker.try_get_u8().ok()? {
        1 => SetAside::Log,
        2 => SetAside::Everything,
        _ => return None,
    };
    Some((what, marker.try_get_u32().ok()?))
}

/// An empty log is not below the durable mark of the one that is gone; it has no vote instead.
fn forget_the_mark<S: Storage>(storage: &S) -> Result<(), StorageError> {
    let (control::Found::Sound(mut stored) | control::Found::Restore(mut stored)) =
        control::newest(control::read(storage)?)
    else {
        return Ok(()); // Judged by the start itself: a promise may be forgotten.
    };
    stored.durable = Offset::ZERO;
    if matches!(stored.control.log_state, LogState::Clean) {
        stored.control.log_state = LogState::NeedsRepair;
    }
    control::write_twice(storage, &mut stored)
}

#[cfg(test)]
mod tests;
