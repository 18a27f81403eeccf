//! `JanitorService`.

use tidelog_api::internal::v1;
use tonic::{Request, Response, Status};

use super::call::Front;
use crate::rpc::Rpc;
use crate::status;
use crate::wire::{deletions_from, deletions_to};

#[tonic::async_trait]
impl v1::janitor_service_server::JanitorService for Front {
    async fn take_deletions(
        &self,
        request: Request<v1::TakeDeletionsRequest>,
    ) -> Result<Response<v1::TakeDeletionsResponse>, Status> {
        let call = self.begin(Rpc::TakeDeletions, &request)?;
        let janitor = call.parts()?.janitor;
        call.run(async move {
            let taken = janitor.deletions().await;
            let taken = taken.map_err(|error| status::of_log(&error))?;
            Ok(v1::TakeDeletionsResponse {
                deletions: Some(deletions_to(&taken)),
            })
        })
        .await
    }

    async fn note_deleted(
        &self,
        request: Request<v1::NoteDeletedRequest>,
    ) -> Result<Response<v1::NoteDeletedResponse>, Status> {
        let call = self.begin(Rpc::NoteDeleted, &request)?;
        let janitor = call.parts()?.janitor;
        let request = request.into_inner();
        call.run(async move {
            let done = deletions_from(request.deletions)?;
            let noted = janitor.deleted(done, request.pinned).await;
            noted.map_err(|error| status::of_log(&error))?;
            Ok(v1::NoteDeletedResponse {})
        })
        .await
    }
}
