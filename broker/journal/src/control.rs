//! The control file: what only this member knows of its log.
//!
//! ```text
//! file     0           8 KiB        16 KiB       24 KiB
//!          | slot 0 A  | slot 0 B   | slot 1 A   | slot 1 B  |
//! record   magic u32 | format u16 | sequence u64 | promise | log state u8 | cut mark | durable u64 | CRC u32
//! ballot   epoch u64 | ordinal u8 | incarnation u128 | boot u64
//! ```
//! Two slots, used in turn by sequence; each holds its record twice, in different 4 KiB blocks. The
//! copies are written and synced one after the other, so a crash spoils at most one copy of the
//! slot that was being written: two bad copies in one slot are damage, not a crash. Both slots hold
//! a record from the beginning. A start that finds a copy missing writes both slots anew, so that
//! the other copy is not the last one.
//!
//! A promise that was given is never forgotten: it is durable before it is answered.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tandemmq_model::{Ballot, BootNonce, Epoch, Incarnation, MemberId, Offset};

use crate::mutants::{self, Mutant};
use crate::storage::{Storage, StorageError};

pub(crate) const FILE: &str = "control";
const MAGIC: u32 = 0x544d_5143; // "TMQC".
const FORMAT: u16 = 1;
const BALLOT: usize = 33;
const RECORD: usize = 4 + 2 + 8 + BALLOT + 1 + BALLOT + 8 + 4;
const COPY_STEP: u64 = 8 * 1024;
const FILE_BYTES: usize = 4 * COPY_STEP as usize;

/// May this member's log be trusted?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LogState {
    /// Yes: it votes.
    Clean = 0,
    /// A checksum below the durable mark is wrong: it follows, without a vote.
    NeedsRepair = 1,
    /// New: it follows, without a vote, until it has caught up.
    Learner = 2,
    /// Older than what its peers remember: it is out.
    DataLoss = 3,
}

/// What a member must never forget besides its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// The ballot it promised; only grows.
    pub promise: Ballot,
    /// May its log be trusted?
    pub log_state: LogState,
    /// Ballot of the last cut that took away synced records; stored before the cut.
    pub cut_mark: Ballot,
}

impl Control {
    /// Of a volume that was just formatted.
    pub const BLANK: Self = Self {
        promise: Ballot::NONE,
        log_state: LogState::Clean,
        cut_mark: Ballot::NONE,
    };
}

/// As it is stored: with the durable mark, which is the journal's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) control: Control,
    /// The log is known to be synced up to here; a bad checksum below is damage.
    pub(crate) durable: Offset,
}

/// Makes the file with its first record in every place. Returns what is stored now.
pub(crate) fn create<S: Storage>(storage: &S, control: Control) -> Result<Stored, StorageError> {
    let mut all = BytesMut::zeroed(FILE_BYTES);
    let mut stored = Stored {
        sequence: 0,
        control,
        durable: Offset::ZERO,
    };
    for sequence in 0..2 {
        stored.sequence = sequence;
        let record = encode(&stored);
        for copy in 0..2 {
            let at = place(sequence, copy) as usize;
            all[at..at + RECORD].copy_from_slice(&record);
        }
    }
    storage.replace(FILE, &all)?;
    Ok(stored)
}

/// Stores it in both slots, the older one first: all four copies are sound afterwards.
pub(crate) fn write_twice<S: Storage>(
    storage: &S,
    stored: &mut Stored,
) -> Result<(), StorageError> {
    for _ in 0..2 {
        stored.sequence += 1;
        write(storage, stored)?;
    }
    Ok(())
}

/// Stores it in the slot of its sequence: first copy, sync, second copy, sync.
pub(crate) fn write<S: Storage>(storage: &S, stored: &Stored) -> Result<(), StorageError> {
    let record = encode(stored);
    for copy in 0..2 {
        storage.write_at(FILE, place(stored.sequence, copy), &record)?;
        if !mutants::on(Mutant::ControlNotSynced) {
            storage.sync(FILE)?;
        }
    }
    Ok(())
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// What it holds.
    Holds(Stored),
    /// The same, by one copy only: the other is damaged, or older after a crash between the two.
    HoldsOnce(Stored),
    /// Both copies are damaged.
    Lost,
}

/// Both slots.
pub(crate) fn read<S: Storage>(storage: &S) -> Result<[Slot; 2], StorageError> {
    let all = storage.read_at(FILE, 0, FILE_BYTES)?;
    Ok([slot(&all, 0), slot(&all, 1)])
}

/// What both slots say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The newest record, all copies sound.
    Sound(Stored),
    /// The newest record; a copy is to be restored.
    Restore(Stored),
    /// A slot is lost, and with it perhaps the newest record: what the other one holds, if it does.
    Lost(Option<Stored>),
}

pub(crate) fn newest(slots: [Slot; 2]) -> Found {
    match slots {
        [Slot::Holds(a), Slot::Holds(b)] => Found::Sound(newer(a, b)),
        [
            Slot::Holds(a) | Slot::HoldsOnce(a),
            Slot::Holds(b) | Slot::HoldsOnce(b),
        ] => Found::Restore(newer(a, b)),
        [Slot::Lost, Slot::Holds(one) | Slot::HoldsOnce(one)]
        | [Slot::Holds(one) | Slot::HoldsOnce(one), Slot::Lost] => Found::Lost(Some(one)),
        [Slot::Lost, Slot::Lost] => Found::Lost(None),
    }
}

const fn newer(a: Stored, b: Stored) -> Stored {
    if a.sequence >= b.sequence { a } else { b }
}

fn place(sequence: u64, copy: u64) -> u64 {
    (sequence % 2) * 2 * COPY_STEP + copy * COPY_STEP
}

fn slot(all: &Bytes, number: u64) -> Slot {
    let copy = |copy: u64| {
        let at = place(number, copy) as usize;
        all.get(at..at + RECORD).map_or(&[][..], |bytes| bytes)
    };
    match (decode(copy(0)), decode(copy(1))) {
        (Some(a), Some(b)) if a == b => Slot::Holds(a),
        (Some(a), Some(b)) => Slot::HoldsOnce(newer(a, b)),
        (Some(one), None) | (None, Some(one)) => Slot::HoldsOnce(one),
        (None, None) => Slot::Lost,
    }
}

fn encode(stored: &Stored) -> Bytes {
    let mut out = BytesMut::with_capacity(RECORD);
    out.put_u32(MAGIC);
    out.put_u16(FORMAT);
    out.put_u64(stored.sequence);
    put_ballot(&mut out, &stored.control.promise);
    out.put_u8(stored.control.log_state as u8);
    put_ballot(&mut out, &stored.control.cut_mark);
    out.put_u64(stored.durable.0);
    let crc = crc32c::crc32c(&out);
    out.put_u32(crc);
    out.freeze()
}

fn decode(bytes: &[u8]) -> Option<Stored> {
    if bytes.len() != RECORD {
        return None;
    }
    let (body, mut crc) = bytes.split_at(RECORD - 4);
    if crc.get_u32() != crc32c::crc32c(body) {
        return None;
    }
    let mut input = body;
    if input.get_u32() != MAGIC || input.get_u16() > FORMAT {
        return None;
    }
    let sequence = input.get_u64();
    let promise = get_ballot(&mut input);
    let log_state = match input.get_u8() {
        0 => LogState::Clean,
        1 => LogState::NeedsRepair,
        2 => LogState::Learner,
        3 => LogState::DataLoss,
        _ => return None,
    };
    let cut_mark = get_ballot(&mut input);
    let durable = Offset(input.get_u64());
    Some(Stored {
        sequence,
        control: Control {
            promise,
            log_state,
            cut_mark,
        },
        durable,
    })
}

pub(crate) fn put_ballot(out: &mut BytesMut, ballot: &Ballot) {
    out.put_u64(ballot.epoch.0);
    out.put_u8(ballot.member.ordinal);
    out.put_u128(ballot.member.incarnation.0);
    out.put_u64(ballot.boot.0);
}

/// The caller has checked that 33 bytes are left (`BALLOT`).
pub(crate) fn get_ballot(input: &mut impl Buf) -> Ballot {
    Ballot {
        epoch: Epoch(input.get_u64()),
        member: MemberId {
            ordinal: input.get_u8(),
            incarnation: Incarnation(input.get_u128()),
        },
        boot: BootNonce(input.get_u64()),
    }
}

#[cfg(test)]
mod tests;
