//! Claims about setting aside.

use super::*;
use crate::storage::MemStorage;
use crate::tests::testing::{Member, config};
use crate::{RecoverError, Recovered, recover};

const SEGMENT: u32 = 1 << 20;

fn with_log() -> MemStorage {
    let mut member = Member::new(config(SEGMENT));
    member.extend(1, &[b"a", b"b"]);
    member.settle();
    member.die()
}

fn again(disk: &MemStorage) -> Result<Option<Recovered>, RecoverError> {
    recover(disk, &config(SEGMENT))
}

#[test]
fn a_log_set_aside_leaves_a_member_without_log_and_without_vote() {
    let disk = with_log();
    begin(&disk, SetAside::Log).unwrap();
    let recovered = again(&disk).unwrap().expect("the identity stays");
    assert_eq!(recovered.last(), Offset::ZERO);
    assert_eq!(recovered.control.log_state, LogState::NeedsRepair);
    let kept = disk.list().unwrap();
    assert!(
        kept.contains(&"damaged-0001-journal-0000000000000001".to_owned()),
        "{kept:?}"
    );
    let next = again(&disk).unwrap().expect("the identity stays");
    assert_eq!(next.control.log_state, LogState::NeedsRepair, "it stays so");
}

#[test]
fn a_volume_set_aside_is_blank_and_keeps_every_file() {
    let disk = with_log();
    let before = disk.list().unwrap().len();
    begin(&disk, SetAside::Everything).unwrap();
    assert!(again(&disk).unwrap().is_none(), "it is formatted anew");
    assert!(
        disk.list().unwrap().len() + 2 >= before,
        "spares may go, nothing else"
    );
    assert!(
        disk.list()
            .unwrap()
            .contains(&"aside-0001-identity".to_owned())
    );
}

#[test]
fn a_crash_at_any_call_ends_the_same() {
    for what in [SetAside::Log, SetAside::Everything] {
        for calls in 0..40 {
            let disk = with_log();
            begin(&disk, what).unwrap();
            disk.stop_after(Some(calls));
            let _ = again(&disk);
            disk.stop_after(None);
            disk.power_cut(&mut || 1);
            match (what, again(&disk).unwrap()) {
                (SetAside::Everything, found) => assert!(found.is_none(), "after {calls} calls"),
                (SetAside::Log, found) => {
                    let found = found.expect("the identity stays");
                    assert_eq!(
                        found.control.log_state,
                        LogState::NeedsRepair,
                        "{calls} calls"
                    );
                    assert_eq!(found.last(), Offset::ZERO);
                }
            }
        }
    }
}

#[test]
fn the_second_time_keeps_the_first() {
    let disk = with_log();
    for _ in 0..2 {
        begin(&disk, SetAside::Log).unwrap();
        let recovered = again(&disk).unwrap().expect("the identity stays");
        let mut member = Member::go_on(disk.clone(), config(SEGMENT), recovered);
        member.extend(1, &[b"x"]);
        member.settle();
    }
    let kept = disk.list().unwrap();
    for run in 1..=2 {
        let name = format!("damaged-{run:04}-journal-0000000000000001");
        assert!(kept.contains(&name), "{name} in {kept:?}");
    }
}
