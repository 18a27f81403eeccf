//! The client of stores that speak S3.

mod status;

use object_store::ClientOptions;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::ReqwestConnector;

use crate::open::OpenError;
use crate::settings::{Checksum, S3Settings};
use status::StatusConnector;

/// Builds the client of one bucket. `environment` is what the process was started with; of it only `AWS_…`
/// is looked at, and settings go before it.
///
/// It sends each request once: [`crate::retry::Retrying`] is the one layer that tries again.
pub(crate) fn build(
    bucket: &str,
    settings: &S3Settings,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<AmazonS3, OpenError> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in environment {
        if let Some(key) = environment_key(&name) {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder
        .with_bucket_name(bucket)
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        })
        .with_client_options(client_options(settings))
        .with_http_connector(StatusConnector::new(ReqwestConnector::default()))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_unsigned_payload(!settings.sign_payload);
    builder = with_checksum(builder, settings.checksum);
    builder = with_credentials(builder, settings);
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    with_address(builder, bucket, settings)?
        .build()
        .map_err(|source| OpenError::Client { source })
}

/// The settings that an environment variable of AWS stands for. Those that would undo a choice of ours
/// (checksums, signing, retries) are not among them.
fn environment_key(name: &str) -> Option<AmazonS3ConfigKey> {
    const TAKEN: [&str; 14] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
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

/// Sets endpoint and addressing style.
fn with_address(
    builder: AmazonS3Builder,
    bucket: &str,
    settings: &S3Settings,
) -> Result<AmazonS3Builder, OpenError> {
    // A certificate of `*.s3.amazonaws.com` does not cover a host name with another dot.
    let path_style = settings
        .path_style
        .unwrap_or(settings.endpoint.is_some() || bucket.contains('.'));
    let builder = builder.with_virtual_hosted_style_request(!path_style);
    let Some(endpoint) = &settings.endpoint else {
        return Ok(builder);
    };
    let Some((scheme, host)) = endpoint.split_once("://") else {
        return Err(OpenError::Endpoint(endpoint.clone()));
    };
    match scheme {
        "https" => {}
        "http" if settings.allow_http => {}
        "http" => return Err(OpenError::PlainHttp(endpoint.clone())),
        _ => return Err(OpenError::Endpoint(endpoint.clone())),
    }
    let host = host.trim_end_matches('/');
    if host.is_empty() {
        return Err(OpenError::Endpoint(endpoint.clone()));
    }
    Ok(builder.with_endpoint(if path_style {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{bucket}.{host}")
    }))
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

    #[test]
    fn plain_http_must_be_allowed_by_name() {
        assert!(build("logs", &settings(), []).is_ok());
        let refused = S3Settings {
            allow_http: false,
            ..settings()
        };
        let error = build("logs", &refused, []).unwrap_err();
        assert!(error.to_string().contains("allow_http"), "{error}");
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused() {
        for endpoint in ["127.0.0.1:9000", "ftp://host", "http://", "https:///"] {
            let settings = S3Settings {
                endpoint: Some(endpoint.to_owned()),
                ..settings()
            };
            let error = build("logs", &settings, []).unwrap_err();
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
        assert!(build("logs", &half, []).is_err());
    }

    #[test]
    fn the_environment_gives_credentials_and_nothing_that_undoes_our_choices() {
        assert!(environment_key("AWS_ACCESS_KEY_ID").is_some());
        assert!(environment_key("AWS_WEB_IDENTITY_TOKEN_FILE").is_some());
        for name in [
            "AWS_CHECKSUM_ALGORITHM",
            "AWS_CONDITIONAL_PUT",
            "PATH",
            "AWS_UNSIGNED_PAYLOAD",
        ] {
            assert!(environment_key(name).is_none(), "{name}");
        }
    }
}
