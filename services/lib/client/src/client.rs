//! The connection that everything else of this crate shares.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tidelog_api::v1;
use tidelog_api::v1::cluster_service_client::ClusterServiceClient;
use tidelog_api::v1::group_service_client::GroupServiceClient;
use tidelog_api::v1::log_service_client::LogServiceClient;
use tidelog_api::v1::topic_service_client::TopicServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::call::{Retry, call};
use crate::consumer::{Consumer, ConsumerOptions};
use crate::producer::{Producer, ProducerOptions};
use crate::trouble::Trouble;
use crate::{
    Admin, ClientError, ClientOptions, ClusterClient, GroupAdmin, GroupConsumer, LogClient,
    SubscribeOptions,
};

/// Metadata that says which application sends a request.
const CLIENT_ID: &str = "x-tidelog-client-id";
/// The largest HTTP/2 frame that is taken: large ones cost less per byte.
const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// The largest message that is sent: the service's own limit stands in its answer to `DescribeCluster`.
const SEND_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(crate) type Transport = InterceptedService<Channel, Identity>;

/// Puts on each request who sends it.
#[derive(Clone)]
pub(crate) struct Identity {
    client_id: MetadataValue<Ascii>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Identity {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        let metadata = request.metadata_mut();
        metadata.insert(CLIENT_ID, self.client_id.clone());
        if let Some(authorization) = &self.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

/// The last read-your-writes token, shared by all that a client does.
#[derive(Clone, Default)]
pub(crate) struct TokenCell(Arc<Mutex<bytes::Bytes>>);

impl TokenCell {
    pub(crate) fn get(&self) -> bytes::Bytes {
        self.0.lock().clone()
    }

    pub(crate) fn set(&self, token: bytes::Bytes) {
        if !token.is_empty() {
            *self.0.lock() = token;
        }
    }
}

/// A connection to a cluster. Cheap to clone; clones share the connection and the read-your-writes token,
/// so that what one has written the other sees.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tidelog_client::{Client, ClientOptions, ConsumerOptions, ProducerOptions, SendRecord};
///
/// let client = Client::connect(&["http://localhost:7070"], ClientOptions::default()).await?;
/// client.admin().create_topic("orders", 12, [("retention.ms", "86400000")]).await?;
///
/// let producer = client.producer("orders", ProducerOptions::default()).await?;
/// let delivery = producer.send(SendRecord::keyed(b"key", b"value")).await?;
/// println!("at offset {}", delivery.wait().await?.offset);
/// producer.close().await?;
///
/// let mut consumer = client.consumer("orders", ConsumerOptions::all_until_end());
/// while let Some(chunk) = consumer.next().await? {
///     for record in chunk.records() {
///         println!("{:?}", record?);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    options: ClientOptions,
    token: TokenCell,
    trouble: Trouble,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to one of `endpoints`, such as `http://localhost:7070`, and asks it which cluster it is.
    ///
    /// # Errors
    /// When no endpoint can be used or the service does not answer within `request_timeout`.
    pub async fn connect<E: AsRef<str>>(
        endpoints: &[E],
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let client = Self::connect_lazy(endpoints, options)?;
        client.describe_cluster().await?;
        Ok(client)
    }

    /// As [`Client::connect`], but connects with the first request. Must be called within a runtime.
    pub fn connect_lazy<E: AsRef<str>>(
        endpoints: &[E],
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let names: Vec<String> = endpoints
            .iter()
            .map(|uri| format!("`{}`", uri.as_ref()))
            .collect();
        let trouble = Trouble::new(names.join(", "), options.on_trouble.clone());
        let endpoints = endpoints
            .iter()
            .map(|uri| endpoint(uri.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        let channel = match endpoints.as_slice() {
            [] => return Err(ClientError::Setup("no endpoint is given".to_owned())),
            [one] => one.connect_lazy(),
            many => Channel::balance_list(many.iter().cloned()),
        };
        let transport = InterceptedService::new(channel, identity(&options)?);
        let token = TokenCell::default();
        Ok(Self {
            inner: Arc::new(Inner {
                transport,
                options,
                token,
                trouble,
            }),
        })
    }

    /// Describes the cluster.
    pub async fn describe_cluster(&self) -> Result<v1::DescribeClusterResponse, ClientError> {
        let client = self.cluster_service();
        let token = self.token().get();
        call(self, Retry::Always, || {
            let mut client = client.clone();
            let request = v1::DescribeClusterRequest {
                token: token.clone(),
            };
            async move { client.describe_cluster(request).await }
        })
        .await
    }

    /// What this client has seen and done, as opaque bytes. Another client that takes it with
    /// [`Client::take_read_token`] reads at least that, through whichever broker.
    pub fn read_token(&self) -> bytes::Bytes {
        self.inner.token.get()
    }

    /// Reads from now on at least what the client had seen or done that gave out `token`, in place of what
    /// this one had seen.
    pub fn take_read_token(&self, token: bytes::Bytes) {
        self.inner.token.set(token);
    }

    /// Creates, describes and changes topics.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// Lists members and shards, and drains members.
    pub fn cluster(&self) -> ClusterClient {
        ClusterClient::new(self.clone())
    }

    /// Lists, describes and deletes groups, and shows and sets how far they have come.
    pub fn groups(&self) -> GroupAdmin {
        GroupAdmin::new(self.clone())
    }

    /// Writes and reads partitions request by request.
    pub fn log(&self) -> LogClient {
        LogClient::new(self.clone())
    }

    /// Writes records of one topic in batches. Fails if the topic does not exist.
    pub async fn producer(
        &self,
        topic: &str,
        options: ProducerOptions,
    ) -> Result<Producer, ClientError> {
        let topic = self.admin().topic(topic).await?;
        Producer::start(self, &topic, options)
    }

    /// Reads records of one topic as a stream. Connects with the first call of [`Consumer::next`].
    pub fn consumer(&self, topic: &str, options: ConsumerOptions) -> Consumer {
        Consumer::new(self.clone(), topic, options)
    }

    /// Reads topics as a member of a group. Connects with the first call of [`GroupConsumer::next`].
    pub fn subscribe<T: AsRef<str>>(
        &self,
        group: &str,
        topics: &[T],
        options: SubscribeOptions,
    ) -> GroupConsumer {
        let topics = topics.iter().map(|topic| topic.as_ref().to_owned());
        GroupConsumer::new(self.clone(), group, topics.collect(), options)
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    pub(crate) fn trouble(&self) -> &Trouble {
        &self.inner.trouble
    }

    pub(crate) fn token(&self) -> &TokenCell {
        &self.inner.token
    }

    pub(crate) fn log_service(&self) -> LogServiceClient<Transport> {
        LogServiceClient::new(self.inner.transport.clone())
            .max_decoding_message_size(self.inner.options.message_bytes_max)
            .max_encoding_message_size(SEND_BYTES_MAX)
    }

    pub(crate) fn cluster_service(&self) -> ClusterServiceClient<Transport> {
        ClusterServiceClient::new(self.inner.transport.clone())
            .max_decoding_message_size(self.inner.options.message_bytes_max)
    }

    pub(crate) fn group_service(&self) -> GroupServiceClient<Transport> {
        GroupServiceClient::new(self.inner.transport.clone())
            .max_decoding_message_size(self.inner.options.message_bytes_max)
    }

    pub(crate) fn topic_service(&self) -> TopicServiceClient<Transport> {
        TopicServiceClient::new(self.inner.transport.clone())
            .max_decoding_message_size(self.inner.options.message_bytes_max)
    }
}

fn endpoint(uri: &str, options: &ClientOptions) -> Result<Endpoint, ClientError> {
    let setup = |error: tonic::transport::Error| {
        ClientError::Setup(format!(
            "endpoint `{uri}` is not a URI like `http://localhost:7070`: {error}"
        ))
    };
    let endpoint = Endpoint::from_shared(uri.to_owned()).map_err(setup)?;
    if endpoint.uri().scheme_str() == Some("https") && options.tls.is_none() {
        return Err(ClientError::Setup(format!(
            "endpoint `{uri}` asks for TLS, and the options do not say how"
        )));
    }
    let mut endpoint = endpoint
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_interval / 2)
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
        .max_frame_size(FRAME_BYTES_MAX);
    if let Some(tls) = &options.tls {
        endpoint = endpoint.tls_config(tls.clone()).map_err(setup)?;
    }
    Ok(endpoint)
}

fn identity(options: &ClientOptions) -> Result<Identity, ClientError> {
    let client_id = MetadataValue::try_from(options.client_id.as_str()).map_err(|_| {
        ClientError::Setup("the client id has characters that are not ASCII".to_owned())
    })?;
    let authorization = options.bearer_token.as_deref().map(bearer).transpose()?;
    Ok(Identity {
        client_id,
        authorization,
    })
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, ClientError> {
    // The token itself must not show up in an error.
    let mut value = MetadataValue::try_from(format!("Bearer {token}"))
        .map_err(|_| ClientError::Setup("the bearer token is not ASCII".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
