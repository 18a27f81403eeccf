//! `WriterService`.

use tidelog_api::internal::v1;
use tidelog_types::{Incarnation, SegmentSequence};
use tonic::{Request, Response, Status};

use super::call::Front;
use crate::rpc::Rpc;
use crate::status;

#[tonic::async_trait]
impl v1::writer_service_server::WriterService for Front {
    async fn register_writer(
        &self,
        request: Request<v1::RegisterWriterRequest>,
    ) -> Result<Response<v1::RegisterWriterResponse>, Status> {
        let call = self.begin(Rpc::RegisterWriter, &request)?;
        let log = call.parts()?.log;
        call.run(async move {
            let incarnation = log.register_writer().await;
            let incarnation = incarnation.map_err(|error| status::of_log(&error))?;
            Ok(v1::RegisterWriterResponse {
                incarnation: incarnation.get(),
            })
        })
        .await
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        let call = self.begin(Rpc::InitProducer, &request)?;
        let log = call.parts()?.log;
        call.run(async move {
            let identity = log.init_producer().await;
            let identity = identity.map_err(|error| status::of_log(&error))?;
            Ok(v1::InitProducerResponse {
                producer_id: identity.id.get(),
                producer_epoch: i32::from(identity.epoch.get()),
            })
        })
        .await
    }

    async fn raise_floor(
        &self,
        request: Request<v1::RaiseFloorRequest>,
    ) -> Result<Response<v1::RaiseFloorResponse>, Status> {
        let call = self.begin(Rpc::RaiseFloor, &request)?;
        let log = call.parts()?.log;
        let request = request.into_inner();
        call.run(async move {
            let incarnation = Incarnation::new(request.incarnation);
            let floor = SegmentSequence::new(request.floor);
            let raised = log.raise_floor(incarnation, floor).await;
            raised.map_err(|error| status::of_log(&error))?;
            Ok(v1::RaiseFloorResponse {})
        })
        .await
    }
}
