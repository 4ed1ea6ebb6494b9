//! Who may connect, judged from what the shell has read in beforehand.
//!
//! Nothing here reads a file or hashes: the table is data given at construction. Passcodes are
//! compared in a time that does not depend on where they differ, and never printed.

use std::collections::BTreeMap;
use std::fmt;

/// The log-in was refused. Fatal for the connection. Does not say which half was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `login` was given and the broker wants one.
    #[error("log-in required: give login and passcode")]
    Required,
    /// This login and passcode do not belong together.
    #[error("login or passcode is wrong")]
    Wrong,
}

/// Judges a log-in. Pure: the same question always gets the same answer.
pub trait Authenticator: Send + Sync {
    /// `login` and `passcode` as the client gave them.
    fn check(&self, login: Option<&str>, passcode: Option<&str>) -> Result<(), AuthError>;
}

/// Lets everybody in, whatever they say.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAnonymous;

impl Authenticator for AllowAnonymous {
    fn check(&self, _login: Option<&str>, _passcode: Option<&str>) -> Result<(), AuthError> {
        Ok(())
    }
}

/// Whether a client without a `login` is let in (`auth.anonymous`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// It is.
    Allowed,
    /// It is not.
    Refused,
}

/// Users and their passcodes, in memory.
#[derive(Clone)]
pub struct UserTable {
    users: BTreeMap<String, String>,
    anonymous: Anonymous,
}

impl UserTable {
    /// A table of (login, passcode). The last of two equal logins counts.
    pub fn new(users: impl IntoIterator<Item = (String, String)>, anonymous: Anonymous) -> Self {
        Self {
            users: users.into_iter().collect(),
            anonymous,
        }
    }
}

impl Authenticator for UserTable {
    fn check(&self, login: Option<&str>, passcode: Option<&str>) -> Result<(), AuthError> {
        let Some(login) = login else {
            return match self.anonymous {
                Anonymous::Allowed => Ok(()),
                Anonymous::Refused => Err(AuthError::Required),
            };
        };
        let known = self.users.get(login);
        // An unknown login costs a comparison too, so that the time does not tell them apart.
        let expected = known.map_or("", String::as_str);
        let equal = equal_in_constant_time(expected, passcode.unwrap_or_default());
        if equal && known.is_some() && passcode.is_some() {
            Ok(())
        } else {
            Err(AuthError::Wrong)
        }
    }
}

/// Shows how many users there are, and no secret.
impl fmt::Debug for UserTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserTable")
            .field("users", &self.users.len())
            .field("anonymous", &self.anonymous)
            .finish()
    }
}

/// Time depends on the length of `given` alone, which its giver knows.
fn equal_in_constant_time(expected: &str, given: &str) -> bool {
    let expected = expected.as_bytes();
    let mut difference = expected.len() ^ given.len();
    for (at, byte) in given.bytes().enumerate() {
        let other = expected.get(at).copied().unwrap_or(!byte);
        difference |= usize::from(std::hint::black_box(byte ^ other));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(anonymous: Anonymous) -> UserTable {
        UserTable::new([("anna".to_owned(), "secret".to_owned())], anonymous)
    }

    #[test]
    fn only_the_exact_passcode_opens() {
        let table = table(Anonymous::Refused);
        assert_eq!(table.check(Some("anna"), Some("secret")), Ok(()));
        for wrong in ["", "secre", "secrets", "Secret"] {
            assert_eq!(
                table.check(Some("anna"), Some(wrong)),
                Err(AuthError::Wrong),
                "{wrong:?}"
            );
        }
        assert_eq!(table.check(Some("anna"), None), Err(AuthError::Wrong));
    }

    #[test]
    fn an_unknown_login_is_refused_even_with_an_empty_passcode() {
        let table = table(Anonymous::Allowed);
        assert_eq!(table.check(Some("bert"), Some("")), Err(AuthError::Wrong));
        assert_eq!(table.check(Some("bert"), None), Err(AuthError::Wrong));
    }

    #[test]
    fn no_login_is_let_in_only_where_anonymous_is_allowed() {
        assert_eq!(table(Anonymous::Allowed).check(None, None), Ok(()));
        assert_eq!(
            table(Anonymous::Refused).check(None, None),
            Err(AuthError::Required)
        );
    }

    #[test]
    fn debug_output_shows_no_secret() {
        assert!(!format!("{:?}", table(Anonymous::Refused)).contains("secret"));
    }
}
