//! Runs one child program to its end and turns a failure into an error with its last words.
//!
//! Programs that live longer than a call are `process.rs`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Lines of a failed program's output that its error shows.
const TAIL_LINES: usize = 30;

/// Output of `command`, standard error included in the error when it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let done = raw(command, None)?;
    checked(command, &done)?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Like [`output`], with `input` on its standard input.
pub fn output_with_input(command: &mut Command, input: &str) -> Result<String> {
    let done = raw(command, Some(input))?;
    checked(command, &done)?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs `command` with its output going to ours; an error when it fails.
pub fn shown(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| named(command))?;
    if !status.success() {
        bail!("{}: {status}", named(command));
    }
    Ok(())
}

/// Whatever `command` ends with: for callers to whom a failure is an answer.
pub fn raw(command: &mut Command, input: Option<&str>) -> Result<Output> {
    let stdin = if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| named(command))?;
    let writer = input.and_then(|text| {
        let mut pipe = child.stdin.take()?;
        let text = text.to_owned();
        // A thread, because a program may write more than a pipe holds before it reads its input.
        Some(thread::spawn(move || pipe.write_all(text.as_bytes())))
    });
    let done = child.wait_with_output().with_context(|| named(command))?;
    if let Some(writer) = writer {
        // A program that fails early closes its input: its own error is the one to show.
        let written = writer
            .join()
            .expect("the writer of a child's input does not panic");
        if done.status.success() {
            written.with_context(|| format!("input of {}", named(command)))?;
        }
    }
    Ok(done)
}

/// Asks `ready` again and again until it says yes, an error after `limit`. For states of other
/// programs, of which nothing tells us.
pub fn wait_for(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    const PAUSE: Duration = Duration::from_millis(100);
    let start = Instant::now();
    while !ready()? {
        if start.elapsed() > limit {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        thread::sleep(PAUSE);
    }
    Ok(start.elapsed())
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// The last lines of a log file, or why there are none.
pub fn tail_of_file(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(bytes) => tail(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("({}: {error})", path.display()),
    }
}

fn checked(command: &Command, done: &Output) -> Result<()> {
    if done.status.success() {
        return Ok(());
    }
    let both = [done.stdout.as_slice(), done.stderr.as_slice()].concat();
    bail!(
        "{}: {}\n{}",
        named(command),
        done.status,
        tail(&String::from_utf8_lossy(&both))
    )
}

fn named(command: &Command) -> String {
    let arguments = command.get_args().map(|a| a.to_string_lossy());
    let words: Vec<_> = [command.get_program().to_string_lossy()]
        .into_iter()
        .chain(arguments)
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_its_last_words() {
        let error =
            output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).expect_err("it fails");
        let text = format!("{error:#}");
        assert!(text.contains("exit 3") && text.contains("why"), "{text}");
    }

    #[test]
    fn input_larger_than_a_pipe_arrives() {
        let text = "x".repeat(1 << 20);
        let back = output_with_input(&mut Command::new("cat"), &text).expect("cat works");
        assert_eq!(back.len(), text.len());
    }

    #[test]
    fn a_tail_is_the_end() {
        let text: String = (0..100).map(|n| format!("{n}\n")).collect();
        assert!(tail(&text).starts_with("70\n") && tail(&text).ends_with("99"));
    }
}
