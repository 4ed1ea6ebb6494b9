//! The journal of one cluster: what was made on this machine for it, and how it is told from everything else.
//!
//! `made.jsonl` in the cluster's folder, one JSON object a line, appended *before* a namespace or a cgroup
//! is made and right after a process was started. Its first line is the cluster's mark: a random word
//! that every process of the cluster carries in its environment. So a process is found even when its
//! starter was killed before it could write the pid down, and a foreign one is never taken for ours:
//! a pid counts only with the mark, or with the start time that was written beside it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Environment variable that holds the mark.
pub const MARK: &str = "TANDEMMQ_E2E_MARK";

const FILE: &str = "made.jsonl";

/// One thing that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Thing {
    /// The word that all processes of the cluster carry.
    Mark(String),
    /// A named network namespace.
    Namespace(String),
    /// A cgroup below the root of every hierarchy.
    Cgroup(String),
    /// A process, by what the kernel says of its start.
    Process {
        /// What it is called in this cluster.
        name: String,
        /// Process id.
        pid: i32,
        /// Clock ticks between the machine's start and its own: field 22 of `/proc/<pid>/stat`.
        start: u64,
    },
}

/// The open journal.
#[derive(Debug)]
pub struct Made {
    path: PathBuf,
    things: Vec<Thing>,
}

impl Made {
    /// Starts a journal with a new mark. The folder must hold none: what it lists is to be removed first.
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        File::create_new(&path).with_context(|| path.display().to_string())?;
        let mut made = Self {
            path,
            things: Vec::new(),
        };
        made.add(Thing::Mark(random_word()?))?;
        Ok(made)
    }

    /// Reads what an earlier run made; nothing when the folder holds no journal.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let things = parse(&text).with_context(|| path.display().to_string())?;
        Ok(Some(Self { path, things }))
    }

    /// Writes down one more thing.
    pub fn add(&mut self, thing: Thing) -> Result<()> {
        let mut line = serde_json::to_string(&thing)?;
        line.push('\n');
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(line.as_bytes())
            .with_context(|| self.path.display().to_string())?;
        self.things.push(thing);
        Ok(())
    }

    /// The mark, if the first line was written whole.
    pub fn mark(&self) -> Option<&str> {
        self.things.iter().find_map(|thing| match thing {
            Thing::Mark(word) => Some(word.as_str()),
            _ => None,
        })
    }

    /// Everything in the order in which it was made.
    pub fn things(&self) -> &[Thing] {
        &self.things
    }

    /// Forgets everything, when nothing of it is left.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).with_context(|| self.path.display().to_string())
    }
}

/// A last line that was cut off tells of nothing that was made: things other than processes are written
/// down before they exist, and processes are found by their mark.
fn parse(text: &str) -> Result<Vec<Thing>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

fn random_word() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the kernel's randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_left_out() {
        let text = "{\"mark\":\"m\"}\n{\"namespace\":\"n\"}\n{\"cgr";
        let things = parse(text).expect("whole lines are read");
        assert_eq!(
            things,
            [Thing::Mark("m".into()), Thing::Namespace("n".into())]
        );
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_an_error() {
        parse("{\"mark\":\"m\"}\n{\"cgr\n{\"namespace\":\"n\"}\n").expect_err("not JSON");
    }
}
