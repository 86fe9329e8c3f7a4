//! The client for a bucket: where its service is, and who asks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use object_store::aws::{AmazonS3Builder, AwsCredentialProvider, Checksum};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::{ObjectStore, RetryConfig, StaticCredentialProvider};
use reqwest::Url;

use super::aws::{self, Environment};
use super::settings::{ObjectSettings, S3Checksum};
use super::transport::{BodyMd5, Transport};
use super::url::{ObjectUrl, Provider};
use crate::error::ErrorKind;

/// What `object_store` does for each provider.
pub(super) trait Backend: ObjectStore + MultipartStore + PaginatedListStore {}

impl<T: ObjectStore + MultipartStore + PaginatedListStore> Backend for T {}

/// A client for a bucket.
#[derive(Debug)]
pub(super) struct Client {
    pub objects: Arc<dyn Backend>,
    /// Where the credentials come from, for messages.
    pub source: String,
    pub transport: Option<Transport>,
    pub s3: Option<S3Client>,
}

/// What requests are made of that `object_store` has not, and a client for another region.
#[derive(Debug, Clone)]
pub(super) struct S3Client {
    pub credentials: AwsCredentialProvider,
    pub region: String,
    /// The URL of the bucket.
    pub bucket: String,
    access: aws::Access,
    url: ObjectUrl,
}

impl Client {
    /// The MD5 of a body that is to be uploaded, if uploads carry it.
    pub(super) fn md5_of(&self, body: &[u8]) -> Option<BodyMd5> {
        self.transport.as_ref()?.md5_of(body)
    }

    /// A client for a bucket, as the settings and the environment say.
    ///
    /// # Errors
    ///
    /// When they contradict each other, or name what cannot be read.
    pub(super) fn new(
        url: &ObjectUrl,
        settings: &ObjectSettings,
        environment: &Environment<'_>,
    ) -> Result<Self> {
        match url.provider() {
            Provider::S3 => {
                let access = aws::Access::find(&settings.s3, environment)?;
                let region = access.region.clone().unwrap_or_else(|| "us-east-1".into());
                let transport = Transport::new(access.ca_bundle.as_deref())?;
                Self::s3(url, access, &region, transport)
            }
            Provider::Gcs => Self::gcs(url, settings, environment),
            Provider::Azure => Self::azure(url, settings, environment),
        }
    }

    fn s3(
        url: &ObjectUrl,
        access: aws::Access,
        region: &str,
        transport: Transport,
    ) -> Result<Self> {
        let place = place_of(url.bucket(), &access, region)?;
        let is_plain = place.endpoint.starts_with("http://");
        // Nothing else would show that a body was damaged on its way: not all services compare it
        // with what was signed.
        let transport = transport.with_md5(is_plain && access.checksum != Some(S3Checksum::Sha256));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(url.bucket())
            .with_region(region)
            .with_endpoint(&place.endpoint)
            .with_virtual_hosted_style_request(!place.is_path_style)
            .with_allow_http(is_plain)
            .with_retry(never_again())
            // Not all that speak S3 know how to delete many at once.
            .with_disable_bulk_delete(true)
            .with_http_connector(transport.clone());
        if access.checksum == Some(S3Checksum::Sha256) {
            builder = builder.with_checksum_algorithm(Checksum::SHA256);
        }
        let (builder, source) = access.credentials.give_to(builder);
        let s3 = built(url, builder.build())?;
        let own = S3Client {
            credentials: s3.credentials().clone(),
            region: region.to_owned(),
            bucket: place.bucket,
            access,
            url: url.clone(),
        };
        Ok(Self {
            objects: Arc::new(s3),
            source,
            transport: Some(transport),
            s3: Some(own),
        })
    }

    fn gcs(
        url: &ObjectUrl,
        settings: &ObjectSettings,
        environment: &Environment<'_>,
    ) -> Result<Self> {
        let transport = Transport::new(None)?;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(url.bucket())
            .with_retry(never_again())
            .with_http_connector(transport.clone());
        let emulator = || environment.get("STORAGE_EMULATOR_HOST");
        let endpoint = settings.gs.endpoint.clone().or_else(emulator);
        if let Some(endpoint) = &endpoint {
            ensure_place(endpoint)?;
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        let from_environment = || environment.get("GOOGLE_APPLICATION_CREDENTIALS");
        let source = if let Some(path) = &settings.gs.credentials {
            builder = builder.with_application_credentials(path.to_string_lossy());
            format!("{}, which the profile names", path.display())
        } else if let Some(path) = from_environment() {
            builder = builder.with_application_credentials(&path);
            format!("{path} (GOOGLE_APPLICATION_CREDENTIALS)")
        } else if settings.gs.endpoint.is_none() && endpoint.is_some() {
            // An emulator asks for none. The library looks for some all the same when it uploads.
            let none = GcpCredential {
                bearer: String::new(),
            };
            builder = builder
                .with_skip_signature(true)
                .with_credentials(Arc::new(StaticCredentialProvider::new(none)));
            "nowhere: an emulator is asked without any".to_owned()
        } else {
            "gcloud's file in the home directory, else the account of this instance".to_owned()
        };
        Ok(Self {
            objects: Arc::new(built(url, builder.build())?),
            source,
            transport: Some(transport),
            s3: None,
        })
    }

    fn azure(
        url: &ObjectUrl,
        settings: &ObjectSettings,
        environment: &Environment<'_>,
    ) -> Result<Self> {
        let transport = Transport::new(None)?;
        let variable = |names: &[&str]| names.iter().find_map(|name| environment.get(name));
        let connection = environment.get("AZURE_STORAGE_CONNECTION_STRING");
        let connected = |key: &str| {
            let pairs = connection.as_deref()?.split(';');
            pairs
                .filter_map(|pair| pair.trim().split_once('='))
                .find_map(|(name, value)| name.eq_ignore_ascii_case(key).then(|| value.to_owned()))
        };
        let account = settings
            .az
            .account
            .clone()
            .or_else(|| variable(&["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"]))
            .or_else(|| connected("AccountName"));
        let endpoint = settings
            .az
            .endpoint
            .clone()
            .or_else(|| variable(&["AZURE_STORAGE_ENDPOINT"]))
            .or_else(|| connected("BlobEndpoint"));
        let mut builder = MicrosoftAzureBuilder::new()
            .with_container_name(url.bucket())
            .with_retry(never_again())
            .with_http_connector(transport.clone());
        let is_emulator = connected("UseDevelopmentStorage").is_some();
        if let Some(account) = account {
            builder = builder.with_account(account);
        } else if !is_emulator {
            return Err(ErrorKind::Usage
                .error(format!("{url} names no storage account"))
                .hint("set AZURE_STORAGE_ACCOUNT_NAME, or account in the profile")
                .into());
        }
        if let Some(endpoint) = endpoint {
            ensure_place(&endpoint)?;
            builder = builder
                .with_allow_http(endpoint.starts_with("http://"))
                .with_endpoint(endpoint);
        }
        let key = variable(&[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_KEY",
        ]);
        let sas = variable(&["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"]);
        let source = if is_emulator {
            builder = builder.with_use_emulator(true);
            "the emulator's well-known account".to_owned()
        } else if let Some(key) = key {
            builder = builder.with_access_key(key);
            "an account key in the environment".to_owned()
        } else if let Some(sas) = sas {
            builder = builder.with_config(object_store::azure::AzureConfigKey::SasKey, sas);
            "a SAS token in the environment".to_owned()
        } else if let Some(key) = connected("AccountKey") {
            builder = builder.with_access_key(key);
            "AZURE_STORAGE_CONNECTION_STRING".to_owned()
        } else if let Some(sas) = connected("SharedAccessSignature") {
            builder = builder.with_config(object_store::azure::AzureConfigKey::SasKey, sas);
            "AZURE_STORAGE_CONNECTION_STRING".to_owned()
        } else {
            builder = with_azure_identity(builder, environment);
            "a managed or workload identity".to_owned()
        };
        Ok(Self {
            objects: Arc::new(built(url, builder.build())?),
            source,
            transport: Some(transport),
            s3: None,
        })
    }

    /// The same bucket asked in another region; nothing where it is asked there already, or an
    /// endpoint says where it is.
    pub(super) fn in_region(&self, region: &str) -> Option<Self> {
        let s3 = self.s3.as_ref()?;
        if s3.region == region {
            return None;
        }
        let transport = self.transport.clone()?;
        Self::s3(&s3.url, s3.access.clone(), region, transport).ok()
    }
}

impl S3Client {
    /// The path in the endpoint, which few services have.
    pub(super) fn endpoint_path(&self) -> Option<String> {
        let endpoint: Url = self.access.endpoint.as_deref()?.parse().ok()?;
        let path = endpoint.path().trim_end_matches('/');
        (!path.is_empty()).then(|| path.to_owned())
    }
}

/// Workload and managed identities, and the secret of a service principal.
fn with_azure_identity(
    mut builder: MicrosoftAzureBuilder,
    environment: &Environment<'_>,
) -> MicrosoftAzureBuilder {
    use object_store::azure::AzureConfigKey as Key;
    for (name, key) in [
        ("AZURE_CLIENT_ID", Key::ClientId),
        ("AZURE_CLIENT_SECRET", Key::ClientSecret),
        ("AZURE_TENANT_ID", Key::AuthorityId),
        ("AZURE_AUTHORITY_HOST", Key::AuthorityHost),
        ("AZURE_FEDERATED_TOKEN_FILE", Key::FederatedTokenFile),
        ("IDENTITY_ENDPOINT", Key::MsiEndpoint),
    ] {
        if let Some(value) = environment.get(name) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// Where a bucket is.
struct Place {
    /// What `object_store` wants: with the bucket in the name of the host, if it is there.
    endpoint: String,
    /// The URL of the bucket.
    bucket: String,
    is_path_style: bool,
}

/// Where a bucket of S3 is.
fn place_of(bucket: &str, access: &aws::Access, region: &str) -> Result<Place> {
    let amazon = match region.starts_with("cn-") {
        true => format!("https://s3.{region}.amazonaws.com.cn"),
        false => format!("https://s3.{region}.amazonaws.com"),
    };
    let endpoint = access.endpoint.clone().unwrap_or(amazon);
    let endpoint = endpoint.trim_end_matches('/');
    let Some((scheme, host)) = endpoint.split_once("://") else {
        return Err(ErrorKind::Usage
            .error("the endpoint is no URL")
            .hint("write http:// or https:// before it")
            .into());
    };
    if !matches!(scheme, "http" | "https") {
        let wrong = "the endpoint is neither http:// nor https://";
        return Err(ErrorKind::Usage.error(wrong).into());
    }
    ensure_place(endpoint)?;
    // A certificate for *.s3.amazonaws.com does not cover a name with dots in it.
    let by_default = access.endpoint.is_some() || bucket.contains('.');
    let is_path_style = access.is_path_style.unwrap_or(by_default);
    let with_bucket = match is_path_style {
        true => format!("{endpoint}/{bucket}"),
        false => format!("{scheme}://{bucket}.{host}"),
    };
    Ok(Place {
        endpoint: match is_path_style {
            true => endpoint.to_owned(),
            false => with_bucket.clone(),
        },
        bucket: with_bucket,
        is_path_style,
    })
}

/// Makes sure that an endpoint names a place, and nothing that requests would lose. It may hold a
/// password, so it is not repeated.
fn ensure_place(endpoint: &str) -> Result<()> {
    let wrong = |what: String| Err(ErrorKind::Usage.error(what).into());
    match endpoint.parse::<Url>() {
        Err(error) => wrong(format!("the endpoint is no URL: {error}")),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            wrong("the endpoint holds a ? or a #".to_owned())
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            wrong("the endpoint holds a user or a password".to_owned())
        }
        Ok(_) => Ok(()),
    }
}

/// What a builder made, or what it could not be made for.
fn built<T>(url: &ObjectUrl, made: object_store::Result<T>) -> Result<T> {
    made.with_context(|| format!("preparing access to {url}"))
}

/// [`Remote::send`](super::remote::Remote::send) tries again, and signs anew.
fn never_again() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        retry_timeout: Duration::ZERO,
        ..RetryConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_names_no_place_is_refused_and_no_password_is_repeated() {
        for wrong in [
            "http://",
            "http://h:99999",
            "http://user:hush@",
            "http://user:hush@:80",
            "http://us er:hush@h",
            "http://user:hush@h",
            "http://[::1",
            "http://h?hush=x",
            "http://h/#hush",
        ] {
            let error = ensure_place(wrong).unwrap_err();
            assert_eq!(crate::error::kind_of(&error), ErrorKind::Usage, "{wrong}");
            assert!(!format!("{error:#}").contains("hush"), "{error:#}");
        }
        for right in [
            "http://127.0.0.1:8333",
            "https://[::1]:9000",
            "https://h/path",
        ] {
            ensure_place(right).unwrap();
        }
    }
}
