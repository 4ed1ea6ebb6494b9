//! The TandemMQ binary.

fn main() {}
