//! Kubernetes quantities of bytes, such as `10Gi`, `512M`, `1.5Gi`.
//!
//! The schema lets only what the API server itself calls a quantity pass; this reads what can be
//! the size of a volume or the limit of a frame.

/// Units and their bytes, the longer names first.
const UNITS: [(&str, u128); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

/// Whole bytes of a quantity; none when it is not one, or more than 2^63.
pub fn bytes_of(text: &str) -> Option<u64> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, bytes)| Some((text.strip_suffix(name)?, *bytes)))
        .unwrap_or((text, 1));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole)
        || !digits(fraction)
        || whole.len() + fraction.len() == 0
        || fraction.len() > 9
    {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let value: u128 = format!("{whole}{fraction}").parse().ok()?;
    let bytes = value.checked_mul(unit)? / scale;
    u64::try_from(bytes).ok().filter(|bytes| *bytes <= 1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("10Gi", 10 << 30),
            ("1.5Gi", 3 << 29),
            ("512M", 512_000_000),
            ("10k", 10_000),
            (".5Ki", 512),
        ] {
            assert_eq!(bytes_of(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_of_bytes_is_refused() {
        for text in [
            "", "Gi", "10GB", "ten", "-1", "1e", "1.2.3", "9Ei9", "100Ei",
        ] {
            assert_eq!(bytes_of(text), None, "{text}");
        }
    }
}
