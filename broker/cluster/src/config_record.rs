//! Body of a Config record: who votes from here on.
//!
//! ```text
//! version u8 = 1 | generation u64
//! | voters: count u8, (ordinal u8, incarnation u128)*
//! | joining: count u8, (ordinal u8, incarnation u128)*      empty: not joint
//! ```
//! Big-endian. While `joining` is there, every majority is one of each set. A Config counts from
//! the moment it is in the log, committed or not, and is the only record of its batch.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tandemmq_journal::Batch;
use tandemmq_model::limits::MEMBERS_MAX;
use tandemmq_model::{Incarnation, MemberId, Record, RecordKind};

use crate::group::quorum::Voters;

const VERSION: u8 = 1;

pub(crate) fn encode(voters: &Voters) -> Bytes {
    let mut out = BytesMut::with_capacity(16 + 17 * 2 * MEMBERS_MAX);
    out.put_u8(VERSION);
    out.put_u64(voters.generation());
    for set in [voters.members(), voters.joining()] {
        out.put_u8(set.len() as u8);
        for member in set {
            out.put_u8(member.ordinal);
            out.put_u128(member.incarnation.0);
        }
    }
    out.freeze()
}

pub(crate) fn to_record(voters: &Voters) -> Record {
    Record::critical(RecordKind::Config, encode(voters))
}

/// None when it is not one of this version; later versions only add at the end.
pub(crate) fn parse(mut body: Bytes) -> Option<Voters> {
    if body.try_get_u8().ok()? < VERSION {
        return None;
    }
    let generation = body.try_get_u64().ok()?;
    let voters = members(&mut body)?;
    let joining = members(&mut body)?;
    (!voters.is_empty()).then(|| Voters::of(generation, voters, joining))
}

fn members(body: &mut Bytes) -> Option<Vec<MemberId>> {
    let count = usize::from(body.try_get_u8().ok()?);
    if count > MEMBERS_MAX || body.len() < count * 17 {
        return None;
    }
    let one = |body: &mut Bytes| MemberId {
        ordinal: body.get_u8(),
        incarnation: Incarnation(body.get_u128()),
    };
    Some((0..count).map(|_| one(body)).collect())
}

/// The Config of a batch; none of any other batch. An error: it holds one and is not alone, or it
/// cannot be read.
pub(crate) fn of_batch(batch: &Batch) -> Result<Option<Voters>, ()> {
    let mut records = batch.records();
    let Some((_, first)) = records.next() else {
        return Ok(None);
    };
    if first.kind != RecordKind::Config as u8 {
        return Ok(None);
    }
    match (records.next(), parse(first.body)) {
        (None, Some(voters)) => Ok(Some(voters)),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Voters {
        let member = |ordinal: u8, n: u128| MemberId {
            ordinal,
            incarnation: Incarnation(n),
        };
        let before = vec![member(0, 0x10), member(1, 0x11)];
        Voters::of(7, before, vec![member(0, 0x10), member(1, 0x21)])
    }

    #[test]
    fn a_config_reads_back_as_written_and_a_cut_one_is_none() {
        let body = encode(&sample());
        assert_eq!(parse(body.clone()), Some(sample()));
        for length in 0..body.len() {
            assert_eq!(parse(body.slice(..length)), None, "{length} bytes");
        }
    }

    #[test]
    fn the_bytes_of_a_config_never_change() {
        let hex: String = encode(&sample())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let golden = concat!(
            "01",
            "0000000000000007",
            "02",
            "00",
            "00000000000000000000000000000010",
            "01",
            "00000000000000000000000000000011",
            "02",
            "00",
            "00000000000000000000000000000010",
            "01",
            "00000000000000000000000000000021",
        );
        assert_eq!(hex, golden, "Config is on disk: its bytes are for ever");
    }
}
