//! Scripted schedules: one for each hole of `docs/protocol/README.md` that can occur yet, and the
//! classic failures of other systems.
//!
//! Random walks alone are too weak for deep interleavings: these put the group into the exact
//! position of a hole and let the oracle watch. Each is a test of the same name, and `sim run`
//! runs them all before the seeds. To see that a schedule is not blind, `sim-mutants` runs it over
//! a machine whose guard is switched off.

use crate::oracle::Violation;
use crate::run::panics;
use crate::stage::{Judged, Stage};
use crate::trace::Detail;

mod f01;
mod f03;
mod f04;
mod f05;
#[cfg(all(test, feature = "next-format"))]
mod formats;
mod h01;
mod h02;
mod h03;
mod h04;
mod h05;
mod h06;
mod h07;
mod h08;
mod h10;
mod h11;
mod h13;
mod h14;
mod h15;
mod h16;
mod h17;
mod h18;
mod h19;
mod h20;
mod h22;
mod h23;
mod h24;
mod h25;
mod h27;
mod h28;
mod h29;
mod h30;
mod h32;
mod h33;
mod late_hello;
mod operator;
mod r08;
mod r12;
mod r13;
mod r14;
mod r15;
mod r18;
mod readiness;

/// One schedule.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Its name, also that of its test.
    pub name: &'static str,
    /// What it shows.
    pub claim: &'static str,
    nodes: usize,
    script: fn(&mut Stage) -> Judged,
}

// === impl Schedule ===

impl Schedule {
    /// Runs it: the verdict, and the trace when it is wanted.
    pub fn run(&self, detail: Detail) -> (Result<(), Violation>, Vec<String>) {
        let mut stage = Stage::new(self.nodes, detail);
        let judged = panics(|| (self.script)(&mut stage)).and_then(|judged| judged);
        (judged, stage.world.trace().lines().to_vec())
    }
}

macro_rules! schedules {
    ($($module:ident::$name:ident, $nodes:literal, $claim:literal;)*) => {
        /// All of them.
        pub const SCHEDULES: &[Schedule] = &[$(Schedule {
            name: stringify!($name),
            claim: $claim,
            nodes: $nodes,
            script: $module::$name,
        }),*];

        #[cfg(test)]
        mod tests {
            use super::{Detail, SCHEDULES};

            $(#[test]
            fn $name() {
                let schedule = SCHEDULES.iter().find(|s| s.name == stringify!($name));
                let (judged, _) = schedule.expect("listed by the same macro").run(Detail::Hash);
                if let Err(violation) = judged {
                    panic!("{violation}; replay: sim replay --schedule {}", stringify!($name));
                }
            })*
        }
    };
}

schedules! {
    h01::h1_two_candidates_of_one_epoch_never_both_reign, 5,
        "a lost Lease gives two candidates the same epoch; one of them reigns";
    h02::h2_no_ack_by_an_fdatasync_that_ends_after_the_promise, 3,
        "a slave's late fdatasync does not count under the ballot it left";
    h02::h2_acks_under_a_new_promise_do_not_count_for_the_old_master, 3,
        "a slave's acks for a new master's records are none for the old one's";
    h02::h2_a_master_does_not_count_itself_after_promising_another, 3,
        "a master's own late fdatasync does not count once it promised another";
    h03::h3_records_of_an_older_epoch_are_not_committed_by_counting, 3,
        "Raft's figure 8";
    h04::h4_a_late_doubled_append_cuts_nothing, 3,
        "an Append of long ago arrives again on the old connection";
    h05::h5_a_divergent_synced_tail_is_not_acknowledged, 3,
        "what an old master has on its disk is no copy of the new master's records";
    h06::h6_the_adopted_logs_voters_judge_the_candidate, 5,
        "two volumes are replaced and come back; the candidate knows neither change";
    h07::h7_a_rolled_back_volume_is_recognised_and_does_not_vote, 3,
        "peers remember what a restored volume forgot";
    h07::h7_a_slave_that_had_to_cut_is_not_accused, 3,
        "an acknowledged record was cut by a later master; the cut mark clears the slave";
    h08::h8_a_majority_of_empty_volumes_founds_nothing, 3,
        "two wiped volumes and a deleted Lease do not make a new group beside the old one";
    h08::h8_the_first_election_needs_every_founder, 3,
        "the group is confirmed, one founder is away, the logs are empty";
    h10::h10_an_acknowledged_batch_that_is_damaged_costs_the_vote, 3,
        "it looks like a torn tail; the peers remember the ack";
    h11::h11_what_a_failed_fdatasync_lost_is_written_again, 3,
        "after an fsync error and a restart nothing counts that is only in the page cache";
    h13::h13_a_master_whose_disk_hangs_is_replaced, 3,
        "its heartbeats go on, but it says that it is not valid";
    h13::h13_a_single_broker_serves_again_when_its_disk_moves, 1,
        "nobody else could take over";
    h14::h14_a_duel_of_candidates_ends, 5,
        "candidates that meet at a slow Lease do not depose each other for ever";
    h15::h15_a_stolen_lease_makes_and_unmakes_no_master, 3,
        "the Lease names another holder and a higher epoch; the master reigns on";
    h16::h16_an_expired_lease_unseats_nobody, 3,
        "the Lease store is away for long; the master serves all the while";
    h17::h17_a_resigning_master_votes_for_its_successor, 3,
        "a hand-over with the third member down";
    h18::h18_without_a_lease_store_a_lost_master_is_replaced_when_it_is_back, 3,
        "the store is away and the master dies: the group holds, then elects";
    h19::h19_an_absurd_epoch_in_the_lease_is_ignored, 3,
        "the annotation says 2^64-1; the group elects on";
    h20::h20_a_zombie_master_hands_out_nothing, 3,
        "a stopped master goes on after another one took over";
    h22::h22_a_single_broker_that_lost_its_volume_does_not_found_anew, 1,
        "the only volume is blank, the Lease knows the group";
    h23::h23_a_longer_stale_log_gets_the_checkpoint, 3,
        "an old master's own records reach beyond what the new one has compacted";
    h24::h24_a_member_that_found_damage_serves_no_fetch, 3,
        "it promised, restarted, and found the end of its journal damaged";
    h24::h24_a_fetch_of_a_ballot_that_was_left_is_not_served, 3,
        "a member that promised another gives the older candidate nothing";
    h25::h25_a_damaged_member_has_no_vote_below_its_masters_end, 3,
        "it acknowledged, lost it, and hears its master without getting it back";
    h27::h27_a_lease_deleted_while_founding_founds_one_group, 3,
        "whatever becomes of the Lease, two groups never serve";
    h28::h28_members_of_another_group_than_the_leases_stay_strangers, 3,
        "the Lease names another group; nobody stands";
    h29::h29_a_promise_to_a_dead_candidate_is_outbid, 3,
        "a slave that promised a dead candidate makes its master stand again";
    h29::h29_a_learner_that_promised_a_dead_candidate_is_outbid, 5,
        "who has no vote refuses, too, or it learns nothing for ever";
    h30::h30_a_proposal_whose_volume_died_is_cleared, 3,
        "a listed volume is lost between proposal and confirmation";
    operator::a_proposal_waits_for_the_operator_and_is_founded_by_it, 3,
        "on Kubernetes brokers only propose";
    operator::h30_a_dead_proposal_is_left_for_the_operator_to_clear, 3,
        "a listed volume is lost, and it is not a broker that clears the proposal";
    readiness::a_slave_stays_ready_through_an_election_and_not_for_long_without, 3,
        "it is judged by the last master for 15 s";
    readiness::a_slave_that_is_behind_a_reigning_master_is_not_ready, 3,
        "it is judged by the master that it hears";
    h32::h32_a_learner_is_listed_only_once_it_is_clean_on_its_disk, 3,
        "its disk goes on by one operation at a time";
    h33::h33_a_repaired_member_is_not_accused_of_what_was_never_committed, 5,
        "an old master remembers an ack of what a later one never had";
    r15::r15_a_wiped_slave_is_replaced_and_the_next_loss_is_survived, 3,
        "learner, joint Config, final Config; then its vote and its disk count";
    r15::r15_a_volume_that_was_replaced_is_not_taken_back, 3,
        "it has everything and is clean, and is no voter for all that";
    r18::h34_old_acks_set_no_volume_aside, 3,
        "the only other copy of what is committed does not answer now";
    f01::f1_a_master_killed_after_any_effect_loses_nothing, 3,
        "kill -9 between any two effects of a commit";
    f01::f1_a_transaction_is_whole_or_nothing_wherever_its_master_dies, 3,
        "the same between any two records of a transaction";
    f03::f3_a_power_cut_of_all_loses_nothing_in_any_order_of_return, 3,
        "all hosts lose their power at once";
    f04::f4_a_power_cut_member_in_the_first_quorum_loses_nothing, 3,
        "one power cut and pauses put the restarted member into the first quorum";
    f05::f5_acks_of_a_catch_up_commit_nothing_by_themselves, 3,
        "a slave that catches up is no reason to commit what it catches up with";
    late_hello::a_late_hello_of_a_dead_process_takes_no_link_away, 3,
        "it arrives after its successor's, on a connection that ends then";
    r08::r8_acks_of_a_damaged_member_do_not_count, 3,
        "its ack comes before anything else that tells of the damage";
    r12::r12_a_slave_far_behind_gets_a_checkpoint_while_producers_go_on, 3,
        "the log moved on without it";
    r12::r12_a_slave_that_dies_at_any_step_of_the_transfer_resumes, 3,
        "it is killed, or its power is cut, at every message and inside the switch";
    r12::r12_a_master_that_dies_in_the_middle_of_a_transfer_is_followed_by_another, 3,
        "the next one offers its own";
    r12::r12_a_half_synced_slave_never_leads, 3,
        "its master is killed at many points of the transfer";
    r12::f15_a_checkpoint_that_is_replaced_in_the_middle_does_no_harm, 3,
        "the master makes newer ones while pieces are out";
    r14::r14_a_master_that_was_damaged_before_it_led_hands_over, 3,
        "nobody could do without it when it found the damage";
    r13::r13_a_wiped_master_comes_back_as_a_new_voter, 3,
        "learner, joint Config, final Config";
    r13::r13_a_learner_that_dies_at_any_step_of_its_join_joins, 3,
        "killed at each frame of the join";
    r13::r13_a_master_that_dies_between_joint_and_final_leaves_no_split, 3,
        "before and after the joint record is committed";
    r13::r13_a_new_voter_and_its_master_are_no_majority_of_the_old_ones, 3,
        "the old volume comes back, and the third member heard of no change";
    r12::r12_a_late_offer_takes_no_record_back, 3,
        "the offer that it followed arrives again";
}
