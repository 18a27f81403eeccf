#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidelog_format::fuzzing::merged_footer(data));
