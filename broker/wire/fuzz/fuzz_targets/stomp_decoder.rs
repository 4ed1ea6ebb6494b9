//! The same frames whatever the chunks. The first byte chooses the version and how the rest is cut.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tandemmq_wire::stomp::{DecodeError, Decoder, Frame, FrameLimits, Version};

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let version = Version::ALL[usize::from(first % 3)];
    let step = 1 + usize::from(first / 3);
    let whole = decode(version, [data]);
    let cut = decode(version, data.chunks(step));
    assert!(whole == cut, "chunks of {step} bytes give something else");
});

fn decode<'a>(
    version: Version,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Option<DecodeError>) {
    let limits = FrameLimits {
        frame_bytes_max: 4096,
        headers_max: 20,
        header_bytes_max: 200,
    };
    let mut decoder = Decoder::new(limits);
    decoder.set_version(version);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}
