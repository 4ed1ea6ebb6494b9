//! The configuration's text, its defaults and its refusals.

use std::path::Path;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/tandemmq/broker.toml"))
}

/// The shortest text that works; `extra` goes behind it.
fn minimal(extra: &str) -> String {
    format!(
        "brokerName = \"a-0\"\ngroup = \"a\"\nordinal = 0\ndataDir = \"d\"\n\
         addresses = {{ stomp = \"127.0.0.1:1\", peers = \"127.0.0.1:2\", metrics = \"0.0.0.0:3\" }}\n\
         election = {{ leaseDir = \"/lease\" }}\n[[members]]\nname = \"a-0\"\npeers = \"localhost:2\"\n{extra}"
    )
}

fn peers_tls() -> PeersTls {
    PeersTls {
        cert_file: "/c".into(),
        key_file: "/k".into(),
        ca_file: "/ca".into(),
        name: "a.example".into(),
    }
}

/// A table that works.
const PEERS_TLS: &str =
    "[tls.peers]\ncertFile = \"/c\"\nkeyFile = \"k\"\ncaFile = \"ca\"\nname = \"a.example\"";

#[test]
fn commented_default_is_a_working_configuration_of_all_defaults() {
    let config = parse(Config::commented_default()).unwrap();
    assert_eq!(config.journal, Journal::default());
    assert_eq!(config.system_usage, SystemUsage::default());
    assert_eq!(config.transports, Transports::default());
    assert_eq!(config.auth, Auth::default());
    assert_eq!(config.timing, Timing::default());
    assert_eq!(
        config.election.lease_duration_seconds,
        default_lease_duration_seconds()
    );
}

#[test]
fn commented_default_names_every_key() {
    let mut config = parse(Config::commented_default()).unwrap();
    config.journal.max_bytes = Some(ByteSize(1 << 30));
    config.auth.users_file = Some("users.txt".into());
    config.transports.stomp.tls = Some(TransportTls {
        cert_file: "c".into(),
        key_file: "k".into(),
    });
    config.tls.peers = Some(peers_tls());
    for line in config.to_toml().lines() {
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        let shown = Config::commented_default().lines().any(|line| {
            line.trim_start_matches("# ")
                .starts_with(&format!("{key} = "))
        });
        assert!(shown, "{key} is missing in the commented default");
    }
}

#[test]
fn what_is_written_reads_back_the_same() {
    let mut config = parse(&minimal("")).unwrap();
    config.journal.max_bytes = Some(ByteSize(1 << 30));
    config.tls.peers = Some(peers_tls());
    assert_eq!(parse(&config.to_toml()), Ok(config));
}

#[test]
fn what_is_for_tests_is_only_written_when_it_is_on() {
    assert!(!Config::commented_default().contains("testing"));
    let config = parse(&minimal("")).unwrap();
    assert!(!config.to_toml().contains("testing"));
    let config = parse(&minimal("[testing]\ndisk = \"volatile\"")).unwrap();
    assert_eq!(config.testing.disk, TestingDisk::Volatile);
    assert_eq!(parse(&config.to_toml()), Ok(config));
}

#[test]
fn relative_paths_count_from_the_files_folder() {
    let stomp = "[transports.stomp.tls]\ncertFile = \"c\"\nkeyFile = \"/k\"";
    let text = minimal(&format!("[auth]\nusersFile = \"u\"\n{stomp}\n{PEERS_TLS}"));
    let config = parse(&text).unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/tandemmq/d"));
    assert_eq!(config.election.lease_dir, Path::new("/lease"));
    assert_eq!(
        config.auth.users_file.as_deref(),
        Some(Path::new("/etc/tandemmq/u"))
    );
    let stomp = config.transports.stomp.tls.unwrap();
    assert_eq!(stomp.files(), ["/etc/tandemmq/c", "/k"].map(Path::new));
    let peers = config.tls.peers.unwrap();
    let expected = ["/c", "/etc/tandemmq/k", "/etc/tandemmq/ca"];
    assert_eq!(peers.files(), expected.map(Path::new));
}

#[test]
fn unknown_key_is_refused_with_its_line_and_what_is_allowed() {
    let error = parse(&minimal("[journal]\nmaxByte = 1")).unwrap_err();
    assert_eq!(error.line, Some(11));
    assert!(
        error.text.contains("maxByte") && error.text.contains("maxBytes"),
        "{error}"
    );
}

#[test]
fn each_refusal_names_line_key_and_what_is_allowed() {
    let cases = [
        (
            "[timing]\nquorumHoldMs = 200",
            "timing.quorumHoldMs",
            11,
            "three heartbeats",
        ),
        (
            "[timing]\nsuspicionMs = 800",
            "timing.suspicionMs",
            11,
            "more than quorumHoldMs (800)",
        ),
        (
            "[journal]\nsegmentBytes = 1",
            "journal.segmentBytes",
            11,
            "1 MiB to 1 GiB",
        ),
        (
            "[journal]\nmaxBytes = \"64mb\"",
            "journal.maxBytes",
            11,
            "or more",
        ),
        (
            "[auth]\nanonymous = true\nusersFile = \"x\"",
            "auth.anonymous",
            11,
            "one of them",
        ),
        (
            "[transports.stomp]\nmaximumConnections = 0",
            "transports.stomp.maximumConnections",
            11,
            "1 to",
        ),
        (
            "[[members]]\nname = \"a-1\"\npeers = \"127.0.0.1:4\"",
            "members",
            7,
            "1, 3, 5 or 7",
        ),
    ];
    for (extra, key, line, allowed) in cases {
        let error = parse(&minimal(extra)).unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.line),
            (key, Some(line)),
            "{error}"
        );
        assert!(error.text.contains(allowed), "{error}");
    }
}

#[test]
fn peers_that_are_not_loopback_are_refused() {
    for peers in [
        "10.0.0.1:2",
        "0.0.0.0:2",
        "example.org:2",
        "[::]:2",
        "127.0.0.1",
        "localhost:0",
    ] {
        let text = minimal("").replace("localhost:2", peers);
        let error = parse(&text).unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.line),
            ("members[0].peers", Some(9)),
            "{peers}"
        );
    }
    let error = parse(&minimal("").replace("127.0.0.1:2", "10.0.0.1:2")).unwrap_err();
    assert_eq!(
        (error.key.as_str(), error.line),
        ("addresses.peers", Some(5))
    );
}

#[test]
fn peers_with_tls_may_be_anywhere_but_need_a_name_and_a_port() {
    let with = |peers: &str| {
        let text = minimal(PEERS_TLS).replace("localhost:2", peers);
        parse(&text.replace("127.0.0.1:2", "0.0.0.0:2"))
    };
    for peers in ["orders-a-0.orders-a-nodes:61619", "10.0.0.1:2", "[::1]:2"] {
        assert!(with(peers).is_ok(), "{peers}");
    }
    for peers in ["10.0.0.1:0", "a b:2", "orders-a-0", "a:x", ":2"] {
        let error = with(peers).unwrap_err();
        assert_eq!(error.key, "members[0].peers", "{peers}");
        assert!(error.text.contains("host:port"), "{error}");
    }
}

#[test]
fn the_groups_name_must_be_one_of_dns() {
    let text = minimal(&PEERS_TLS.replace("a.example", "a example"));
    let error = parse(&text).unwrap_err();
    assert_eq!(
        (error.key.as_str(), error.line),
        ("tls.peers.name", Some(14))
    );
    assert!(error.text.contains("DNS name"), "{error}");
}

#[test]
fn clients_from_elsewhere_need_a_login_or_an_explicit_permission() {
    let open = |extra| minimal(extra).replace("127.0.0.1:1", "0.0.0.0:1");
    let error = parse(&open("")).unwrap_err();
    assert_eq!(error.key, "addresses.stomp");
    assert!(error.text.contains("auth.anonymous = true"), "{error}");
    assert!(parse(&open("[auth]\nanonymous = true")).is_ok());
    assert!(parse(&open("[auth]\nusersFile = \"u\"")).is_ok());
    let tls = "[transports.stomp.tls]\ncertFile = \"c\"\nkeyFile = \"k\"";
    let error = parse(&open(tls)).unwrap_err();
    assert_eq!(error.key, "addresses.stomp", "TLS is no login");
}

#[test]
fn ordinal_and_name_must_agree() {
    let error = parse(&minimal("").replace("ordinal = 0", "ordinal = 1")).unwrap_err();
    assert_eq!((error.key.as_str(), error.line), ("ordinal", Some(3)));
    let error = parse(&minimal("").replacen("a-0", "b-0", 1)).unwrap_err();
    assert_eq!(error.key, "ordinal");
}
