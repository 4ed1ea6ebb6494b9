//! A small file whose content stands in it twice, so that one damaged copy is no loss.
//!
//! ```text
//! file  0                      N * 4096
//!       | copy A, zero-padded  | copy B, zero-padded |
//! copy  length u32 | body | CRC u32 of length and body
//! ```
//! Both copies have blocks of their own. The file is replaced whole (beside, synced, renamed), so
//! a crash leaves the old one or the new one; a bad copy is damage, and the reader is told to
//! write the file again while the other copy is sound.

use bytes::{Buf, BufMut, BytesMut};

use crate::storage::{Storage, StorageError};

const BLOCK: usize = 4096;

/// Most bytes of one file: a manifest of a terabyte, in files of 64 MiB.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Twice {
    /// Both copies are sound.
    Sound(BytesMut),
    /// One is: write the file again.
    Once(BytesMut),
    /// None is.
    Lost,
}

/// Replaces the file.
pub(crate) fn write<S: Storage>(storage: &S, name: &str, body: &[u8]) -> Result<(), StorageError> {
    storage.replace(name, &encode(body))
}

fn encode(body: &[u8]) -> BytesMut {
    let size = (body.len() + 8).next_multiple_of(BLOCK);
    let mut all = BytesMut::with_capacity(2 * size);
    for copy in 1..=2 {
        let from = all.len();
        all.put_u32(body.len() as u32);
        all.put_slice(body);
        let crc = crc32c::crc32c(&all[from..]);
        all.put_u32(crc);
        all.resize(copy * size, 0);
    }
    all
}

/// Reads the file.
pub(crate) fn read<S: Storage>(storage: &S, name: &str) -> Result<Twice, StorageError> {
    let length = storage.len(name)?.min(FILE_BYTES_MAX);
    let all = storage.read_at(name, 0, length as usize)?;
    Ok(parse(&all))
}

fn parse(all: &[u8]) -> Twice {
    let (a, b) = all.split_at(all.len() / 2);
    match (copy(a), copy(b)) {
        (Some(a), Some(b)) if a == b => Twice::Sound(a.into()),
        (Some(one), _) | (None, Some(one)) => Twice::Once(one.into()),
        (None, None) => Twice::Lost,
    }
}

fn copy(bytes: &[u8]) -> Option<&[u8]> {
    let mut input = bytes;
    let length = input.try_get_u32().ok()? as usize;
    let body = input.get(..length)?;
    let mut rest = &input[length..];
    let crc = rest.try_get_u32().ok()?;
    (crc == crc32c::crc32c(&bytes[..4 + length])).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flipped_bit_anywhere_loses_nothing() {
        for body in [&b""[..], b"hello", &[7; 5_000]] {
            let sound = encode(body);
            assert_eq!(parse(&sound), Twice::Sound(body.into()));
            for at in 0..sound.len() {
                let mut flipped = sound.clone();
                flipped[at] ^= 0x10;
                let found = parse(&flipped);
                let kept = matches!(&found, Twice::Sound(b) | Twice::Once(b) if **b == *body);
                assert!(kept, "byte {at}: {found:?}");
            }
        }
    }

    #[test]
    fn two_bad_copies_and_a_cut_file_are_lost() {
        let mut bad = encode(b"hello");
        bad[5] ^= 1;
        bad[BLOCK + 5] ^= 1;
        assert_eq!(parse(&bad), Twice::Lost);
        assert_eq!(parse(&encode(b"hello")[..7]), Twice::Lost);
        assert_eq!(parse(b""), Twice::Lost);
    }
}
