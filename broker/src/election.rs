//! The Lease stores of the shell and the task that calls them.
//!
//! Here is the shared folder of local mode; the Lease of Kubernetes is in `kubernetes`.

mod file_lease;
mod lease_task;

pub(crate) use file_lease::FileLease;
pub(crate) use lease_task::LeaseTask;
