//! Files that say who a member is and what it remembers of others.
//!
//! ```text
//! identity  magic u32 | format u16 | ordinal u8 | incarnation u128 | volume id: u16 + UTF-8
//!           | group: u8 0 or 1, id u128, count u8, (ordinal u8, incarnation u128)*
//!           | former groups, left out when there are none: count u8, id u128 each | CRC u32
//! witness   magic u32 | format u16 | count u16, (incarnation u128, promise, ballot, offset u64)* | CRC u32
//! ```
//! The identity changes twice in a volume's life: when it is formatted, when it adopts a group; a
//! third time when a person makes a group of the one that is left of it. It stands in two files,
//! the first of which counts; a start mends either. A damaged witness table is an empty one: it weakens the detection of rolled-back volumes,
//! nothing else. Each file is replaced whole.

use bytes::{Buf, BufMut, BytesMut};
use tandemmq_model::limits::MEMBERS_MAX;
use tandemmq_model::{Ballot, GroupId, Incarnation, MemberId, Offset};

use crate::control::{self, Control, get_ballot, put_ballot};
use crate::storage::{Storage, StorageError};

pub(crate) const FILE: &str = "identity";
/// The same again.
pub(crate) const COPY: &str = "identity.copy";
pub(crate) const WITNESS_FILE: &str = "witness";
const MAGIC: u32 = 0x544d_5149; // "TMQI".
const WITNESS_MAGIC: u32 = 0x544d_5157; // "TMQW".
const FORMAT: u16 = 1;
const WITNESS_ROW: usize = 16 + 33 + 33 + 8;

/// A group as it was founded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// Drawn by the founder.
    pub id: GroupId,
    /// All initial members.
    pub members: Vec<MemberId>,
}

/// Who a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Place and incarnation.
    pub member: MemberId,
    /// The storage system's name of the volume, where there is one.
    pub volume_id: Option<String>,
    /// The group it adopted; none while it is blank.
    pub group: Option<Founding>,
    /// Groups that it belonged to before a person recovered it: its older segments name them.
    pub former: Vec<GroupId>,
}

/// Groups that are remembered: one for each recovery by hand, of which nobody does many.
const FORMER_MAX: usize = 16;

/// What is remembered of one incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// Of whom.
    pub incarnation: Incarnation,
    /// Its greatest promise heard of.
    pub promise: Ballot,
    /// The greatest (ballot, match) heard of.
    pub matched: (Ballot, Offset),
}

/// Makes a blank volume into a member without a group.
pub fn format<S: Storage>(storage: &S, identity: &Identity) -> Result<(), StorageError> {
    control::create(storage, Control::BLANK)?;
    write(storage, identity)
}

pub(crate) fn write<S: Storage>(storage: &S, identity: &Identity) -> Result<(), StorageError> {
    let mut out = BytesMut::new();
    out.put_u32(MAGIC);
    out.put_u16(FORMAT);
    put_member(&mut out, identity.member);
    let volume = identity.volume_id.as_deref().unwrap_or("");
    out.put_u16(volume.len() as u16);
    out.put_slice(volume.as_bytes());
    match &identity.group {
        None => out.put_u8(0),
        Some(group) => {
            out.put_u8(1);
            out.put_u128(group.id.0);
            out.put_u8(group.members.len() as u8);
            for member in &group.members {
                put_member(&mut out, *member);
            }
        }
    }
    if !identity.former.is_empty() {
        let from = identity.former.len().saturating_sub(FORMER_MAX);
        let kept = &identity.former[from..];
        out.put_u8(kept.len() as u8);
        for group in kept {
            out.put_u128(group.0);
        }
    }
    seal(&mut out);
    storage.replace(FILE, &out)?;
    storage.replace(COPY, &out)
}

/// What the two files say; the one that is damaged or missing is written again. None: a volume
/// without either.
pub(crate) fn read<S: Storage>(storage: &S) -> Result<Option<Option<Identity>>, StorageError> {
    let one = |name: &str| match storage.read_at(name, 0, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(parse(&bytes))),
        Err(StorageError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    };
    let found = match (one(FILE)?, one(COPY)?) {
        (None, None) => return Ok(None),
        (Some(Some(first)), copy) if copy != Some(Some(first.clone())) => Some(first),
        (Some(Some(first)), _) => return Ok(Some(Some(first))),
        (_, Some(Some(copy))) => Some(copy),
        (_, _) => None,
    };
    if let Some(identity) = &found {
        write(storage, identity)?;
    }
    Ok(Some(found))
}

/// Bytes of an identity: a few hundred.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// None when the bytes are not an identity.
pub(crate) fn parse(bytes: &[u8]) -> Option<Identity> {
    let mut input = unseal(bytes, MAGIC)?;
    let member = get_member(&mut input)?;
    let length = usize::from(input.try_get_u16().ok()?);
    let volume = input.get(..length)?;
    let volume_id = (length > 0).then(|| std::str::from_utf8(volume).map(str::to_owned));
    input.advance(length);
    let group = match input.try_get_u8().ok()? {
        0 => None,
        _ => Some(parse_group(&mut input)?),
    };
    let former = match input.try_get_u8() {
        Err(_) => Vec::new(),
        Ok(count) => (0..count)
            .map(|_| input.try_get_u128().map(GroupId).ok())
            .collect::<Option<_>>()?,
    };
    Some(Identity {
        member,
        volume_id: volume_id.transpose().ok()?,
        group,
        former,
    })
}

fn parse_group(input: &mut &[u8]) -> Option<Founding> {
    let id = GroupId(input.try_get_u128().ok()?);
    let count = usize::from(input.try_get_u8().ok()?);
    if count > MEMBERS_MAX {
        return None;
    }
    let members = (0..count)
        .map(|_| get_member(input))
        .collect::<Option<_>>()?;
    Some(Founding { id, members })
}

pub(crate) fn write_witness<S: Storage>(storage: &S, rows: &[Witness]) -> Result<(), StorageError> {
    let mut out = BytesMut::with_capacity(8 + rows.len() * WITNESS_ROW);
    out.put_u32(WITNESS_MAGIC);
    out.put_u16(FORMAT);
    out.put_u16(rows.len() as u16);
    for row in rows {
        out.put_u128(row.incarnation.0);
        put_ballot(&mut out, &row.promise);
        put_ballot(&mut out, &row.matched.0);
        out.put_u64(row.matched.1.0);
    }
    seal(&mut out);
    storage.replace(WITNESS_FILE, &out)
}

/// Empty when the bytes are not a witness table.
pub(crate) fn parse_witness(bytes: &[u8]) -> Vec<Witness> {
    let Some(mut input) = unseal(bytes, WITNESS_MAGIC) else {
        return Vec::new();
    };
    let Ok(count) = input.try_get_u16() else {
        return Vec::new();
    };
    if input.len() < usize::from(count) * WITNESS_ROW {
        return Vec::new();
    }
    (0..count)
        .map(|_| Witness {
            incarnation: Incarnation(input.get_u128()),
            promise: get_ballot(&mut input),
            matched: (get_ballot(&mut input), Offset(input.get_u64())),
        })
        .collect()
}

fn put_member(out: &mut BytesMut, member: MemberId) {
    out.put_u8(member.ordinal);
    out.put_u128(member.incarnation.0);
}

fn get_member(input: &mut &[u8]) -> Option<MemberId> {
    let ordinal = input.try_get_u8().ok()?;
    Some(MemberId {
        ordinal,
        incarnation: Incarnation(input.try_get_u128().ok()?),
    })
}

fn seal(out: &mut BytesMut) {
    let crc = crc32c::crc32c(out);
    out.put_u32(crc);
}

/// The fields behind magic and format of a file whose CRC is right.
fn unseal(bytes: &[u8], magic: u32) -> Option<&[u8]> {
    let (body, mut crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let mut input = body;
    let sound = crc.get_u32() == crc32c::crc32c(body)
        && input.try_get_u32().ok()? == magic
        && input.try_get_u16().ok()? <= FORMAT;
    sound.then_some(input)
}

#[cfg(test)]
mod tests;
