//! End-to-end scenarios with unmodified Kafka clients: the real binary, the clients as their makers ship them.
//!
//! Servers stand on `MinIO`; with the feature `fdb` their metadata is on `FoundationDB`. The scenarios are in
//! `tests/kafka/`, one a file:
//!
//! | file | what it shows |
//! | --- | --- |
//! | `kcat.rs` | librdkafka and gRPC read each other's records, with every compression |
//! | `same_bytes.rs` | both front ends hand out the same bytes |
//! | `python.rs`, `go.rs`, `javascript.rs`, `rust.rs` | kafka-python, confluent-kafka, aiokafka, sarama, kafkajs and rdkafka do all they can: administer, every compression, seek, times, transactions; these and franz-go share a topic in groups |
//! | `go_suite.rs` | the tests that franz-go is shipped with |
//! | `kcat_groups.rs` | librdkafka reads in a group and goes on where it was |
//! | `java.rs`, `java_groups.rs` | Kafka's own command line tools administer, produce, consume, and look after groups |
//! | `cli_groups.rs` | `tidelog group` lists, describes, resets and deletes groups of Kafka clients |
//! | `conformance/` | the same requests of groups to Apache Kafka and to Tidelog have the same answers |
//! | `streams.rs` | the word count of Kafka Streams counts on after it was killed |
//! | `connect.rs` | Kafka Connect's workers take a file into a topic and a topic into a file, killed in the middle |
//! | `mirror.rs` | `MirrorMaker` 2 copies from Apache Kafka to Tidelog and back, with the offsets of groups |
//! | `exactly_once.rs` | sums, joins, windows and counts of Kafka Streams are exact though the application is killed |
//! | `moves.rs` | members of groups, and transactions, go on when the process dies that coordinates them, or a broker |
//! | `brokers.rs` | clients find all brokers, stay in their zone, and a group outlives a broker |
//! | `idle.rs` | 20,000 connections that do nothing are held in little memory |
