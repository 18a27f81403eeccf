//! The client of stores that speak S3.

mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider, S3ConditionalPut,
};
use object_store::client::ReqwestConnector;
use object_store::path::Path;
use object_store::{ClientOptions, RetryConfig};

use crate::open::OpenError;
use crate::settings::{Checksum, Encryption, S3Settings};
use status::StatusConnector;

/// The region of those who name none, as the tools of AWS have it.
const REGION_DEFAULT: &str = "us-east-1";

/// The end of the names of directory buckets (S3 Express One Zone), which are spoken to in another way.
const DIRECTORY_BUCKET: &str = "--x-s3";

/// What it takes to speak to one bucket, for those who must speak to it otherwise than through the seam:
/// making it, or setting its rules. Credentials are the ones of the data path, and are not shown.
#[derive(Clone, Debug)]
pub struct S3Access {
    /// The bucket.
    pub bucket: String,
    /// What comes before our keys in it.
    pub prefix: Path,
    /// Its region.
    pub region: String,
    /// The store's URL without the bucket; none for AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the URL's path instead of its host name.
    pub path_style: bool,
    /// Whoever knows the credentials at the moment.
    pub credentials: AwsCredentialProvider,
}

impl S3Access {
    /// Whether it is a directory bucket (S3 Express One Zone).
    pub fn is_directory(&self) -> bool {
        is_directory(&self.bucket, self.endpoint.as_deref())
    }
}

fn is_directory(bucket: &str, endpoint: Option<&str>) -> bool {
    endpoint.is_none() && bucket.ends_with(DIRECTORY_BUCKET)
}

/// Builds the client of one bucket. `environment` is what the process was started with; of it only `AWS_...`
/// is looked at, and settings go before it.
///
/// It sends each request once: [`crate::retry::Retrying`] is the one layer that tries again.
pub(crate) fn build(
    bucket: &str,
    prefix: &Path,
    settings: &S3Settings,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(AmazonS3, S3Access), OpenError> {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let variable = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| environment.get(*name).cloned())
    };
    let region = settings.region.clone();
    let region = region.or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
    let endpoint = settings.endpoint.clone();
    let endpoint = endpoint.or_else(|| variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    let endpoint = endpoint
        .map(|endpoint| check_endpoint(&endpoint, settings.allow_http))
        .transpose()?;
    // A certificate of `*.s3.amazonaws.com` does not cover a host name with another dot.
    let path_style = settings
        .path_style
        .unwrap_or(endpoint.is_some() || bucket.contains('.'));
    let region = region.unwrap_or_else(|| REGION_DEFAULT.to_owned());

    let mut builder = AmazonS3Builder::new();
    // A key of the settings is a key of its own: what belongs to another one, such as a session token, is not sent with it.
    let own_key = settings.access_key_id.is_some() || settings.secret_access_key.is_some();
    for (name, value) in environment.iter().filter(|_| !own_key) {
        if let Some(key) = environment_key(name) {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder
        .with_bucket_name(bucket)
        .with_region(&region)
        .with_virtual_hosted_style_request(!path_style)
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        })
        .with_client_options(client_options(settings))
        .with_http_connector(StatusConnector::new(ReqwestConnector::default()))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_unsigned_payload(!settings.sign_payload);
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(match endpoint.split_once("://") {
            Some((scheme, host)) if !path_style => format!("{scheme}://{bucket}.{host}"),
            _ => endpoint.clone(),
        });
    }
    // A directory bucket wants sessions, and has its zone in its name.
    builder = builder.with_s3_express(is_directory(bucket, endpoint.as_deref()));
    builder = with_encryption(builder, &settings.encryption)
        .map_err(|source| OpenError::Client { source })?;
    builder = with_checksum(builder, settings.checksum);
    let client = with_credentials(builder, settings)
        .build()
        .map_err(|source| OpenError::Client { source })?;
    let access = S3Access {
        bucket: bucket.to_owned(),
        prefix: prefix.clone(),
        region,
        endpoint,
        path_style,
        credentials: Arc::clone(client.credentials()),
    };
    Ok((client, access))
}

/// Refuses what is no URL of HTTP, or plain HTTP that was not allowed; without a slash at the end.
fn check_endpoint(endpoint: &str, allow_http: bool) -> Result<String, OpenError> {
    let refused = || OpenError::Endpoint(endpoint.to_owned());
    let trimmed = endpoint.trim_end_matches('/');
    let (scheme, host) = trimmed.split_once("://").ok_or_else(refused)?;
    match scheme {
        _ if host.is_empty() => Err(refused()),
        "http" if !allow_http => Err(OpenError::PlainHttp(endpoint.to_owned())),
        "http" | "https" => Ok(trimmed.to_owned()),
        _ => Err(refused()),
    }
}

/// The settings that an environment variable of AWS stands for. Those that would undo a choice of ours
/// (checksums, signing, retries) are not among them.
fn environment_key(name: &str) -> Option<AmazonS3ConfigKey> {
    const TAKEN: [&str; 10] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_ENDPOINT_URL_STS",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ];
    TAKEN
        .contains(&name)
        .then(|| name.to_ascii_lowercase().parse().ok())
        .flatten()
}

fn client_options(settings: &S3Settings) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(settings.allow_http)
        .with_connect_timeout(settings.connect_timeout)
        .with_timeout(settings.request_timeout)
        .with_pool_idle_timeout(settings.pool_idle_timeout)
        .with_pool_max_idle_per_host(settings.pool_idle_max)
}

fn with_checksum(builder: AmazonS3Builder, checksum: Checksum) -> AmazonS3Builder {
    use object_store::aws::Checksum as Wire;
    match checksum {
        Checksum::Crc64nvme => builder.with_checksum_algorithm(Wire::CRC64NVME),
        Checksum::Sha256 => builder.with_checksum_algorithm(Wire::SHA256),
        Checksum::None => builder,
    }
}

fn with_encryption(
    builder: AmazonS3Builder,
    encryption: &Encryption,
) -> object_store::Result<AmazonS3Builder> {
    let kind = "aws_server_side_encryption".parse()?;
    Ok(match encryption {
        Encryption::None => builder,
        Encryption::SseS3 => builder.with_config(kind, "AES256"),
        Encryption::SseKms(key) => {
            // One call of the key service for many objects instead of one for each.
            let builder = builder.with_config(kind, "aws:kms").with_bucket_key(true);
            match key {
                Some(key) => builder.with_config("aws_sse_kms_key_id".parse()?, key),
                None => builder,
            }
        }
    })
}

fn with_credentials(mut builder: AmazonS3Builder, settings: &S3Settings) -> AmazonS3Builder {
    if let Some(key) = &settings.access_key_id {
        builder = builder.with_access_key_id(key.expose());
    }
    if let Some(secret) = &settings.secret_access_key {
        builder = builder.with_secret_access_key(secret.expose());
    }
    if let Some(token) = &settings.session_token {
        builder = builder.with_token(token.expose());
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    fn settings() -> S3Settings {
        S3Settings {
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            access_key_id: Some(Secret::new("key".to_owned())),
            secret_access_key: Some(Secret::new("hush-hush".to_owned())),
            allow_http: true,
            ..S3Settings::default()
        }
    }

    fn open(
        settings: &S3Settings,
        environment: &[(&str, &str)],
    ) -> Result<(AmazonS3, S3Access), OpenError> {
        let environment = environment.iter();
        let owned = environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        build("logs", &Path::from("p"), settings, owned)
    }

    #[test]
    fn plain_http_must_be_allowed_by_name() {
        assert!(open(&settings(), &[]).is_ok());
        let refused = S3Settings {
            allow_http: false,
            ..settings()
        };
        let error = open(&refused, &[]).unwrap_err();
        assert!(error.to_string().contains("allow_http"), "{error}");
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused() {
        for endpoint in ["127.0.0.1:9000", "ftp://host", "http://", "https:///"] {
            let settings = S3Settings {
                endpoint: Some(endpoint.to_owned()),
                ..settings()
            };
            let error = open(&settings, &[]).unwrap_err();
            assert!(
                matches!(error, OpenError::Endpoint(_)),
                "{endpoint}: {error}"
            );
        }
    }

    #[test]
    fn half_a_static_key_is_refused() {
        let half = S3Settings {
            secret_access_key: None,
            ..settings()
        };
        assert!(open(&half, &[]).is_err());
    }

    #[test]
    fn what_the_settings_do_not_say_comes_from_the_environment() {
        let environment = [
            ("AWS_REGION", "eu-north-1"),
            ("AWS_ENDPOINT_URL", "https://objects.example/"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "hush-hush"),
        ];
        let (_, access) = open(&S3Settings::default(), &environment).unwrap();
        assert_eq!(access.region, "eu-north-1");
        assert_eq!(access.endpoint.as_deref(), Some("https://objects.example"));
        assert!(access.path_style);
        let (_, access) = open(&settings(), &environment).unwrap();
        assert_eq!(access.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        let (_, access) = open(&S3Settings::default(), &[]).unwrap();
        assert_eq!((access.endpoint, access.path_style), (None, false));
    }

    #[tokio::test]
    async fn a_key_of_the_settings_goes_without_the_token_of_another_one() {
        let environment = [
            ("AWS_ACCESS_KEY_ID", "other"),
            ("AWS_SECRET_ACCESS_KEY", "other-secret"),
            ("AWS_SESSION_TOKEN", "other-token"),
        ];
        let (_, access) = open(&settings(), &environment).unwrap();
        let used = access.credentials.get_credential().await.unwrap();
        assert_eq!((used.key_id.as_str(), &used.token), ("key", &None));
        let temporary = S3Settings {
            session_token: Some(Secret::new("own-token".to_owned())),
            ..settings()
        };
        let (_, access) = open(&temporary, &environment).unwrap();
        let used = access.credentials.get_credential().await.unwrap();
        assert_eq!(used.token.as_deref(), Some("own-token"));
        let (_, access) = open(&S3Settings::default(), &environment).unwrap();
        let used = access.credentials.get_credential().await.unwrap();
        assert_eq!(used.token.as_deref(), Some("other-token"));
    }

    #[test]
    fn the_environment_gives_nothing_that_undoes_our_choices() {
        assert!(environment_key("AWS_ACCESS_KEY_ID").is_some());
        assert!(environment_key("AWS_WEB_IDENTITY_TOKEN_FILE").is_some());
        for name in [
            "AWS_CHECKSUM_ALGORITHM",
            "AWS_CONDITIONAL_PUT",
            "AWS_UNSIGNED_PAYLOAD",
            "PATH",
        ] {
            assert!(environment_key(name).is_none(), "{name}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let opened = open(&settings(), &[]).unwrap();
        let shown = format!("{opened:?}");
        assert!(
            shown.contains("127.0.0.1:9000") && !shown.contains("hush"),
            "{shown}"
        );
    }
}
