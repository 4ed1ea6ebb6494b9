//! What every [`Storage`] must do, as claims. Run on real files and on the simulated disk: a
//! journal that is right on the one is right on the other.

use super::{Storage, StorageError};

/// Runs the whole suite; `make` gives an empty folder each time. Panics with the claim that fails.
pub fn check<S: Storage>(mut make: impl FnMut() -> S) {
    what_is_written_is_read_back(&make());
    a_read_ends_with_the_file(&make());
    a_file_is_created_once(&make());
    a_missing_file_is_named(&make());
    rename_replaces(&make());
    the_list_is_sorted_and_complete(&make());
    replace_leaves_the_new_content_alone(&make());
    clones_share_one_folder(&make());
}

fn what_is_written_is_read_back<S: Storage>(storage: &S) {
    storage.create("a").expect("create");
    storage.write_at("a", 0, b"hello").expect("write");
    storage
        .write_at("a", 8, b"there")
        .expect("write beyond the end");
    storage.write_at("a", 1, b"a").expect("write inside");
    storage.sync("a").expect("sync");
    let read = storage.read_at("a", 0, 64).expect("read");
    assert_eq!(&read[..], b"hallo\0\0\0there", "a gap reads as zeros");
    assert_eq!(storage.len("a"), Ok(13));
}

fn a_read_ends_with_the_file<S: Storage>(storage: &S) {
    storage.create("a").expect("create");
    storage.write_at("a", 0, b"abc").expect("write");
    assert_eq!(&storage.read_at("a", 2, 10).expect("read")[..], b"c");
    assert_eq!(&storage.read_at("a", 3, 10).expect("read")[..], b"");
    assert_eq!(&storage.read_at("a", 99, 10).expect("read")[..], b"");
}

fn a_file_is_created_once<S: Storage>(storage: &S) {
    storage.create("a").expect("create");
    assert_eq!(
        storage.create("a"),
        Err(StorageError::Exists("a".to_owned()))
    );
}

fn a_missing_file_is_named<S: Storage>(storage: &S) {
    let missing = || StorageError::NotFound("a".to_owned());
    assert_eq!(storage.len("a"), Err(missing()));
    assert_eq!(storage.read_at("a", 0, 1), Err(missing()));
    assert_eq!(storage.write_at("a", 0, b"x"), Err(missing()));
    assert_eq!(storage.sync("a"), Err(missing()));
    assert_eq!(storage.remove("a"), Err(missing()));
    assert_eq!(storage.rename("a", "b"), Err(missing()));
}

fn rename_replaces<S: Storage>(storage: &S) {
    for name in ["a", "b"] {
        storage.create(name).expect("create");
        storage.write_at(name, 0, name.as_bytes()).expect("write");
    }
    storage.rename("a", "b").expect("rename");
    assert_eq!(storage.list(), Ok(vec!["b".to_owned()]));
    assert_eq!(&storage.read_at("b", 0, 9).expect("read")[..], b"a");
    storage
        .write_at("b", 1, b"!")
        .expect("the new name leads to the renamed file");
    assert_eq!(&storage.read_at("b", 0, 9).expect("read")[..], b"a!");
}

fn the_list_is_sorted_and_complete<S: Storage>(storage: &S) {
    for name in ["c", "a", "b"] {
        storage.create(name).expect("create");
    }
    storage.remove("b").expect("remove");
    storage.sync_dir().expect("sync the folder");
    assert_eq!(storage.list(), Ok(vec!["a".to_owned(), "c".to_owned()]));
}

fn replace_leaves_the_new_content_alone<S: Storage>(storage: &S) {
    storage
        .replace("a", b"a long first content")
        .expect("replace");
    storage.replace("a", b"short").expect("replace");
    assert_eq!(&storage.read_at("a", 0, 99).expect("read")[..], b"short");
    assert_eq!(
        storage.list(),
        Ok(vec!["a".to_owned()]),
        "nothing is left beside it"
    );
}

fn clones_share_one_folder<S: Storage>(storage: &S) {
    let other = storage.clone();
    storage.create("a").expect("create");
    let writer = other.write_at("a", 0, b"by another handle");
    writer.expect("write");
    assert_eq!(storage.len("a"), Ok(17));
}
