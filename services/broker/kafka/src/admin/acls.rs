//! `DescribeAcls`, `CreateAcls` and `DeleteAcls`: there are none, as in a Kafka without an authorizer.

use tidelog_kafka_codec::ErrorCode;
use tidelog_kafka_codec::messages::create_acls_response::AclCreationResult;
use tidelog_kafka_codec::messages::delete_acls_response::DeleteAclsFilterResult;
use tidelog_kafka_codec::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse,
    DescribeAclsResponse,
};
use tidelog_runtime::access::Operation;

use crate::call::Call;
use crate::errors::Refusal;

const WHY: &str = "there are no access control lists";

impl Call {
    fn no_acls(&self, operation: Operation) -> Refusal {
        self.never(operation, ErrorCode::SecurityDisabled, WHY)
    }

    pub(crate) fn describe_acls(&self) -> DescribeAclsResponse {
        let refusal = self.no_acls(Operation::Describe);
        let (error_code, error_message) = self.refused(Some(&refusal));
        DescribeAclsResponse {
            error_code,
            error_message,
            ..DescribeAclsResponse::default()
        }
    }

    pub(crate) fn create_acls(&self, request: &CreateAclsRequest) -> CreateAclsResponse {
        let refusal = self.no_acls(Operation::Alter);
        let results = request.creations.iter().map(|_| {
            let (error_code, error_message) = self.refused(Some(&refusal));
            AclCreationResult {
                error_code,
                error_message,
            }
        });
        CreateAclsResponse {
            results: results.collect(),
            ..CreateAclsResponse::default()
        }
    }

    pub(crate) fn delete_acls(&self, request: &DeleteAclsRequest) -> DeleteAclsResponse {
        let refusal = self.no_acls(Operation::Alter);
        let results = request.filters.iter().map(|_| {
            let (error_code, error_message) = self.refused(Some(&refusal));
            DeleteAclsFilterResult {
                error_code,
                error_message,
                ..DeleteAclsFilterResult::default()
            }
        });
        DeleteAclsResponse {
            filter_results: results.collect(),
            ..DeleteAclsResponse::default()
        }
    }
}
