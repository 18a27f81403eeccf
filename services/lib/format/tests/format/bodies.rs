//! The bodies of the fuzz targets over the golden files and thousands of mutations of them, the same
//! in each run.

use tidelog_format::fuzzing::TARGETS;

/// Mutations of each file for each target.
const ROUNDS: u64 = 400;

/// A small generator with a seed (splitmix64), so that a failure is found again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }

    fn byte(&mut self) -> u8 {
        // Bytes that are limits of something come more often than chance would have them.
        const LIMITS: [u8; 8] = [0, 1, 0x3d, 0x7f, 0x80, 0x81, 0xfe, 0xff];
        let value = self.next().to_le_bytes();
        if value[0] & 1 == 0 {
            LIMITS[usize::from(value[1] & 7)]
        } else {
            value[2]
        }
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => {
                    let byte = self.byte();
                    bytes.insert(at, byte);
                }
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => {
                    let end = at + self.below(bytes.len() - at + 1);
                    let copy = bytes[at..end].to_vec();
                    bytes.extend_from_slice(&copy);
                }
                _ if !bytes.is_empty() => bytes[at] = self.byte(),
                _ => {}
            }
        }
    }
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// What a target wants beside the files as they are: bytes behind the guard that it steps over.
fn seeds(target: &str, file: &[u8]) -> Vec<Vec<u8>> {
    let mut seeds = vec![file.to_vec()];
    match target {
        "manifest" | "receipt" => {
            seeds.push(file[..file.len().saturating_sub(4)].to_vec());
        }
        "records" if file.len() > 61 => {
            seeds.extend((0..5).map(|codec| [&[codec, 3], &file[61..]].concat()));
        }
        "footer" | "merged_footer" if file.len() > 88 + 40 => {
            let at = usize::try_from(u64::from_be_bytes(
                file[file.len() - 88..file.len() - 80].try_into().unwrap(),
            ));
            let footer = at.ok().and_then(|at| file.get(at..file.len() - 88));
            seeds.extend(footer.map(<[u8]>::to_vec));
        }
        _ => {}
    }
    seeds
}

#[test]
fn no_mutation_of_a_golden_file_upsets_a_decoder() {
    let corpus = corpus();
    assert!(corpus.len() >= 16, "the golden files are there");
    for (number, (name, body)) in (0_u64..).zip(TARGETS) {
        for (file_number, (_, file)) in (0_u64..).zip(&corpus) {
            for seed in seeds(name, file) {
                body(&seed);
                let mut random = Random(number << 32 | file_number);
                for _ in 0..ROUNDS {
                    let mut bytes = seed.clone();
                    random.mutate(&mut bytes);
                    body(&bytes);
                }
            }
        }
    }
}

#[test]
fn bytes_without_any_order_upset_no_decoder() {
    let mut random = Random(20);
    for _ in 0..4000 {
        let length = random.below(200);
        let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
        for (_, body) in TARGETS {
            body(&bytes);
        }
    }
}
