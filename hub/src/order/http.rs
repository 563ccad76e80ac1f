//! Which keys order beside the root's, and ending them.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Orders;
use crate::audit;
use crate::clock;
use crate::ids::RegionCode;
use crate::store::Store;
use crate::viewer::{Right, Viewer};
use crate::web::{Problem, ProblemDocument};

/// Most keys of one answer: two of each village and township of a large county.
const LISTED_MAX: i64 = 2_000;
/// As long as a reason may be.
const REASON_CHARS_MAX: usize = 200;

/// What the room needs of the hub.
#[derive(Clone, Debug)]
pub struct OrderRoom {
    /// The tables.
    pub store: Store,
    /// Who gives orders.
    pub orders: Orders,
}

/// The room's routes; whoever serves them adds the state.
pub fn routes() -> OpenApiRouter<OrderRoom> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(withdraw))
}

/// A key that orders beside the root's.
#[derive(Debug, Serialize, ToSchema)]
struct OrderKeyView {
    /// The name under which it orders.
    issuer: String,
    /// For which region.
    region_code: RegionCode,
    /// That region's name.
    region_name: String,
    /// From when on it counts, UTC milliseconds.
    not_before_ms: i64,
    /// Until when, UTC milliseconds.
    not_after_ms: i64,
    /// When it last gave an order, UTC milliseconds; `null`: not yet.
    last_used_ms: Option<i64>,
    /// How many gateways were told of it.
    gateways: i64,
}

/// Keys of the viewer's region whose time is not over.
#[derive(Debug, Serialize, ToSchema)]
struct OrderKeyPage {
    /// By region; at most 2,000.
    order_keys: Vec<OrderKeyView>,
}

/// Why a region's keys are to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrderKeyWithdrawal {
    /// 1–200 characters.
    reason: String,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
struct OrderKeyWithdrawn {
    /// How many gateways are told.
    gateways: usize,
}

/// Keys that order beside the root's, for the viewer's region.
#[utoipa::path(get, path = "/api/v1/order-keys", operation_id = "list_order_keys", tag = "order", responses(
    (status = OK, body = OrderKeyPage),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn list(State(room): State<OrderRoom>, viewer: Viewer) -> Result<Json<OrderKeyPage>, Problem> {
    viewer.may(Right::RegionManage)?;
    let rows = sqlx::query(
        // A counter is the time of its order; what a key of the same name gave before this one is not this one's.
        "select k.issuer, k.region_code, coalesce(r.name, k.region_code) region_name, k.not_before_ms, k.not_after_ms, \
         (select max(c.last) from order_counter c where c.issuer = k.issuer and c.last >= k.not_before_ms) last_used_ms, \
         (select count(*) from delegation d where d.issuer = k.issuer and d.not_after_ms = k.not_after_ms) gateways \
         from order_key k left join region r on r.code = k.region_code where k.region_code >= $1 and k.region_code < $2 and k.not_after_ms > $3 \
         order by k.region_code, k.issuer limit $4",
    )
    .bind(viewer.region.as_str())
    .bind(viewer.region.end())
    .bind(clock::utc_ms())
    .bind(LISTED_MAX)
    .fetch_all(room.store.reader())
    .await?;
    let read = |row: &sqlx::any::AnyRow| {
        Ok(OrderKeyView {
            issuer: row.try_get("issuer")?,
            region_code: RegionCode::from_known(row.try_get::<String, _>("region_code")?),
            region_name: row.try_get("region_name")?,
            not_before_ms: row.try_get("not_before_ms")?,
            not_after_ms: row.try_get("not_after_ms")?,
            last_used_ms: row.try_get("last_used_ms")?,
            gateways: row.try_get("gateways")?,
        })
    };
    Ok(Json(OrderKeyPage { order_keys: rows.iter().map(read).collect::<Result<_, sqlx::Error>>()? }))
}

/// Have no gateway obey this key any more, nor the other one of its region: they may have got into wrong hands. The next notice
/// there draws a new one.
#[utoipa::path(post, path = "/api/v1/order-keys/{id}/withdraw", operation_id = "withdraw_order_keys",
    tag = "order", params(("id" = String, Path)), request_body = OrderKeyWithdrawal, responses(
    (status = OK, body = OrderKeyWithdrawn),
    (status = "4XX", body = ProblemDocument, content_type = "application/problem+json")
))]
async fn withdraw(
    State(room): State<OrderRoom>,
    viewer: Viewer,
    Path(issuer): Path<String>,
    Json(request): Json<OrderKeyWithdrawal>,
) -> Result<Json<OrderKeyWithdrawn>, Problem> {
    viewer.may(Right::RegionManage)?;
    let mut transaction = room.store.begin().await?;
    let region: Option<String> = sqlx::query_scalar("select region_code from order_key where issuer = $1")
        .bind(issuer)
        .fetch_optional(&mut *transaction)
        .await?;
    let region = RegionCode::from_known(region.ok_or_else(Problem::not_found)?);
    viewer.require_region(&region)?;
    let reason = request.reason.trim();
    if !(1..=REASON_CHARS_MAX).contains(&reason.chars().count()) {
        return Err(Problem::invalid("reason", "应为 1 至 200 个字", "1 to 200 characters"));
    }
    let now_ms = clock::utc_ms();
    let sites = room.orders.withdraw(&mut transaction, now_ms, &region).await?;
    let line = audit::Record::done(&viewer, "order_key.withdraw", region.as_str(), &region).detail(reason);
    audit::record(&mut transaction, now_ms, line).await?;
    transaction.commit().await?;
    for site in &sites {
        room.orders.wake(site);
    }
    Ok(Json(OrderKeyWithdrawn { gateways: sites.len() }))
}
