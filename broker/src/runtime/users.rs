//! The users file: one `user:password` a line; empty lines and lines that start with `#` are
//! skipped. A password may hold any character but the end of a line, also `:`.
//!
//! It is read again when it changes. Who is connected stays; whoever is in it no more cannot log
//! in any more.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tandemmq_wire::{AllowAnonymous, Anonymous, AuthError, Authenticator, UserTable};

use crate::tls::reload::{Current, Loaded, Reloader};

/// Bytes of the file; far more than people keep by hand.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The users of the file as it is now.
struct Users(Current<UserTable>);

impl Authenticator for Users {
    fn check(&self, login: Option<&str>, passcode: Option<&str>) -> Result<(), AuthError> {
        self.0.get().check(login, passcode)
    }
}

/// Who may connect: those of the file, or everybody.
pub(super) fn authenticator(
    users_file: Option<&Path>,
    reloader: &mut Reloader,
) -> anyhow::Result<Arc<dyn Authenticator>> {
    let Some(path) = users_file.map(Path::to_owned) else {
        return Ok(Arc::new(AllowAnonymous));
    };
    let users = reloader.open("auth.usersFile", vec![path.clone()], move || {
        Ok(Loaded {
            content: table(&path)?,
            ends: Vec::new(),
        })
    })?;
    Ok(Arc::new(Users(users)))
}

fn table(path: &Path) -> anyhow::Result<UserTable> {
    let reading = || format!("cannot read auth.usersFile {}", path.display());
    let bytes = std::fs::metadata(path).with_context(reading)?.len();
    if bytes > FILE_BYTES_MAX {
        bail!(
            "{}: it has {bytes} bytes; allowed are {FILE_BYTES_MAX}",
            reading()
        );
    }
    let text = std::fs::read_to_string(path).with_context(reading)?;
    let users = parse(&text).with_context(reading)?;
    if users.is_empty() {
        bail!("{}: it has no user; nobody could connect", reading());
    }
    Ok(UserTable::new(users, Anonymous::Refused))
}

/// An error names the line and never shows what is in it.
fn parse(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut users = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                users.push((user.to_owned(), password.to_owned()));
            }
            _ => bail!("line {}: allowed are lines of user:password", index + 1),
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use crate::tls::testing::reloader;

    #[test]
    fn log_ins_are_judged_by_the_file_as_it_is_now() {
        let folder = TempDir::new();
        let file = folder.path().join("users");
        std::fs::write(&file, "anna:a\nbert:b\n").unwrap();
        let mut reloader = reloader();
        let users = authenticator(Some(&file), &mut reloader).unwrap();
        assert!(users.check(Some("bert"), Some("b")).is_ok());
        std::fs::write(&file, "anna:new\n").unwrap();
        reloader.look();
        assert!(users.check(Some("bert"), Some("b")).is_err(), "removed");
        assert!(users.check(Some("anna"), Some("a")).is_err(), "changed");
        assert!(users.check(Some("anna"), Some("new")).is_ok());
        std::fs::write(&file, "# nobody\n").unwrap();
        reloader.look();
        assert!(
            users.check(Some("anna"), Some("new")).is_ok(),
            "a file without users would lock out everybody"
        );
    }

    #[test]
    fn lines_are_users_and_the_rest_is_skipped() {
        let users = parse("# people\n\nanna:a:b c\nbert:x\n").unwrap();
        let expected = [("anna", "a:b c"), ("bert", "x")];
        assert_eq!(
            users,
            expected.map(|(user, password)| (user.to_owned(), password.to_owned()))
        );
    }

    #[test]
    fn bad_line_is_named_by_number_and_not_shown() {
        for text in ["anna:a\nsecret", "x:y\n:secret", "x:y\nsecret:"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.contains("line 2") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
