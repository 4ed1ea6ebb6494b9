//! Where everything lies that is built or made: below the cache folder, outside the tree.
//!
//! `<cache>/e2e/parts/<name>` holds one finished build each, `<cache>/e2e/work/<name>` a build under way,
//! `<cache>/e2e/clusters/<name>` the state of one cluster. `<cache>` is what the Makefile calls `CACHE_DIR`.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The cache folder of the whole project.
pub fn project() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("CACHE_DIR") {
        return Ok(PathBuf::from(folder));
    }
    if let Some(folder) = env::var_os("XDG_CACHE_HOME").filter(|f| !f.is_empty()) {
        return Ok(PathBuf::from(folder).join("tandemmq"));
    }
    let home = env::var_os("HOME").context("neither CACHE_DIR, XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/tandemmq"))
}

/// The part of it that belongs to this package.
pub fn root() -> Result<PathBuf> {
    Ok(project()?.join("e2e"))
}

/// Folder of one finished part.
pub fn part(name: &str) -> Result<PathBuf> {
    Ok(root()?.join("parts").join(name))
}

/// Folder in which a part is built before it is moved to its place.
pub fn work(name: &str) -> Result<PathBuf> {
    Ok(root()?.join("work").join(name))
}

/// Folder of all clusters' states.
pub fn clusters() -> Result<PathBuf> {
    Ok(root()?.join("clusters"))
}
