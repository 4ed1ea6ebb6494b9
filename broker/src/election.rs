//! The Lease stores of the shell and the task that calls them.
//!
//! Today there is the shared folder of local mode; a Kubernetes Lease stands beside it later.

mod file_lease;
mod lease_task;

pub(crate) use file_lease::FileLease;
pub(crate) use lease_task::LeaseTask;
