//! Bytes on their way into a socket, written many at a time without copying them together.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

use bytes::{Buf, Bytes};

/// Slices of one `writev`. The kernel takes 1,024; with a few dozen the cost of the call is small
/// against that of the bytes.
const SLICES_MAX: usize = 64;

/// A queue of byte slices.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    parts: VecDeque<Bytes>,
    len: usize,
}

impl Outgoing {
    /// Appends a slice.
    pub(crate) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.len += part.len();
            self.parts.push_back(part);
        }
    }

    /// Bytes in the queue.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// True when everything was written.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes as much as goes without waiting, with `write` as the socket's `try_write_vectored`;
    /// answers how many bytes went.
    pub(crate) fn write_with(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut total = 0;
        while !self.parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut used = 0;
            for (slice, part) in slices.iter_mut().zip(&self.parts) {
                *slice = IoSlice::new(part);
                used += 1;
            }
            match write(&slices[..used]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.consume(written);
                    total += written;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn consume(&mut self, mut written: usize) {
        self.len -= written;
        while let Some(front) = self.parts.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_whatever_the_socket_takes() {
        let mut queue = Outgoing::default();
        let mut expected = Vec::new();
        for i in 0..200_usize {
            let part = vec![u8::try_from(i).unwrap(); i % 7];
            expected.extend_from_slice(&part);
            queue.push(part.into());
        }
        assert_eq!(queue.len(), expected.len());
        let mut taken = Vec::new();
        let mut sizes = [1, 0, 5, 13, 0, 64].into_iter().cycle();
        while !queue.is_empty() {
            let result = queue.write_with(|slices| {
                let size = sizes.next().unwrap();
                if size == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                let written = size.min(bytes.len());
                taken.extend_from_slice(&bytes[..written]);
                Ok(written)
            });
            assert!(result.is_ok());
        }
        assert_eq!(taken, expected);
    }
}
