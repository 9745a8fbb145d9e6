//! The harness of the end to end tests: a real host on a real PostgreSQL, one database per test.
//!
//! Tests come in through the front door: HTTP, the command line, `psql`-like connections. Nothing
//! sleeps: a test waits for a state and fails with what it last saw.

pub mod command;
pub mod forge;
pub mod guest;
pub mod served;
pub mod transfer;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pointsman_api::pipeline::Pipeline;
use pointsman_host::{Config, Database, Server};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

/// How long a test waits for a state at most; a busy machine needs far less. More than a pipeline that holds waits
/// before it tries the same again.
pub const PATIENCE: Duration = Duration::from_secs(150);
/// How often a test looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A database of its own for one test, migrated, on the server that all tests share.
pub struct TestDatabase {
    /// Its address.
    pub url: String,
}

impl TestDatabase {
    /// A fresh one.
    pub async fn new() -> Self {
        let server =
            pointsman_host::postgres::shared_test_cluster(&target_dir().join("test-postgres"))
                .await
                .expect("PostgreSQL for the tests");
        let template = template(&server).await;
        let name = format!("t_{}", unique());
        let mut admin = PgConnection::connect(&server).await.expect("connect");
        sqlx::query(AssertSqlSafe(format!(
            "create database {name} template {template}"
        )))
        .execute(&mut admin)
        .await
        .expect("a database from the template");
        Self {
            url: with_database(&server, &name),
        }
    }

    /// A connection of somebody who types SQL.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("connect")
    }

    /// A host on it.
    pub async fn serve(&self) -> TestHost {
        TestHost::on(&self.url, tempfile::tempdir().expect("a directory")).await
    }
}

/// A host, and an admin's client of it.
pub struct TestHost {
    /// The host itself; none once it is shut down.
    pub server: Option<Server>,
    /// Its address.
    pub url: String,
    /// The admin's token.
    pub token: String,
    dir: TempDir,
    http: reqwest::Client,
}

impl TestHost {
    /// A host with a database of its own.
    pub async fn start() -> (TestDatabase, Self) {
        let database = TestDatabase::new().await;
        let host = database.serve().await;
        (database, host)
    }

    /// A host on a given database. A second one there finds the admin's token taken, so it is given
    /// one of its own.
    pub async fn on(database_url: &str, dir: TempDir) -> Self {
        Self::with(database_url, dir, |_| {}).await
    }

    /// Another host on the same database, which sees the same repositories.
    pub async fn beside(&self, database_url: &str) -> Self {
        let forge = self.dir().join("forge");
        let artifacts = self.dir().join("artifacts").display().to_string();
        let dir = tempfile::tempdir().expect("a directory");
        Self::with(database_url, dir, |config| {
            config.forge_dir = forge;
            config.artifacts = artifacts;
        })
        .await
    }

    /// A host on a given database and directory, set up otherwise.
    pub async fn with(database_url: &str, dir: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(dir.path().to_owned());
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.database = Database::Url(database_url.to_owned());
        config.program = program();
        // Compiling a plugin takes a second of a core: once is enough for all tests.
        config.plugin_cache = target_dir().join("test-plugin-cache");
        change(&mut config);
        let server = pointsman_host::start(config, |_| {})
            .await
            .expect("the host starts");
        let token = match std::fs::read_to_string(server.admin_token_file()) {
            Ok(token) => token.trim().to_owned(),
            Err(_) => {
                let new = pointsman_api::token::NewToken {
                    comment: None,
                    name: format!("second-{}", unique()),
                    role: pointsman_api::token::Role::Admin,
                    expires: None,
                };
                pointsman_host::create_token_in(database_url, new)
                    .await
                    .expect("a token")
                    .secret
            }
        };
        let url = server.url().to_owned();
        let host = Self {
            server: Some(server),
            url,
            token,
            dir,
            http: http(),
        };
        wait_for("the token is known", async || {
            (host
                .request(Method::GET, "/v1/whoami")
                .send()
                .await
                .expect("an answer")
                .status()
                == 200)
                .then_some(())
        })
        .await;
        host
    }

    /// An admin's client of a server that somebody else runs.
    pub fn of(url: &str, token: &str) -> Self {
        Self {
            server: None,
            url: url.to_owned(),
            token: token.to_owned(),
            dir: tempfile::tempdir().expect("a directory"),
            http: http(),
        }
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops it, and waits until it has stopped.
    pub async fn stop(self) {
        self.halt().await;
    }

    /// Stops it, and gives its directory, for another start there.
    pub async fn halt(mut self) -> TempDir {
        if let Some(server) = self.server.take() {
            server.shutdown().await.expect("a clean shutdown");
        }
        self.dir
    }

    /// As [`TestHost::stop`]; gives its data directory, in which others may see repositories.
    pub async fn stop_and_keep(mut self) -> TempDir {
        if let Some(server) = self.server.take() {
            server.shutdown().await.expect("a clean shutdown");
        }
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a directory"))
    }

    /// A request with the admin's token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(&self.token, method, path)
    }

    /// A request with another token.
    pub fn request_as(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(token)
    }

    /// Opens an address of this host as a browser does: with no token. An absolute one is taken for a path here.
    pub async fn open(&self, link: &str) -> Response {
        let at = link.find("/v1/").expect("an address of the API");
        let request = self.http.get(format!("{}{}", self.url, &link[at..]));
        request.send().await.expect("an answer")
    }

    /// Reads; expects success.
    pub async fn get(&self, path: &str) -> Value {
        success(
            self.request(Method::GET, path)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    /// Writes; expects success.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.send(Method::POST, path, body).await
    }

    /// Any method with a body; expects success.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> Value {
        success(
            self.request(method, path)
                .json(&body)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    /// Any method with a body; expects a refusal, and gives the problem.
    pub async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        problem(request.send().await.expect("an answer")).await
    }

    /// Adds a distro.
    pub async fn distro(&self, name: &str) {
        let body = json!({"distros": [{"name": name, "variant": name.to_uppercase().replace(['-', '.'], "")}]});
        self.post("/v1/distros", body).await;
    }

    /// Adds kernel versions to a distro.
    pub async fn kernels(&self, distro: &str, versions: &[&str]) -> Value {
        let kernels: Vec<Value> = versions
            .iter()
            .map(|version| json!({"distro": distro, "version": version}))
            .collect();
        self.post(
            "/v1/kernels",
            json!({"comment": "test", "kernels": kernels}),
        )
        .await
    }

    /// The names `distro/version` that a list of kernels gives, over all its pages.
    pub async fn kernel_names(&self, query: &str) -> Vec<String> {
        let mut names = vec![];
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/v1/kernels?{query}{cursor}")).await;
            for kernel in page["items"].as_array().expect("items") {
                names.push(format!(
                    "{}/{}",
                    text(&kernel["distro"]),
                    text(&kernel["version"])
                ));
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return names,
            }
        }
    }

    /// The events of a query over all its pages, once there are `count` of them: an event is shown when no
    /// older transaction runs any more, on the whole server, which other tests share.
    pub async fn events(&self, query: &str, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let mut events = vec![];
            let mut cursor = String::new();
            loop {
                let page = self.get(&format!("/v1/events?{query}{cursor}")).await;
                events.extend_from_slice(page["items"].as_array().expect("items"));
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            if events.len() >= count {
                return events;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{} events of `{query}`, and not {count}",
                events.len()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the kernel pipeline has decided about everything that is committed.
    pub async fn idle(&self) -> Pipeline {
        let began = Instant::now();
        loop {
            let found = self.get("/v1/pipelines/kernels").await;
            let pipeline: Pipeline = serde_json::from_value(found.clone()).expect("a pipeline");
            if pipeline.idle && pipeline.held.is_none() {
                return pipeline;
            }
            assert!(began.elapsed() < PATIENCE, "not idle: {found}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Uploads a plugin from the folder of built ones; gives its digest.
    pub async fn upload(&self, name: &str) -> String {
        self.upload_bytes(name, plugin(name)).await
    }

    /// Uploads a component; gives its digest.
    pub async fn upload_bytes(&self, name: &str, wasm: Vec<u8>) -> String {
        let request = self.request(Method::POST, &format!("/v1/plugins?name={name}"));
        let request = request
            .header("content-type", "application/wasm")
            .body(wasm);
        text(&success(request.send().await.expect("an answer")).await["plugin"]["digest"])
            .to_owned()
    }

    /// Binds a plugin version to a hook of the kernel pipeline.
    pub async fn bind(&self, hook: &str, digest: &str, settings: Value) -> Value {
        let path = format!("/v1/pipelines/kernels/bindings/{hook}/0");
        self.send(
            Method::PUT,
            &path,
            json!({"digest": digest, "settings": settings}),
        )
        .await
    }

    /// Uploads and binds both stock plugins.
    pub async fn stock_policy(&self) {
        for (name, hook) in [("ignore-patterns", "ignore"), ("kernel-ladder", "advance")] {
            let digest = self.upload(name).await;
            self.bind(hook, &digest, json!({})).await;
        }
    }
}

/// An HTTP client. Every one in this process says the same about TLS, as the artifact store's does.
pub fn http() -> reqwest::Client {
    // Whoever is second finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// Where the `pointsman` command is.
pub fn program() -> PathBuf {
    std::env::var_os("POINTSMAN_BIN")
        .map_or_else(|| target_dir().join("debug/pointsman"), PathBuf::from)
}

/// The `pointsman` command, as built.
pub fn pointsman() -> std::process::Command {
    let mut command = std::process::Command::new(program());
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("POINTSMAN_") || key == "DATABASE_URL" {
            command.env_remove(key);
        }
    }
    command
}

/// A built plugin.
pub fn plugin(name: &str) -> Vec<u8> {
    let dir = std::env::var_os("POINTSMAN_PLUGIN_DIR")
        .map_or_else(|| target_dir().join("plugins"), PathBuf::from);
    let path = dir.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask plugins` builds it",
            path.display()
        );
    })
}

/// Waits until `look` gives something.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The JSON of a reply that must be a success.
pub async fn success(response: Response) -> Value {
    let status = response.status();
    let body = response.text().await.expect("a body");
    assert!(status.is_success(), "{status}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// The problem of a reply that must be a refusal: with a code, a detail and the right type.
pub async fn problem(response: Response) -> Value {
    let status = response.status();
    let kind = response
        .headers()
        .get("content-type")
        .map(|v| v.to_str().expect("ASCII").to_owned());
    let body = response.text().await.expect("a body");
    assert!(
        status.is_client_error()
            || status == StatusCode::SERVICE_UNAVAILABLE
            || status == StatusCode::GATEWAY_TIMEOUT,
        "{status}: {body}"
    );
    assert_eq!(kind.as_deref(), Some("application/problem+json"), "{body}");
    let problem: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(problem["status"], status.as_u16());
    assert!(
        problem["code"].is_string() && problem["detail"].is_string(),
        "{body}"
    );
    problem
}

/// A string in JSON.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    // target/debug/deps/test -> target
    let exe = std::env::current_exe().expect("our own path");
    let target = exe
        .ancestors()
        .find(|dir| dir.join("debug").is_dir() || dir.join("CACHEDIR.TAG").is_file());
    target.expect("the target directory").to_owned()
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock")
        .as_nanos();
    format!(
        "{:x}_{:x}_{:x}",
        std::process::id(),
        now,
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

fn with_database(url: &str, database: &str) -> String {
    let mut parsed = url::Url::parse(url).expect("an address");
    parsed.set_path(database);
    parsed.to_string()
}

/// The database that the others are copied from: migrated once for each set of migrations.
async fn template(server: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut files: Vec<PathBuf> = std::fs::read_dir(migrations)
        .expect("migrations")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    for file in files {
        hash.update(std::fs::read(file).expect("a migration"));
    }
    let digest: String = hash
        .finalize()
        .iter()
        .take(6)
        .map(|b| format!("{b:02x}"))
        .collect();
    let name = format!("template_{digest}");
    let mut admin = PgConnection::connect(server).await.expect("connect");
    sqlx::query("select pg_advisory_lock(7411)")
        .execute(&mut admin)
        .await
        .expect("the lock");
    let there: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(&name)
            .fetch_one(&mut admin)
            .await
            .expect("an answer");
    if !there {
        let building = format!("building_{}", unique());
        let run = async |sql: String, admin: &mut PgConnection| {
            sqlx::query(AssertSqlSafe(sql))
                .execute(admin)
                .await
                .expect("a statement");
        };
        run(format!("create database {building}"), &mut admin).await;
        pointsman_host::migrate(&with_database(server, &building))
            .await
            .expect("migrations");
        run(
            format!("alter database {building} rename to {name}"),
            &mut admin,
        )
        .await;
    }
    sqlx::query("select pg_advisory_unlock(7411)")
        .execute(&mut admin)
        .await
        .expect("the lock");
    name
}
