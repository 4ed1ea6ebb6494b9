//! A folder that goes away with its owner.

use std::io;
use std::path::{Path, PathBuf};

/// Removed, with everything in it, when dropped.
#[derive(Debug)]
pub(crate) struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    /// A new, empty folder under the system's one for temporary files.
    pub(crate) fn create(purpose: &str) -> io::Result<Self> {
        let name = format!(
            "tandemmq-{purpose}-{}-{:08x}",
            std::process::id(),
            random()?
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self {
            path: path.canonicalize()?,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it on disk, for a look at what went wrong.
    pub(crate) fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.path)
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Nothing more can be done about a folder that does not go away.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn random() -> io::Result<u32> {
    getrandom::u32().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_away_unless_kept() {
        let folder = TempFolder::create("test").unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
        let kept = TempFolder::create("test").unwrap().keep();
        assert!(kept.exists());
        std::fs::remove_dir(kept).unwrap();
    }
}
