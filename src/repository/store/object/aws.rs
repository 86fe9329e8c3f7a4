//! Where AWS's own tools look for credentials, region and endpoint of S3: what is set, the
//! environment, the files in `~/.aws`, then what a machine in the cloud is given.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};

use super::aws_process::ProcessCredentials;
use super::settings::{S3Checksum, S3Settings};
use crate::error::ErrorKind;

/// The variables of the environment.
pub(super) struct Environment<'a>(pub &'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// The value of a variable that is set, and not to nothing.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// Makes sure that what goes into requests can stand there.
    fn ensure_printable(&self) -> Result<()> {
        let is_odd = |name: &&&str| {
            self.get(name)
                .is_some_and(|value| value.contains(char::is_control))
        };
        match IN_REQUESTS.iter().find(is_odd) {
            None => Ok(()),
            Some(name) => Err(ErrorKind::Usage
                .error(format!(
                    "{name} in the environment holds a control character"
                ))
                .hint("does the file that sets it have the line ends of Windows?")
                .into()),
        }
    }
}

/// The variables whose values stand in requests.
const IN_REQUESTS: [&str; 7] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
];

/// How S3 is reached.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub credentials: Credentials,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub is_path_style: Option<bool>,
    pub checksum: Option<S3Checksum>,
    pub ca_bundle: Option<PathBuf>,
}

/// Who asks.
#[derive(Clone)]
pub(super) enum Credentials {
    /// Keys, and where they were found.
    Keys(Arc<AwsCredential>, String),
    /// A program of a profile prints them.
    Process(Arc<ProcessCredentials>, String),
    /// What the environment says how to get; at last, what the instance gives.
    Cloud(Vec<(AmazonS3ConfigKey, String)>, String),
}

impl fmt::Debug for Credentials {
    /// No secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source())
    }
}

impl Credentials {
    fn source(&self) -> &str {
        match self {
            Self::Keys(_, source) | Self::Process(_, source) | Self::Cloud(_, source) => source,
        }
    }

    /// Hands them to a client; says where they come from.
    pub(super) fn give_to(&self, builder: AmazonS3Builder) -> (AmazonS3Builder, String) {
        let builder = match self {
            Self::Keys(keys, _) => {
                let keys = AwsCredential {
                    key_id: keys.key_id.clone(),
                    secret_key: keys.secret_key.clone(),
                    token: keys.token.clone(),
                };
                builder.with_credentials(Arc::new(StaticCredentialProvider::new(keys)))
            }
            Self::Process(process, _) => builder.with_credentials(process.clone()),
            Self::Cloud(settings, _) => settings.iter().fold(builder, |builder, (key, value)| {
                builder.with_config(*key, value)
            }),
        };
        (builder, self.source().to_owned())
    }
}

impl Access {
    /// What is set, what the environment says, and what is in the files of AWS's tools.
    ///
    /// # Errors
    ///
    /// When a profile is named that is not there, or asks for what is not supported.
    pub(super) fn find(settings: &S3Settings, environment: &Environment<'_>) -> Result<Self> {
        environment.ensure_printable()?;
        let named = settings
            .profile
            .clone()
            .or_else(|| environment.get("AWS_PROFILE"));
        let profile = Profile::read(named.as_deref(), environment)?;
        let variable = |names: &[&str]| names.iter().find_map(|name| environment.get(name));
        let checksum = match environment.get("SNAP_S3_CHECKSUM").as_deref() {
            None => None,
            Some("none") => Some(S3Checksum::None),
            Some("sha256") => Some(S3Checksum::Sha256),
            Some(other) => {
                let wrong = format!("SNAP_S3_CHECKSUM is {other}, neither none nor sha256");
                return Err(ErrorKind::Usage.error(wrong).into());
            }
        };
        Ok(Self {
            credentials: credentials(settings, environment, &profile)?,
            region: settings
                .region
                .clone()
                .or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]))
                .or_else(|| profile.get("region")),
            endpoint: settings
                .endpoint
                .clone()
                .or_else(|| variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]))
                .or_else(|| profile.get("endpoint_url")),
            is_path_style: settings.path_style,
            checksum: settings.checksum.or(checksum),
            ca_bundle: settings
                .ca_bundle
                .clone()
                .or_else(|| environment.get("AWS_CA_BUNDLE").map(PathBuf::from)),
        })
    }
}

/// A profile that is set goes before the keys in the environment, `AWS_PROFILE` after them.
fn credentials(
    settings: &S3Settings,
    environment: &Environment<'_>,
    profile: &Profile,
) -> Result<Credentials> {
    if settings.profile.is_some() {
        return match profile.credentials()? {
            Some(credentials) => Ok(credentials),
            None => Err(profile.lacks_keys().into()),
        };
    }
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| environment.get(name));
    match keys {
        [Some(key_id), Some(secret_key)] => {
            let keys = AwsCredential {
                key_id,
                secret_key,
                token: environment.get("AWS_SESSION_TOKEN"),
            };
            return Ok(Credentials::Keys(
                Arc::new(keys),
                "AWS_ACCESS_KEY_ID in the environment".to_owned(),
            ));
        }
        [None, None] => {}
        [Some(_), None] => {
            let half = "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not";
            return Err(ErrorKind::Usage.error(half).into());
        }
        [None, Some(_)] => {
            let half = "AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not";
            return Err(ErrorKind::Usage.error(half).into());
        }
    }
    if let Some(credentials) = profile.credentials()? {
        return Ok(credentials);
    }
    if profile.is_named {
        return Err(profile.lacks_keys().into());
    }
    Ok(of_the_cloud(environment))
}

/// What a machine in the cloud is given: by a token, in a container, or as an instance.
fn of_the_cloud(environment: &Environment<'_>) -> Credentials {
    use AmazonS3ConfigKey as Key;
    let ways: [(&[(&str, Key)], &str); 4] = [
        (
            &[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
                ("AWS_ROLE_ARN", Key::RoleArn),
            ],
            "the web identity in AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
        (
            &[(
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                Key::ContainerCredentialsRelativeUri,
            )],
            "the role of the container",
        ),
        (
            &[
                (
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                    Key::ContainerCredentialsFullUri,
                ),
                (
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                    Key::ContainerAuthorizationTokenFile,
                ),
            ],
            "the identity of the pod",
        ),
        (&[], "the role of this instance"),
    ];
    let optional = [
        ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", Key::MetadataEndpoint),
    ];
    let value = |(name, key): &(&str, Key)| environment.get(name).map(|value| (*key, value));
    for (needed, source) in ways {
        let found: Vec<_> = needed.iter().filter_map(value).collect();
        if found.len() == needed.len() {
            let more = optional.iter().filter_map(value);
            return Credentials::Cloud(found.into_iter().chain(more).collect(), source.to_owned());
        }
    }
    Credentials::Cloud(Vec::new(), "the role of this instance".to_owned())
}

/// What the files in `~/.aws` say of a profile.
#[derive(Debug)]
struct Profile {
    name: String,
    is_named: bool,
    keys: BTreeMap<String, String>,
}

impl Profile {
    /// Reads `credentials` and `config`; what both say, the first says.
    fn read(named: Option<&str>, environment: &Environment<'_>) -> Result<Self> {
        let name = named.unwrap_or("default");
        let home = environment.get("HOME").map(PathBuf::from);
        let file = |variable: &str, default: &str| {
            let set = environment.get(variable).map(PathBuf::from);
            set.or_else(|| Some(home.as_ref()?.join(".aws").join(default)))
        };
        let (mut keys, mut is_there) = (BTreeMap::new(), false);
        for (path, heading) in [
            (file("AWS_CONFIG_FILE", "config"), format!("profile {name}")),
            (
                file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
                name.to_owned(),
            ),
        ] {
            let Some(path) = path else { continue };
            let text = match std::fs::read_to_string(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                text => text.with_context(|| format!("reading {}", path.display()))?,
            };
            let section = section(&text, &heading)
                .or_else(|| section(&text, name).filter(|_| name == "default"));
            is_there |= section.is_some();
            keys.extend(section.unwrap_or_default());
        }
        if named.is_some() && !is_there {
            let absent = format!("there is no AWS profile {name} in ~/.aws");
            return Err(ErrorKind::Usage.error(absent).into());
        }
        Ok(Self {
            name: name.to_owned(),
            is_named: named.is_some(),
            keys,
        })
    }

    fn get(&self, key: &str) -> Option<String> {
        self.keys
            .get(key)
            .filter(|value| !value.is_empty())
            .cloned()
    }

    fn source(&self) -> String {
        format!("AWS profile {}", self.name)
    }

    fn credentials(&self) -> Result<Option<Credentials>> {
        if let (Some(key_id), Some(secret_key)) = (
            self.get("aws_access_key_id"),
            self.get("aws_secret_access_key"),
        ) {
            let keys = AwsCredential {
                key_id,
                secret_key,
                token: self.get("aws_session_token"),
            };
            return Ok(Some(Credentials::Keys(Arc::new(keys), self.source())));
        }
        if let Some(command) = self.get("credential_process") {
            let process = ProcessCredentials::new(command);
            let source = format!("the credential_process of {}", self.source());
            return Ok(Some(Credentials::Process(Arc::new(process), source)));
        }
        let unsupported = ["sso_session", "sso_start_url", "role_arn", "source_profile"];
        match unsupported.iter().find(|key| self.keys.contains_key(**key)) {
            Some(key) => Err(ErrorKind::Usage
                .error(format!(
                    "{} has {key}, which snap does not support",
                    self.source()
                ))
                .hint(format!(
                    "let AWS's tool resolve it: credential_process = aws configure \
                     export-credentials --profile {} --format process",
                    self.name
                ))
                .into()),
            None => Ok(None),
        }
    }

    fn lacks_keys(&self) -> crate::error::Error {
        let lacks = format!(
            "{} has neither keys nor a credential_process",
            self.source()
        );
        ErrorKind::Usage.error(lacks)
    }
}

/// The keys of a section of an INI file. What is indented belongs to the key above it.
fn section(text: &str, heading: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_in = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            let words: Vec<&str> = name.0.split_whitespace().collect();
            is_in = words.join(" ").replace('"', "") == heading;
            if is_in {
                found.get_or_insert_default();
            }
        } else if is_in
            && !line.starts_with([' ', '\t'])
            && let Some((key, value)) = trimmed.split_once('=')
        {
            let keys = found.get_or_insert_default();
            keys.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
#[path = "aws_tests.rs"]
mod tests;
