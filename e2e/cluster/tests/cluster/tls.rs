//! Members speak mutual TLS: who shows no certificate of the cluster's authority gets nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;
use tidelog_e2e_harness::{Cluster, ClusterOptions, Server, ServerOptions};

use crate::support::{TOPIC, bucket, create_topic};

/// How long a stranger is given to get in.
const STRANGER_LIMIT: Duration = Duration::from_secs(6);

/// An authority and a certificate that it has signed, as files.
struct Authority {
    folder: TempDir,
}

impl Authority {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let key = KeyPair::generate()?;
        let cert = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text);
        write("ca.pem", issuer.pem())?;
        write("cert.pem", cert.pem())?;
        write("key.pem", key.serialize_pem())?;
        Ok(Self { folder })
    }

    /// The settings that name its files.
    fn settings(&self) -> [(&'static str, String); 3] {
        let path = |name: &str| path_text(&self.folder.path().join(name));
        [
            ("cluster.tls_ca", path("ca.pem")),
            ("cluster.tls_cert", path("cert.pem")),
            ("cluster.tls_key", path("key.pem")),
        ]
    }
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// A broker with these settings for TLS does not get into the cluster.
async fn is_kept_out(
    cluster: &Cluster,
    options: &ClusterOptions,
    tls: &[(&'static str, String)],
) -> Result<()> {
    let address = cluster.metadata[0].internal.to_string();
    let broker = ServerOptions::at(&options.place)
        .with("roles", "broker")
        .with("cluster.name", "stranger")
        .with("cluster.metadata", &address);
    let broker = tls
        .iter()
        .fold(broker, |broker, (key, value)| broker.with(key, value));
    let mut stranger = Server::spawn(broker)?;
    let ready = tokio::time::timeout(STRANGER_LIMIT, stranger.ready()).await;
    ensure!(!matches!(ready, Ok(Ok(()))), "a stranger got in");
    let members = cluster.client()?.cluster().members().await?;
    ensure!(members.iter().all(|member| member.name != "stranger"));
    stranger.process().kill();
    Ok(())
}

#[tokio::test]
async fn members_without_a_certificate_of_the_cluster_are_kept_out() -> Result<()> {
    let (_minio, options) = bucket().await?;
    let (authority, foreign) = (Authority::new()?, Authority::new()?);
    let settings = authority.settings();
    let options = settings
        .iter()
        .fold(options, |options, (key, value)| options.with(key, value));
    let cluster = Cluster::start(&options).await?;
    let client = cluster.client()?;
    create_topic(&client, 1).await?;
    ensure!(client.admin().topic(TOPIC).await?.partition_count == 1);
    is_kept_out(&cluster, &options, &[]).await?;
    is_kept_out(&cluster, &options, &foreign.settings()).await
}
