use super::*;

fn chosen(line: &str) -> Result<Choice, String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let args = Args::read(&words).unwrap();
    choose(&Args {
        // A disk, wherever the tests run.
        dir: args
            .url
            .is_none()
            .then(|| env!("CARGO_MANIFEST_DIR").into()),
        ..args
    })
}

fn own() -> String {
    std::env::current_exe().unwrap().display().to_string()
}

#[test]
fn without_arguments_durable_meets_memory() {
    let choice = chosen("").unwrap();
    assert_eq!(choice.runs, 3);
    assert!(choice.names[0].contains("durable") && choice.names[1].contains("memory"));
    let first: Vec<Storage> = choice.rows[0].sides.iter().map(|s| s.storage).collect();
    assert_eq!(first, [Storage::Durable, Storage::Memory]);
}

#[test]
fn the_readme_compares_defaults_and_equals() {
    let choice = chosen(&format!("--compare {0} {0}", own())).unwrap();
    assert!(choice.names[0].starts_with("A: ") && choice.names[1].starts_with("B: "));
    let storages = |row: &Row| (row.sides[0].storage, row.sides[1].storage);
    assert_eq!(storages(&choice.rows[0]), (Storage::Durable, Storage::Lazy));
    assert_eq!(
        storages(&choice.rows[1]),
        (Storage::Durable, Storage::Durable)
    );
    assert_eq!(storages(&choice.rows[2]), (Storage::Lazy, Storage::Lazy));
    assert!(choice.rows.iter().any(|row| row.name.contains("kill -9")));
}

#[test]
fn each_storage_is_a_row_and_core_has_one() {
    let choice = chosen("publish-sync core --storage memory,lazy --size 1k --clients 3").unwrap();
    let names: Vec<&str> = choice.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "publish, one at a time, 3 clients, 1024 bytes",
            "publish, one at a time, 3 clients, 1024 bytes",
            "core 1:1, 3 clients, 1024 bytes"
        ]
    );
}

#[test]
fn combinations_without_meaning_are_refused() {
    for (line, expected) in [
        (
            "publish-sync --in-flight 5",
            "--in-flight has no meaning for PublishSync",
        ),
        ("consume-pull --duration 1s", "--duration has no meaning"),
        ("core --acks none", "--acks has no meaning"),
        ("--clients 3", "goes with a scenario"),
        ("--storage file", "goes with --url"),
        ("publish-sync --server /nonexistent/x", "no such program"),
        ("publish-batch --batch 1001", "--batch: at most 1000"),
        ("publish-async --in-flight 100001", "--in-flight: at most"),
        (
            "publish-async --in-flight 100k --size 1m",
            "bytes in flight",
        ),
        ("core --url tls://x", "tls:// is not supported"),
        ("core --url nats://", "no host"),
        (
            "publish-sync --url 127.0.0.1 --storage durable",
            "unknown without --monitor",
        ),
        ("--url 127.0.0.1 --suite readme", "does not go with --url"),
        ("--suite readme --storage lazy", "its own storage kinds"),
    ] {
        let text = chosen(line).map(|_| ()).unwrap_err();
        assert!(text.contains(expected), "{line}: {text}");
    }
}
