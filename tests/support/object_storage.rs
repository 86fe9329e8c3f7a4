//! Servers of object storage on free loopback ports, started once for all tests of a binary, and
//! repositories in them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::process::Snap;
use super::s3::{self, Credentials};
use super::{folder, http, utf8};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a server is started with other ports, where one of them was taken meanwhile.
const ATTEMPTS: usize = 3;

/// The bucket that most tests share.
pub const BUCKET: &str = "tests";

/// May do all there is to do.
pub const ADMIN: Credentials = Credentials {
    key: "admin",
    secret: "secret-of-the-admin",
};

/// May put, get and list objects, and delete none. Known to SeaweedFS alone.
pub const PUTTER: Credentials = Credentials {
    key: "putter",
    secret: "secret-of-the-putter",
};

/// The account that every azurite has.
const AZURITE_ACCOUNT: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);

/// Runs a server until its own standard input ends, which it does when the process that started it
/// ends in whatever way; then nothing of it is left. `$0` is the folder of the server, `$1` what
/// else is to be removed.
const GUARD: &str = r#"
    sockets=$1; shift
    trap '' INT
    exec 3<&0
    "$@" >"$0/log" 2>&1 </dev/null 3<&- &
    server=$!
    { read -r nothing <&3; kill -9 $server; } 2>/dev/null &
    exec 3<&- </dev/null
    wait $server
    rm -rf "$0"
    eval "rm -f $sockets"
"#;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SeaweedFS: S3 as Amazon has it, conditional requests and Object Lock included.
    SeaweedFs,
    /// `rclone serve s3`: S3 of the loose kind, which ignores the conditions of a request.
    Rclone,
    /// azurite: Azure Blob Storage.
    Azurite,
}

/// A server that runs.
pub struct Storage {
    kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    folder: PathBuf,
    // Its standard input is what the server lives by.
    guard: Child,
}

/// SeaweedFS, with the bucket of the tests.
pub fn seaweedfs() -> &'static Storage {
    static STORAGE: LazyLock<Storage> = LazyLock::new(|| Storage::start(Kind::SeaweedFs));
    &STORAGE
}

/// `rclone serve s3`, with the bucket of the tests.
pub fn rclone() -> &'static Storage {
    static STORAGE: LazyLock<Storage> = LazyLock::new(|| Storage::start(Kind::Rclone));
    &STORAGE
}

/// azurite, with the container of the tests.
pub fn azurite() -> &'static Storage {
    static STORAGE: LazyLock<Storage> = LazyLock::new(|| Storage::start(Kind::Azurite));
    &STORAGE
}

impl Storage {
    /// Starts a server and makes the bucket of the tests.
    fn start(kind: Kind) -> Self {
        let storage = (0..ATTEMPTS)
            .find_map(|_| Self::try_start(kind))
            .unwrap_or_else(|| panic!("{kind:?} ended at once {ATTEMPTS} times"));
        storage.make_bucket(BUCKET);
        storage
    }

    /// Starts a server; `None` if it ended, as it does where a port was taken meanwhile.
    fn try_start(kind: Kind) -> Option<Self> {
        // The guard removes it.
        let folder = folder().keep();
        let ports = free_ports::<8>();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0]));
        let command = match kind {
            Kind::SeaweedFs => seaweedfs_command(&folder, &ports),
            Kind::Rclone => rclone_command(&folder, address),
            Kind::Azurite => azurite_command(&folder, address),
        };
        let sockets = ports.map(|port| format!("/tmp/seaweedfs-*-{port}.sock"));
        let guard = Command::new("sh")
            .args(["-c", GUARD, utf8(&folder), &sockets.join(" ")])
            .args(command)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let mut storage = Self {
            kind,
            address,
            folder,
            guard,
        };
        storage.wait_until_it_answers().then_some(storage)
    }

    /// Waits for any answer at all; `false` if the server ended.
    fn wait_until_it_answers(&mut self) -> bool {
        let started = Instant::now();
        while http::request(self.address, "GET", "/", "text/plain", b"").is_err() {
            if self.guard.try_wait().expect("waiting for sh").is_some() {
                return false;
            }
            assert!(started.elapsed() < PATIENCE, "no answer\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
        true
    }

    /// The process that the server is a child of.
    pub fn guard_pid(&self) -> u32 {
        self.guard.id()
    }

    /// What the server has said.
    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Makes a bucket; a server that has just begun to answer may need some tries.
    pub fn make_bucket(&self, name: &str) {
        let started = Instant::now();
        loop {
            let output = self.client(&["mkdir", &format!("store:{name}")]);
            match output {
                Ok(_) => return,
                Err(said) => assert!(started.elapsed() < PATIENCE, "{said}\n{}", self.log()),
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes a bucket of SeaweedFS that keeps every version of every object for a day.
    pub fn make_locked_bucket(&self, name: &str) {
        let enabled = [("x-amz-bucket-object-lock-enabled", "true")];
        let made = self.s3("PUT", (name, ""), &enabled, b"");
        assert_eq!(made.status, 200, "{}", made.text());
        let configuration = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled\
            </ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days>\
            </DefaultRetention></Rule></ObjectLockConfiguration>";
        let locked = self.s3("PUT", (name, "object-lock="), &[], configuration);
        assert_eq!(locked.status, 200, "{}", locked.text());
    }

    /// Sends one request of S3, by whom all is permitted.
    pub fn s3(
        &self,
        method: &str,
        path_and_query: (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> http::Response {
        s3::request(self.address, ADMIN, method, path_and_query, headers, body)
    }

    /// A repository below a prefix that nobody else uses.
    pub fn repository(&self, name: &str) -> Repository<'_> {
        self.repository_in(BUCKET, name)
    }

    /// The same in another bucket.
    pub fn repository_in(&self, bucket: &str, name: &str) -> Repository<'_> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        Repository {
            storage: self,
            endpoint: self.address,
            credentials: ADMIN,
            bucket: bucket.to_owned(),
            prefix: format!("{name}/{nth}"),
        }
    }

    /// Runs rclone against this server: what it printed, or what it complained of.
    fn client(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        let output = Command::new(binary("rclone"))
            .args(args)
            .env_clear()
            .env("RCLONE_RETRIES", "1")
            .envs(self.rclone_variables(self.address))
            .stdin(Stdio::null())
            .output()
            .expect("rclone runs");
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("rclone {args:?}: {}\n{said}", output.status))
    }

    /// The environment in which rclone calls this server `store`, and reaches it at an address.
    fn rclone_variables(&self, address: SocketAddr) -> Vec<(String, String)> {
        let endpoint = format!("http://{address}");
        let (account, key) = AZURITE_ACCOUNT;
        let account_endpoint = format!("{endpoint}/{account}");
        let settings: &[(&str, &str)] = match self.kind {
            Kind::SeaweedFs | Kind::Rclone => &[
                ("TYPE", "s3"),
                ("PROVIDER", "Other"),
                ("ACCESS_KEY_ID", ADMIN.key),
                ("SECRET_ACCESS_KEY", ADMIN.secret),
                ("ENDPOINT", &endpoint),
            ],
            Kind::Azurite => &[
                ("TYPE", "azureblob"),
                ("ACCOUNT", account),
                ("KEY", key),
                ("ENDPOINT", &account_endpoint),
            ],
        };
        let no_file = ("RCLONE_CONFIG".to_owned(), String::new());
        let settings = settings
            .iter()
            .map(|(name, value)| (format!("RCLONE_CONFIG_STORE_{name}"), (*value).to_owned()));
        [no_file].into_iter().chain(settings).collect()
    }
}

/// A prefix in a bucket, used by one test alone, and how snap is to reach it.
#[derive(Clone)]
pub struct Repository<'a> {
    storage: &'a Storage,
    endpoint: SocketAddr,
    credentials: Credentials,
    bucket: String,
    prefix: String,
}

impl Repository<'_> {
    /// The same, reached through what listens here.
    pub fn through(&self, endpoint: SocketAddr) -> Self {
        Self {
            endpoint,
            ..self.clone()
        }
    }

    /// The same, as somebody else.
    pub fn as_user(&self, credentials: Credentials) -> Self {
        Self {
            credentials,
            ..self.clone()
        }
    }

    /// As snap is to be told.
    pub fn url(&self) -> String {
        let scheme = match self.storage.kind {
            Kind::SeaweedFs | Kind::Rclone => "s3",
            Kind::Azurite => "az",
        };
        format!("{scheme}://{}/{}", self.bucket, self.prefix)
    }

    /// A run of snap that can reach the repository; its URL is the last of the arguments.
    pub fn snap(&self, args: &[&str]) -> Snap {
        self.snap_with(args, &[])
    }

    /// The same, with arguments after the URL.
    pub fn snap_with(&self, args: &[&str], after: &[&str]) -> Snap {
        let run = Snap::new(args).args([&self.url()]).args(after);
        self.variables()
            .into_iter()
            .fold(run, |run, (name, value)| run.env(name, value))
    }

    /// The environment in which snap reaches the repository.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let endpoint = format!("http://{}", self.endpoint);
        match self.storage.kind {
            Kind::SeaweedFs | Kind::Rclone => vec![
                ("AWS_ACCESS_KEY_ID", self.credentials.key.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", self.credentials.secret.to_owned()),
                ("AWS_ENDPOINT_URL", endpoint),
            ],
            Kind::Azurite => {
                let (account, key) = AZURITE_ACCOUNT;
                vec![(
                    "AZURE_STORAGE_CONNECTION_STRING",
                    format!(
                        "DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};\
                         BlobEndpoint={endpoint}/{account};"
                    ),
                )]
            }
        }
    }

    /// The environment in which rclone reaches the repository.
    pub fn rclone_variables(&self) -> Vec<(String, String)> {
        self.storage.rclone_variables(self.endpoint)
    }

    /// Where rclone finds a file, or with an empty name the whole.
    pub fn remote(&self, name: &str) -> String {
        format!("store:{}/{}/{name}", self.bucket, self.prefix)
    }

    /// Runs rclone; panics unless it succeeds.
    #[track_caller]
    fn client(&self, args: &[&str]) -> Vec<u8> {
        self.storage
            .client(args)
            .unwrap_or_else(|said| panic!("{said}"))
    }

    /// The names of all objects below the prefix, each with its length.
    pub fn objects(&self) -> BTreeMap<String, u64> {
        let listed = self.client(&[
            "lsf",
            "--recursive",
            "--files-only",
            "--format",
            "sp",
            "--separator",
            " ",
            &self.remote(""),
        ]);
        let listed = String::from_utf8(listed).expect("names in UTF-8");
        let object = |line: &str| {
            let (length, name) = line.split_once(' ').expect("a length and a name");
            (name.to_owned(), length.parse().expect("a length"))
        };
        listed.lines().map(object).collect()
    }

    /// The names of all objects below the prefix, sorted.
    pub fn names(&self) -> Vec<String> {
        self.objects().into_keys().collect()
    }

    /// What is in an object.
    pub fn read(&self, name: &str) -> Vec<u8> {
        self.client(&["cat", &self.remote(name)])
    }

    /// Removes an object.
    pub fn remove(&self, name: &str) {
        self.client(&["deletefile", &self.remote(name)]);
    }

    /// Copies all objects into a directory.
    pub fn copy_down(&self, to: &Path) {
        self.client(&["copy", &self.remote(""), utf8(to)]);
    }

    /// Copies a directory up.
    pub fn copy_up(&self, from: &Path) {
        self.client(&["copy", utf8(from), &self.remote("")]);
    }

    /// Removes all objects.
    pub fn purge(&self) {
        self.client(&["purge", &self.remote("")]);
    }

    /// Copies one file up, over what has its name.
    pub fn put(&self, from: &Path, name: &str) {
        self.client(&["copyto", utf8(from), &self.remote(name)]);
    }

    /// The ids of the uploads in parts that nobody completed or aborted, each with its key. Azure
    /// has no such thing, and rclone does not list them.
    pub fn unfinished_uploads(&self) -> Vec<(String, String)> {
        if self.storage.kind != Kind::SeaweedFs {
            return Vec::new();
        }
        let listed = self.storage.s3("GET", (&self.bucket, "uploads="), &[], b"");
        assert_eq!(listed.status, 200, "{}", listed.text());
        let keys = s3::elements(listed.text(), "Key");
        let uploads = keys
            .into_iter()
            .zip(s3::elements(listed.text(), "UploadId"));
        uploads
            .filter(|(key, _)| key.starts_with(&format!("{}/", self.prefix)))
            .collect()
    }

    /// Begins an upload in parts, sends one, and leaves it so. Of S3 alone.
    pub fn begin_upload(&self, name: &str, part: &[u8]) {
        let path = format!("{}/{}/{name}", self.bucket, self.prefix);
        let begun = self.storage.s3("POST", (&path, "uploads="), &[], b"");
        let id = s3::elements(begun.text(), "UploadId").remove(0);
        let query = format!("partNumber=1&uploadId={id}");
        let sent = self.storage.s3("PUT", (&path, &query), &[], part);
        assert_eq!(sent.status, 200, "{}", sent.text());
    }
}

/// SeaweedFS with all its ports on the loopback interface: that of S3 first, then master, volume
/// and filer, then those of gRPC.
fn seaweedfs_command(folder: &Path, ports: &[u16; 8]) -> Vec<String> {
    let identities = folder.join("s3.json");
    fs::write(&identities, identities_of_seaweedfs()).expect("writing the identities");
    let data = folder.join("data");
    fs::create_dir(&data).expect("a directory");
    let mut command = vec![
        utf8(&binary("weed")).to_owned(),
        "server".to_owned(),
        "-s3".to_owned(),
        "-s3.autoCreateBucket=false".to_owned(),
        "-master.telemetry=false".to_owned(),
        // Every bucket takes volumes of its own.
        "-volume.max=500".to_owned(),
        "-master.volumeSizeLimitMB=64".to_owned(),
        "-s3.port.iceberg=0".to_owned(),
        "-s3.port.lance=0".to_owned(),
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        format!("-dir={}", utf8(&data)),
        format!("-s3.config={}", utf8(&identities)),
    ];
    let names = ["s3", "master", "volume", "filer"];
    let names = names
        .map(|name| format!("{name}.port"))
        .into_iter()
        .chain(names.map(|name| format!("{name}.port.grpc")));
    command.extend(
        names
            .zip(ports)
            .map(|(name, port)| format!("-{name}={port}")),
    );
    command
}

/// Who may do what: [`ADMIN`] all, [`PUTTER`] put, get and list.
fn identities_of_seaweedfs() -> String {
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:GetObject", "s3:ListBucket"],
            "Resource": ["arn:aws:s3:::*"],
        }],
    });
    let credentials =
        |who: Credentials| serde_json::json!([{ "accessKey": who.key, "secretKey": who.secret }]);
    serde_json::json!({
        "identities": [
            {
                "name": "admin",
                "credentials": credentials(ADMIN),
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            },
            {
                "name": "putter",
                "credentials": credentials(PUTTER),
                "actions": [],
                "policyNames": ["put-get-list"],
            },
        ],
        "policies": [{ "name": "put-get-list", "content": policy.to_string() }],
    })
    .to_string()
}

/// `rclone serve s3` over a directory.
fn rclone_command(folder: &Path, address: SocketAddr) -> Vec<String> {
    let data = folder.join("data");
    fs::create_dir(&data).expect("a directory");
    [
        utf8(&binary("rclone")),
        "serve",
        "s3",
        utf8(&data),
        "--addr",
        &address.to_string(),
        "--auth-key",
        &format!("{},{}", ADMIN.key, ADMIN.secret),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// azurite's blob server.
fn azurite_command(folder: &Path, address: SocketAddr) -> Vec<String> {
    let program = "../azurite/node_modules/azurite/dist/src/blob/main.js";
    let program = binary("node").parent().expect("a folder").join(program);
    [
        utf8(&binary("node")),
        utf8(&program),
        "--blobHost",
        &address.ip().to_string(),
        "--blobPort",
        &address.port().to_string(),
        "--location",
        utf8(folder),
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--silent",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A program that `.ci/setup tests` unpacked; panics if it is not there.
pub fn binary(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-servers/bin");
    let file = unpacked.join(name);
    assert!(
        file.is_file(),
        "{name} is needed for this test: ./.ci/setup tests"
    );
    file
}

/// Ports of the loopback interface that nobody used a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners =
        [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound address").port())
}
