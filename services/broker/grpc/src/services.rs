//! The generated service traits, each method one call of the front.

use tidelog_api::v1;
use tonic::{Request, Response, Status, Streaming};

use crate::front::Front;
use crate::produce::ProduceAnswers;
use crate::rpc::{Call, Rpc};
use crate::transport::Outgoing;

/// A response whose messages travel beside it, to be encoded one by one instead of `nothing`.
fn carrying<T>(nothing: T, outgoing: Outgoing) -> Response<T> {
    let mut response = Response::new(nothing);
    response.extensions_mut().insert(outgoing);
    response
}

/// Implements a service. Unary methods hand over to the method of [`Front`] with the same name; the second
/// braces hold the other methods.
macro_rules! service {
    (
        $service:path
        { $($method:ident = $rpc:ident($request:ident) -> $response:ident;)* }
        { $($rest:tt)* }
    ) => {
        #[tonic::async_trait]
        impl $service for Front {
            $(
                async fn $method(
                    &self,
                    request: Request<v1::$request>,
                ) -> Result<Response<v1::$response>, Status> {
                    let call = Call::begin(self, Rpc::$rpc, &request);
                    let caller = call.caller.clone();
                    call.run(Self::$method(self, &caller, request.into_inner())).await
                }
            )*
            $($rest)*
        }
    };
}

service! {
    v1::log_service_server::LogService
    {
        list_offsets = ListOffsets(ListOffsetsRequest) -> ListOffsetsResponse;
        delete_records = DeleteRecords(DeleteRecordsRequest) -> DeleteRecordsResponse;
        init_producer = InitProducer(InitProducerRequest) -> InitProducerResponse;
    }
    {
        type ProduceStreamStream = ProduceAnswers;
        type TailStream = futures::stream::Empty<Result<v1::TailResponse, Status>>;

        async fn produce(
            &self,
            request: Request<v1::ProduceRequest>,
        ) -> Result<Response<v1::ProduceResponse>, Status> {
            let call = Call::begin(self, Rpc::Produce, &request);
            let (caller, received) = (call.caller.clone(), call.received.clone());
            call.run(Self::produce(self, &caller, &received, request.into_inner())).await
        }

        async fn fetch(
            &self,
            request: Request<v1::FetchRequest>,
        ) -> Result<Response<v1::FetchResponse>, Status> {
            let call = Call::begin(self, Rpc::Fetch, &request);
            let (caller, outlet) = (call.caller.clone(), call.outlet.clone());
            let fetched = Self::fetch(self, &caller, &outlet, request.into_inner());
            let answer = call.run(fetched).await?.into_inner();
            Ok(carrying(v1::FetchResponse::default(), Outgoing::one(answer)))
        }

        async fn produce_stream(
            &self,
            request: Request<Streaming<v1::ProduceStreamRequest>>,
        ) -> Result<Response<Self::ProduceStreamStream>, Status> {
            let call = Call::begin(self, Rpc::ProduceStream, &request);
            Ok(Response::new(Self::produce_stream(call, request.into_inner())))
        }

        async fn tail(
            &self,
            request: Request<v1::TailRequest>,
        ) -> Result<Response<Self::TailStream>, Status> {
            let call = Call::begin(self, Rpc::Tail, &request);
            let answers = Self::tail(call, request.into_inner()).await?;
            Ok(carrying(futures::stream::empty(), answers))
        }
    }
}

service! {
    v1::topic_service_server::TopicService
    {
        create_topic = CreateTopic(CreateTopicRequest) -> CreateTopicResponse;
        get_topic = GetTopic(GetTopicRequest) -> GetTopicResponse;
        list_topics = ListTopics(ListTopicsRequest) -> ListTopicsResponse;
        alter_topic_config = AlterTopicConfig(AlterTopicConfigRequest) -> AlterTopicConfigResponse;
        add_partitions = AddPartitions(AddPartitionsRequest) -> AddPartitionsResponse;
        delete_topic = DeleteTopic(DeleteTopicRequest) -> DeleteTopicResponse;
        undelete_topic = UndeleteTopic(UndeleteTopicRequest) -> UndeleteTopicResponse;
    }
    {}
}

service! {
    v1::group_service_server::GroupService
    {
        list_groups = ListGroups(ListGroupsRequest) -> ListGroupsResponse;
        describe_groups = DescribeGroups(DescribeGroupsRequest) -> DescribeGroupsResponse;
        list_group_offsets = ListGroupOffsets(ListGroupOffsetsRequest) -> ListGroupOffsetsResponse;
        alter_group_offsets = AlterGroupOffsets(AlterGroupOffsetsRequest) -> AlterGroupOffsetsResponse;
        delete_groups = DeleteGroups(DeleteGroupsRequest) -> DeleteGroupsResponse;
    }
    {
        type SubscribeStream = futures::stream::Empty<Result<v1::SubscribeResponse, Status>>;

        async fn subscribe(
            &self,
            request: Request<Streaming<v1::SubscribeRequest>>,
        ) -> Result<Response<Self::SubscribeStream>, Status> {
            let call = Call::begin(self, Rpc::Subscribe, &request);
            let answers = Self::subscribe(call, request.into_inner());
            Ok(carrying(futures::stream::empty(), answers))
        }
    }
}

service! {
    v1::cluster_service_server::ClusterService
    {
        describe_cluster = DescribeCluster(DescribeClusterRequest) -> DescribeClusterResponse;
        list_members = ListMembers(ListMembersRequest) -> ListMembersResponse;
        list_shards = ListShards(ListShardsRequest) -> ListShardsResponse;
        drain_member = DrainMember(DrainMemberRequest) -> DrainMemberResponse;
        undrain_member = UndrainMember(UndrainMemberRequest) -> UndrainMemberResponse;
    }
    {}
}
