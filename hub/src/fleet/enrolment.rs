//! From a claim to a certificate: how a box comes to fill a site, and how it is put out again.
//!
//! Everything that concerns one site happens one by one (its row is held), in one transaction with its audit line and
//! its entry in the change log; only what was committed reaches the [`Roster`](super::Roster) and the revocation list.

use std::net::IpAddr;

use axum::http::StatusCode;
use sqlx::AnyConnection;

use super::FleetRoom;
use super::claim::{self, CLAIM_MS, WhyNot, Worth};
use super::request::{GatewayKey, RequestRefused, read_request};
use super::{configuration, presence, store, view};
use crate::audit;
use crate::identity::limit::{self, Limit};
use crate::identity::{Right, Viewer};
use crate::ids::{self, GatewayId, RegionCode, SiteId};
use crate::live;
use crate::web::Problem;

/// Wrong codes per address. Five mistyped ones are free; guessing 40 bits at one try in five minutes is hopeless.
const CLAIM_LIMIT: Limit = Limit { free: 5, wait_ms_max: 5 * 60 * 1000, window_ms: 60 * 60 * 1000 };
/// Most characters of the reason for a revocation.
const REASON_CHARS_MAX: usize = 200;

/// A claim just made; the only time its code is known.
pub(super) struct NewClaim {
    pub(super) id: String,
    pub(super) site: SiteId,
    pub(super) code: String,
    pub(super) expires_ms: i64,
}

/// What a gateway gets for its claim.
#[derive(Debug)]
pub(super) struct Enrolled {
    pub(super) site: SiteId,
    pub(super) gateway: GatewayId,
    pub(super) certificate_pem: String,
}

/// Makes a claim for a site, and takes back those before it.
pub(super) async fn create_claim(
    room: &FleetRoom,
    viewer: &Viewer,
    site: &SiteId,
    now_ms: i64,
) -> Result<NewClaim, Problem> {
    viewer.may(Right::SiteManage)?;
    let mut transaction = room.store.begin().await?;
    let region = held_site(&mut transaction, viewer, site).await?;
    store::withdraw_claims(&mut transaction, now_ms, site).await?;
    let (id, code) = (ids::sortable(now_ms), claim::new_code());
    store::insert_claim(&mut transaction, now_ms, &id, site, &claim::hash(&code)).await?;
    let line = audit::Record::done(viewer, "claim.create", site.as_str(), &region).detail(&id);
    audit::record(&mut transaction, now_ms, line).await?;
    append_site(&mut transaction, now_ms, site).await?;
    transaction.commit().await?;
    room.live.notify();
    Ok(NewClaim { id, site: site.clone(), code, expires_ms: now_ms + CLAIM_MS })
}

/// Takes back the open claims of a site; having none is fine.
pub(super) async fn withdraw_claims(
    room: &FleetRoom,
    viewer: &Viewer,
    site: &SiteId,
    now_ms: i64,
) -> Result<(), Problem> {
    viewer.may(Right::SiteManage)?;
    let mut transaction = room.store.begin().await?;
    let region = held_site(&mut transaction, viewer, site).await?;
    if store::withdraw_claims(&mut transaction, now_ms, site).await? == 0 {
        return Ok(());
    }
    let line = audit::Record::done(viewer, "claim.withdraw", site.as_str(), &region);
    audit::record(&mut transaction, now_ms, line).await?;
    append_site(&mut transaction, now_ms, site).await?;
    transaction.commit().await?;
    room.live.notify();
    Ok(())
}

/// Puts a site's gateway out: its certificate is good no more and its connection ends.
pub(super) async fn revoke(
    room: &FleetRoom,
    viewer: &Viewer,
    site: &SiteId,
    reason: &str,
    now_ms: i64,
) -> Result<(), Problem> {
    viewer.may(Right::SiteManage)?;
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        return Err(Problem::invalid("reason", "请用 1 到 200 字写明原因", "give a reason of 1 to 200 characters"));
    }
    let mut transaction = room.store.begin().await?;
    let region = held_site(&mut transaction, viewer, site).await?;
    let gateway = store::revoke(&mut transaction, now_ms, site, reason).await?.ok_or_else(no_gateway)?;
    let line = audit::Record::done(viewer, "gateway.revoke", site.as_str(), &region)
        .detail(format!("gateway {gateway}: {reason}"));
    audit::record(&mut transaction, now_ms, line).await?;
    append_site(&mut transaction, now_ms, site).await?;
    transaction.commit().await?;
    room.roster.changed(&room.store, &room.authority, site, now_ms).await;
    room.live.notify();
    Ok(())
}

/// A gateway presents a code and a certificate request. The claim is its right; there is no session.
pub(super) async fn enrol(
    room: &FleetRoom,
    from: IpAddr,
    code: &str,
    request_pem: &str,
    now_ms: i64,
) -> Result<Enrolled, Problem> {
    let key = read_request(request_pem).map_err(wrong_request)?;
    let subject = limit::address_subject("claim-from", from);
    limit::admit(&room.store, now_ms, &subject, &CLAIM_LIMIT).await?;
    let code = claim::read_code(code).ok_or_else(|| worthless(WhyNot::Unknown))?;

    let mut transaction = room.store.begin().await?;
    // Undone together with all else when the claim is worth nothing.
    limit::give_back(&mut transaction, &subject).await?;
    let enrolled = match enrol_within(room, &mut transaction, &code, &key, now_ms).await {
        Ok(enrolled) => enrolled,
        Err(Refused::Worthless(why, site)) => {
            transaction.rollback().await?;
            if let Some((site, region)) = site {
                let line = audit::Record::done_by("gateway", "gateway.enrol", site, &region).detail(format!("{why:?}"));
                audit::refused(&room.store, now_ms, line).await;
            }
            return Err(worthless(why));
        }
        Err(Refused::Other(problem)) => return Err(problem),
    };
    transaction.commit().await?;
    room.roster.changed(&room.store, &room.authority, &enrolled.site, now_ms).await;
    room.live.notify();
    Ok(enrolled)
}

/// Why an enrolment came to nothing; of a known claim, for which site.
enum Refused {
    Worthless(WhyNot, Option<(String, RegionCode)>),
    Other(Problem),
}

impl<E: Into<Problem>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

async fn enrol_within(
    room: &FleetRoom,
    connection: &mut AnyConnection,
    code: &str,
    key: &GatewayKey,
    now_ms: i64,
) -> Result<Enrolled, Refused> {
    let code_sha256 = claim::hash(code);
    let unknown = || Refused::Worthless(WhyNot::Unknown, None);
    let found = store::claim_by_code(connection, &code_sha256).await?.ok_or_else(unknown)?;
    let region = store::hold_site(connection, &found.site_id).await?.ok_or_else(unknown)?;
    // Read again under the site's lock: another request may just have used it.
    let claim = store::claim_by_code(connection, &code_sha256).await?.ok_or_else(unknown)?;
    let site = SiteId::from_known(claim.site_id.as_str());
    let refused = |why| Refused::Worthless(why, Some((claim.site_id.clone(), region.clone())));
    match claim.worth(&key.sha256, now_ms) {
        Worth::Nothing(why) => Err(refused(why)),
        Worth::Again { serial } => {
            let (gateway, certificate_pem) =
                store::live_certificate(connection, &serial).await?.ok_or_else(|| refused(WhyNot::Used))?;
            Ok(Enrolled { site, gateway, certificate_pem })
        }
        Worth::Certificate => {
            let gateway = GatewayId::from_known(ids::opaque());
            let issued = room.authority.issue(&site, &gateway, key, now_ms)?;
            let former = store::revoke(connection, now_ms, &site, "replaced").await?;
            presence::forget(connection, &site).await?;
            configuration::begin_anew(connection, now_ms, &site).await?;
            store::insert_certificate(connection, now_ms, &site, &gateway, &issued).await?;
            store::use_claim(connection, now_ms, &claim.id, &key.sha256, &issued.serial).await?;
            let detail =
                former.map_or(format!("gateway {gateway}"), |former| format!("gateway {gateway} replaces {former}"));
            let line = audit::Record::done_by(&format!("gateway:{site}"), "gateway.enrol", site.as_str(), &region);
            audit::record(connection, now_ms, line.detail(detail)).await?;
            append_site(connection, now_ms, &site).await?;
            Ok(Enrolled { site, gateway, certificate_pem: issued.pem })
        }
    }
}

/// The region of a site that the viewer may know of; its row is held.
pub(super) async fn held_site(
    connection: &mut AnyConnection,
    viewer: &Viewer,
    site: &SiteId,
) -> Result<RegionCode, Problem> {
    let region = store::hold_site(connection, site.as_str()).await?.ok_or_else(Problem::not_found)?;
    viewer.require_region(&region)?;
    Ok(region)
}

/// Appends "this is how the site is now". Last in its transaction, because it holds the change log's counter.
pub(super) async fn append_site(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
) -> Result<view::SiteView, Problem> {
    let view = view::site(connection, now_ms, site).await?.ok_or_else(Problem::not_found)?;
    live::append(connection, now_ms, &[view.draft()]).await?;
    Ok(view)
}

fn no_gateway() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "site.no_gateway",
        "这个站点现在没有网关，什么都没有改变。",
        "This site has no gateway now. Nothing was changed.",
    )
}

fn wrong_request(refused: RequestRefused) -> Problem {
    let (zh, en) = match refused {
        RequestRefused::Unreadable => {
            ("应为 PEM 格式的 PKCS #10 证书请求，不超过 8 kB", "it must be a PKCS #10 request in PEM of at most 8 kB")
        }
        RequestRefused::WrongKey => ("密钥应为 P-256 椭圆曲线", "its key must be an EC key on P-256"),
        RequestRefused::WrongSignature => ("签名与密钥不符", "its signature must be made with its key"),
    };
    Problem::invalid("certificate_request", zh, en)
}

fn worthless(why: WhyNot) -> Problem {
    match why {
        WhyNot::Unknown => Problem::new(
            StatusCode::NOT_FOUND,
            "claim.unknown",
            "认领码不对，请核对后再试。",
            "This claim code is not known. Check it and try again.",
        ),
        WhyNot::Used => Problem::new(
            StatusCode::CONFLICT,
            "claim.used",
            "认领码已被另一台网关用过，请在站点页面重新生成。",
            "Another gateway has used this claim code. Make a new one on the site's page.",
        ),
        WhyNot::Expired => Problem::new(
            StatusCode::GONE,
            "claim.expired",
            "认领码已过 15 分钟有效期，请在站点页面重新生成。",
            "This claim code's 15 minutes are over. Make a new one on the site's page.",
        ),
        WhyNot::Withdrawn => Problem::new(
            StatusCode::GONE,
            "claim.withdrawn",
            "认领码已作废，请使用最新生成的那一个。",
            "This claim code was withdrawn. Use the newest one.",
        ),
    }
}
