//! What the commands that send and receive share: progress, Ctrl-C, the wall clock.

use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

/// A progress bar on a terminal; nothing elsewhere.
pub(super) fn progress(count: u64, verb: &str) -> ProgressBar {
    let template = format!("{{bar:32}} {{pos}}/{{len}} {verb}, {{per_sec}}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).expect("the template is a constant");
    ProgressBar::new(count).with_style(style)
}

/// Turns true at the first Ctrl-C; the second one ends the process.
pub(super) fn stop_on_signal() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::task::spawn_local(async move {
        crate::cli::interrupted().await;
        sender.send_replace(true);
        crate::cli::interrupted().await;
        std::process::exit(130);
    });
    receiver
}

/// Milliseconds since 1970 are what `expires` counts in.
pub(super) fn wall_clock() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
