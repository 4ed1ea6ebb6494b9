//! Where in the file a key stands, so that an error found after parsing can name its line.

use toml::de::{DeTable, DeValue};

/// The 1-based line of a byte.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|&b| b == b'\n').count() + 1
}

/// The 1-based line of a key such as `members[1].peers`. When the key is not there (its default
/// is what is wrong) the nearest table around it is named; none when that is the whole file.
pub(super) fn find_line(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut place = None;
    let mut table = root.get_ref();
    for part in key.split('.') {
        let (name, index) = split_index(part);
        let Some((found, value)) = table.get_key_value(name) else {
            break;
        };
        place = Some(line_of(text, found.span().start));
        let mut value = value.get_ref();
        if let (Some(index), DeValue::Array(items)) = (index, value) {
            let Some(item) = items.get(index) else { break };
            place = Some(line_of(text, item.span().start));
            value = item.get_ref();
        }
        let DeValue::Table(inner) = value else { break };
        table = inner;
    }
    place
}

fn split_index(part: &str) -> (&str, Option<usize>) {
    match part.split_once('[') {
        Some((name, index)) => (name, index.trim_end_matches(']').parse().ok()),
        None => (part, None),
    }
}
