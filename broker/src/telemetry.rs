//! Logs: structured, on stderr, one line each.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// What is logged when `RUST_LOG` says nothing.
const DEFAULT_FILTER: &str = "info";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!(
                "\"{text}\" is no log format; allowed are text and json"
            )),
        }
    }
}

/// Sends all further logs of this process to stderr. The first call counts.
pub(crate) fn init(format: LogFormat) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let people = std::io::stderr().is_terminal();
    // A second call keeps the first one's choice.
    let _ = match format {
        LogFormat::Text => logs.with_target(false).with_ansi(people).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
}
