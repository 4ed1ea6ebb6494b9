//! Sizes in bytes as people write them: `1048576`, `"64mb"`, `"64 MiB"`, `"1Gi"`.
//!
//! Every unit counts in 1024s: that is what ActiveMQ's `64 mb` means, and Kubernetes' `64Mi`. The
//! decimal units of Kubernetes (`64M`) would mean something else there, so they are refused.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no size; allowed are bytes (1048576) or a unit of 1024s: \"64kb\", \"64mb\", \"1gb\", \"64Ki\", \"64Mi\", \"1Gi\""
)]
pub(crate) struct SizeError(String);

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = || SizeError(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| error())?;
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "kb" | "ki" | "kib" => 10,
            "mb" | "mi" | "mib" => 20,
            "gb" | "gi" | "gib" => 30,
            _ => return Err(error()),
        };
        // TOML integers are i64; a size that cannot be written back is refused.
        let bytes = number.checked_mul(1 << shift).ok_or_else(error)?;
        if bytes > i64::MAX as u64 {
            Err(error())
        } else {
            Ok(Self(bytes))
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size in bytes, such as 1048576 or \"64mb\"")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<ByteSize, E> {
                u64::try_from(value)
                    .map(ByteSize)
                    .map_err(|_| E::custom(SizeError(value.to_string())))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<ByteSize, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_count_in_1024s_and_anything_else_is_refused() {
        for (text, bytes) in [
            ("0", 0),
            ("7b", 7),
            ("64 kb", 64 << 10),
            ("64Mi", 64 << 20),
            ("2 GiB", 2 << 30),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in [
            "",
            "mb",
            "64m",
            "64M",
            "-1",
            "1.5gb",
            "99999999999999gb",
            "1 tb",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text} must be refused");
        }
    }
}
