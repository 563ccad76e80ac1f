//! Who is asking, and what they may do: the person behind a request, as every room sees them.
//!
//! [`identity`](crate::identity) finds the person by the session cookie and puts them into the request; rooms take a
//! [`Viewer`] as an argument of their handlers. This file knows neither tables nor passwords, so that every room may
//! lean on it. Rights follow the region tree: one may act where one's own region's code is a prefix.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{AccountId, RegionCode};
use crate::web::{Language, Problem};

/// What a person is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks after people, sites and regions, and may handle alarms.
    Administrator,
    /// Watches and handles alarms, and has notices played.
    Operator,
    /// Handles the alarms of the own village, and speaks to it.
    VillageHead,
    /// Sets up and mends gateways and devices.
    Technician,
}

/// Something that not everybody may do. Reading what happens in one's own region needs no right but a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Acknowledge and close alarms.
    AlarmHandle,
    /// Make sounds, and have loudspeakers play them.
    BroadcastSend,
    /// Create sites, hand out claims, revoke certificates, name and place devices.
    SiteManage,
    /// Create and change accounts.
    UserManage,
    /// Read the audit trail.
    AuditRead,
    /// Import regions, and end the keys that order in them.
    RegionManage,
    /// Take stretches of recordings out of a village, and fetch what was taken out.
    RecordingExport,
}

impl Role {
    /// Every role, for tests that walk them.
    pub const ALL: [Self; 4] = [Self::Administrator, Self::Operator, Self::VillageHead, Self::Technician];

    /// As stored and as the pages read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Operator => "operator",
            Self::VillageHead => "village_head",
            Self::Technician => "technician",
        }
    }

    /// The role of a stored name. `None`: no such role.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// What this role may do, inside its region.
    pub const fn rights(self) -> &'static [Right] {
        match self {
            Self::Administrator => &[
                Right::AlarmHandle,
                Right::BroadcastSend,
                Right::SiteManage,
                Right::UserManage,
                Right::AuditRead,
                Right::RegionManage,
                Right::RecordingExport,
            ],
            Self::Operator => &[Right::AlarmHandle, Right::BroadcastSend, Right::RecordingExport],
            Self::VillageHead => &[Right::AlarmHandle, Right::BroadcastSend],
            Self::Technician => &[Right::SiteManage],
        }
    }
}

impl Right {
    /// As the pages read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlarmHandle => "alarm.handle",
            Self::BroadcastSend => "broadcast.send",
            Self::SiteManage => "site.manage",
            Self::UserManage => "user.manage",
            Self::AuditRead => "audit.read",
            Self::RegionManage => "region.manage",
            Self::RecordingExport => "recording.export",
        }
    }
}

/// The person behind a request. As an argument of a handler it answers "log in first" when there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The account.
    pub account_id: AccountId,
    /// What they log in with.
    pub username: String,
    /// What colleagues call them.
    pub display_name: String,
    /// What they are here for.
    pub role: Role,
    /// Where.
    pub region: RegionCode,
    /// The language they read.
    pub language: Language,
    /// SHA-256 of the session's token: names the session without being able to open it.
    pub session_sha256: [u8; 32],
    /// When the session ends by itself, UTC.
    pub expires_ms: i64,
}

impl Viewer {
    /// Whether the role carries a right.
    pub fn has(&self, right: Right) -> bool {
        self.role.rights().contains(&right)
    }

    /// Demands a right.
    ///
    /// # Errors
    /// "Forbidden" when the role does not carry it.
    pub fn may(&self, right: Right) -> Result<(), Problem> {
        if self.has(right) { Ok(()) } else { Err(Problem::forbidden()) }
    }

    /// Whether things of this region are theirs to see.
    pub fn sees(&self, region: &RegionCode) -> bool {
        self.region.contains(region)
    }

    /// Demands that a thing lies in their region.
    ///
    /// # Errors
    /// "Not found" when it lies outside: that something exists there is not told either.
    pub fn require_region(&self, region: &RegionCode) -> Result<(), Problem> {
        if self.sees(region) { Ok(()) } else { Err(Problem::not_found()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

/// For tests of rooms: asking their routes as somebody, without cookies or sockets.
#[cfg(test)]
pub(crate) mod testing {
    use axum::body::Body;
    use axum::http::{HeaderMap, Request, StatusCode, header};
    use axum::{Extension, Router, middleware};
    use http_body_util::BodyExt as _;
    use serde_json::Value;
    use tower::ServiceExt as _;
    use utoipa_axum::router::OpenApiRouter;

    use super::*;

    /// Somebody with a role in a region.
    pub(crate) fn viewer(role: Role, region: &str) -> Viewer {
        Viewer {
            account_id: AccountId::from_known("a"),
            username: "a".to_owned(),
            display_name: "A".to_owned(),
            role,
            region: RegionCode::parse(region).unwrap(),
            language: Language::Chinese,
            session_sha256: [0; 32],
            expires_ms: 0,
        }
    }

    /// What a room answered.
    #[derive(Debug)]
    pub(crate) struct Answer {
        pub(crate) status: StatusCode,
        pub(crate) headers: HeaderMap,
        /// Null for an empty body.
        pub(crate) body: Value,
    }

    impl Answer {
        /// The stable name of the problem; empty when there is none.
        pub(crate) fn code(&self) -> &str {
            self.body["code"].as_str().unwrap_or_default()
        }
    }

    /// A room's routes as `somebody` meets them; `None`: without a session.
    pub(crate) fn as_somebody(routes: OpenApiRouter, somebody: Option<Viewer>) -> Router {
        let (router, _) = routes.split_for_parts();
        let router = match somebody {
            Some(viewer) => router.layer(Extension(viewer)),
            None => router,
        };
        router.layer(middleware::from_fn(crate::web::problem::localise))
    }

    /// Asks a route with a JSON body; null sends none.
    pub(crate) async fn ask(router: &Router, method: &str, path: &str, body: Value) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = if body.is_null() {
            request.body(Body::empty())
        } else {
            request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))
        };
        send(router, request.unwrap()).await
    }

    /// Sends a request that is made by hand.
    pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::viewer;
    use super::*;

    #[test]
    fn names_of_roles_go_both_ways() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn only_administrators_manage_people() {
        for role in Role::ALL {
            let allowed = viewer(role, "411728").may(Right::UserManage).is_ok();
            assert_eq!(allowed, role == Role::Administrator, "{role:?}");
        }
    }

    #[test]
    fn what_lies_outside_does_not_exist() {
        let township = viewer(Role::Operator, "411728102");
        let village = RegionCode::parse("411728102201").unwrap();
        let neighbour = RegionCode::parse("411728103").unwrap();
        let county = RegionCode::parse("411728").unwrap();
        assert!(township.require_region(&village).is_ok());
        assert_eq!(township.require_region(&neighbour).unwrap_err().code(), "not_found");
        assert_eq!(township.require_region(&county).unwrap_err().code(), "not_found");
    }
}
