//! The decoder by itself: chunks of every size.

use bytes::Bytes;

use crate::stomp::{DecodeError, Decoder, Frame, FrameLimits, Version};

const SAMPLES: [&str; 9] = [
    "SEND\ndestination:/queue/Q\n\nhello\0",
    "SEND\r\ndestination:/queue/Q\r\n\r\nhello\0\r\n\r\n",
    "\n\n\nSEND\na:1\ncontent-length:5\n\na\0b\0c\0\n",
    "SEND\na:1\ncontent-length:0\n\n\0",
    "DISCONNECT\n\n\0",
    "A\n\n\0B\n\n\0C\nx:y\n\nbody\0",
    "SEND\na:\u{e9}\u{20ac}\n\n\u{1f600}\0",
    "SEND\na:\\n\\c\\\\\\r\n\n\0",
    "\n\r\n",
];

fn all(chunks: impl IntoIterator<Item = Bytes>) -> (Vec<Frame>, Result<(), DecodeError>) {
    let limits = FrameLimits {
        frame_bytes_max: 1_000,
        headers_max: 10,
        header_bytes_max: 100,
    };
    let mut decoder = Decoder::new(limits);
    decoder.set_version(Version::V1_2);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next_frame(), Err(error), "an error stays");
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, Ok(()))
}

fn whole(text: &str) -> (Vec<Frame>, Result<(), DecodeError>) {
    all([Bytes::copy_from_slice(text.as_bytes())])
}

#[test]
fn every_split_into_two_chunks_gives_the_same_frames() {
    let joined = SAMPLES.concat();
    for text in SAMPLES.iter().copied().chain([&*joined]) {
        let expected = whole(text);
        for at in 0..=text.len() {
            let (a, b) = text.as_bytes().split_at(at);
            let split = all([Bytes::copy_from_slice(a), Bytes::copy_from_slice(b)]);
            assert_eq!(split, expected, "{text:?} at {at}");
        }
    }
}

#[test]
fn single_bytes_give_the_same_frames() {
    for text in SAMPLES {
        let bytes = text.bytes().map(|byte| Bytes::from(vec![byte]));
        assert_eq!(all(bytes), whole(text), "{text:?}");
    }
}

#[test]
fn errors_do_not_depend_on_the_chunks() {
    let long = format!("SEND\na:{}\n\n\0", "x".repeat(99));
    let many = format!("SEND\n{}\n\0", "a:b\n".repeat(11));
    let large = format!("SEND\n\n{}\0", "x".repeat(1_000));
    let said = "SEND\ncontent-length:990\n\n".to_owned();
    for text in [
        &*long,
        &*many,
        &*large,
        &*said,
        "SEND\n\0",
        "SEND\nx\n\n\0",
        "SEND\ncontent-length:1\n\nxx\0",
        "SEND\ncontent-length:-1\n\nxx\0",
        "SEND\na:\\x\n\n\0",
    ] {
        let expected = whole(text);
        assert!(expected.1.is_err(), "{text:?}");
        let bytes = text.bytes().map(|byte| Bytes::from(vec![byte]));
        assert_eq!(all(bytes), expected, "{text:?}");
    }
}

#[test]
fn a_body_over_many_chunks_is_assembled_in_one_allocation() {
    let limits = FrameLimits {
        frame_bytes_max: 2_000_000,
        ..FrameLimits::default()
    };
    let mut decoder = Decoder::new(limits);
    decoder.push(Bytes::from_static(b"SEND\ncontent-length:1000000\n\n"));
    assert_eq!(decoder.next_frame(), Ok(None));
    let chunk = Bytes::from(vec![b'x'; 1_000]);
    for _ in 0..1_000 {
        decoder.push(chunk.clone());
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(chunk.is_unique(), "a chunk is used up at once");
    }
    decoder.push(Bytes::from_static(b"\0"));
    let frame = decoder.next_frame().unwrap().unwrap();
    assert_eq!(frame.body.len(), 1_000_000);
    let body = frame.body.try_into_mut().expect("nobody shares it");
    assert_eq!(body.capacity(), 1_000_000, "never grown");
}
