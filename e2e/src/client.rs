//! Client programs: they run on this machine's files, in a network namespace of the cluster, and look names up
//! in the cluster's DNS as a pod of the namespace `default` would.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cache;
use crate::cluster::Cluster;
use crate::program::{self, Program};

impl Cluster {
    /// A command in the client's namespace; it is ended with the cluster at the latest.
    pub fn client_command(&self, program: impl AsRef<Path>) -> Result<Command> {
        let own = self.own()?;
        let mounts = self.running(Program::ClientMounts)?;
        let mut plain = Command::new(program.as_ref());
        own.mark(&mut plain)?;
        Ok(program::placed(
            &plain,
            &own.layout.client_namespace(),
            Some(mounts.pid),
        ))
    }

    /// A program of the Python clients, with stomp.py, in the client's namespace.
    pub fn python(&self, script: &Path) -> Result<Command> {
        let python = python()?;
        let mut command = self.client_command(python)?;
        command.arg(script);
        Ok(command)
    }
}

/// The interpreter that `tools/clients-setup` prepared.
pub(crate) fn python() -> Result<PathBuf> {
    let python = cache::project()?.join("clients/python/bin/python");
    if !python.exists() {
        bail!(
            "{}: run tools/clients-setup first (make e2e does)",
            python.display()
        );
    }
    Ok(python)
}
