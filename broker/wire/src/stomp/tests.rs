//! What a STOMP client sees, claim by claim: bytes in and out of a session, with the engine's part
//! played by the test.

mod acks;
mod bodies;
mod connecting;
mod decoding;
mod delivering;
mod destinations;
mod documented;
mod errors;
mod escaping;
mod golden;
mod heartbeats;
mod limits;
mod ordering;
mod pressure;
mod random;
mod receipts;
mod sending;
mod subscribing;
mod support;
mod transactions;
