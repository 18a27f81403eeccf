//! The RPCs, and what is the same for each: caller, deadline, span, count.

use std::future::{Future, pending};
use std::net::IpAddr;
use std::time::Duration;

use tidelog_api::ApiError;
use tidelog_env::{Clock, MonoTime};
use tidelog_runtime::access::Caller;
use tidelog_runtime::telemetry::continue_trace;
use tidelog_types::ErrorCode;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, Span};

use crate::front::Front;
use crate::transport::{ClientAddress, Outlet, Received};

/// The deadline as gRPC sends it.
const TIMEOUT_HEADER: &str = "grpc-timeout";
/// The answer is given so long before the caller gives up, so that it arrives: a twentieth of the time,
/// at most this.
const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(20);

/// Defines [`Rpc`] with its names.
macro_rules! rpcs {
    ($($(#[$doc:meta])* $name:ident = $path:literal, $writes:literal;)*) => {
        /// An RPC of `tidelog.v1`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Rpc {
            $($(#[$doc])* $name,)*
        }

        impl Rpc {
            /// Every RPC.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// Service and method, as in logs and metrics.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $path,)*
                }
            }

            /// Whether something may have changed when nobody waits for the answer any more.
            const fn writes(self) -> bool {
                match self {
                    $(Self::$name => $writes,)*
                }
            }
        }
    };
}

rpcs! {
    Produce = "LogService/Produce", true;
    ProduceStream = "LogService/ProduceStream", true;
    Fetch = "LogService/Fetch", false;
    Tail = "LogService/Tail", false;
    ListOffsets = "LogService/ListOffsets", false;
    DeleteRecords = "LogService/DeleteRecords", true;
    InitProducer = "LogService/InitProducer", false;
    CreateTopic = "TopicService/CreateTopic", true;
    GetTopic = "TopicService/GetTopic", false;
    ListTopics = "TopicService/ListTopics", false;
    AlterTopicConfig = "TopicService/AlterTopicConfig", true;
    AddPartitions = "TopicService/AddPartitions", true;
    DeleteTopic = "TopicService/DeleteTopic", true;
    UndeleteTopic = "TopicService/UndeleteTopic", true;
    Subscribe = "GroupService/Subscribe", true;
    ListGroups = "GroupService/ListGroups", false;
    DescribeGroups = "GroupService/DescribeGroups", false;
    ListGroupOffsets = "GroupService/ListGroupOffsets", false;
    AlterGroupOffsets = "GroupService/AlterGroupOffsets", true;
    DeleteGroups = "GroupService/DeleteGroups", true;
    DescribeCluster = "ClusterService/DescribeCluster", false;
    ListMembers = "ClusterService/ListMembers", false;
    ListShards = "ClusterService/ListShards", false;
    DrainMember = "ClusterService/DrainMember", true;
    UndrainMember = "ClusterService/UndrainMember", true;
}

/// An RPC that has begun. Counted when it ends, also when its caller goes away.
#[derive(Debug)]
pub(crate) struct Call {
    front: Front,
    rpc: Rpc,
    pub(crate) caller: Caller,
    /// Where the caller is, if it has come through a socket.
    pub(crate) address: Option<IpAddr>,
    /// Memory of what the caller has sent.
    pub(crate) received: Received,
    /// The way out for its answers.
    pub(crate) outlet: Outlet,
    started: MonoTime,
    deadline: Option<MonoTime>,
    span: Span,
    counted: bool,
}

impl Call {
    pub(crate) fn begin<T>(front: &Front, rpc: Rpc, request: &Request<T>) -> Self {
        let metadata = request.metadata();
        let caller = Front::caller(metadata);
        let started = front.now();
        let deadline = timeout(metadata).map(|timeout| {
            let margin = (timeout / 20).min(ANSWER_MARGIN_MAX);
            started + timeout.saturating_sub(margin)
        });
        let span = tracing::debug_span!("rpc", rpc = rpc.name(), client_id = caller.client_id);
        continue_trace(&span, |name| metadata.get(name)?.to_str().ok());
        let received = request.extensions().get::<Received>().cloned();
        let received = received.unwrap_or_else(|| Received::of_none(&front.decode));
        let address = request.extensions().get::<ClientAddress>();
        let address = address.map(|address| address.0);
        let outlet = request.extensions().get::<Outlet>().cloned();
        let outlet = outlet.unwrap_or_else(|| front.outlet_of_none());
        if !matches!(rpc, Rpc::Produce | Rpc::ProduceStream | Rpc::Subscribe) {
            // However long the call takes, its request is small now that it was read.
            received.taken();
        }
        Self {
            front: front.clone(),
            rpc,
            caller,
            address,
            received,
            outlet,
            started,
            deadline,
            span,
            counted: false,
        }
    }

    /// Carries out a unary RPC within its deadline.
    pub(crate) async fn run<T>(
        mut self,
        work: impl Future<Output = Result<T, ApiError>> + Send,
    ) -> Result<Response<T>, Status> {
        let span = self.span.clone();
        let result = tokio::select! {
            biased;
            result = work.instrument(span) => result,
            () = self.deadline_passed() => Err(self.too_late()),
        };
        self.count(result.as_ref().err().map(|error| error.code));
        result
            .map(Response::new)
            .map_err(|error| self.refused(&error))
    }

    /// Ends when the caller waits no longer. Cancel-safe.
    pub(crate) async fn deadline_passed(&self) {
        match self.deadline {
            Some(deadline) => self.clock().sleep_until(deadline).await,
            None => pending().await,
        }
    }

    /// What a caller hears whose deadline has passed.
    pub(crate) fn too_late(&self) -> ApiError {
        let waited = self.front.now() - self.started;
        let message =
            format!("the deadline passed before the answer was known, after `{waited:?}`");
        let error = ApiError::new(ErrorCode::DeadlineExceeded, message);
        if self.rpc.writes() {
            error.with_unknown_outcome()
        } else {
            error
        }
    }

    /// The status of an error, which is logged here.
    pub(crate) fn refused(&self, error: &ApiError) -> Status {
        let (rpc, code) = (self.rpc.name(), error.code.as_str());
        tracing::debug!(parent: &self.span, rpc, code, error = error.message, "rpc failed");
        error.to_status()
    }

    /// Counts the end of the RPC, once.
    pub(crate) fn count(&mut self, error: Option<ErrorCode>) {
        if !self.counted {
            self.counted = true;
            let code = error.map_or("OK", ErrorCode::as_str);
            let took = self.front.now() - self.started;
            self.front.parts.metrics.call(self.rpc.name(), code, took);
        }
    }

    pub(crate) const fn front(&self) -> &Front {
        &self.front
    }

    fn clock(&self) -> &dyn Clock {
        self.front.parts.env.clock.as_ref()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Nobody has counted it, so its future was dropped: the caller went away.
        self.count(Some(ErrorCode::Cancelled));
    }
}

/// The time that a caller gives: at most eight digits and a unit. A text that is neither is no deadline.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get(TIMEOUT_HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;
    use tidelog_api::FILE_DESCRIPTOR_SET;

    use super::*;

    fn parsed(text: &str) -> Option<Duration> {
        let mut metadata = MetadataMap::new();
        metadata.insert(TIMEOUT_HEADER, text.parse().unwrap());
        timeout(&metadata)
    }

    #[test]
    fn deadlines_are_read_in_every_unit_and_nonsense_is_none() {
        assert_eq!(parsed("2H"), Some(Duration::from_hours(2)));
        assert_eq!(parsed("3M"), Some(Duration::from_mins(3)));
        assert_eq!(parsed("4S"), Some(Duration::from_secs(4)));
        assert_eq!(parsed("5m"), Some(Duration::from_millis(5)));
        assert_eq!(parsed("6u"), Some(Duration::from_micros(6)));
        assert_eq!(parsed("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for nonsense in ["", "S", "1", "-1S", "+1S", "1x", "999999999S", "1.5S"] {
            assert_eq!(parsed(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_rpcs_are_those_of_the_proto_files() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let services = set.file.iter().flat_map(|file| &file.service);
        let declared: BTreeSet<String> = services
            .flat_map(|service| {
                let methods = service.method.iter();
                methods.map(|method| format!("{}/{}", service.name(), method.name()))
            })
            .collect();
        let known: BTreeSet<String> = Rpc::ALL.iter().map(|rpc| rpc.name().to_owned()).collect();
        assert_eq!(known, declared);
        assert_eq!(Rpc::ALL.len(), declared.len());
    }
}
