//! Parts of a cluster that are built once and kept: a folder is either finished, with a stamp of what it
//! was made of, or it is not there.
//!
//! A part is made in a work folder beside its place and moved when it is whole, so that a build that was
//! cut off is never mistaken for one. A lock keeps two builders of one part apart.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{cache, say};

const STAMP: &str = "made-of";

/// What is to be built.
pub struct Part<'a> {
    /// Its folder.
    pub name: &'a str,
    /// Everything that decides what comes out: another text means another build.
    pub made_of: &'a [&'a str],
}

/// The folder of a finished part, built by `make(work, out)` if it is not there yet.
pub fn finished(part: &Part<'_>, make: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
    let place = cache::part(part.name)?;
    let stamp = part.made_of.join("\n--\n");
    let above = place.parent().context("a part lies in a folder")?;
    fs::create_dir_all(above).with_context(|| above.display().to_string())?;
    let lock = File::create(above.join(format!("{}.lock", part.name)))?;
    lock.lock().context("lock of a part")?;
    if is_finished(&place, &stamp) {
        return Ok(place);
    }
    say::timed(&format!("building {}", part.name), || {
        let work = cache::work(part.name)?;
        remove(&work)?;
        let out = work.join("out");
        fs::create_dir_all(&out)?;
        make(&work, &out)?;
        fs::write(out.join(STAMP), &stamp)?;
        remove(&place)?;
        fs::rename(&out, &place)?;
        remove(&work)
    })?;
    Ok(place)
}

fn is_finished(place: &Path, stamp: &str) -> bool {
    fs::read_to_string(place.join(STAMP)).is_ok_and(|found| found == stamp)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}
