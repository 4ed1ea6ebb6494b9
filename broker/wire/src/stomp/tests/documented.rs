//! The table of rules and tests in `docs/compatibility.md` names tests that exist. Only its second
//! column is looked at.

const PAGE: &str = include_str!("../../../../../docs/compatibility.md");

const TESTS: [&str; 15] = [
    include_str!("acks.rs"),
    include_str!("bodies.rs"),
    include_str!("connecting.rs"),
    include_str!("delivering.rs"),
    include_str!("destinations.rs"),
    include_str!("errors.rs"),
    include_str!("escaping.rs"),
    include_str!("heartbeats.rs"),
    include_str!("limits.rs"),
    include_str!("pressure.rs"),
    include_str!("random.rs"),
    include_str!("receipts.rs"),
    include_str!("sending.rs"),
    include_str!("subscribing.rs"),
    include_str!("transactions.rs"),
];

#[test]
fn every_test_that_the_compatibility_page_names_exists() {
    let (_, table) = PAGE
        .split_once("## STOMP: rule and test")
        .expect("the page has the table");
    let table = table.split("\n## ").next().unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect();
    assert!(rows.len() >= 18, "a row for each rule: {}", rows.len());
    for row in rows {
        let names: Vec<&str> = row
            .split('|')
            .nth(2)
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        assert!(!names.is_empty(), "no test for {row}");
        for name in names {
            let test = format!("fn {name}()");
            assert!(
                TESTS.iter().any(|file| file.contains(&test)),
                "there is no test {name}"
            );
        }
    }
}
