//! A group of three real brokers whose links and client ports are TLS, on loopback.
//!
//! What single links do with wrong certificates is tested in process; here: a group elects,
//! replicates to all and serves tools over TLS, and a broker of another group of the same CA,
//! dialling into it, harms nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

/// An election takes tens of milliseconds; a busy machine may take much longer.
const LONG: Duration = Duration::from_secs(60);

const MESSAGES: &str = "200";

/// A folder that ends with the test.
struct Folder(PathBuf);

/// A broker that ends with the test: its stdin is its life.
struct Broker {
    child: Child,
    metrics: u16,
}

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tandemmq-tls-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A CA, and certificates for `names` in `folder`.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a certificate can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate can be made"))
    }

    fn issue(&self, stem: &str, name: &str, folder: &Path) {
        let mut params =
            CertificateParams::new([name.to_owned()]).expect("a certificate can be made");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a certificate can be made");
        let certificate = params
            .signed_by(&key, &self.0)
            .expect("a certificate can be made");
        let write = |end: &str, text: String| {
            fs::write(folder.join(format!("{stem}.{end}")), text)
                .expect("the folder of the test can be used");
        };
        write("crt", certificate.pem());
        write("key", key.serialize_pem());
    }
}

/// So many ports in a row that nobody uses, below those that the system hands out.
fn free_ports(count: u16) -> u16 {
    let first = 22_000 + (std::process::id() % 500) as u16 * 12;
    (first..32_000)
        .step_by(usize::from(count))
        .find(|&base| (base..base + count).all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok()))
        .expect("some ports are free")
}

/// One broker's place.
struct Place<'a> {
    /// Names its own folders and files.
    name: &'a str,
    /// Its place among the members `a-0` to `a-2`, whose ports begin at `base`.
    k: u16,
    base: u16,
    /// Its own three ports begin here.
    own: u16,
    /// Whose certificate it has.
    certificate: &'a str,
}

fn config(place: &Place<'_>, folder: &Path) -> PathBuf {
    let Place {
        name,
        k,
        base,
        own,
        certificate,
    } = place;
    let mut text = format!(
        "brokerName = \"a-{k}\"\ngroup = \"a\"\nordinal = {k}\ndataDir = \"data-{name}\"\n\
         [addresses]\nstomp = \"127.0.0.1:{own}\"\npeers = \"127.0.0.1:{}\"\nmetrics = \"127.0.0.1:{}\"\n\
         [election]\nleaseDir = \"lease-{certificate}\"\n\
         [auth]\nusersFile = \"users\"\n\
         [transports.stomp.tls]\ncertFile = \"stomp.crt\"\nkeyFile = \"stomp.key\"\n\
         [tls.peers]\ncertFile = \"{certificate}.crt\"\nkeyFile = \"{certificate}.key\"\n\
         caFile = \"ca.crt\"\nname = \"{certificate}.test\"\n",
        own + 1,
        own + 2,
    );
    for member in 0..3 {
        let peers = base + 3 * member + 1;
        text += &format!("[[members]]\nname = \"a-{member}\"\npeers = \"localhost:{peers}\"\n");
    }
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, text).expect("the folder of the test can be used");
    file
}

fn start(config: &Path, metrics: u16) -> Broker {
    let log =
        fs::File::create(config.with_extension("log")).expect("the folder of the test can be used");
    let child = Command::new(env!("CARGO_BIN_EXE_tandemmq"))
        .args(["serve", "--exit-with-stdin", "--config"])
        .arg(config)
        .stdin(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("the broker starts");
    Broker { child, metrics }
}

/// `/status` as text; none while nobody answers.
fn status(broker: &Broker) -> Option<serde_json::Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", broker.metrics)).ok()?;
    stream
        .write_all(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

fn wait_for(what: &str, folder: &Path, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > LONG {
            let logs = fs::read_dir(folder)
                .expect("the folder of the test can be used")
                .flatten();
            for log in logs.filter(|f| f.path().extension() == Some("log".as_ref())) {
                let text = fs::read_to_string(log.path()).unwrap_or_default();
                eprintln!("{}:\n{text}", log.path().display());
            }
            panic!("not within {LONG:?}: {what}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{what} after {:?}", begun.elapsed());
}

/// A tool that speaks to the group as its user.
fn tool(folder: &Path, base: u16, arguments: &[&str]) -> Output {
    let addresses: Vec<String> = (0..3)
        .map(|k| format!("ssl://localhost:{}", base + 3 * k))
        .collect();
    let url = format!("failover:({})?timeout=30000", addresses.join(","));
    Command::new(env!("CARGO_BIN_EXE_tandemmq"))
        .args(arguments)
        .args(["--brokerUrl", &url, "--user", "anna", "--ca-file"])
        .arg(folder.join("ca.crt"))
        .arg("--password-file")
        .arg(folder.join("password"))
        .output()
        .expect("the tool starts")
}

fn expect_success(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
}

#[test]
fn group_over_tls_replicates_and_another_group_of_its_ca_stays_outside() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let folder = folder.0.as_path();
    fs::write(folder.join("ca.crt"), authority.0.pem())
        .expect("the folder of the test can be used");
    fs::write(folder.join("users"), "anna:secret\n").expect("the folder of the test can be used");
    fs::write(folder.join("password"), "secret\n").expect("the folder of the test can be used");
    authority.issue("stomp", "localhost", folder);
    authority.issue("a", "a.test", folder);
    authority.issue("b", "b.test", folder);
    let base = free_ports(12);
    let group: Vec<Broker> = (0..3u16)
        .map(|k| {
            let place = Place {
                name: &format!("a-{k}"),
                k,
                base,
                own: base + 3 * k,
                certificate: "a",
            };
            start(&config(&place, folder), place.own + 2)
        })
        .collect();
    // It dials a-1 and a-2 as if it were a-0.
    let place = Place {
        name: "stranger",
        k: 0,
        base,
        own: base + 9,
        certificate: "b",
    };
    let stranger = start(&config(&place, folder), place.own + 2);

    wait_for("three members in step", folder, || {
        let ready = |broker| status(broker).is_some_and(|status| status["ready"] == true);
        group.iter().all(ready)
    });
    expect_success(&tool(
        folder,
        base,
        &["producer", "--messageCount", MESSAGES, "--window", "16"],
    ));
    wait_for("every member has every record", folder, || {
        let applied = |broker| status(broker).map(|status| status["offsets"]["applied"].clone());
        let all: Vec<_> = group.iter().map(applied).collect();
        all[0].is_some() && all.iter().all(|one| *one == all[0])
    });
    expect_success(&tool(
        folder,
        base,
        &["consumer", "--messageCount", MESSAGES],
    ));
    let mut told = None;
    wait_for("the stranger answers", folder, || {
        told = status(&stranger);
        told.is_some()
    });
    let told = told.expect("it was waited for");
    let members = told["members"].as_array().expect("it knows its members");
    let linked = members
        .iter()
        .any(|member| member["connected"] == true && member["name"] != "a-0");
    assert!(
        members.len() == 3 && !linked,
        "the stranger has a link: {told}"
    );
    let log =
        fs::read_to_string(folder.join("a-1.log")).expect("the folder of the test can be used");
    assert!(
        log.contains("to the peers' port is closed"),
        "the stranger was noticed:\n{log}"
    );
}
