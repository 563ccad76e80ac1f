//! What each gateway is to do: one document per site, built from what the rooms know, and ordered of its gateway.
//!
//! Whoever changes something that a gateway is told marks the site in its own transaction
//! ([`fleet::configuration::mark`](crate::fleet::configuration::mark)). The task here finds the mark, asks every
//! [`Contributor`] for its part, and if the document differs from the one before, stores it sealed under the next revision
//! and orders the gateway to follow it; all in one transaction with taking the mark away. The gateway fetches the document by
//! the hash that its order names ([`gateway_routes`]), and nobody else's.

mod http;
mod store;
mod task;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use sqlx::AnyConnection;
use tongluo_protocols::configuration::Configuration;

use crate::ids::SiteId;

pub use http::{ConfigurationRoom, gateway_routes};
pub use task::Configurations;

/// A room that has something to say in gateways' configurations.
#[async_trait]
pub trait Contributor: Send + Sync + 'static {
    /// Adds what a site's gateway is to know, as of the transaction that `connection` is in. The same state adds the same, in
    /// the same order, so that nothing is ordered anew without a reason.
    ///
    /// # Errors
    /// The database's, or a secret that does not open. The site keeps its present configuration until it can be built.
    async fn contribute(
        &self,
        connection: &mut AnyConnection,
        site: &SiteId,
        configuration: &mut Configuration,
    ) -> anyhow::Result<()>;
}
