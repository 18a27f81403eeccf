//! The RPCs by name, as in metrics and logs.

/// Defines [`Rpc`] with its names.
macro_rules! rpcs {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {
        /// An RPC of `tidelog.internal.v1`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Rpc {
            $($(#[$doc])* $name,)*
        }

        impl Rpc {
            /// Every RPC.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// Service and method.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $path,)*
                }
            }
        }
    };
}

rpcs! {
    Commit = "SequencerService/Commit";
    Locate = "SequencerService/Locate";
    ResolveOffset = "SequencerService/ResolveOffset";
    SetFencingToken = "SequencerService/SetFencingToken";
    DeleteRecords = "SequencerService/DeleteRecords";
    EndTransactions = "SequencerService/EndTransactions";
    ListAborted = "SequencerService/ListAborted";
    ListProducers = "SequencerService/ListProducers";
    ReadInline = "SequencerService/ReadInline";
    Subscribe = "SequencerService/Subscribe";
    RegisterWriter = "WriterService/RegisterWriter";
    InitProducer = "WriterService/InitProducer";
    RaiseFloor = "WriterService/RaiseFloor";
    CreateTopic = "CatalogueService/CreateTopic";
    GetTopic = "CatalogueService/GetTopic";
    ListTopics = "CatalogueService/ListTopics";
    AlterTopicConfig = "CatalogueService/AlterTopicConfig";
    AddPartitions = "CatalogueService/AddPartitions";
    DeleteTopic = "CatalogueService/DeleteTopic";
    UndeleteTopic = "CatalogueService/UndeleteTopic";
    Join = "ClusterService/Join";
    Watch = "ClusterService/Watch";
    SetDraining = "ClusterService/SetDraining";
    TakeMerge = "MergeService/TakeMerge";
    KeepMerge = "MergeService/KeepMerge";
    SwapMerge = "MergeService/SwapMerge";
    DescribeMerge = "MergeService/DescribeMerge";
    FinishMerge = "MergeService/FinishMerge";
    TakeCompaction = "CompactionService/TakeCompaction";
    HoldCompaction = "CompactionService/HoldCompaction";
    ReplaceExtents = "CompactionService/ReplaceExtents";
    NoteCompacted = "CompactionService/NoteCompacted";
    Ask = "GroupService/Ask";
    Coordinate = "TransactionService/Coordinate";
    TakeDeletions = "JanitorService/TakeDeletions";
    NoteDeleted = "JanitorService/NoteDeleted";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;
    use tidelog_api::internal::FILE_DESCRIPTOR_SET;

    use super::Rpc;

    #[test]
    fn the_rpcs_are_those_of_the_proto_files() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let services = set.file.iter().flat_map(|file| &file.service);
        // Readers are a crate of their own.
        let services = services.filter(|service| service.name() != "ReaderService");
        let declared: BTreeSet<String> = services
            .flat_map(|service| {
                let methods = service.method.iter();
                methods.map(|method| format!("{}/{}", service.name(), method.name()))
            })
            .collect();
        let known: BTreeSet<String> = Rpc::ALL.iter().map(|rpc| rpc.name().to_owned()).collect();
        assert_eq!(known, declared);
    }

    #[test]
    fn clients_are_not_told_of_these_services() {
        let set = FileDescriptorSet::decode(tidelog_api::FILE_DESCRIPTOR_SET).unwrap();
        let packages: BTreeSet<&str> = set
            .file
            .iter()
            .map(prost_types::FileDescriptorProto::package)
            .collect();
        assert!(!packages.contains("tidelog.internal.v1"), "{packages:?}");
    }
}
