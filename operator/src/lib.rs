//! The TandemMQ operator: makes a `BrokerCluster` into running groups of brokers and says how they are.

pub mod api;
pub mod plan;
