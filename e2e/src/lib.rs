//! Tests on a real Kubernetes, which this package builds, brings up and removes itself.
//!
//! No container registry and no Docker: Kubernetes, CoreDNS and Helm come from the Go module proxy, etcd and
//! containerd from Debian, images are written by hand. A cluster is a set of network and mount namespaces:
//! one for the control plane, one for each node, one for client programs. `docs/internals/e2e.md` tells more.

pub mod cache;
pub mod cgroup;
pub mod client;
pub mod cluster;
pub mod debian;
pub mod figures;
pub mod go;
pub mod image;
pub mod layout;
pub mod load;
pub mod made;
pub mod network;
pub mod node;
pub mod parts;
pub mod pki;
pub mod pod;
pub mod process;
pub mod product;
pub mod program;
pub mod provisioner;
pub mod requirements;
pub mod run;
pub mod say;
pub mod scenario;
pub mod scenarios;
pub mod stage;
pub mod teardown;
pub mod truth;
pub mod up;
