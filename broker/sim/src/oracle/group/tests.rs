//! Hand-made members: each invariant is seen broken, and a good group is not accused.

use tandemmq_journal::BatchBuilder;
use tandemmq_model::{BootNonce, Bytes, Incarnation, Record, RecordKind};

use super::*;

/// A member's log, and the view of it that the world would give.
#[derive(Clone, Default)]
struct Member {
    batches: Vec<Batch>,
}

impl Log for Member {
    fn batches(&self, from: Offset, to: Offset) -> Vec<Batch> {
        let wanted = |batch: &&Batch| batch.last() > from && batch.base() <= to;
        self.batches.iter().filter(wanted).cloned().collect()
    }
}

impl Member {
    /// One more record, in a batch of its own.
    fn append(mut self, epoch: u64, text: &'static str) -> Self {
        let base = Offset(self.batches.len() as u64 + 1);
        let crc = self.batches.last().map_or(0, Batch::crc);
        let mut builder = BatchBuilder::new(Epoch(epoch), base, crc);
        builder.push(&Record::critical(
            RecordKind::Enqueue,
            Bytes::from_static(text.as_bytes()),
        ));
        self.batches.push(builder.finish());
        self
    }

    fn view(&self, ordinal: u8, role: Role, promise: u64, committed: u64) -> View {
        let appended = Offset(self.batches.len() as u64);
        let mut epochs: Epochs = Vec::new();
        for batch in &self.batches {
            if epochs
                .last()
                .is_none_or(|(epoch, _)| *epoch != batch.epoch())
            {
                epochs.push((batch.epoch(), batch.base()));
            }
        }
        View {
            member: member(ordinal),
            role,
            promise: ballot(promise, 0),
            log_state: LogState::Clean,
            offsets: Offsets {
                appended,
                synced: appended,
                committed: Offset(committed),
                applied: Offset(committed),
            },
            last_crc: Some(self.batches.last().map_or(0, Batch::crc)),
            epochs,
            log_start: Offset::ZERO,
            checkpoint: None,
            founders: (0..3).map(member).collect(),
        }
    }
}

fn member(ordinal: u8) -> MemberId {
    MemberId {
        ordinal,
        incarnation: Incarnation(1 + u128::from(ordinal)),
    }
}

fn ballot(epoch: u64, owner: u8) -> Ballot {
    Ballot {
        epoch: Epoch(epoch),
        member: member(owner),
        boot: BootNonce(1),
    }
}

fn violated(judged: Judged) -> Option<Invariant> {
    judged.err().map(|violation| violation.invariant)
}

/// Three members with the same two records of epoch 1, the second being committed by member 0.
fn group() -> (Group, Member) {
    let mut group = Group::new(3);
    let log = Member::default().append(1, "start").append(1, "a");
    for node in 1..3 {
        let view = log.view(node, Role::Slave, 1, 0);
        group
            .observe(usize::from(node), view, &log)
            .expect("slaves with records only");
        group.told_ack(usize::from(node), member(node), ballot(1, 0), Offset(2));
    }
    group
        .observe(0, log.view(0, Role::Master, 1, 2), &log)
        .expect("a lawful commit");
    (group, log)
}

#[test]
fn a_lawful_group_is_not_accused() {
    let (mut group, log) = group();
    assert_eq!(group.committed(), Offset(2));
    for node in 1..3 {
        assert_eq!(
            violated(group.observe(node, log.view(node as u8, Role::Slave, 1, 2), &log)),
            None
        );
    }
    assert_eq!(
        group.compared().records,
        4,
        "both slaves were compared with the committed log"
    );
}

#[test]
fn i1_two_masters_of_one_epoch_are_seen() {
    let (mut group, log) = group();
    let mut view = log.view(1, Role::Master, 1, 0);
    view.promise = ballot(1, 1);
    assert_eq!(
        violated(group.observe(1, view, &log)),
        Some(Invariant::I1ElectionSafety)
    );
}

#[test]
fn i2_a_forgotten_promise_is_seen_at_the_next_start() {
    let (mut group, _) = group();
    group.told_promise(1, ballot(4, 2));
    let judged = group.started(1, member(1), ballot(3, 2), LogState::Clean);
    assert_eq!(violated(judged), Some(Invariant::I2PromiseMonotonic));
}

#[test]
fn i3_a_record_above_the_promise_is_seen() {
    let (mut group, log) = group();
    let log = log.append(2, "b");
    let judged = group.observe(1, log.view(1, Role::Slave, 1, 0), &log);
    assert_eq!(violated(judged), Some(Invariant::I3NoStaleAppend));
}

#[test]
fn i4_equal_epochs_at_an_offset_with_other_prefixes_are_seen() {
    let (mut group, _) = group();
    let other = Member::default().append(1, "start").append(1, "b");
    let judged = group.observe(1, other.view(1, Role::Slave, 1, 0), &other);
    assert_eq!(violated(judged), Some(Invariant::I4LogMatching));
}

#[test]
fn i6_another_record_at_a_committed_offset_is_seen() {
    let (mut group, _) = group();
    let other = Member::default().append(1, "start").append(2, "b");
    let judged = group.observe(1, other.view(1, Role::Slave, 2, 2), &other);
    assert_eq!(violated(judged), Some(Invariant::I6LogSafety));
}

#[test]
fn i7_a_master_without_a_committed_record_is_seen() {
    let (mut group, _) = group();
    let other = Member::default()
        .append(1, "start")
        .append(3, "start again");
    let judged = group.observe(2, other.view(2, Role::Master, 3, 0), &other);
    assert_eq!(violated(judged), Some(Invariant::I7LeaderCompleteness));
}

#[test]
fn i8_a_commit_without_a_quorums_disks_is_seen() {
    let (mut group, log) = group();
    let log = log.append(1, "c");
    let judged = group.observe(0, log.view(0, Role::Master, 1, 3), &log);
    assert_eq!(violated(judged), Some(Invariant::I8CommitRule));
}

#[test]
fn i8_a_commit_below_the_own_epoch_start_is_seen() {
    let mut group = Group::new(3);
    let log = Member::default().append(1, "start").append(1, "a");
    group
        .observe(1, log.view(1, Role::Slave, 2, 0), &log)
        .expect("a slave with records");
    let judged = group.observe(0, log.view(0, Role::Master, 2, 2), &log);
    assert_eq!(violated(judged), Some(Invariant::I8CommitRule));
}

#[test]
fn i10_a_dispatch_above_the_committed_offset_is_seen() {
    let (group, _) = group();
    let judged = group.check_dispatch(0, Epoch(1), Offset(3), None);
    assert_eq!(violated(judged), Some(Invariant::I10DispatchImpliesCommit));
}

#[test]
fn i13_a_claim_that_would_not_survive_is_seen() {
    let (mut group, _) = group();
    let judged = group.check_claim(1, (ballot(1, 0), Offset(3)), (ballot(1, 0), Offset(2)));
    assert_eq!(violated(judged), Some(Invariant::I13DurableTruth));
    let judged = group.check_claim(1, (ballot(2, 0), Offset(2)), (ballot(1, 0), Offset(2)));
    assert_eq!(violated(judged), Some(Invariant::I13DurableTruth));
}

#[test]
fn i15_two_states_at_one_offset_are_seen() {
    let (mut group, _) = group();
    group
        .check_digest(0, Offset(2), 7, false)
        .expect("the first one is the measure");
    assert_eq!(group.compared().digests, 0, "one alone compares nothing");
    group.check_digest(1, Offset(2), 7, false).expect("equal");
    let judged = group.check_digest(2, Offset(2), 8, false);
    assert_eq!(violated(judged), Some(Invariant::I15Determinism));
}

#[test]
fn offsets_out_of_order_are_seen() {
    let (mut group, log) = group();
    let mut view = log.view(1, Role::Slave, 1, 2);
    view.offsets.synced = Offset(1);
    assert_eq!(
        violated(group.observe(1, view, &log)),
        Some(Invariant::OffsetOrder)
    );
}

#[test]
fn an_accused_member_that_lost_nothing_is_seen_and_one_that_was_wiped_is_not() {
    let (mut group, log) = group();
    let mut view = log.view(1, Role::Slave, 1, 2);
    view.log_state = LogState::DataLoss;
    let judged = group.observe(1, view.clone(), &log);
    assert_eq!(violated(judged), Some(Invariant::NoHealthyAccused));
    group.excuse(1);
    assert_eq!(violated(group.observe(1, view, &log)), None);
}

#[test]
fn one_frame_committed_twice_is_seen() {
    use crate::payload::{Attempt, SendId};
    let attempt = Attempt {
        id: SendId {
            producer: 1,
            seq: 1,
        },
        conn: 1,
        index: 1,
        tx: 0,
    };
    let record = Record::critical(RecordKind::Enqueue, attempt.body(0));
    let mut builder = BatchBuilder::new(Epoch(1), Offset(1), 0);
    builder.push(&record);
    builder.push(&record);
    let log = Member {
        batches: vec![builder.finish()],
    };
    let mut view = log.view(0, Role::Master, 1, 2);
    view.founders.truncate(1);
    view.offsets = Offsets {
        appended: Offset(2),
        synced: Offset(2),
        committed: Offset(2),
        applied: Offset(2),
    };
    let mut group = Group::new(1);
    assert_eq!(
        violated(group.observe(0, view, &log)),
        Some(Invariant::EnqueuedTwice)
    );
}
