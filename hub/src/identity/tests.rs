//! People logging in and being managed, as a browser meets it, on every database.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use axum::{Router, middleware};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::{
    AllowedHosts, Identity, Role, Secure, authenticate, create_first_administrator, expire, guard, routes, session_ms,
};
use crate::clock;
use crate::config::Config;
use crate::store::Store;
use crate::store::testing::{COUNTY, TOWNSHIP, VILLAGE, add_site, each_store, region};
use crate::viewer::testing::{Answer, as_somebody, send};

const PASSWORD: &str = "correct horse battery";

/// The hub as browsers reach it.
#[derive(Clone)]
struct Hub {
    identity: Identity,
    router: Router,
}

/// One browser, at an address, with its cookie.
struct Browser {
    hub: Hub,
    address: &'static str,
    secure: bool,
    cookie: Option<String>,
}

impl Hub {
    /// With a county's first administrator, whose password is given too.
    async fn new(store: &Store) -> (Self, String) {
        add_site(store, "s1te").await;
        let (username, password) = create_first_administrator(store, &region(COUNTY), clock::utc_ms()).await.unwrap();
        assert_eq!(username, "admin");
        let identity = Identity::new(store.clone(), 8443);
        let router = as_somebody(routes().with_state(identity.clone()), None)
            .layer(middleware::from_fn_with_state(identity.clone(), authenticate))
            .layer(middleware::from_fn_with_state(AllowedHosts::of(&Config::default()), guard))
            .layer(middleware::from_fn(crate::web::problem::localise));
        (Self { identity, router }, password)
    }

    fn browser(&self, address: &'static str) -> Browser {
        Browser { hub: self.clone(), address, secure: false, cookie: None }
    }

    /// A browser in which somebody has logged in.
    async fn logged_in(&self, username: &str, password: &str) -> Browser {
        let mut browser = self.browser("192.0.2.1");
        assert_eq!(browser.log_in(username, password).await.status, StatusCode::OK);
        browser
    }
}

impl Browser {
    async fn ask_with(&self, method: &str, path: &str, body: Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost:8080");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let mut request = request.header(header::CONTENT_TYPE, "application/json").body(body).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.address.parse().unwrap(), 1)));
        if self.secure {
            request.extensions_mut().insert(Secure);
        }
        send(&self.hub.router, request).await
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        self.ask_with(method, path, body, &[]).await
    }

    async fn log_in(&mut self, username: &str, password: &str) -> Answer {
        let body = json!({ "username": username, "password": password });
        let answer = self.ask("POST", "/api/v1/session", body).await;
        if let Some(cookie) = answer.headers.get(header::SET_COOKIE) {
            self.cookie = cookie.to_str().unwrap().split(';').next().map(str::to_owned);
        }
        answer
    }

    async fn who(&self) -> Answer {
        self.ask("GET", "/api/v1/session", Value::Null).await
    }

    async fn create(&self, username: &str, role: Role, place: &str) -> Answer {
        let body = json!({
            "username": username, "display_name": username, "password": PASSWORD,
            "role": role.as_str(), "region_code": place,
        });
        self.ask("POST", "/api/v1/users", body).await
    }

    async fn change(&self, id: &Value, patch: Value) -> Answer {
        self.ask("PATCH", &format!("/api/v1/users/{}", id.as_str().unwrap()), patch).await
    }
}

#[tokio::test]
async fn a_session_begins_lasts_and_ends() {
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let mut browser = hub.browser("192.0.2.1");
        assert_eq!(browser.who().await.code(), "unauthenticated");
        assert_eq!(browser.log_in("admin", "wrong password").await.code(), "login.wrong");
        assert_eq!(browser.log_in("nobody", &password).await.code(), "login.wrong");
        let me = browser.log_in(" Admin ", &password).await;
        assert_eq!((&me.body["role"], &me.body["region_code"]), (&json!("administrator"), &json!(COUNTY)));
        let rights: Vec<&str> = Role::Administrator.rights().iter().map(|right| right.as_str()).collect();
        assert_eq!(me.body["rights"], json!(rights));
        let cookie = me.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("tongluo_session=") && !cookie.contains("Secure"), "{cookie}");
        assert_eq!(browser.who().await.body["username"], "admin");
        // The token is not in the database.
        let token = browser.cookie.clone().unwrap();
        let token = token.split_once('=').unwrap().1;
        let stored: Vec<u8> =
            sqlx::query_scalar("select token_sha256 from session").fetch_one(store.reader()).await.unwrap();
        assert_ne!(stored.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), token);

        let gone = browser.ask("DELETE", "/api/v1/session", Value::Null).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        assert!(gone.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
        assert_eq!(browser.who().await.code(), "unauthenticated");
        let outcomes: Vec<String> =
            sqlx::query_scalar("select outcome from audit where action like 'session.%' order by id")
                .fetch_all(store.reader())
                .await
                .unwrap();
        assert_eq!(outcomes, ["refused", "done", "done"]);
    })
    .await;
}

#[tokio::test]
async fn on_https_the_cookie_is_the_hosts_alone() {
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let mut browser = Browser { secure: true, ..hub.browser("192.0.2.1") };
        let me = browser.log_in("admin", &password).await;
        let cookie = me.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("__Host-tongluo_session=") && cookie.ends_with("; Secure"), "{cookie}");
        assert_eq!(browser.who().await.status, StatusCode::OK);
        browser.secure = false;
        assert_eq!(browser.who().await.code(), "unauthenticated");
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let browser = hub.logged_in("admin", &password).await;
        sqlx::query("update session set expires_ms = $1").bind(clock::utc_ms()).execute(store.reader()).await.unwrap();
        assert_eq!(browser.who().await.code(), "unauthenticated");
        assert!(expire(&store, clock::utc_ms() + session_ms(Role::Administrator)).await.unwrap() >= 1);
    })
    .await;
}

#[tokio::test]
async fn a_village_heads_phone_stays_logged_in_longer_than_a_desk() {
    const HOUR_MS: i64 = 3_600_000;
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let admin = hub.logged_in("admin", &password).await;
        admin.create("wang.cun", Role::VillageHead, VILLAGE).await;
        admin.create("li.si", Role::Operator, COUNTY).await;
        for (username, hours) in [("wang.cun", 30 * 24), ("li.si", 12)] {
            let mut browser = hub.browser("192.0.2.1");
            let begun_ms = clock::utc_ms();
            let me = browser.log_in(username, PASSWORD).await;
            let cookie = me.headers[header::SET_COOKIE].to_str().unwrap();
            assert!(cookie.contains(&format!("; Max-Age={};", hours * 3_600)), "{username}: {cookie}");
            let expires_ms: i64 = sqlx::query_scalar(
                "select max(expires_ms) from session join account on account.id = account_id where username = $1",
            )
            .bind(username)
            .fetch_one(store.reader())
            .await
            .unwrap();
            assert!((0..HOUR_MS).contains(&(expires_ms - begun_ms - hours * HOUR_MS)), "{username}: {expires_ms}");
        }
    })
    .await;
}

#[tokio::test]
async fn guessing_is_slowed_down_but_locks_nobody_out() {
    clock::testing::stop();
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let mut guesser = hub.browser("198.51.100.9");
        let mut answers = Vec::new();
        for _ in 0..8 {
            answers.push(guesser.log_in("admin", "wrong password").await);
        }
        let slowed = answers.last().unwrap();
        assert_eq!((slowed.status, slowed.code()), (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"));
        assert!(slowed.headers.contains_key(header::RETRY_AFTER));
        assert_eq!(guesser.log_in("admin", &password).await.status, StatusCode::TOO_MANY_REQUESTS);
        // A hub that restarts remembers.
        let (identity, router) = (Identity::new(store.clone(), 8443), hub.router.clone());
        let restarted = Hub { identity, router };
        assert_eq!(
            restarted.browser("198.51.100.9").log_in("admin", &password).await.status,
            StatusCode::TOO_MANY_REQUESTS
        );
        // The person on duty, at their own desk, gets in.
        assert_eq!(hub.browser("192.0.2.1").log_in("admin", &password).await.status, StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn one_address_that_tries_many_names_is_slowed_down() {
    clock::testing::stop();
    each_store(async |store| {
        let (hub, _) = Hub::new(&store).await;
        let mut guesser = hub.browser("198.51.100.9");
        let mut last = StatusCode::OK;
        for number in 0..12 {
            last = guesser.log_in(&format!("name{number}"), "wrong password").await.status;
        }
        assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
        let names: Vec<String> = sqlx::query_scalar("select actor from audit where action = 'session.begin'")
            .fetch_all(store.reader())
            .await
            .unwrap();
        assert!(names.is_empty(), "names that nobody has are not written down: {names:?}");
    })
    .await;
}

#[tokio::test]
async fn administrators_manage_their_own_region_and_no_more() {
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let county = hub.logged_in("admin", &password).await;
        let made = county.create("Zhang.San", Role::Administrator, TOWNSHIP).await;
        assert_eq!((made.status, &made.body["username"]), (StatusCode::CREATED, &json!("zhang.san")));
        assert_eq!(county.create("zhang.san", Role::Operator, COUNTY).await.code(), "user.username_taken");
        let admin_id = store_id(&store, "admin").await;

        let township = hub.logged_in("zhang.san", PASSWORD).await;
        assert_eq!(township.create("li.si", Role::Administrator, COUNTY).await.code(), "invalid");
        assert_eq!(township.create("li.si", Role::Operator, "411728103").await.code(), "invalid");
        assert_eq!(township.create("li.si", Role::VillageHead, TOWNSHIP).await.code(), "invalid");
        let head = township.create("li.si", Role::VillageHead, VILLAGE).await;
        assert_eq!(head.status, StatusCode::CREATED);
        assert_eq!(township.change(&admin_id, json!({ "disabled": true })).await.code(), "not_found");
        assert_eq!(township.change(&head.body["id"], json!({ "region_code": COUNTY })).await.code(), "invalid");
        let listed = township.ask("GET", "/api/v1/users", Value::Null).await;
        let names: Vec<_> = listed.body["users"].as_array().unwrap().iter().map(|user| &user["username"]).collect();
        assert_eq!(names, ["li.si", "zhang.san"]);
        assert!(!listed.body.to_string().contains("argon2"));

        let head = hub.logged_in("li.si", PASSWORD).await;
        assert_eq!(head.ask("GET", "/api/v1/users", Value::Null).await.code(), "forbidden");
        assert_eq!(head.create("wang.wu", Role::VillageHead, VILLAGE).await.code(), "forbidden");
        assert_eq!(hub.browser("192.0.2.1").create("wang.wu", Role::Operator, VILLAGE).await.code(), "unauthenticated");
    })
    .await;
}

#[tokio::test]
async fn a_county_keeps_an_administrator() {
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let first = hub.logged_in("admin", &password).await;
        let own = store_id(&store, "admin").await;
        for patch in [json!({ "disabled": true }), json!({ "role": "operator" }), json!({ "region_code": TOWNSHIP })] {
            assert_eq!(first.change(&own, patch).await.code(), "user.own_rank");
        }
        assert_eq!(first.change(&own, json!({ "display_name": "值班长" })).await.status, StatusCode::OK);
        // Whoever was disabled a moment ago can no longer disable in return.
        let second = first.create("second", Role::Administrator, COUNTY).await;
        let other = hub.logged_in("second", PASSWORD).await;
        assert_eq!(other.change(&own, json!({ "disabled": true })).await.status, StatusCode::OK);
        assert_eq!(first.change(&second.body["id"], json!({ "disabled": true })).await.code(), "unauthenticated");
        let left: i64 = sqlx::query_scalar("select count(*) from account where disabled = 0")
            .fetch_one(store.reader())
            .await
            .unwrap();
        assert_eq!(left, 1);
        assert!(create_first_administrator(&store, &region(COUNTY), 0).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn two_administrators_who_disable_each_other_leave_one() {
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let first = hub.logged_in("admin", &password).await;
        let second_id = first.create("second", Role::Administrator, COUNTY).await.body["id"].clone();
        let second = hub.logged_in("second", PASSWORD).await;
        let first_id = store_id(&store, "admin").await;
        let disable = || json!({ "disabled": true });
        let (one, other) = join(first.change(&second_id, disable()), second.change(&first_id, disable())).await;
        let mut statuses = [one.status, other.status];
        statuses.sort();
        assert_eq!(statuses, [StatusCode::OK, StatusCode::UNAUTHORIZED]);
    })
    .await;
}

#[tokio::test]
async fn many_guesses_at_once_count_as_many() {
    clock::testing::stop();
    each_store(async |store| {
        let (hub, _) = Hub::new(&store).await;
        let guess = async || hub.browser("198.51.100.9").log_in("admin", "wrong password").await.status;
        let statuses = join_all((0..10).map(|_| guess())).await;
        let looked_at = statuses.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count();
        assert_eq!(looked_at, 6, "five are free, the sixth closes the door: {statuses:?}");
    })
    .await;
}

#[tokio::test]
async fn a_changed_account_must_log_in_again() {
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let admin = hub.logged_in("admin", &password).await;
        let made = admin.create("li.si", Role::Operator, COUNTY).await;
        let id = &made.body["id"];
        let mut ended = hub.identity.sessions_ended();
        for (patch, ends) in [
            (json!({ "display_name": "李四" }), false),
            (json!({ "language": "en" }), false),
            (json!({ "role": "technician" }), true),
            (json!({ "region_code": TOWNSHIP }), true),
            (json!({ "password": PASSWORD }), true),
            (json!({ "disabled": true }), true),
        ] {
            let browser = hub.logged_in("li.si", PASSWORD).await;
            let viewer = browser.who().await;
            assert_eq!(viewer.status, StatusCode::OK);
            ended.mark_unchanged();
            assert_eq!(admin.change(id, patch.clone()).await.status, StatusCode::OK, "{patch}");
            let expected = if ends { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
            assert_eq!(browser.who().await.status, expected, "{patch}");
            assert_eq!(ended.has_changed().unwrap(), ends, "{patch}");
        }
        assert_eq!(hub.browser("192.0.2.1").log_in("li.si", PASSWORD).await.code(), "login.wrong", "disabled");
        assert_eq!(admin.change(id, json!({ "disabled": false })).await.status, StatusCode::OK);
        hub.logged_in("li.si", PASSWORD).await;
        assert_eq!(admin.who().await.status, StatusCode::OK, "others' sessions go on");
    })
    .await;
}

#[tokio::test]
async fn wrong_bodies_and_foreign_pages_change_nothing() {
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let admin = hub.logged_in("admin", &password).await;
        let good = json!({
            "username": "li.si", "display_name": "李四", "password": PASSWORD, "role": "operator", "region_code": COUNTY,
        });
        let with = |field: &str, value: Value| {
            let mut body = good.clone();
            body[field] = value;
            body
        };
        for body in [
            json!("text"),
            json!({}),
            with("username", json!("a")),
            with("username", json!("li si")),
            with("username", json!("李四")),
            with("display_name", json!("  ")),
            with("password", json!("too short")),
            with("role", json!("king")),
            with("region_code", json!("411728999")),
            with("admin", json!(true)),
        ] {
            let answer = admin.ask("POST", "/api/v1/users", body.clone()).await;
            assert!(answer.status.is_client_error(), "{body}");
            assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
        }
        for headers in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
            let answer = admin.ask_with("POST", "/api/v1/users", good.clone(), &[headers]).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "origin.foreign"));
        }
        let accounts: i64 =
            sqlx::query_scalar("select count(*) from account").fetch_one(store.reader()).await.unwrap();
        assert_eq!(accounts, 1);
        let own = [("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")];
        assert_eq!(admin.ask_with("POST", "/api/v1/users", good, &own).await.status, StatusCode::CREATED);
        let english = admin.ask_with("POST", "/api/v1/session", json!({ "username": "x" }), &[("accept-language", "en")]);
        assert!(english.await.body["detail"].as_str().unwrap().starts_with("The request"));
    })
    .await;
}

#[tokio::test]
async fn an_account_has_a_bounded_number_of_sessions() {
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let first = hub.logged_in("admin", &password).await;
        // As if logged in long before the others.
        sqlx::query("update session set created_ms = 1").execute(store.reader()).await.unwrap();
        for _ in 0..20 {
            hub.logged_in("admin", &password).await;
        }
        assert_eq!(first.who().await.code(), "unauthenticated", "the oldest gave way");
        let sessions: i64 = sqlx::query_scalar("select count(*) from session").fetch_one(store.reader()).await.unwrap();
        assert_eq!(sessions, 20);
    })
    .await;
}

async fn store_id(store: &Store, username: &str) -> Value {
    let id: String = sqlx::query_scalar("select id from account where username = $1")
        .bind(username)
        .fetch_one(store.reader())
        .await
        .unwrap();
    json!(id)
}

#[tokio::test]
async fn people_change_their_own_password_and_their_other_sessions_end() {
    const NEW: &str = "horse battery staple";
    clock::testing::stop();
    each_store(async |store| {
        let (hub, password) = Hub::new(&store).await;
        let desk = hub.logged_in("admin", &password).await;
        let phone = hub.logged_in("admin", &password).await;
        let change = async |current: &str, new: &str| {
            desk.ask("PUT", "/api/v1/session/password", json!({ "current": current, "new": new })).await
        };
        assert_eq!(change(&password, "short").await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(change("something else", NEW).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(phone.who().await.status, StatusCode::OK, "a refused change changes nothing");
        assert_eq!(change(&password, NEW).await.status, StatusCode::NO_CONTENT);
        assert_eq!((desk.who().await.status, phone.who().await.status), (StatusCode::OK, StatusCode::UNAUTHORIZED));
        assert_eq!(hub.browser("192.0.2.2").log_in("admin", &password).await.code(), "login.wrong");
        hub.logged_in("admin", NEW).await;
        // Whoever found an unlocked desk cannot try for long.
        let mut last = change("a guess", &password).await.status;
        for _ in 0..8 {
            last = change("another guess", &password).await.status;
        }
        assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
        let mut connection = store.reader().acquire().await.unwrap();
        let told: i64 =
            sqlx::query_scalar("select count(*) from audit where action = 'password.change' and outcome = 'done'")
                .fetch_one(&mut *connection)
                .await
                .unwrap();
        assert_eq!(told, 1);
    })
    .await;
}
