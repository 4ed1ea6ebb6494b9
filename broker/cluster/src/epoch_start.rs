//! Body of an EpochStart record: who reigns, and who votes.
//!
//! ```text
//! version u8 = 1 | ballot: epoch u64, ordinal u8, incarnation u128, boot u64 | generation u64
//! | voters: count u8, (ordinal u8, incarnation u128)*
//! | tails: count u8, (incarnation u128, last epoch u64, last offset u64)*
//! ```
//! Big-endian. The tails are those that the promising quorum reported: a memory for people who
//! read a journal after an accident, no rule depends on them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tandemmq_model::{Ballot, BootNonce, Epoch, Incarnation, MemberId, Offset, Record, RecordKind};

use crate::peer::Tail;

const VERSION: u8 = 1;

/// First record of a master's epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStart {
    /// The ballot that a quorum promised.
    pub ballot: Ballot,
    /// Generation of the Config that the voters come from; 0 = the founding list.
    pub generation: u64,
    /// The voters.
    pub voters: Vec<MemberId>,
    /// Last epoch and offset of each promising member.
    pub(crate) tails: Vec<(Incarnation, Tail)>,
}

impl EpochStart {
    /// As a record.
    pub(crate) fn to_record(&self) -> Record {
        let mut body = BytesMut::with_capacity(64 + 17 * self.voters.len() + 32 * self.tails.len());
        body.put_u8(VERSION);
        body.put_u64(self.ballot.epoch.0);
        body.put_u8(self.ballot.member.ordinal);
        body.put_u128(self.ballot.member.incarnation.0);
        body.put_u64(self.ballot.boot.0);
        body.put_u64(self.generation);
        body.put_u8(self.voters.len() as u8);
        for voter in &self.voters {
            body.put_u8(voter.ordinal);
            body.put_u128(voter.incarnation.0);
        }
        body.put_u8(self.tails.len() as u8);
        for (incarnation, tail) in &self.tails {
            body.put_u128(incarnation.0);
            body.put_u64(tail.epoch.0);
            body.put_u64(tail.offset.0);
        }
        Record::critical(RecordKind::EpochStart, body.freeze())
    }

    /// From a record's body; none when it is not one of this version. Later versions only add at
    /// the end.
    pub fn parse(mut body: Bytes) -> Option<Self> {
        const FIXED: usize = 1 + 8 + 1 + 16 + 8 + 8 + 1;
        if body.len() < FIXED || body.get_u8() < VERSION {
            return None;
        }
        let epoch = Epoch(body.get_u64());
        let member = MemberId {
            ordinal: body.get_u8(),
            incarnation: Incarnation(body.get_u128()),
        };
        let ballot = Ballot {
            epoch,
            member,
            boot: BootNonce(body.get_u64()),
        };
        let generation = body.get_u64();
        let voters = list(&mut body, 17, |row| MemberId {
            ordinal: row.get_u8(),
            incarnation: Incarnation(row.get_u128()),
        })?;
        let tails = list(&mut body, 32, |row| {
            let incarnation = Incarnation(row.get_u128());
            (
                incarnation,
                Tail {
                    epoch: Epoch(row.get_u64()),
                    offset: Offset(row.get_u64()),
                },
            )
        })?;
        Some(Self {
            ballot,
            generation,
            voters,
            tails,
        })
    }
}

fn list<T>(body: &mut Bytes, width: usize, mut row: impl FnMut(&mut Bytes) -> T) -> Option<Vec<T>> {
    let count = usize::from(body.try_get_u8().ok()?);
    if body.len() < count * width {
        return None;
    }
    Some((0..count).map(|_| row(body)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> EpochStart {
        let voter = |n: u8| MemberId {
            ordinal: n,
            incarnation: Incarnation(0x10 + u128::from(n)),
        };
        EpochStart {
            ballot: Ballot {
                epoch: Epoch(7),
                member: voter(1),
                boot: BootNonce(0xb007),
            },
            generation: 0,
            voters: vec![voter(0), voter(1), voter(2)],
            tails: vec![(
                Incarnation(0x10),
                Tail {
                    epoch: Epoch(6),
                    offset: Offset(99),
                },
            )],
        }
    }

    #[test]
    fn an_epoch_start_reads_back_as_written() {
        assert_eq!(EpochStart::parse(sample().to_record().body), Some(sample()));
    }

    #[test]
    fn a_cut_epoch_start_is_no_epoch_start() {
        let body = sample().to_record().body;
        for length in 0..body.len() {
            assert_eq!(
                EpochStart::parse(body.slice(..length)),
                None,
                "{length} bytes"
            );
        }
    }

    #[test]
    fn the_bytes_of_an_epoch_start_never_change() {
        let hex: String = sample()
            .to_record()
            .body
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let golden = concat!(
            "01",
            "0000000000000007",
            "01",
            "00000000000000000000000000000011",
            "000000000000b007",
            "0000000000000000",
            "03",
            "00",
            "00000000000000000000000000000010",
            "01",
            "00000000000000000000000000000011",
            "02",
            "00000000000000000000000000000012",
            "01",
            "00000000000000000000000000000010",
            "0000000000000006",
            "0000000000000063",
        );
        assert_eq!(hex, golden, "EpochStart is on disk: its bytes are for ever");
    }
}
