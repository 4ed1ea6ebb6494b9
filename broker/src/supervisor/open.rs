//! Taking a folder: a new one is laid out, an old one is resumed as it is.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::supervisor::cluster_file::{ClusterFile, ClusterFileError};
use crate::supervisor::folder_lock::{FolderLock, LockError};
use crate::supervisor::plan::{self, BASE_PORT_DEFAULT, Settings, Shape, ShapeError};

/// Brokers of an `up` that was killed end by themselves within a hand-over's time; their ports are
/// waited for as long.
const PORTS_WAIT_MAX: Duration = Duration::from_secs(6);

/// What the user asked for; what is not said comes from the folder, or is the default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// `--groups`
    pub(crate) groups: Option<u8>,
    /// `--replicas`
    pub(crate) replicas: Option<u8>,
    /// `--base-port`
    pub(crate) base_port: Option<u16>,
    /// For the configuration of new brokers.
    pub(crate) settings: Settings,
}

/// A folder that is ours, laid out, nothing running.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Absolute.
    pub(crate) folder: PathBuf,
    pub(super) lock: FolderLock,
    /// Its cluster.
    pub(crate) cluster: ClusterFile,
    /// It held a cluster before.
    pub(crate) resumed: bool,
}

/// Why a folder cannot be taken. The user must choose another folder, shape or port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The numbers.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// In use, or not usable.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its `cluster.json`.
    #[error(transparent)]
    File(#[from] ClusterFileError),
    /// Something else's folder.
    #[error("{0} is not empty and holds no cluster.json; choose another --dir")]
    NotOurs(PathBuf),
    /// It holds a cluster of another shape.
    #[error(
        "{folder} holds {has}, not {wanted}; start it without {option} to resume it, or choose \
         another --dir"
    )]
    OtherShape {
        /// The folder.
        folder: PathBuf,
        /// The option that differs.
        option: &'static str,
        /// What is there.
        has: String,
        /// What was asked for.
        wanted: String,
    },
    /// An address of `cluster.json` cannot be understood.
    #[error("{folder}/cluster.json: broker {broker}: {address:?} is no ip:port")]
    Address {
        /// The folder.
        folder: PathBuf,
        /// The broker.
        broker: String,
        /// The address.
        address: String,
    },
    /// Somebody else listens there.
    #[error("already in use: {}; stop what listens there, or choose another --base-port", .0.join(", "))]
    PortsBusy(Vec<String>),
    /// A folder or configuration file cannot be made.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Takes a folder: makes it if need be, locks it, reads or plans its cluster, lays it out, waits
/// for its ports. Blocks for up to `PORTS_WAIT_MAX`.
pub(crate) fn open(folder: &Path, wanted: &Wanted) -> Result<Opened, OpenError> {
    let fresh = wanted.shape().check()?;
    let io_error = |error| OpenError::Io {
        path: folder.to_owned(),
        error,
    };
    std::fs::create_dir_all(folder).map_err(io_error)?;
    let folder = folder.canonicalize().map_err(io_error)?;
    let lock = FolderLock::take(&folder)?;
    let (mut cluster, resumed) = match ClusterFile::read(&folder) {
        Ok(cluster) => (cluster, true),
        Err(ClusterFileError::Missing(_)) => {
            refuse_foreign(&folder)?;
            (fresh.plan(&folder), false)
        }
        Err(error) => return Err(error.into()),
    };
    check_addresses(&folder, &cluster)?;
    wanted.check_against(&folder, &cluster)?;
    settle(&folder, &mut cluster);
    wait_for_ports(&cluster)?;
    lay_out(&folder, &cluster, &wanted.settings)?;
    cluster.write(&folder)?;
    Ok(Opened {
        folder,
        lock,
        cluster,
        resumed,
    })
}

impl Wanted {
    fn shape(&self) -> Shape {
        Shape {
            groups: self.groups.unwrap_or(1),
            replicas: self.replicas.unwrap_or(3),
            base_port: self.base_port.unwrap_or(BASE_PORT_DEFAULT),
        }
    }

    fn check_against(&self, folder: &Path, cluster: &ClusterFile) -> Result<(), OpenError> {
        let differ = |option, has: String, wanted: String| {
            Err(OpenError::OtherShape {
                folder: folder.to_owned(),
                option,
                has,
                wanted,
            })
        };
        let groups = cluster.groups.len();
        let first = cluster.groups.first();
        let replicas = first.map_or(0, |group| group.brokers.len());
        let stomp = first.and_then(|group| group.brokers.first());
        let stomp = stomp
            .map(|broker| broker.addresses.stomp.clone())
            .unwrap_or_default();
        match self {
            Self {
                groups: Some(wanted),
                ..
            } if usize::from(*wanted) != groups => {
                differ("--groups", format!("{groups} group(s)"), wanted.to_string())
            }
            Self {
                replicas: Some(wanted),
                ..
            } if usize::from(*wanted) != replicas => differ(
                "--replicas",
                format!("groups of {replicas}"),
                format!("of {wanted}"),
            ),
            Self {
                base_port: Some(wanted),
                ..
            } if !stomp.ends_with(&format!(":{wanted}")) => differ(
                "--base-port",
                format!("a cluster at {stomp}"),
                format!("at {wanted}"),
            ),
            _ => Ok(()),
        }
    }
}

/// A folder without a cluster must be empty but for our own lock file.
fn refuse_foreign(folder: &Path) -> Result<(), OpenError> {
    let io_error = |error| OpenError::Io {
        path: folder.to_owned(),
        error,
    };
    for entry in std::fs::read_dir(folder).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name();
        if name != "up.lock" {
            return Err(OpenError::NotOurs(folder.to_owned()));
        }
    }
    Ok(())
}

fn check_addresses(folder: &Path, cluster: &ClusterFile) -> Result<(), OpenError> {
    for broker in cluster.brokers() {
        let addresses = &broker.addresses;
        for address in [&addresses.stomp, &addresses.peers, &addresses.metrics] {
            if address.parse::<SocketAddr>().is_err() {
                return Err(OpenError::Address {
                    folder: folder.to_owned(),
                    broker: broker.name.clone(),
                    address: address.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Nothing runs yet, and the folder may have been moved.
fn settle(folder: &Path, cluster: &mut ClusterFile) {
    for group in &mut cluster.groups {
        for broker in &mut group.brokers {
            broker.pid = None;
            broker.data_dir = plan::broker_folder(folder, &group.name, &broker.name).join("data");
        }
    }
}

fn wait_for_ports(cluster: &ClusterFile) -> Result<(), OpenError> {
    let deadline = Instant::now() + PORTS_WAIT_MAX;
    loop {
        let busy = plan::busy_addresses(cluster);
        if busy.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(OpenError::PortsBusy(busy));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Folders and configuration files; a file that is there keeps the user's edits.
fn lay_out(folder: &Path, cluster: &ClusterFile, settings: &Settings) -> Result<(), OpenError> {
    for group in &cluster.groups {
        make_folder(&plan::lease_folder(folder, &group.name))?;
        for (ordinal, broker) in group.brokers.iter().enumerate() {
            make_folder(&broker.data_dir)?;
            let file = plan::broker_folder(folder, &group.name, &broker.name).join("broker.toml");
            if !file.exists() {
                let text = plan::broker_config(group, ordinal, settings).to_toml();
                std::fs::write(&file, text).map_err(|error| OpenError::Io { path: file, error })?;
            }
        }
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), OpenError> {
    std::fs::create_dir_all(path).map_err(|error| OpenError::Io {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::temp_folder::TempFolder;

    /// Far from the ports that other tests and `up` itself use.
    fn wanted(base_port: u16) -> Wanted {
        Wanted {
            replicas: Some(1),
            base_port: Some(base_port),
            ..Wanted::default()
        }
    }

    #[test]
    fn a_new_folder_is_laid_out_and_an_old_one_resumed_with_its_edits() {
        let temp = TempFolder::create("open").unwrap();
        let folder = temp.path().join("d");
        let first = open(&folder, &wanted(31_100)).unwrap();
        assert!(!first.resumed);
        let file = folder.join("a/a-0/broker.toml");
        let edited = std::fs::read_to_string(&file).unwrap() + "\n# an edit\n";
        std::fs::write(&file, &edited).unwrap();
        drop(first);
        let second = open(&folder, &Wanted::default()).unwrap();
        assert!(second.resumed);
        assert_eq!(
            second.cluster.groups[0].brokers[0].addresses.stomp,
            "127.0.0.1:31100"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), edited);
    }

    #[test]
    fn another_shape_than_the_folders_is_refused() {
        let temp = TempFolder::create("open").unwrap();
        drop(open(temp.path(), &wanted(31_120)).unwrap());
        let cases = [
            Wanted {
                groups: Some(2),
                ..wanted(31_120)
            },
            Wanted {
                replicas: Some(3),
                ..wanted(31_120)
            },
            wanted(31_140),
        ];
        for case in cases {
            let error = open(temp.path(), &case).unwrap_err();
            assert!(
                matches!(error, OpenError::OtherShape { .. }),
                "{case:?}: {error}"
            );
        }
    }

    #[test]
    fn a_folder_in_use_is_refused() {
        let temp = TempFolder::create("open").unwrap();
        let _first = open(temp.path(), &wanted(31_160)).unwrap();
        let error = open(temp.path(), &wanted(31_160)).unwrap_err();
        assert!(
            matches!(error, OpenError::Lock(LockError::InUse { .. })),
            "{error}"
        );
    }

    #[test]
    fn somebody_elses_folder_is_refused() {
        let temp = TempFolder::create("open").unwrap();
        std::fs::write(temp.path().join("letters.txt"), "x").unwrap();
        let error = open(temp.path(), &wanted(31_180)).unwrap_err();
        assert!(matches!(error, OpenError::NotOurs(_)), "{error}");
    }

    #[test]
    fn a_damaged_address_is_named() {
        let temp = TempFolder::create("open").unwrap();
        drop(open(temp.path(), &wanted(31_200)).unwrap());
        let mut cluster = ClusterFile::read(temp.path()).unwrap();
        cluster.groups[0].brokers[0].addresses.peers = "nowhere".into();
        cluster.write(temp.path()).unwrap();
        let error = open(temp.path(), &Wanted::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("a-0") && error.contains("nowhere"),
            "{error}"
        );
    }
}
