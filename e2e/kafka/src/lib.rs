//! End-to-end scenarios with unmodified Kafka clients: the real binary, the clients as their makers ship them.
//!
//! The scenarios are in `tests/kafka/`, one a file:
//!
//! | file | what it shows |
//! | --- | --- |
//! | `kcat.rs` | librdkafka and gRPC read each other's records, with every compression |
//! | `same_bytes.rs` | both front ends hand out the same bytes |
//! | `python.rs` | kafka-python, confluent-kafka and aiokafka administer, produce, seek and consume |
//! | `java.rs` | Kafka's own command line tools do |
//! | `idle.rs` | 10,000 connections that do nothing are held in little memory |
