//! The contract suite of Lease stores: every store passes it, the simulator's too.
