//! Opening the log: manifest, checkpoint, old files; then the walk.

use tandemmq_model::{GroupId, Offset};

use super::walk::Walk;
use super::{RecoverError, Side, SideFile, numbers_of};
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::control::Stored;
use crate::format::FormatError;
use crate::identity::Identity;
use crate::manifest::{FoundManifest, Manifest, OldFile, OldKind};
use crate::segment::{self, Cursor, DATA_AT, Found, PIECE, SegmentHeader};
use crate::set_aside;
use crate::storage::{Storage, StorageError};

/// Everything up to the end of the log; none where it is damaged so that no part of it can serve.
pub(super) fn open<'a, S: Storage>(
    storage: &'a S,
    stored: Stored,
    identity: &Identity,
) -> Result<Option<Walk<'a, S>>, RecoverError> {
    let mut manifest = match Manifest::read(storage)? {
        FoundManifest::None => Manifest::default(),
        FoundManifest::Sound(manifest) => manifest,
        FoundManifest::Once(mut manifest) => {
            manifest.write(storage)?;
            manifest
        }
        FoundManifest::Lost => return Ok(None),
    };
    let listed = manifest.checkpoints.len();
    let checkpoint = load_checkpoint(storage, &mut manifest)?;
    if checkpoint.is_none() && listed > 0 {
        return Ok(None);
    }
    for file in &manifest.old {
        if read_header(storage, &file.name())?.is_none_or(|header| header.number != file.number) {
            return Ok(None);
        }
    }
    let groups = identity.group.iter().map(|group| group.id);
    let groups: Vec<GroupId> = groups.chain(identity.former.iter().copied()).collect();
    let lost = manifest.checkpoints.len() < listed;
    let mut walk = Walk::new(storage, stored, manifest, groups, checkpoint);
    walk.report.checkpoint_lost = lost;
    if !place_walk(&mut walk)? {
        return Ok(None);
    }
    walk.run()?;
    if walk.index.lock().end.last < walk.kept_up_to() {
        return Ok(None);
    }
    let mut index = walk.index.lock();
    index.set_old(&walk.manifest.old);
    index.checkpoints = walk.manifest.checkpoints.iter().map(|c| c.number).collect();
    drop(index);
    Ok(Some(walk))
}

/// The newest checkpoint that can be read. A bad one is kept under another name.
fn load_checkpoint<S: Storage>(
    storage: &S,
    manifest: &mut Manifest,
) -> Result<Option<Checkpoint>, RecoverError> {
    while let Some(newest) = manifest.newest().copied() {
        match checkpoint::read(storage, newest.number) {
            Ok(found) if found.head.offset == newest.offset && found.head.crc == newest.crc => {
                return Ok(Some(found));
            }
            Err(CheckpointError::Newer(format)) => return Err(RecoverError::newer(format)),
            Ok(_) | Err(CheckpointError::Damaged(_) | CheckpointError::Storage(_)) => {}
        }
        manifest.checkpoints.pop();
        if manifest.checkpoints.is_empty() {
            return Ok(None);
        }
        manifest.write(storage)?;
        let name = checkpoint::name(newest.number);
        let run = set_aside::next_run(&storage.list()?);
        match storage.rename(&name, &format!("damaged-{run:04}-{name}")) {
            Ok(()) | Err(StorageError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Finds the segment that the walk begins with; false where a segment before it is damaged.
fn place_walk<S: Storage>(walk: &mut Walk<'_, S>) -> Result<bool, RecoverError> {
    let names = walk.storage.list()?;
    let all = numbers_of(&names, "journal");
    let numbers: Vec<u64> = all
        .iter()
        .copied()
        .filter(|number| !is_garbage(&segment::name(*number), &walk.manifest))
        .filter(|number| !is_old(OldKind::Segment, *number, &walk.manifest))
        .collect();
    // Never below the manifest's: a segment of a lower number is garbage to it, also when a switch
    // left no segment behind (and a number from 1 on would be taken for one before it).
    let past = all.last().map_or(1, |last| last + 1);
    walk.index.lock().next_segment = past.max(walk.manifest.log_from);
    let Some(kept) = walk
        .checkpoint
        .as_ref()
        .map(|c| (c.head.offset, c.head.crc))
    else {
        walk.numbers = numbers;
        return Ok(true);
    };
    let mut firsts = Vec::new();
    for number in &numbers {
        let header = read_header(walk.storage, &segment::name(*number))?;
        firsts.push(header.map(|header| header.base));
    }
    let begins = |first: &Option<Offset>| first.is_some_and(|first| first <= kept.0.next());
    let Some(at) = firsts.iter().rposition(begins) else {
        walk.begin_at(numbers, kept.0.next());
        return Ok(true);
    };
    for (number, first) in numbers.iter().zip(&firsts).take(at) {
        let Some(first) = first else { return Ok(false) };
        walk.index.lock().push_segment(*number, *first);
    }
    let Some(first) = firsts[0] else {
        return Ok(false);
    };
    match start_of(walk.storage, numbers[0], first, kept)? {
        Some(start) => walk.index.lock().start = start,
        None => return Ok(false),
    }
    let first = firsts[at].unwrap_or_else(|| kept.0.next());
    walk.begin_at(numbers[at..].to_vec(), first);
    Ok(true)
}

/// The record before the log's first one, and the CRC of its batch.
fn start_of<S: Storage>(
    storage: &S,
    number: u64,
    first: Offset,
    kept: (Offset, u32),
) -> Result<Option<(Offset, u32)>, StorageError> {
    if first == kept.0.next() {
        return Ok(Some(kept));
    }
    let mut cursor = Cursor::over(storage, segment::name(number), DATA_AT, PIECE);
    Ok(match cursor.next()? {
        Found::Batch(batch) => Some((Offset(first.0.saturating_sub(1)), batch.previous_crc())),
        Found::Zero | Found::Bad(_) => None,
    })
}

/// None when it is not there or damaged.
fn read_header<S: Storage>(storage: &S, name: &str) -> Result<Option<SegmentHeader>, RecoverError> {
    let head = match storage.read_at(name, 0, DATA_AT as usize) {
        Ok(head) => head,
        Err(StorageError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match SegmentHeader::parse(&head) {
        Ok(header) => Ok(Some(header)),
        Err(FormatError::Newer(format)) => Err(RecoverError::newer(format)),
        Err(_) => Ok(None),
    }
}

/// A file of the journal that is no part of it: left behind by a crash.
pub(super) fn is_garbage(name: &str, manifest: &Manifest) -> bool {
    let listed = |kind: OldKind, number: u64| is_old(kind, number, manifest);
    if let Some(number) = segment::number_in(name, "journal") {
        return number < manifest.log_from && !listed(OldKind::Segment, number);
    }
    if let Some(number) = segment::number_in(name, "survivors") {
        return !listed(OldKind::Survivors, number);
    }
    segment::number_in(name, "checkpoint").is_some_and(|number| {
        !manifest
            .checkpoints
            .iter()
            .any(|known| known.number == number)
    })
}

fn is_old(kind: OldKind, number: u64, manifest: &Manifest) -> bool {
    let same = |file: &OldFile| file.kind == kind && file.number == number;
    manifest.old.iter().any(same)
}

/// What a peer sent for an installation that has not ended. The last file is written again: after
/// a failed fdatasync the page cache shows what the disk does not have (H11), and a later sync would
/// not write it. Those before it were synced when they ended, or the process ended then.
pub(super) fn side<S: Storage>(storage: &S) -> Result<Side, StorageError> {
    let mut side = Side::default();
    for number in numbers_of(&storage.list()?, "side") {
        let name = segment::side_name(number);
        let sound = number == side.files.len() as u64 + 1;
        let mut cursor = Cursor::over(storage, name.clone(), DATA_AT, PIECE);
        let (before, mut file) = (side.last(), None::<SideFile>);
        while sound && let Found::Batch(batch) = cursor.next()? {
            if batch.base() <= file.map_or(before, |file| file.last) {
                break;
            }
            file = Some(SideFile {
                first: file.map_or_else(|| batch.base(), |file| file.first),
                last: batch.last(),
                end: cursor.position(),
                format: file.map_or(0, |file| file.format).max(batch.format()),
            });
        }
        match file {
            Some(file) => side.files.push(file),
            None => storage.remove(&name)?,
        }
    }
    if let Some(last) = side.files.last() {
        let name = segment::side_name(side.files.len() as u64);
        segment::write_again(storage, &name, 0, last.end)?;
        storage.sync_dir()?;
    }
    Ok(side)
}
