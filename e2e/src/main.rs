//! Tests on a real Kubernetes, which this package brings up itself.

fn main() {}
