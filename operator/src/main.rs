//! The TandemMQ operator: makes a `BrokerCluster` into running groups of brokers.

fn main() {}
