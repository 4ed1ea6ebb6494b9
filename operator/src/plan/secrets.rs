//! The login that the operator makes, once.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::api::BrokerCluster;

use super::{metadata, name_of, names};

/// The user of a made login.
const USER: &str = "tandemmq";
/// Characters of a made password, of 64 kinds: 192 bits.
const PASSWORD_CHARACTERS: usize = 32;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The Secret that holds the users: a person's own, or the made one; none with anonymous access.
pub fn users_secret(cluster: &BrokerCluster) -> Option<String> {
    let auth = &cluster.spec.auth;
    match &auth.secret_ref {
        _ if auth.anonymous => None,
        Some(theirs) => Some(theirs.name.clone()),
        None => Some(names::auth(name_of(cluster))),
    }
}

/// `C-auth` with a new password out of those random bytes; none when the spec needs none.
pub fn auth(cluster: &BrokerCluster, random: &[u8; PASSWORD_CHARACTERS]) -> Option<Secret> {
    if cluster.spec.auth.anonymous || cluster.spec.auth.secret_ref.is_some() {
        return None;
    }
    let password: String = random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 64)]))
        .collect();
    let data = [
        ("username", USER.to_owned()),
        ("users", format!("{USER}:{password}\n")),
        ("password", password),
    ];
    Some(Secret {
        metadata: metadata(cluster, None, names::auth(name_of(cluster))),
        type_: Some("Opaque".to_owned()),
        data: Some(
            data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
                .into(),
        ),
        ..Secret::default()
    })
}
