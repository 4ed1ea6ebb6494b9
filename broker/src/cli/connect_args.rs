//! Options of the commands that connect as STOMP clients.

use std::path::PathBuf;

use clap::Args;

use crate::cli::CliError;
use crate::cli::broker_url::BrokerUrl;
use crate::stomp_client::{Failover, Login};
use crate::supervisor::cluster_file::ClusterFile;
use crate::tls::tool::ToolTls;

/// The first group of `up`, as it starts without options.
const URL_DEFAULT: &str =
    "failover:(tcp://127.0.0.1:20000,tcp://127.0.0.1:20010,tcp://127.0.0.1:20020)";

/// Bytes of a password file that are read. Longer ones are no passwords.
const PASSWORD_BYTES_MAX: usize = 4_096;

/// Where to connect, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    /// Brokers: failover:(tcp://a:1,stomp://b:2)?randomize=false, or a single tcp://host:port;
    /// ssl:// or stomp+ssl:// with TLS
    /// [default: the first group of `tandemmq up`, ports 20000, 20010, 20020]
    #[arg(
        long = "brokerUrl",
        alias = "broker-url",
        value_name = "URL",
        conflicts_with = "dir"
    )]
    pub(crate) broker_url: Option<BrokerUrl>,
    /// Take the brokers' addresses from this folder of `tandemmq up`
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// With --dir: which group, when there are several
    #[arg(long, requires = "dir")]
    pub(crate) group: Option<String>,
    /// With ssl:// addresses: file of the CAs that the brokers' certificates must lead to, PEM
    #[arg(long, value_name = "FILE", requires = "broker_url")]
    pub(crate) ca_file: Option<PathBuf>,
    /// User name
    #[arg(long, requires = "password_file")]
    pub(crate) user: Option<String>,
    /// File whose first line is the password; a password never stands on a command line
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
}

impl ConnectArgs {
    /// The client that these options mean.
    pub(crate) fn failover(&self) -> Result<Failover, CliError> {
        let login = self.login()?;
        let url = self.url()?;
        let failover = Failover::new(&url, login).with_tls(self.tls(&url)?);
        Ok(failover.with_warnings(|text| eprintln!("{text}")))
    }

    fn tls(&self, url: &BrokerUrl) -> Result<Option<ToolTls>, CliError> {
        match (url.tls, &self.ca_file) {
            (false, None) => Ok(None),
            (true, Some(file)) => ToolTls::new(file)
                .map(Some)
                .map_err(|error| CliError::Usage(format!("--ca-file: {error:#}"))),
            (true, None) => Err(CliError::Usage(
                "--ca-file: ssl:// needs the file of the CAs that the brokers' certificates lead to"
                    .to_owned(),
            )),
            (false, Some(_)) => Err(CliError::Usage(
                "--ca-file: only with ssl:// or stomp+ssl:// addresses".to_owned(),
            )),
        }
    }

    fn url(&self) -> Result<BrokerUrl, CliError> {
        match (&self.broker_url, &self.dir) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(dir)) => {
                let cluster = ClusterFile::read(dir)?;
                Ok(BrokerUrl::of_addresses(self.group_addresses(&cluster)?))
            }
            (None, None) => Ok(URL_DEFAULT.parse().expect("a test parses it")),
        }
    }

    fn group_addresses(&self, cluster: &ClusterFile) -> Result<Vec<String>, CliError> {
        let names: Vec<&str> = cluster
            .groups
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        let group = match (&self.group, cluster.groups.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(name), groups) => groups.iter().find(|group| &group.name == name),
        };
        match group {
            Some(group) => Ok(group.stomp_addresses()),
            None => Err(CliError::Usage(format!(
                "--group: choose one of {}",
                names.join(", ")
            ))),
        }
    }

    fn login(&self) -> Result<Option<Login>, CliError> {
        let (Some(user), Some(file)) = (&self.user, &self.password_file) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(file).map_err(|error| {
            CliError::Usage(format!("--password-file {}: {error}", file.display()))
        })?;
        let password = text.lines().next().unwrap_or_default();
        match password.len() {
            1..=PASSWORD_BYTES_MAX => Ok(Some(Login {
                user: user.clone(),
                password: password.to_owned(),
            })),
            _ => Err(CliError::Usage(format!(
                "--password-file {}: its first line must hold the password, 1 to \
                 {PASSWORD_BYTES_MAX} bytes",
                file.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::plan::Shape;
    use crate::supervisor::temp_folder::TempFolder;

    fn args() -> ConnectArgs {
        ConnectArgs {
            broker_url: None,
            dir: None,
            group: None,
            ca_file: None,
            user: None,
            password_file: None,
        }
    }

    #[test]
    fn the_default_is_the_first_group_of_up() {
        let shape = Shape {
            groups: 1,
            replicas: 3,
            base_port: 20_000,
        };
        let group = shape.plan(std::path::Path::new("/d")).groups.remove(0);
        assert_eq!(
            args().url().ok().unwrap().addresses,
            group.stomp_addresses()
        );
    }

    #[test]
    fn a_group_of_several_must_be_named() {
        let folder = TempFolder::create("connect").unwrap();
        let shape = Shape {
            groups: 2,
            replicas: 3,
            base_port: 20_000,
        };
        shape.plan(folder.path()).write(folder.path()).unwrap();
        let mut args = ConnectArgs {
            dir: Some(folder.path().to_owned()),
            ..args()
        };
        assert!(matches!(args.url(), Err(CliError::Usage(text)) if text.contains("a, b")));
        args.group = Some("b".into());
        assert_eq!(args.url().ok().unwrap().addresses[0], "127.0.0.1:20100");
    }

    #[test]
    fn tls_needs_the_file_of_the_cas_and_plain_addresses_take_none() {
        let folder = TempFolder::create("connect").unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, crate::tls::testing::Authority::new().pem()).unwrap();
        let ask = |url: &str, ca_file: Option<PathBuf>| {
            let args = ConnectArgs {
                broker_url: Some(url.parse().unwrap()),
                ca_file,
                ..args()
            };
            args.tls(&args.url().ok().unwrap())
        };
        let asked = ask("ssl://a:1", Some(file.clone()));
        assert!(matches!(asked, Ok(Some(_))));
        assert!(matches!(ask("tcp://a:1", None), Ok(None)));
        let refused = [
            ask("ssl://a:1", None),
            ask("tcp://a:1", Some(file)),
            ask("ssl://a:1", Some(folder.path().join("none.pem"))),
        ];
        for refused in refused {
            let named = matches!(refused, Err(CliError::Usage(text)) if text.contains("--ca-file"));
            assert!(named, "the option is named");
        }
    }

    #[test]
    fn the_password_is_the_first_line_of_its_file() {
        let folder = TempFolder::create("connect").unwrap();
        let file = folder.path().join("password");
        let args = ConnectArgs {
            user: Some("u".into()),
            password_file: Some(file.clone()),
            ..args()
        };
        std::fs::write(&file, "secret\nmore\n").unwrap();
        assert_eq!(args.login().ok().unwrap().unwrap().password, "secret");
        std::fs::write(&file, "\n").unwrap();
        assert!(matches!(args.login(), Err(CliError::Usage(_))));
    }
}
