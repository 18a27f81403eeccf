#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidelog_kafka_codec::fuzzing::message(data));
