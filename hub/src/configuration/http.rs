//! `GET /configuration/{sha256}` on the gateways' own door: a site's document, to that site alone.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tongluo_protocols::id::ContentId;

use super::store;
use crate::gateways::GatewaySite;
use crate::ids::SiteId;
use crate::seal::Seal;
use crate::store::Store;
use crate::web::Problem;

/// What the route works on.
#[derive(Clone, Debug)]
pub struct ConfigurationRoom {
    /// Where the documents are.
    pub store: Store,
    /// What opens them.
    pub seal: Seal,
}

/// The route, for gateways.
pub fn gateway_routes(room: ConfigurationRoom) -> Router {
    Router::new().route("/configuration/{sha256}", get(document)).with_state(room)
}

/// Answers the document that the site was last ordered to follow. A hash of an earlier one is not found: its order has been
/// overtaken by another that is on its way.
async fn document(
    State(room): State<ConfigurationRoom>,
    GatewaySite(site): GatewaySite,
    Path(sha256): Path<String>,
) -> Result<Response, Problem> {
    let content: ContentId = sha256.parse().map_err(|_| Problem::not_found())?;
    let mut connection = room.store.reader().acquire().await?;
    let sealed = store::sealed(&mut connection, &site, &content.to_string()).await?.ok_or_else(Problem::not_found)?;
    let bytes = room.seal.unseal(&label(&site), &sealed).map_err(anyhow::Error::new)?;
    Ok(([(header::CONTENT_TYPE, "application/cbor"), (header::CACHE_CONTROL, "no-store")], bytes).into_response())
}

/// What a site's document is sealed under.
pub(super) fn label(site: &SiteId) -> String {
    format!("configuration/{site}")
}
