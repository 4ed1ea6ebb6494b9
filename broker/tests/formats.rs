//! A broker over a volume that a later version has written to: it says so and leaves it alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CONFIG: &str = "brokerName = \"a-0\"\ngroup = \"a\"\nordinal = 0\ndataDir = \"data\"\n\
    [addresses]\nstomp = \"127.0.0.1:21961\"\npeers = \"127.0.0.1:21962\"\nmetrics = \"127.0.0.1:21963\"\n\
    [election]\nleaseDir = \"lease\"\n[[members]]\nname = \"a-0\"\npeers = \"127.0.0.1:21962\"\n";

/// A folder that ends with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The checksum of every header of the journal, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

/// The header of a segment that needs format 9: see `broker/journal/src/segment.rs`.
fn later_header(number: u64) -> Vec<u8> {
    let mut header = b"TMQS".to_vec();
    header.extend([0, 9, 0, 9]);
    for field in [number, 1, 1] {
        header.extend(field.to_be_bytes());
    }
    header.extend([0; 16]);
    header.extend(crc32c(&header).to_be_bytes());
    header
}

/// Every file of the journal with its bytes and the time of its last change.
fn volume(journal: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut files: Vec<_> = fs::read_dir(journal)
        .expect("the folder is there")
        .flatten()
        .map(|entry| {
            let path = entry.path();
            let bytes = fs::read(&path).expect("a file of the volume");
            let changed = entry.metadata().and_then(|meta| meta.modified());
            (path, bytes, changed.expect("files here have a time"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn volume_of_a_later_version_ends_the_start_with_1_and_is_not_touched() {
    let folder =
        Folder(std::env::temp_dir().join(format!("tandemmq-later-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let config = folder.0.join("broker.toml");
    fs::write(&config, CONFIG).unwrap();
    let serve = || {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_tandemmq"));
        serve.args(["serve", "--exit-with-stdin", "--config"]);
        serve.arg(&config).stdin(Stdio::null());
        serve.output().expect("the broker starts")
    };
    // It formats its volume, then finds its stdin at its end.
    let first = serve();
    let told = String::from_utf8_lossy(&first.stderr);
    assert!(first.status.success(), "{}: {told}", first.status);

    let journal = folder.0.join("data").join("journal");
    fs::write(journal.join("journal-0000000000000042"), later_header(42)).unwrap();
    let before = volume(&journal);
    let refused = serve();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    let sentence = "the journal has format 9, this version understands up to";
    assert!(
        told.contains(sentence) && told.contains("start the newer version again"),
        "{told}"
    );
    assert!(volume(&journal) == before, "the volume is as it was");
}
