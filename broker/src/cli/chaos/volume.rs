//! What can happen to a member's folder: it is lost, copied, swapped, a bit of it turns over.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tandemmq_journal::is_aside;

use crate::chance::Chance;

/// One flipped bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flip {
    /// The file's name.
    pub(super) file: String,
    at: u64,
    bit: u8,
}

/// Deletes the folder with everything in it.
pub(super) fn wipe(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder)
}

/// Copies a folder to one that is not there yet. A file that goes away meanwhile is left out, as a
/// backup of a running process leaves it out.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let copied = match entry.file_type() {
            Ok(kind) if kind.is_dir() => copy(&source, &target),
            Ok(_) => fs::copy(&source, &target).map(|_| ()),
            Err(error) => Err(error),
        };
        match copied {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => copied?,
        }
    }
    Ok(())
}

/// Puts a copy in the place of a folder.
pub(super) fn restore(folder: &Path, from: &Path) -> io::Result<()> {
    wipe(folder)?;
    fs::rename(from, folder)
}

/// Each gets the other's content.
pub(super) fn swap(a: &Path, b: &Path) -> io::Result<()> {
    let aside = a.with_extension("swapped");
    fs::rename(a, &aside)?;
    fs::rename(b, a)?;
    fs::rename(aside, b)
}

/// Deletes what the broker set aside, as somebody does who has looked at it.
pub(super) fn delete_set_aside(folder: &Path) -> io::Result<()> {
    for (path, _) in files(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_aside(&name) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Flips one bit: every byte of every file below the folder is as likely as any other. None: there
/// is no byte.
pub(super) fn flip_bit(folder: &Path, chance: &mut Chance) -> io::Result<Option<Flip>> {
    let files = files(folder)?;
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    if total == 0 {
        return Ok(None);
    }
    let mut at = chance.below(total);
    let bit = chance.below(8) as u8;
    for (path, bytes) in files {
        if at < bytes {
            return flip_in(&path, at, bit);
        }
        at -= bytes;
    }
    unreachable!("the place is below the sum of all files")
}

fn flip_in(path: &Path, at: u64, bit: u8) -> io::Result<Option<Flip>> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        // A running broker removed or renamed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut byte = [0];
    if file.read_at(&mut byte, at)? == 0 {
        return Ok(None);
    }
    file.write_all_at(&[byte[0] ^ (1 << bit)], at)?;
    let name = path.file_name().unwrap_or_default();
    Ok(Some(Flip {
        file: name.to_string_lossy().into_owned(),
        at,
        bit,
    }))
}

/// All files below a folder, with their bytes, in the order of their names.
pub(in crate::cli) fn files(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => found.push((entry.path(), data.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    found.sort();
    Ok(found)
}

impl Flip {
    /// `journal`, `checkpoint`, `control`, …: the name up to its number.
    pub(super) fn kind(&self) -> &str {
        self.file.split(['-', '.']).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn every_byte_is_as_likely_to_flip() {
        let temp = TempDir::new();
        fs::create_dir(temp.path().join("below")).unwrap();
        fs::write(temp.path().join("below/journal-1"), [0; 30]).unwrap();
        fs::write(temp.path().join("control"), [0; 10]).unwrap();
        fs::write(temp.path().join("lock"), []).unwrap();
        let mut chance = Chance::new(1);
        let mut kinds = BTreeMap::new();
        for _ in 0..400 {
            let flip = flip_bit(temp.path(), &mut chance).unwrap().unwrap();
            *kinds.entry(flip.kind().to_owned()).or_insert(0) += 1;
        }
        assert_eq!(kinds.len(), 2, "{kinds:?}");
        assert!((250..350).contains(&kinds["journal"]), "{kinds:?}");
    }

    #[test]
    fn a_flip_changes_one_bit() {
        let temp = TempDir::new();
        let file = temp.path().join("a");
        fs::write(&file, [0; 64]).unwrap();
        flip_bit(temp.path(), &mut Chance::new(3)).unwrap().unwrap();
        let ones: u32 = fs::read(&file)
            .unwrap()
            .iter()
            .map(|byte| byte.count_ones())
            .sum();
        assert_eq!(ones, 1);
        fs::write(&file, []).unwrap();
        assert_eq!(flip_bit(temp.path(), &mut Chance::new(3)).unwrap(), None);
    }

    #[test]
    fn folders_are_copied_restored_and_swapped() {
        let temp = TempDir::new();
        let path = |name: &str| temp.path().join(name);
        for name in ["a", "b"] {
            fs::create_dir_all(path(name).join("journal")).unwrap();
            fs::write(path(name).join("journal/x"), name).unwrap();
        }
        let content = |name: &str| fs::read_to_string(path(name).join("journal/x")).unwrap();
        swap(&path("a"), &path("b")).unwrap();
        assert_eq!(
            (content("a"), content("b")),
            ("b".to_owned(), "a".to_owned())
        );
        copy(&path("a"), &path("copy")).unwrap();
        fs::write(path("a").join("journal/x"), "newer").unwrap();
        restore(&path("a"), &path("copy")).unwrap();
        assert_eq!(content("a"), "b");
        assert!(!path("copy").exists());
    }
}
