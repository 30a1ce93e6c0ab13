//! The conformance list of the storage: the same behaviours on SQLite and PostgreSQL, the lanes included.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(unreachable_pub, reason = "nothing uses a test binary from outside")]

mod accounts;
mod attempts;
mod clock;
mod counts;
mod database;
mod doors;
mod enrolled;
mod held;
mod idempotency;
mod judge;
mod lanes;
mod loss;
mod lossy;
mod management;
mod nodes;
mod outbox;
mod people;
mod plans;
mod presence;
mod proof;
mod proxy;
mod saving;
mod sessions;
mod signing;
mod starting;
mod world;
mod writeback;

/// Runs each function on both engines, in a database of its own.
macro_rules! on_both_engines {
    ($($file:ident::$name:ident,)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$file::$name(crate::world::World::sqlite()).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$file::$name(crate::world::World::postgres().await).await;
            })+
        }
    };
}

on_both_engines! {
    management::a_device_is_registered_found_listed_deactivated_and_deleted,
    management::a_refused_batch_changes_nothing_and_leaves_no_event,
    management::keys_are_kept_listed_and_revoked_once,
    management::the_numbers_are_counted,
    management::a_user_has_room_for_so_many_devices,
    attempts::one_code_fifty_times_at_once_is_accepted_once,
    attempts::guesses_at_once_never_exceed_the_budget,
    attempts::a_pending_device_is_confirmed_by_its_first_code,
    attempts::an_unknown_device_leaves_no_trace,
    attempts::a_counter_device_moves_on_with_each_code,
    attempts::a_clock_behind_the_stored_time_judges_nothing,
    doors::whatever_proves_a_person_serves_once,
    doors::wrong_codes_at_a_device_and_at_its_person_count_together,
    doors::a_login_of_another_person_is_not_found,
    doors::an_emailed_code_counts_for_itself,
    doors::a_replaced_code_keeps_the_count,
    doors::a_kind_that_a_user_has_one_of_is_made_once,
    doors::recovery_codes_of_an_enrolment_wait_for_its_confirmation,
    doors::recovery_codes_of_an_enrolment_go_with_its_device,
    idempotency::a_repeated_request_gets_the_first_answer,
    idempotency::a_key_used_with_another_request_is_refused,
    idempotency::a_kept_answer_is_confirmed_as_it_is,
    idempotency::a_kept_answer_expires,
    idempotency::an_unknown_device_stays_unknown_for_the_same_request,
    idempotency::an_acceptance_is_not_repeated_for_a_device_revoked_since,
    accounts::an_account_is_made_once_and_found,
    accounts::a_password_is_set_required_and_goes_with_its_account,
    sessions::a_session_is_opened_found_and_ended,
    sessions::no_session_comes_of_a_login_that_was_ended,
    sessions::sessions_are_swept_when_their_time_is_over,
    sessions::no_session_without_a_factor_where_one_is_in_force,
    outbox::a_mail_is_posted_taken_once_and_removed,
    people::a_person_is_shown_with_their_numbers,
    people::people_are_paged_newest_first,
    people::only_addresses_without_anything_are_forgotten,
    people::an_erased_person_leaves_nothing_behind_and_nobody_else_is_touched,
    plans::what_has_ended_is_found_by_an_index,
    presence::servers_are_counted_while_they_are_heard,
    signing::a_signing_key_is_next_then_active_then_retired_then_gone,
    signing::the_first_signing_keys_can_initialise_a_database,
    counts::names_and_delays_are_counted_by_the_hour,
    counts::the_hours_and_chains_are_apart_and_the_chains_summed,
    counts::a_refused_batch_counts_nothing,
    counts::old_hours_are_swept_some_at_a_time,
    starting::ids_never_repeat,
    starting::chains_are_gapless_and_name_the_one_before,
    starting::a_newer_schema_is_refused,
    starting::a_reader_reads_and_does_not_write,
    starting::an_empty_database_is_not_read,
    starting::what_initialises_a_database_is_committed_or_refused_as_a_whole,
}
