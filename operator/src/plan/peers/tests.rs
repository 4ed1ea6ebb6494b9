//! A certificate's life by made-up times.

use super::*;
use crate::plan::testing::cluster;

const START: i64 = 1_800_000_000;

fn day(count: i32) -> Timestamp {
    Timestamp::from_second(START).unwrap() + DAY * count
}

fn made(now: Timestamp, current: Option<&Data>) -> Data {
    let new = renewed(&cluster(), current, now).unwrap();
    new.or_else(|| current.cloned()).unwrap()
}

fn authorities(data: &Data) -> usize {
    text(data, "ca.crt").unwrap().matches("BEGIN").count()
}

/// Would a broker that trusts `trusting` accept the certificate that `shown` has for group a?
fn accepts(trusting: &Data, shown: &Data, now: Timestamp) -> bool {
    let leaf = der_of(text(shown, "a.crt").unwrap()).unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let mut bundle = text(trusting, "ca.crt").unwrap();
    while let Ok(pem) = first_certificate(bundle) {
        bundle = &bundle[pem.len()..];
        let der = der_of(&pem).unwrap();
        let (_, ca) = x509_parser::parse_x509_certificate(&der).unwrap();
        let times = validity(&pem).unwrap();
        if leaf.verify_signature(Some(ca.public_key())).is_ok()
            && leaf.issuer() == ca.subject()
            && times.from <= now
            && now <= times.until
        {
            return true;
        }
    }
    false
}

#[test]
fn certificates_are_made_once_and_then_left_alone() {
    let data = made(day(0), None);
    for key in ["ca.crt", "ca.key", "a.crt", "a.key", "b.crt", "b.key"] {
        assert!(data.contains_key(key), "{key}");
    }
    assert!(accepts(&data, &data, day(0)));
    for later in [0, 1, 100, LEAF_DAYS - LEAF_RENEW_DAYS] {
        assert_eq!(
            renewed(&cluster(), Some(&data), day(later)).unwrap(),
            None,
            "{later}"
        );
    }
}

#[test]
fn certificate_names_its_group_and_serves_both_ends() {
    let data = made(day(0), None);
    let der = der_of(text(&data, "b.crt").unwrap()).unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&der).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let shown = format!("{:?}", names.value.general_names);
    assert_eq!(shown, "[DNSName(\"b.orders.shop.tandemmq.internal\")]");
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth);
    assert!(!leaf.is_ca());
}

#[test]
fn groups_certificate_is_renewed_when_a_third_is_left() {
    let data = made(day(0), None);
    let renewed = made(day(LEAF_DAYS - LEAF_RENEW_DAYS + 1), Some(&data));
    assert_ne!(renewed["a.crt"], data["a.crt"]);
    assert_eq!(renewed["ca.crt"], data["ca.crt"]);
}

#[test]
fn ca_is_renewed_without_a_moment_in_which_two_pods_refuse_each_other() {
    let mut now = CA_DAYS - CA_RENEW_DAYS - 30;
    let mut data = made(day(now), Some(&made(day(0), None)));
    let first = data["ca.key"].clone();
    let mut seen_authorities = Vec::new();
    let mut before = data.clone();
    for _ in 0..60 {
        now += 1;
        before.clone_from(&data);
        data = made(day(now), Some(&data));
        // A pod may still have yesterday's files, and its peer today's.
        assert!(
            accepts(&before, &data, day(now)),
            "day {now}: the old files refuse the new"
        );
        assert!(
            accepts(&data, &before, day(now)),
            "day {now}: the new files refuse the old"
        );
        seen_authorities.push(authorities(&data));
    }
    assert_ne!(data["ca.key"], first, "another CA signs");
    assert_eq!(seen_authorities.iter().max(), Some(&2));
    assert_eq!(
        seen_authorities.last(),
        Some(&1),
        "the old one is forgotten"
    );
    assert!(!data.contains_key("next-ca.key"));
}

#[test]
fn damaged_ca_is_an_error_and_a_damaged_certificate_is_made_anew() {
    let data = made(day(0), None);
    let mut damaged = data.clone();
    put(&mut damaged, "a.crt", "no certificate".to_owned());
    let mended = made(day(0), Some(&damaged));
    assert!(accepts(&data, &mended, day(0)));
    assert_eq!(mended["b.crt"], data["b.crt"]);
    put(&mut damaged, "ca.key", "no key".to_owned());
    let error = renewed(&cluster(), Some(&damaged), day(0)).unwrap_err();
    assert!(format!("{error:#}").contains("repair it"), "{error:#}");
}

#[test]
fn new_group_gets_its_certificate_and_others_keep_theirs() {
    let data = made(day(0), None);
    let mut more = cluster();
    more.spec.groups.push(crate::plan::testing::group("c"));
    let renewed = renewed(&more, Some(&data), day(1)).unwrap().unwrap();
    assert!(renewed.contains_key("c.crt"));
    assert_eq!(renewed["a.crt"], data["a.crt"]);
}

#[test]
fn operator_that_was_away_for_days_keeps_the_old_ca_until_pods_have_read_the_new_certificates() {
    let begin = CA_DAYS - CA_RENEW_DAYS + 1;
    let fresh = made(day(begin - 1), Some(&made(day(0), None)));
    let trusted = made(day(begin), Some(&fresh));
    assert_eq!(authorities(&trusted), 2);
    let (away, next) = (made(day(begin + 10), Some(&trusted)), day(begin + 10));
    assert_ne!(away["ca.key"], trusted["ca.key"], "the next CA signs");
    let looked_again = made(next, Some(&away));
    assert_eq!(
        authorities(&looked_again),
        2,
        "pods still show what the old CA signed"
    );
    assert!(accepts(&looked_again, &trusted, next));
    let later = made(day(begin + 13), Some(&looked_again));
    assert_eq!(authorities(&later), 1);
}

#[test]
fn next_ca_without_its_key_is_an_error() {
    let begin = CA_DAYS - CA_RENEW_DAYS + 1;
    let mut data = made(
        day(begin),
        Some(&made(day(begin - 1), Some(&made(day(0), None)))),
    );
    data.remove("next-ca.key");
    let error = renewed(&cluster(), Some(&data), day(begin + 3)).unwrap_err();
    assert!(error.to_string().contains("next-ca.key"), "{error}");
}
