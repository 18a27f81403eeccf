//! What reaches the settings from which source, and what is refused.

use std::time::Duration;

use super::*;

fn file(text: &str) -> Sources {
    Sources {
        file: Some(("tidelog.toml".to_owned(), text.to_owned())),
        ..Sources::default()
    }
}

fn with_variable(name: &str, value: &str) -> Sources {
    Sources {
        environment: vec![(name.to_owned(), value.to_owned())],
        ..Sources::default()
    }
}

fn refused(sources: &Sources) -> String {
    load(sources).unwrap_err().to_string()
}

#[test]
fn without_any_source_the_defaults_of_the_table_hold() {
    let settings = load(&Sources::default()).unwrap().settings;
    assert_eq!(settings.listen.grpc.to_string(), "127.0.0.1:7070");
    assert_eq!(settings.listen.kafka.to_string(), "127.0.0.1:9092");
    assert_eq!(settings.listen.http.to_string(), "127.0.0.1:7080");
    assert_eq!(settings.memory.total, ByteSize::new(512 << 20));
    assert_eq!(settings.produce.segment_bytes, ByteSize::new(8 << 20));
    assert_eq!(settings.produce.linger, OrAuto::Auto);
    assert_eq!(settings.otlp.endpoint, None);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let mut sources = file("[produce]\nlinger = \"1ms\"\nuploads_max = 2\nflush_rate = 9\n");
    sources.environment = vec![
        ("TIDELOG_PRODUCE_LINGER".to_owned(), "2ms".to_owned()),
        ("TIDELOG_PRODUCE_UPLOADS_MAX".to_owned(), "3".to_owned()),
        ("PATH".to_owned(), "x".to_owned()),
    ];
    sources.flags = vec![("produce.linger".to_owned(), "3ms".to_owned())];
    let loaded = load(&sources).unwrap();
    let produce = &loaded.settings.produce;
    assert_eq!(
        produce.linger,
        OrAuto::Given(Span::new(Duration::from_millis(3)))
    );
    assert_eq!(produce.uploads_max, 3);
    assert_eq!(produce.flush_rate.get(), 9);
    assert_eq!(loaded.origins["produce.linger"], Origin::Flag);
    assert_eq!(
        loaded.origins["produce.flush_rate"],
        Origin::File("tidelog.toml".to_owned())
    );
    assert_eq!(loaded.origins["produce.segment_bytes"], Origin::Default);
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    assert_eq!(
        refused(&file("[produce]\nlingre = \"1ms\"\n")),
        "unknown option `produce.lingre` (file `tidelog.toml`): did you mean `produce.linger`?"
    );
    let error = refused(&file("[replication]\nfactor = 3\n"));
    assert_eq!(error, "unknown option `replication` (file `tidelog.toml`)");
}

#[test]
fn an_unknown_variable_is_only_a_warning_and_a_platform_s_is_nothing() {
    let loaded = load(&with_variable("TIDELOG_PRODUCE_LINGR", "1ms")).unwrap();
    assert!(loaded.warnings[0].contains("did you mean `TIDELOG_PRODUCE_LINGER`?"));
    let loaded = load(&with_variable("TIDELOG_SERVICE_HOST", "10.0.0.1")).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_where_it_stands() {
    let error = refused(&file(
        "[memory]\ntotal = \"1kB\"\n[listen]\ngrpc = 7070\nhtpt = \"x\"\n",
    ));
    assert_eq!(error.lines().count(), 3, "{error}");
    assert!(
        error.contains("option `memory.total` (file `tidelog.toml`): `1kB` is wrong"),
        "{error}"
    );
    assert!(error.contains("did you mean `listen.http`?"), "{error}");
}

#[test]
fn what_is_not_toml_is_refused_with_the_line() {
    assert!(refused(&file("[produce\n")).contains("line 1"));
}

#[test]
fn a_secret_is_shown_nowhere() {
    let text = "[s3]\naccess_key_id = \"ada\"\nsecret_access_key = \"hush\"\n";
    let settings = load(&file(text)).unwrap().settings;
    assert_eq!(
        settings.s3.secret_access_key.as_ref().unwrap().expose(),
        "hush"
    );
    assert!(!settings.to_toml().contains("hush"));
    assert!(!format!("{settings:?}").contains("hush"));
    let wrong = refused(&file("[s3]\nsecret_access_key = 1234\n"));
    assert!(!wrong.contains("1234"), "{wrong}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (text, expected) in [
        ("data = \"a\"\nbucket = \"s3://b\"", "both set"),
        ("roles = \"broker\"", "set `cluster.metadata`"),
        (
            "roles = \"metadata\"\n[listen]\ninternal = \"0.0.0.0:7071\"",
            "cluster.tls_cert",
        ),
        (
            "[listen]\ninternal = \"127.0.0.1:7070\"",
            "`listen.grpc` and `listen.internal` are both",
        ),
        ("[cluster]\ntls_cert = \"a.pem\"", "all three"),
        (
            "[cache]\ndisk_path = \"/cache\"",
            "`cache.disk_size` go together",
        ),
        (
            "[cache]\ndisk_size = \"1GiB\"",
            "`cache.disk_size` go together",
        ),
        ("[cluster]\nbeat = \"1s\"", "three times"),
        ("[fdb]\ntls_key = \"a.pem\"", "`fdb.tls_key` go together"),
        (
            "roles = \"broker\"\n[cluster]\nmetadata = \"m:7071\"\n[metadata]\nstore = \"fdb:a\"",
            "the others ask those",
        ),
        ("bucket = \"b\"", "s3://NAME"),
        ("[s3]\naccess_key_id = \"ada\"", "go together"),
        (
            "[s3]\nendpoint = \"http://127.0.0.1:9000\"",
            "s3.allow_http",
        ),
        ("[listen]\ngrpc = \"127.0.0.1:7080\"", "both"),
        ("[listen]\nkafka = \"127.0.0.1:7070\"", "both"),
        ("[requests]\nwait_initial = \"9s\"", "must not be longer"),
        (
            "[memory]\ntotal = \"128MiB\"\n[produce]\nsegment_bytes = \"32MiB\"",
            "do not fit",
        ),
    ] {
        let error = refused(&file(text));
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn an_address_that_others_can_reach_needs_a_word_of_consent() {
    let error = refused(&with_variable("TIDELOG_LISTEN_GRPC", "0.0.0.0:7070"));
    assert!(error.contains("listen.insecure"), "{error}");
    let text = "[listen]\ngrpc = \"0.0.0.0:7070\"\ninsecure = true\n";
    assert!(load(&file(text)).unwrap().warnings[0].contains("read and write everything"));
}

#[test]
fn what_is_shown_can_be_read_again() {
    let settings = load(&Sources::default()).unwrap().settings;
    assert_eq!(load(&file(&settings.to_toml())).unwrap().settings, settings);
}

#[test]
fn the_table_and_the_structs_name_the_same_options() {
    let mut sources = Sources::default();
    for option in options::OPTIONS
        .iter()
        .filter(|option| option.default.is_none())
    {
        let value = match option.key {
            "data" => continue,
            "bucket" => "s3://logs/prefix",
            "s3.path_style" => "true",
            "listen.internal" => "127.0.0.1:9999",
            "metadata.tail_age_max" => "10m",
            "cache.disk_size" => "4GiB",
            key if key.starts_with("cluster.advertise") => "host:7070",
            key if key.ends_with("endpoint") => "https://example.com",
            _ => "text",
        };
        sources
            .flags
            .push((option.key.to_owned(), value.to_owned()));
    }
    let encryption = ("s3.encryption".to_owned(), "sse-kms".to_owned());
    sources.flags.push(encryption);
    let shown: toml::Table = load(&sources).unwrap().settings.to_toml().parse().unwrap();
    let mut keys = vec!["data".to_owned()];
    for (group, value) in &shown {
        match value {
            toml::Value::Table(table) => {
                keys.extend(table.keys().map(|key| format!("{group}.{key}")));
            }
            _ => keys.push(group.clone()),
        }
    }
    keys.sort_unstable();
    let mut known: Vec<&str> = options::OPTIONS.iter().map(|option| option.key).collect();
    known.sort_unstable();
    assert_eq!(keys, known);
}

#[test]
fn the_reference_has_each_option_with_default_variable_and_limits() {
    let page = reference();
    for option in options::OPTIONS {
        assert!(
            page.contains(&format!("`{}`", option.key)),
            "{}",
            option.key
        );
        assert!(page.contains(&option.variable()), "{}", option.key);
    }
}

#[test]
fn a_process_serves_other_members_only_where_there_may_be_some() {
    let internal = |text: &str| {
        let settings = load(&file(text)).unwrap().settings;
        settings
            .internal_address()
            .map(|address| address.to_string())
    };
    assert_eq!(internal(""), None);
    let default = Some("127.0.0.1:7071".to_owned());
    assert_eq!(internal("roles = \"metadata\""), default);
    assert_eq!(internal("[cluster]\nmetadata = \"other:7071\""), default);
    assert_eq!(internal("[metadata]\nstore = \"fdb:fdb.cluster\""), default);
    let given = internal("[listen]\ninternal = \"127.0.0.1:9999\"");
    assert_eq!(given, Some("127.0.0.1:9999".to_owned()));
    let broker = "roles = \"broker\"\n[cluster]\nmetadata = \"m:7071\"";
    assert_eq!(internal(broker), None);
    let reader = "roles = \"reader\"\n[cluster]\nmetadata = \"m:7071\"";
    assert_eq!(internal(reader), default);
}

#[test]
fn storage_classes_have_names_of_the_users_own() {
    let mut sources = file(
        "[storage.classes.fast]\nlinger = \"5ms\"\n[storage.classes.plain]\n[storage.classes.slow]\n\
         linger = \"2s\"\nsegment_bytes = \"4MiB\"\n",
    );
    sources.flags = vec![(
        "storage.classes.fast.segment_bytes".to_owned(),
        "1MiB".to_owned(),
    )];
    let settings = load(&sources).unwrap().settings;
    let classes = &settings.storage.classes;
    assert_eq!(
        classes.keys().collect::<Vec<_>>(),
        ["fast", "plain", "slow"]
    );
    assert_eq!(classes["plain"], StorageClassSettings::default());
    assert_eq!(classes["fast"].segment_bytes, Some(ByteSize::new(1 << 20)));
    assert_eq!(
        classes["slow"].linger,
        Some(Span::new(std::time::Duration::from_secs(2)))
    );
    let again = load(&file(&settings.to_toml())).unwrap().settings;
    assert_eq!(again.storage, settings.storage);
}

#[test]
fn a_class_of_what_is_not_known_is_refused() {
    for (text, said) in [
        (
            "[storage.classes.fast]\nlingre = \"5ms\"\n",
            "storage.classes.fast.lingre",
        ),
        ("[storage.classes.Fast]\n", "storage.classes.Fast"),
        (
            "[storage.classes.fast]\nlinger = \"2h\"\n",
            "storage.classes.fast.linger",
        ),
        (
            "[storage.classes.fast]\nsegment_bytes = -1\n",
            "storage.classes.fast.segment_bytes",
        ),
        ("[storage]\nclasses = 3\n", "storage.classes"),
        ("[storage.classes]\nfast = 3\n", "storage.classes.fast"),
        ("[storage]\ncolour = 3\n", "storage.colour"),
    ] {
        let error = load(&file(text)).unwrap_err().to_string();
        assert!(error.contains(said), "`{text}` said `{error}`");
    }
    let many: Vec<String> = (0..40)
        .map(|n| format!("[storage.classes.c{n}]\n"))
        .collect();
    let many = many.concat();
    let error = load(&file(&many)).unwrap_err().to_string();
    assert!(error.contains("memory.total"), "{error}");
}

#[test]
fn buckets_beside_the_main_one_are_as_it_is_but_for_what_they_say() {
    let settings = load(&file(
        "bucket = \"s3://logs\"\n[s3]\nendpoint = \"https://one\"\naccess_key_id = \"a\"\n\
         secret_access_key = \"b\"\nsession_token = \"c\"\nencryption = \"sse-kms\"\nkms_key = \"k\"\n\
         [storage.buckets.hot]\nlocation = \"s3://hot\"\nendpoint = \"https://two\"\naccess_key_id = \"x\"\n\
         secret_access_key = \"y\"\nencryption = \"sse-s3\"\n\
         [storage.buckets.cold]\nlocation = \"s3://logs/cold\"\nstorage_class = \"STANDARD_IA\"\n\
         [storage.classes.fast]\nbucket = \"hot\"\nmerged_bucket = \"main\"\n\
         [storage.classes.deep]\nmerged_bucket = \"cold\"\n[storage.classes.other]\nbucket = \"hot\"\n",
    ))
    .unwrap()
    .settings;
    let storage = &settings.storage;
    let hot = storage.buckets["hot"].s3(&settings.s3);
    assert_eq!(hot.endpoint.as_deref(), Some("https://two"));
    assert_eq!(hot.secret_access_key.unwrap().expose(), "y");
    assert_eq!((hot.session_token, hot.kms_key), (None, None));
    assert_eq!(hot.encryption, Encryption::SseS3);
    let cold = storage.buckets["cold"].s3(&settings.s3);
    assert_eq!(cold, settings.s3);
    // Who asks for the same kind of encryption has the same key.
    let same = BesideSettings {
        encryption: Some(Encryption::SseKms),
        ..BesideSettings::default()
    };
    assert_eq!(same.s3(&settings.s3).kms_key.as_deref(), Some("k"));
    let into = |class: &str| {
        let class = &storage.classes[class];
        (class.put_into(), class.merged_into())
    };
    assert_eq!(into("fast"), (Some("hot"), None));
    assert_eq!(into("deep"), (None, Some("cold")));
    assert_eq!(into("other"), (Some("hot"), Some("hot")));
    assert!(!settings.to_toml().contains("\"y\""));
}

#[test]
fn buckets_that_do_not_fit_together_are_refused() {
    let hot = "[storage.buckets.hot]\nlocation = \"s3://hot\"\n";
    for (text, said) in [
        ("[storage.buckets.hot]\n".to_owned(), "hot.location"),
        (
            "[storage.buckets.main]\nlocation = \"x\"\n".to_owned(),
            "main",
        ),
        (
            format!("{hot}[storage.buckets.b]\nlocation = \"s3://hot\"\n"),
            "hot.location",
        ),
        (
            format!("{hot}[storage.buckets.b]\nlocation = \"s3://hot/\"\n"),
            "hot.location",
        ),
        (format!("bucket = \"s3://hot\"\n{hot}"), "main bucket"),
        (format!("bucket = \"s3://hot/\"\n{hot}"), "main bucket"),
        (
            "data = \"/var/x\"\n[storage.buckets.hot]\nlocation = \"file:///var/x/\"\n".to_owned(),
            "main bucket",
        ),
        (
            "[storage.buckets.hot]\nlocation = \"hot\"\n".to_owned(),
            "from the root on",
        ),
        (
            "[storage.buckets.hot]\nlocation = \"memory:\"\n".to_owned(),
            "from the root on",
        ),
        (
            format!("{hot}storage_class = \"DEEP_ARCHIVE\"\n"),
            "restored",
        ),
        (format!("{hot}access_key_id = \"a\"\n"), "secret_access_key"),
        (format!("{hot}kms_key = \"a\"\n"), "sse-kms"),
        (format!("{hot}endpoint = \"http://a\"\n"), "allow_http"),
        (
            format!("{hot}linger = \"1s\"\n"),
            "storage.buckets.hot.linger",
        ),
        (
            format!("{hot}secret_access_key = 3\n"),
            "storage.buckets.hot.secret",
        ),
        (
            "[storage.classes.fast]\nbucket = \"hot\"\n".to_owned(),
            "no `storage.buckets.hot`",
        ),
        (
            "[storage.classes.fast]\nmerged_bucket = \"hot\"\n".to_owned(),
            "merged_bucket",
        ),
        ("[s3]\nkms_key = \"k\"\n".to_owned(), "s3.kms_key"),
    ] {
        let error = load(&file(&text)).unwrap_err().to_string();
        assert!(error.contains(said), "`{text}` said `{error}`");
    }
}
