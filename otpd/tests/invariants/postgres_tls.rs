//! TLS towards PostgreSQL: what each `sslmode` proves, and the sentence that says what was not proven.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::harness::own_postgres::OwnPostgres;
use crate::harness::{Database, Node};

/// An authority of the test's own making.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for that name, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        // PostgreSQL takes it as the name of a client.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer);
        (
            certificate.expect("a certificate").pem(),
            key.serialize_pem(),
        )
    }
}

struct Scene {
    postgres: OwnPostgres,
    ours: Authority,
    database: Database,
}

impl Scene {
    /// A server whose certificate, by an authority of its own, is for `localhost` only.
    fn new() -> Self {
        let ours = Authority::new();
        let mut postgres = OwnPostgres::made();
        let (certificate, key) = ours.sign("localhost");
        postgres.put("server.pem", &certificate);
        postgres.put("server.key", &key);
        postgres.put("clients.pem", &ours.pem);
        postgres.set(&[
            "ssl=on",
            "ssl_cert_file=../server.pem",
            "ssl_key_file=../server.key",
            "ssl_ca_file=../clients.pem",
        ]);
        postgres.start();
        let database = Database::on_server(&postgres.url());
        Self {
            postgres,
            ours,
            database,
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.database.folder().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    fn node(&self, host: &str, options: &str) -> Node {
        let url = self.database.url();
        let (old, new) = match host.contains('@') {
            true => ("postgres@127.0.0.1", host),
            false => ("127.0.0.1", host),
        };
        let url = url.replace(old, new);
        Node::new(&self.database).with("DATABASE_URL", &format!("{url}?{options}"))
    }

    /// All connections are encrypted, or none is.
    #[track_caller]
    fn check_served(&self, host: &str, options: &str, encrypted: bool) {
        let server = self.node(host, options).start();
        assert_eq!(server.admin().get("/readyz").status, 200, "{options}");
        let others = format!(
            "SELECT COUNT(1) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name = 'otpd' AND ssl = {}",
            !encrypted
        );
        assert_eq!(self.database.number(&others), 0, "{options}");
    }

    #[track_caller]
    fn check_refused(&self, host: &str, options: &str, says: &str) {
        let output = self.node(host, options).run(&[]);
        assert!(!output.status.success(), "{options}");
        let said = String::from_utf8_lossy(&output.stderr);
        let told = String::from_utf8_lossy(&output.stdout);
        let lines = [&*said, &*told].concat();
        let naming = lines.lines().filter(|line| line.contains(says));
        assert_eq!(naming.count(), 1, "{options}: no {says:?} in {lines}");
    }
}

#[test]
fn each_sslmode_proves_what_libpq_says() {
    let scene = Scene::new();
    let right = scene.file("right.pem", &scene.ours.pem);
    let wrong = scene.file("wrong.pem", &Authority::new().pem);
    let with = |mode: &str, roots: &str| format!("sslmode={mode}&sslrootcert={roots}");
    scene.check_served("127.0.0.1", "sslmode=disable", false);
    scene.check_served("127.0.0.1", "sslmode=prefer", true);
    scene.check_served("127.0.0.1", "sslmode=require", true);
    scene.check_served("127.0.0.1", &with("verify-ca", &right), true);
    scene.check_served("localhost", &with("verify-full", &right), true);
    let name = "its certificate is for another host name";
    scene.check_refused("127.0.0.1", &with("verify-full", &right), name);
    let signed = "its certificate is not signed by an authority";
    scene.check_refused("localhost", &with("verify-full", &wrong), signed);
    scene.check_refused("127.0.0.1", &with("verify-ca", &wrong), signed);
    scene.check_refused("127.0.0.1", &with("require", &wrong), signed);
    scene.check_refused("localhost", "sslmode=verify-full", signed);
    scene.check_refused("127.0.0.1", "sslmode=verify-ca", "needs sslrootcert");
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_it() {
    let scene = Scene::new();
    scene.database.query("CREATE ROLE app LOGIN SUPERUSER");
    let hba = "hostssl all app 127.0.0.1/32 cert\nhost all postgres 127.0.0.1/32 trust\n";
    scene.postgres.put("data/pg_hba.conf", hba);
    scene.database.query("SELECT pg_reload_conf()");
    let with = |(certificate, key): (String, String), name: &str| {
        let certificate = scene.file(&format!("{name}.pem"), &certificate);
        let key = scene.file(&format!("{name}.key"), &key);
        format!("sslmode=require&sslcert={certificate}&sslkey={key}")
    };
    let ours = with(scene.ours.sign("app"), "ours");
    let strange = with(Authority::new().sign("app"), "strange");
    let asked_for = "cannot reach the database at 127.0.0.1";
    scene.check_refused("app@127.0.0.1", "sslmode=require", asked_for);
    scene.check_refused("app@127.0.0.1", &strange, asked_for);
    scene.check_refused(
        "app@127.0.0.1",
        "sslcert=/x.pem",
        "sslcert and sslkey go together",
    );
    scene.check_served("app@127.0.0.1", &ours, true);
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_required() {
    let postgres = OwnPostgres::new();
    let scene = Scene {
        database: Database::on_server(&postgres.url()),
        ours: Authority::new(),
        postgres,
    };
    let right = scene.file("right.pem", &scene.ours.pem);
    let none = "server does not support TLS";
    scene.check_refused("127.0.0.1", "sslmode=require", none);
    let options = format!("sslmode=verify-full&sslrootcert={right}");
    scene.check_refused("localhost", &options, none);
    scene.check_served("127.0.0.1", "sslmode=prefer", false);
}
