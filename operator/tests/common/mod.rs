//! Files of the repository that tests compare with what the program says.

use std::fs;
use std::path::PathBuf;

/// With this variable set, files are written instead of compared: look at the difference afterwards.
const WRITE: &str = "WRITE_GOLDEN";

/// A path of the repository.
pub(crate) fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(file)
}

/// The file's text.
pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The file holds exactly this.
#[allow(dead_code, reason = "each test program uses its part of this module")]
pub(crate) fn same(file: &str, text: &str) {
    if std::env::var_os(WRITE).is_some() {
        fs::write(path(file), text).unwrap();
        return;
    }
    let written = fs::read_to_string(path(file)).unwrap_or_default();
    let differs = written.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(
        written == text,
        "{file} is not what the program says; first difference (file, program): {differs:?}. \
         Meant? Run the test again with {WRITE}=1 and read the difference"
    );
}
