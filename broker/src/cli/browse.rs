//! `browse`: the messages of a queue, left where they are.

use std::process::ExitCode;

use serde_json::json;
use tandemmq_wire::stomp::Frame;

use crate::cli::connect_args::ConnectArgs;
use crate::cli::destination::DestinationArg;
use crate::cli::show::say;
use crate::cli::{COUNT_MAX, CliResult, whole};
use crate::stomp_client::{ClientError, Connection};

/// Characters of a body shown on its line.
const PREVIEW_CHARS_MAX: usize = 60;

/// Options of `browse`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tandemmq browse --destination queue://ORDERS\n  tandemmq browse --destination queue://ActiveMQ.DLQ --json\n  tandemmq browse --destination queue://ORDERS --limit 10 --dir ./cluster"
)]
pub(super) struct Args {
    /// Which queue: queue://NAME
    #[arg(long, default_value = "queue://TEST")]
    destination: DestinationArg,
    /// Show at most so many messages
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0..=COUNT_MAX))]
    limit: Option<u64>,
    /// Print each message as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Browses.
pub(super) async fn run(args: Args) -> CliResult {
    let queue = args
        .destination
        .queue()
        .map_err(crate::cli::CliError::Usage)?
        .to_owned();
    let connection = args.connect.failover()?.connect().await?;
    let mut shown = 0;
    let count = browse_all(connection, &queue, |frame| {
        if args.limit.is_none_or(|limit| shown < limit) {
            shown += 1;
            print(frame, args.json);
        }
    })
    .await?;
    if !args.json {
        match count > shown {
            true => say!("{count} messages in {}, {shown} shown", args.destination),
            false => say!("{count} messages in {}", args.destination),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Hands every message of the queue to `each`, then disconnects; how many there were.
pub(crate) async fn browse_all(
    mut connection: Connection,
    queue: &str,
    mut each: impl FnMut(&Frame),
) -> Result<u64, ClientError> {
    let subscribe = Frame::new("SUBSCRIBE")
        .header("id", "browser")
        .header("destination", format!("/queue/{queue}"))
        .header("ack", "auto")
        .header("browser", "true");
    connection.queue(&subscribe);
    let mut count = 0;
    loop {
        let frame = connection.next().await?;
        match &*frame.command {
            "MESSAGE" if frame.get("browser") == Some("end") => break,
            "MESSAGE" => {
                count += 1;
                each(&frame);
            }
            "ERROR" => return Err(connection.refused(&frame)),
            _ => {}
        }
    }
    connection.disconnect(|_| {}).await?;
    Ok(count)
}

fn print(frame: &Frame, as_json: bool) {
    let body = String::from_utf8_lossy(&frame.body);
    if as_json {
        let headers: serde_json::Map<String, serde_json::Value> = frame
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), json!(value.to_string())))
            .collect();
        say!(
            "{}",
            json!({"headers": headers, "body": body, "bytes": frame.body.len()})
        );
        return;
    }
    let get = |name| frame.get(name).unwrap_or("-");
    let cause = frame
        .get("dlqDeliveryFailureCause")
        .map(|cause| format!("  [{cause}]"));
    say!(
        "{}  persistent:{}  redelivered:{}  {} bytes  {}{}",
        get("message-id"),
        frame.get("persistent").unwrap_or("false"),
        frame.get("redelivered").unwrap_or("false"),
        frame.body.len(),
        preview(&body),
        cause.unwrap_or_default(),
    );
}

/// The beginning of a body, on one line, nothing that moves a terminal's cursor.
fn preview(body: &str) -> String {
    let mut text: String = body
        .chars()
        .take(PREVIEW_CHARS_MAX)
        .map(|c| if c.is_control() { '·' } else { c })
        .collect();
    if body.chars().nth(PREVIEW_CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_cannot_move_the_cursor() {
        assert_eq!(preview("a\x1b[2Jb\nc"), "a·[2Jb·c");
        assert_eq!(
            preview(&"x".repeat(61)).chars().count(),
            PREVIEW_CHARS_MAX + 1
        );
    }
}
