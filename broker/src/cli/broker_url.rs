//! `--brokerUrl`: ActiveMQ's connection strings, as far as the tools understand them.
//!
//! ```text
//! failover:(tcp://a:61613,stomp://b:61613)?randomize=false      a list, with options
//! failover:tcp://a:61613,tcp://b:61613                          the same without brackets
//! tcp://a:61613   stomp://a   a:61613                           one broker; 61613 when not said
//! ssl://a:61613   stomp+ssl://a                                 the same with TLS, all or none
//! ```
//! The failover transport is always used, also for one address, as its options have defaults.
//! Options of ActiveMQ that change nothing here are accepted; a misspelt one is an error.
//!
//! Not here: dialling (`stomp_client`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// STOMP's port in ActiveMQ's shipped configuration.
pub(crate) const DEFAULT_PORT: u16 = 61613;

/// Addresses of one url. Seven replicas in a few groups; more is a mistake.
const ADDRESSES_MAX: usize = 64;

/// Options of ActiveMQ's failover transport and of its connections that mean nothing to these
/// tools: they change what is tracked, resent or updated by OpenWire.
const WITHOUT_EFFECT: [&str; 12] = [
    "backup",
    "backupPoolSize",
    "maxCacheSize",
    "nested.wireFormat.maxInactivityDuration",
    "priorityBackup",
    "priorityURIs",
    "rebalanceUpdateURIs",
    "startupMaxReconnectAttempts",
    "trackMessages",
    "trackTransactionProducers",
    "updateURIsSupported",
    "updateURIsURL",
];

/// Prefixes of families of such options.
const FAMILIES_WITHOUT_EFFECT: [&str; 4] = ["jms.", "nested.", "socket.", "wireFormat."];

/// A parsed `--brokerUrl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerUrl {
    /// `host:port`, in the order given.
    pub(crate) addresses: Vec<String>,
    /// With TLS.
    pub(crate) tls: bool,
    /// How to go through them.
    pub(crate) options: FailoverOptions,
}

/// Options of the failover transport, with ActiveMQ's names and defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailoverOptions {
    /// `randomize`: start anywhere in the list instead of at its first address.
    pub(crate) randomize: bool,
    /// `initialReconnectDelay`, given in ms.
    pub(crate) initial_reconnect_delay: Duration,
    /// `maxReconnectDelay`, given in ms.
    pub(crate) max_reconnect_delay: Duration,
    /// `useExponentialBackOff`.
    pub(crate) use_exponential_back_off: bool,
    /// `reconnectDelayExponent` (older: `backOffMultiplier`), in hundredths.
    pub(crate) back_off_percent: u32,
    /// `maxReconnectAttempts`: rounds over all addresses before giving up; none = for ever (-1).
    pub(crate) max_reconnect_attempts: Option<u32>,
    /// `warnAfterReconnectAttempts`: rounds between two warnings, at least 1.
    pub(crate) warn_after_reconnect_attempts: u32,
    /// `timeout`: give up after this long without a connection, given in ms; none = never (-1).
    pub(crate) timeout: Option<Duration>,
}

impl Default for FailoverOptions {
    fn default() -> Self {
        Self {
            randomize: true,
            initial_reconnect_delay: Duration::from_millis(10),
            max_reconnect_delay: Duration::from_secs(30),
            use_exponential_back_off: true,
            back_off_percent: 200,
            max_reconnect_attempts: None,
            warn_after_reconnect_attempts: 10,
            timeout: None,
        }
    }
}

/// What is wrong with a url. Fatal: the user must correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    /// No address in it.
    #[error("no broker address in it; write tcp://host:port or failover:(tcp://a:1,stomp://b:2)")]
    NoAddress,
    /// More than `ADDRESSES_MAX`.
    #[error("{0} addresses; at most {ADDRESSES_MAX} are allowed")]
    TooManyAddresses(usize),
    /// A scheme nobody speaks here.
    #[error(
        "scheme {scheme:?} in {address:?} is not supported; allowed are tcp:// and stomp://, with TLS ssl:// and stomp+ssl://"
    )]
    Scheme {
        /// The scheme.
        scheme: String,
        /// The whole address.
        address: String,
    },
    /// TLS for some.
    #[error("some addresses are ssl:// and some are not; allowed is all or none")]
    MixedTls,
    /// Not `host:port`.
    #[error("{address:?} is no address: {why}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A bracket is missing.
    #[error("the brackets of failover:(…) do not match")]
    Brackets,
    /// An option nobody knows.
    #[error(
        "unknown option {0:?}; known are randomize, initialReconnectDelay, maxReconnectDelay, \
         useExponentialBackOff, reconnectDelayExponent, maxReconnectAttempts, timeout"
    )]
    UnknownOption(String),
    /// An option's value.
    #[error("option {name}={value:?}: {allowed} is allowed")]
    OptionValue {
        /// Which option.
        name: String,
        /// What was given.
        value: String,
        /// What it takes.
        allowed: &'static str,
    },
}

impl FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let (list, query) = match text.strip_prefix("failover:") {
            Some(rest) => split_failover(rest.strip_prefix("//").unwrap_or(rest))?,
            None => text.split_once('?').unwrap_or((text, "")),
        };
        let mut addresses = Vec::new();
        let mut encrypted = 0;
        for part in list
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (address, tls) = address(part)?;
            encrypted += usize::from(tls);
            addresses.push(address);
        }
        match addresses.len() {
            0 => return Err(UrlError::NoAddress),
            count if count > ADDRESSES_MAX => return Err(UrlError::TooManyAddresses(count)),
            count if encrypted != 0 && encrypted != count => return Err(UrlError::MixedTls),
            _ => {}
        }
        Ok(Self {
            addresses,
            tls: encrypted > 0,
            options: FailoverOptions::parse(query)?,
        })
    }
}

impl BrokerUrl {
    /// These addresses, with the options' defaults.
    pub(crate) fn of_addresses(addresses: Vec<String>) -> Self {
        Self {
            addresses,
            tls: false,
            options: FailoverOptions::default(),
        }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "ssl" } else { "tcp" };
        let list: Vec<String> = self
            .addresses
            .iter()
            .map(|address| format!("{scheme}://{address}"))
            .collect();
        write!(f, "failover:({})", list.join(","))
    }
}

impl FailoverOptions {
    fn parse(query: &str) -> Result<Self, UrlError> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            options.set(name, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), UrlError> {
        match name {
            "randomize" => self.randomize = boolean(name, value)?,
            "initialReconnectDelay" => self.initial_reconnect_delay = millis(name, value)?,
            "maxReconnectDelay" => self.max_reconnect_delay = millis(name, value)?,
            "useExponentialBackOff" => self.use_exponential_back_off = boolean(name, value)?,
            "reconnectDelayExponent" | "backOffMultiplier" => {
                self.back_off_percent = percent(name, value)?;
            }
            "maxReconnectAttempts" => {
                self.max_reconnect_attempts = attempts(name, value)?;
            }
            "warnAfterReconnectAttempts" => {
                self.warn_after_reconnect_attempts = attempts(name, value)?
                    .filter(|&every| every > 0)
                    .unwrap_or(u32::MAX);
            }
            "timeout" => {
                self.timeout = if value == "-1" {
                    None
                } else {
                    Some(millis(name, value)?)
                };
            }
            _ if WITHOUT_EFFECT.contains(&name) => {}
            _ if FAMILIES_WITHOUT_EFFECT
                .iter()
                .any(|family| name.starts_with(family)) => {}
            _ => return Err(UrlError::UnknownOption(name.to_owned())),
        }
        Ok(())
    }

    /// The pause after one that lasted `last`.
    pub(crate) fn next_delay(&self, last: Duration) -> Duration {
        if !self.use_exponential_back_off {
            return self.initial_reconnect_delay;
        }
        (last * self.back_off_percent / 100).min(self.max_reconnect_delay)
    }
}

/// Splits what follows `failover:` into the list and the options.
fn split_failover(rest: &str) -> Result<(&str, &str), UrlError> {
    let Some(inner) = rest.strip_prefix('(') else {
        return match rest.contains(['(', ')']) {
            true => Err(UrlError::Brackets),
            false => Ok(rest.split_once('?').unwrap_or((rest, ""))),
        };
    };
    let (list, after) = inner.split_once(')').ok_or(UrlError::Brackets)?;
    match after.strip_prefix('?') {
        Some(query) => Ok((list, query)),
        None if after.is_empty() => Ok((list, "")),
        None => Err(UrlError::Brackets),
    }
}

/// `tcp://host:port`, `stomp://host`, `host:port` → `host:port`, and whether with TLS. Its own
/// options are connection options of OpenWire and are dropped.
fn address(text: &str) -> Result<(String, bool), UrlError> {
    let plain = text.split_once('?').map_or(text, |(plain, _)| plain);
    let (rest, tls) = match plain.split_once("://") {
        Some(("tcp" | "stomp", rest)) => (rest, false),
        Some(("ssl" | "stomp+ssl", rest)) => (rest, true),
        Some((scheme, _)) => {
            let scheme = scheme.to_owned();
            return Err(UrlError::Scheme {
                scheme,
                address: plain.to_owned(),
            });
        }
        None => (plain, false),
    };
    let rest = rest.trim_end_matches('/');
    let wrong = |why| UrlError::Address {
        address: text.to_owned(),
        why,
    };
    let (host, port) = split_port(rest).ok_or_else(|| wrong("a [bracket] is missing"))?;
    if host.is_empty() || host.contains(['/', ' ', '(', ')']) {
        return Err(wrong("it needs a host name"));
    }
    match port {
        None => Ok((format!("{host}:{DEFAULT_PORT}"), tls)),
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok((format!("{host}:{port}"), tls)),
            _ => Err(wrong("its port must be a number from 1 to 65535")),
        },
    }
}

/// Host and port; the host of IPv6 keeps its brackets.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let end = text.find(']')?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    Some(
        text.rsplit_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port))),
    )
}

fn boolean(name: &str, value: &str) -> Result<bool, UrlError> {
    value
        .parse()
        .map_err(|_| wrong_value(name, value, "true or false"))
}

fn millis(name: &str, value: &str) -> Result<Duration, UrlError> {
    let millis = value
        .parse()
        .map_err(|_| wrong_value(name, value, "a number of milliseconds"))?;
    Ok(Duration::from_millis(millis))
}

fn percent(name: &str, value: &str) -> Result<u32, UrlError> {
    match value.parse::<f64>() {
        Ok(factor) if (1.0..=100.0).contains(&factor) => Ok((factor * 100.0) as u32),
        _ => Err(wrong_value(name, value, "a factor from 1 to 100")),
    }
}

fn attempts(name: &str, value: &str) -> Result<Option<u32>, UrlError> {
    match value {
        "-1" => Ok(None),
        _ => match value.parse() {
            Ok(attempts) => Ok(Some(attempts)),
            Err(_) => Err(wrong_value(name, value, "a count, or -1 for no limit,")),
        },
    }
}

fn wrong_value(name: &str, value: &str, allowed: &'static str) -> UrlError {
    UrlError::OptionValue {
        name: name.to_owned(),
        value: value.to_owned(),
        allowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        text.parse::<BrokerUrl>().unwrap().addresses
    }

    #[test]
    fn every_way_to_write_a_list_is_understood() {
        let expected = ["a:1", "b:2"];
        assert_eq!(addresses("failover:(tcp://a:1,stomp://b:2)"), expected);
        assert_eq!(
            addresses("failover://(tcp://a:1, stomp://b:2)?randomize=false"),
            expected
        );
        assert_eq!(
            addresses("failover:tcp://a:1,tcp://b:2?randomize=false"),
            expected
        );
        assert_eq!(
            addresses("failover:(tcp://a:1?wireFormat.x=1,tcp://b:2)"),
            expected
        );
        assert_eq!(addresses("tcp://a:1,tcp://b:2"), expected);
    }

    #[test]
    fn one_address_may_leave_out_scheme_and_port() {
        assert_eq!(addresses("tcp://a:1"), ["a:1"]);
        assert_eq!(addresses("stomp://a/"), ["a:61613"]);
        assert_eq!(addresses("a:5"), ["a:5"]);
        assert_eq!(addresses("tcp://[::1]:5"), ["[::1]:5"]);
        assert_eq!(addresses("tcp://[::1]"), ["[::1]:61613"]);
    }

    #[test]
    fn options_have_activemq_names_and_defaults() {
        let url: BrokerUrl = "failover:(tcp://a:1)".parse().unwrap();
        assert_eq!(url.options, FailoverOptions::default());
        let text = "failover:(tcp://a:1)?randomize=false&maxReconnectDelay=100&timeout=-1\
                    &initialReconnectDelay=7&maxReconnectAttempts=3&reconnectDelayExponent=1.5\
                    &jms.prefetchPolicy.all=5&priorityBackup=true";
        let options = text.parse::<BrokerUrl>().unwrap().options;
        let expected = FailoverOptions {
            randomize: false,
            initial_reconnect_delay: Duration::from_millis(7),
            max_reconnect_delay: Duration::from_millis(100),
            back_off_percent: 150,
            max_reconnect_attempts: Some(3),
            ..FailoverOptions::default()
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn back_off_grows_up_to_its_limit() {
        let options = FailoverOptions {
            max_reconnect_delay: Duration::from_millis(50),
            ..FailoverOptions::default()
        };
        let mut delay = options.initial_reconnect_delay;
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(delay.as_millis());
            delay = options.next_delay(delay);
        }
        assert_eq!(seen, [10, 20, 40, 50]);
    }

    #[test]
    fn a_wrong_url_says_what_is_allowed() {
        let cases = [
            ("", "failover:("),
            ("failover:()", "failover:("),
            ("failover:(tcp://a:1", "brackets"),
            ("failover:tcp://a:1)", "brackets"),
            ("failover:(tcp://a:1)randomize=false", "brackets"),
            ("http://a:1", "tcp:// and stomp://"),
            ("failover:(ssl://a:1,tcp://b:2)", "all or none"),
            ("tcp://a:0", "1 to 65535"),
            ("tcp://a:x", "1 to 65535"),
            ("tcp://:1", "host name"),
            ("tcp://[::1:5", "bracket"),
            ("failover:(tcp://a:1)?randomise=false", "randomize"),
            ("failover:(tcp://a:1)?randomize=maybe", "true or false"),
            (
                "failover:(tcp://a:1)?maxReconnectDelay=soon",
                "milliseconds",
            ),
            (
                "failover:(tcp://a:1)?maxReconnectAttempts=-2",
                "-1 for no limit",
            ),
            (
                "failover:(tcp://a:1)?reconnectDelayExponent=0.5",
                "from 1 to 100",
            ),
        ];
        for (text, part) in cases {
            let error = text.parse::<BrokerUrl>().expect_err(text).to_string();
            assert!(
                error.contains(part),
                "{text:?} says {error:?}, which lacks {part:?}"
            );
        }
    }

    #[test]
    fn a_url_can_be_written_back() {
        for (text, written) in [
            (
                "failover:(tcp://a:1,stomp://b:2)",
                "failover:(tcp://a:1,tcp://b:2)",
            ),
            (
                "ssl://a:1,stomp+ssl://b",
                "failover:(ssl://a:1,ssl://b:61613)",
            ),
        ] {
            let url: BrokerUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), written);
            assert_eq!(written.parse::<BrokerUrl>().unwrap(), url);
        }
    }
}
