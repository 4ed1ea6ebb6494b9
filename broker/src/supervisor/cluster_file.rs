//! `cluster.json`: which brokers a folder of `up` has, where they listen, which processes run.
//!
//! Written whole and atomically (a temporary file, then a rename), so that a reader sees one state
//! or the next one, never half of it. The names and the nesting are an interface for scripts.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name in the folder.
pub(crate) const FILE_NAME: &str = "cluster.json";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterFile {
    /// Groups, by name.
    pub(crate) groups: Vec<GroupEntry>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupEntry {
    /// `a`, `b`, …
    pub(crate) name: String,
    /// Its brokers, by ordinal.
    pub(crate) brokers: Vec<BrokerEntry>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BrokerEntry {
    /// `<group>-<ordinal>`.
    pub(crate) name: String,
    /// Its process; null while none runs.
    pub(crate) pid: Option<u32>,
    /// Its journal, absolute.
    pub(crate) data_dir: PathBuf,
    /// Where it listens.
    pub(crate) addresses: BrokerAddresses,
}

/// Where a broker listens, each `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrokerAddresses {
    /// Clients; only the master listens.
    pub(crate) stomp: String,
    /// The other brokers of the group.
    pub(crate) peers: String,
    /// `/status` and `/metrics`.
    pub(crate) metrics: String,
}

/// Why a folder's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterFileError {
    /// The folder holds none.
    #[error("{0} holds no {FILE_NAME}; start a cluster there with: tandemmq up --dir {0}")]
    Missing(PathBuf),
    /// It cannot be read or written.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not what `up` writes.
    #[error("{file}: not a cluster file: {error}")]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong and where.
        error: serde_json::Error,
    },
}

// === impl ClusterFile ===

impl ClusterFile {
    /// Reads the file of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, ClusterFileError> {
        let file = folder.join(FILE_NAME);
        match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| ClusterFileError::Format { file, error }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ClusterFileError::Missing(folder.to_owned()))
            }
            Err(error) => Err(ClusterFileError::Io { file, error }),
        }
    }

    /// Replaces the file of a folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), ClusterFileError> {
        let file = folder.join(FILE_NAME);
        let beside = folder.join(format!(".{FILE_NAME}.new"));
        let mut text = serde_json::to_vec_pretty(self).expect("names and numbers have a JSON form");
        text.push(b'\n');
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, &file))
            .map_err(|error| ClusterFileError::Io { file, error })
    }

    /// Every broker.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = &BrokerEntry> {
        self.groups.iter().flat_map(|group| &group.brokers)
    }

    /// The broker of that name, with its group.
    pub(crate) fn find(&self, broker: &str) -> Option<(&GroupEntry, &BrokerEntry)> {
        self.groups.iter().find_map(|group| {
            let found = group.brokers.iter().find(|entry| entry.name == broker)?;
            Some((group, found))
        })
    }

    /// Notes which process a broker has; the broker must exist.
    pub(crate) fn set_pid(&mut self, broker: &str, pid: Option<u32>) {
        let entry = self.groups.iter_mut().flat_map(|group| &mut group.brokers);
        let entry = entry.into_iter().find(|entry| entry.name == broker);
        entry
            .expect("the caller started this broker from this file")
            .pid = pid;
    }
}

impl GroupEntry {
    /// `host:port` of every broker's STOMP port.
    pub(crate) fn stomp_addresses(&self) -> Vec<String> {
        self.brokers
            .iter()
            .map(|broker| broker.addresses.stomp.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::temp_folder::TempFolder;

    fn sample() -> ClusterFile {
        ClusterFile {
            groups: vec![GroupEntry {
                name: "a".into(),
                brokers: vec![BrokerEntry {
                    name: "a-0".into(),
                    pid: Some(1),
                    data_dir: "/d/a/a-0/data".into(),
                    addresses: BrokerAddresses {
                        stomp: "127.0.0.1:20000".into(),
                        peers: "127.0.0.1:20001".into(),
                        metrics: "127.0.0.1:20002".into(),
                    },
                }],
            }],
        }
    }

    #[test]
    fn the_file_has_the_documented_names_and_nesting() {
        let expected = serde_json::json!({"groups": [{"name": "a", "brokers": [{
            "name": "a-0", "pid": 1, "dataDir": "/d/a/a-0/data",
            "addresses": {
                "stomp": "127.0.0.1:20000", "peers": "127.0.0.1:20001", "metrics": "127.0.0.1:20002"
            }
        }]}]});
        assert_eq!(serde_json::to_value(sample()).unwrap(), expected);
    }

    #[test]
    fn what_is_written_is_read_and_leaves_no_other_file() {
        let folder = TempFolder::create("cluster-file").unwrap();
        let mut file = sample();
        file.write(folder.path()).unwrap();
        file.set_pid("a-0", None);
        file.write(folder.path()).unwrap();
        assert_eq!(ClusterFile::read(folder.path()).unwrap(), file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_or_damaged_file_is_named() {
        let folder = TempFolder::create("cluster-file").unwrap();
        let missing = ClusterFile::read(folder.path()).unwrap_err().to_string();
        assert!(missing.contains("tandemmq up --dir"), "{missing}");
        std::fs::write(folder.path().join(FILE_NAME), "{\"groups\":[{}]}").unwrap();
        let damaged = ClusterFile::read(folder.path()).unwrap_err().to_string();
        assert!(
            damaged.contains("cluster.json") && damaged.contains("line 1"),
            "{damaged}"
        );
    }

    #[test]
    fn brokers_are_found_with_their_group() {
        let file = sample();
        assert_eq!(file.find("a-0").unwrap().0.name, "a");
        assert!(file.find("a-1").is_none());
    }
}
