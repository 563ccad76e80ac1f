//! One suite that every broker passes: the embedded one here, in this process, and a real mosquitto.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod authority;
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
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::suite::$case(crate::house::House::new(crate::house::Kind::Embedded).await).await;
                }
            )*
        }
        mod external {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    crate::suite::$case(crate::house::House::new(crate::house::Kind::External).await).await;
                }
            )*
        }
    };
}

conformance!(
    messages_pass_both_ways,
    a_state_arrives_as_it_was_said,
    strangers_are_refused,
    nobody_speaks_as_another,
    a_gateway_publishes_on_its_own_topics_only,
    a_gateway_hears_its_own_topics_only,
    a_last_will_is_for_its_own_state_only,
    nothing_is_retained_but_states,
    presence_follows_take_over_and_a_killed_socket,
    a_flood_is_dropped_and_counted_and_stalls_nobody,
    a_deaf_gateway_fills_its_own_bound_only,
    too_large_is_refused_and_harms_nobody,
    idle_sockets_stall_nobody,
    revocation_ends_the_session_for_good,
    everything_comes_back_after_the_broker_forgot_all,
    shutdown_ends_what_it_began,
    a_site_that_is_away_is_an_error_or_silence,
);
