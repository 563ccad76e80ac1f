//! One suite that every broker passes: the embedded one here, in this process, and a real mosquitto.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod authority;
mod down;
mod gateway;
mod house;
mod mosquitto;
mod suite;

use std::time::Duration;

/// Waits for a condition, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

macro_rules! conformance {
    ($($room:ident::$case:ident),* $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$room::$case(crate::house::House::new(crate::house::Kind::Embedded).await).await;
                }
            )*
        }
        mod external {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::$room::$case(crate::house::House::new(crate::house::Kind::External).await).await;
                }
            )*
        }
    };
}

conformance!(
    suite::messages_pass_both_ways,
    suite::a_state_arrives_as_it_was_said,
    suite::strangers_are_refused,
    suite::nobody_speaks_as_another,
    suite::a_gateway_publishes_on_its_own_topics_only,
    suite::a_gateway_hears_its_own_topics_only,
    suite::a_last_will_is_for_its_own_state_only,
    suite::nothing_is_retained_but_states,
    suite::presence_follows_take_over_and_a_killed_socket,
    suite::a_flood_is_dropped_and_counted_and_stalls_nobody,
    suite::a_deaf_gateway_fills_its_own_bound_only,
    suite::too_large_is_refused_and_harms_nobody,
    suite::idle_sockets_stall_nobody,
    suite::revocation_ends_the_session_for_good,
    suite::everything_comes_back_after_the_broker_forgot_all,
    suite::shutdown_ends_what_it_began,
    suite::a_site_that_is_away_is_an_error_or_silence,
    down::orders_wait_for_their_gateway_and_go_when_it_is_heard,
    down::a_new_run_of_the_hub_sends_again_and_nothing_is_taken_twice,
    down::a_gateway_whose_disk_was_set_back_gets_everything_again,
);
