//! `CatalogueService`.

use std::collections::BTreeMap;

use prost::Message as _;
use tidelog_api::internal::v1;
use tidelog_metadata_api::{Catalogue, CatalogueError};
use tonic::{Request, Response, Status};

use super::call::Front;
use crate::rpc::Rpc;
use crate::settings::MESSAGE_BYTES_MAX;
use crate::status;
use crate::wire::{new_topic_from, page_to, selector_from, topic_to};

/// Topics of one page.
const PAGE_TOPICS_MAX: usize = 1_000;

/// Implements the calls that name a topic and answer with it as it is then.
macro_rules! catalogue_service {
    (
        $($method:ident = $rpc:ident($request:ident) -> $response:ident:
            |$catalogue:ident, $asked:ident, $selector:ident| $work:expr;)*
        { $($rest:tt)* }
    ) => {
        #[tonic::async_trait]
        impl v1::catalogue_service_server::CatalogueService for Front {
            $(
                async fn $method(
                    &self,
                    request: Request<v1::$request>,
                ) -> Result<Response<v1::$response>, Status> {
                    let call = self.begin(Rpc::$rpc, &request)?;
                    let $catalogue = call.parts()?.catalogue;
                    let mut $asked = request.into_inner();
                    call.run(async move {
                        let $selector = selector_from($asked.selector.take())?;
                        let topic = $work.await.map_err(|error| refuse(&error))?;
                        let topic = Some(topic_to(&topic));
                        Ok(v1::$response { topic })
                    })
                    .await
                }
            )*
            $($rest)*
        }
    };
}

catalogue_service! {
    get_topic = GetTopic(GetTopicRequest) -> GetTopicResponse:
        |catalogue, asked, selector| catalogue.topic(&selector);
    alter_topic_config = AlterTopicConfig(AlterTopicConfigRequest) -> AlterTopicConfigResponse:
        |catalogue, asked, selector| {
            let is_check = asked.validate_only;
            catalogue.alter_topic_config(&selector, changes(asked), is_check)
        };
    add_partitions = AddPartitions(AddPartitionsRequest) -> AddPartitionsResponse:
        |catalogue, asked, selector| catalogue.add_partitions(&selector, asked.count);
    delete_topic = DeleteTopic(DeleteTopicRequest) -> DeleteTopicResponse:
        |catalogue, asked, selector| catalogue.delete_topic(&selector);
    undelete_topic = UndeleteTopic(UndeleteTopicRequest) -> UndeleteTopicResponse:
        |catalogue, asked, selector| catalogue.undelete_topic(&selector);
    {
        async fn create_topic(
            &self,
            request: Request<v1::CreateTopicRequest>,
        ) -> Result<Response<v1::CreateTopicResponse>, Status> {
            let call = self.begin(Rpc::CreateTopic, &request)?;
            let catalogue = call.parts()?.catalogue;
            let request = request.into_inner();
            call.run(async move {
                let topic = new_topic_from(request).map_err(|error| refuse(&error))?;
                let topic = catalogue.create_topic(topic).await.map_err(|error| refuse(&error))?;
                let topic = Some(topic_to(&topic));
                Ok(v1::CreateTopicResponse { topic })
            })
            .await
        }

        async fn list_topics(
            &self,
            request: Request<v1::ListTopicsRequest>,
        ) -> Result<Response<v1::ListTopicsResponse>, Status> {
            let call = self.begin(Rpc::ListTopics, &request)?;
            let catalogue = call.parts()?.catalogue;
            let request = request.into_inner();
            call.run(async move { list(catalogue.as_ref(), request).await }).await
        }
    }
}

fn refuse(error: &CatalogueError) -> Status {
    status::of_catalogue(error)
}

fn changes(request: v1::AlterTopicConfigRequest) -> BTreeMap<String, Option<String>> {
    let reset = request.reset.into_iter().map(|key| (key, None));
    let set = request.set.into_iter();
    reset
        .chain(set.map(|(key, value)| (key, Some(value))))
        .collect()
}

/// A page that fits a message; one topic always does.
async fn list(
    catalogue: &dyn Catalogue,
    request: v1::ListTopicsRequest,
) -> Result<v1::ListTopicsResponse, Status> {
    let mut count = usize::try_from(request.count).unwrap_or(usize::MAX);
    count = count.clamp(1, PAGE_TOPICS_MAX);
    loop {
        let page = catalogue.list_topics(&request.after, count, request.deleted);
        let response = page_to(page.await.map_err(|error| refuse(&error))?);
        if count == 1 || response.encoded_len() <= MESSAGE_BYTES_MAX / 2 {
            return Ok(response);
        }
        count /= 2;
    }
}
