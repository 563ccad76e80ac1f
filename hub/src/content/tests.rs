//! Uploads as gateways meet them, with every way in which they go wrong; ranges; budgets; expiry.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::{Extension, Router, middleware};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tongluo_protocols::content::{CONTENT_BYTES_MAX, ContentHash, MediaType};
use tower::ServiceExt as _;

use super::{Audience, Content, Told, gateway_routes, link, task, unlink};
use crate::config::ContentConfig;
use crate::gateways::GatewaySite;
use crate::ids::{self, SiteId};
use crate::store::Store;
use crate::store::testing::{add_site, each_store};
use crate::web::problem;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// A hub's contents, two sites, and a folder that goes with them.
struct House {
    store: Store,
    content: Content,
    folder: PathBuf,
    site: SiteId,
    other: SiteId,
}

/// A hub that has told one site of everything.
struct OneSite(SiteId);

#[async_trait]
impl Told for OneSite {
    async fn was_told(&self, site: &SiteId, _: &ContentHash) -> Result<bool, sqlx::Error> {
        Ok(*site == self.0)
    }
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    offset: Option<u64>,
    headers: axum::http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn problem(&self) -> String {
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        document["code"].as_str().unwrap().to_owned()
    }
}

impl House {
    async fn new(store: &Store) -> Self {
        Self::with(store, ContentConfig { keep_free_mib: 0, site_budget_mib: 1, ..ContentConfig::default() }).await
    }

    async fn with(store: &Store, config: ContentConfig) -> Self {
        let folder = std::env::temp_dir().join(format!("tongluo-content-{}", ids::opaque()));
        let content = Content::open(store.clone(), &folder, &config).unwrap();
        let (site, other) = (add_site(store, "s1te").await, add_site(store, "s2te").await);
        Self { store: store.clone(), content, folder, site, other }
    }

    fn routes(&self, site: &SiteId) -> Router {
        gateway_routes(self.content.clone(), Arc::new(OneSite(self.other.clone())))
            .layer(Extension(GatewaySite(site.clone())))
            .layer(middleware::from_fn(problem::localise))
    }

    async fn ask(&self, site: &SiteId, request: Request<Body>) -> Answer {
        let (parts, body) = self.routes(site).oneshot(request).await.unwrap().into_parts();
        let offset = parts.headers.get("upload-offset").map(|offset| offset.to_str().unwrap().parse().unwrap());
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, offset, headers: parts.headers, body }
    }

    async fn put(&self, site: &SiteId, hash: &ContentHash, bytes: u64, offset: u64, body: impl Into<Body>) -> Answer {
        let uri = format!("/content/{hash}?bytes={bytes}&media_type=video/mp4");
        let request = Request::put(uri).header("upload-offset", offset).body(body.into()).unwrap();
        self.ask(site, request).await
    }

    async fn whole(&self, site: &SiteId, data: &'static [u8]) -> ContentHash {
        let hash = hash_of(data);
        let answer = self.put(site, &hash, data.len() as u64, 0, data).await;
        assert_eq!((answer.status, answer.offset), (StatusCode::CREATED, Some(data.len() as u64)), "{answer:?}");
        hash
    }

    async fn held(&self, site: &SiteId, hash: &ContentHash) -> u64 {
        let request = Request::head(format!("/content/{hash}")).body(Body::empty()).unwrap();
        let answer = self.ask(site, request).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.offset.unwrap()
    }

    async fn get(&self, hash: &ContentHash, range: &str) -> Answer {
        let request = Request::get(format!("/content/{hash}")).header(header::RANGE, range).body(Body::empty());
        self.ask(&self.other, request.unwrap()).await
    }

    async fn read(&self, hash: &ContentHash) -> Vec<u8> {
        let mut reading = self.content.read(hash, None).await.unwrap().expect("it is here");
        let mut bytes = Vec::new();
        while let Some(chunk) = reading.next().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        bytes
    }

    fn files(&self) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.folder)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn hash_of(data: &[u8]) -> ContentHash {
    ContentHash::new(Sha256::digest(data).into())
}

#[tokio::test]
async fn an_upload_that_breaks_in_the_middle_goes_on_from_there() {
    each_store(async |store| {
        let house = House::new(&store).await;
        let mut arrivals = house.content.arrivals();
        let data: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        let hash = hash_of(&data);
        assert_eq!(house.held(&house.site, &hash).await, 0);
        let cut = stream::iter([
            Ok(Bytes::copy_from_slice(&data[..70_000])),
            Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the line is cut")),
        ]);
        let answer = house.put(&house.site, &hash, 200_000, 0, Body::from_stream(cut)).await;
        assert_eq!((answer.status, answer.offset), (StatusCode::ACCEPTED, Some(70_000)));
        assert_eq!(house.content.stat(&hash).await.unwrap(), None, "what is not whole is not there");
        assert_eq!(house.held(&house.site, &hash).await, 70_000);
        for wrong in [0, 69_999, 70_001, 200_000] {
            let answer = house.put(&house.site, &hash, 200_000, wrong, "x").await;
            assert_eq!((answer.status, answer.offset), (StatusCode::CONFLICT, Some(70_000)), "from {wrong}");
        }
        let answer = house.put(&house.site, &hash, 200_000, 70_000, data[70_000..].to_vec()).await;
        assert_eq!((answer.status, answer.offset), (StatusCode::CREATED, Some(200_000)));
        assert_eq!(house.read(&hash).await, data);
        assert_eq!(arrivals.recv().await.unwrap(), hash);
        let stat = house.content.stat(&hash).await.unwrap().unwrap();
        assert_eq!((stat.bytes, stat.media_type, stat.origin), (200_000, MediaType::Mp4, Some(house.site.clone())));
        let answer = house.put(&house.site, &hash, 200_000, 0, "again").await;
        assert_eq!((answer.status, answer.offset), (StatusCode::OK, Some(200_000)), "once more is no more");
        assert_eq!(house.content.totals().await.unwrap(), (1, 200_000));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_as_announced_is_discarded() {
    each_store(async |store| {
        let house = House::new(&store).await;
        let hash = hash_of(b"evidence");
        let answer = house.put(&house.site, &hash, 8, 0, "evidense").await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::UNPROCESSABLE_ENTITY, "content.wrong_hash".into()));
        assert_eq!(house.held(&house.site, &hash).await, 0);
        let answer = house.put(&house.site, &hash, 8, 0, "evidence and more").await;
        assert_eq!(answer.problem(), "content.too_long");
        assert_eq!(house.held(&house.site, &hash).await, 0);
        house.put(&house.site, &hash, 100, 0, "evidence and more").await;
        let answer = house.put(&house.site, &hash, 8, 17, "").await;
        assert_eq!((answer.status, answer.offset), (StatusCode::CONFLICT, Some(0)), "it was longer than it can be");
        assert_eq!(house.files(), 0, "nothing is left behind");
        house.whole(&house.site, b"evidence").await;
    })
    .await;
}

#[tokio::test]
async fn wrong_requests_are_problems_and_leave_nothing() {
    each_store(async |store| {
        let house = House::new(&store).await;
        let hash = hash_of(b"x");
        let too_large = CONTENT_BYTES_MAX + 1;
        let cases = [
            (format!("/content/{hash}?bytes=1&media_type=text/html"), Some("0"), 415),
            (format!("/content/{hash}?bytes=0&media_type=video/mp4"), Some("0"), 413),
            (format!("/content/{hash}?bytes={too_large}&media_type=video/mp4"), Some("0"), 413),
            (format!("/content/{hash}?bytes=-1&media_type=video/mp4"), Some("0"), 400),
            (format!("/content/{hash}?media_type=video/mp4"), Some("0"), 400),
            (format!("/content/{hash}?bytes=1&media_type=video/mp4&colour=1"), Some("0"), 400),
            (format!("/content/{hash}?bytes=1&media_type=video/mp4"), None, 400),
            (format!("/content/{hash}?bytes=1&media_type=video/mp4"), Some("-1"), 400),
            (format!("/content/{hash}?bytes=1&media_type=video/mp4"), Some("one"), 400),
            ("/content/..%2F..%2Fhub.db?bytes=1&media_type=video/mp4".to_owned(), Some("0"), 404),
            ("/content/ABCD?bytes=1&media_type=video/mp4".to_owned(), Some("0"), 404),
        ];
        for (uri, offset, status) in cases {
            let mut request = Request::put(&uri);
            if let Some(offset) = offset {
                request = request.header("upload-offset", offset);
            }
            let answer = house.ask(&house.site, request.body("x".into()).unwrap()).await;
            assert_eq!(answer.status.as_u16(), status, "{uri} {answer:?}");
            assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json", "{uri}");
        }
        assert_eq!(house.files(), 0);
        let app = gateway_routes(house.content.clone(), Arc::new(OneSite(house.other.clone())))
            .layer(middleware::from_fn(problem::localise));
        for method in [Method::GET, Method::HEAD, Method::PUT] {
            let uri = format!("/content/{hash}?bytes=1&media_type=video/mp4");
            let request = Request::builder().method(method).uri(uri).header("upload-offset", 0).body(Body::empty());
            let answer = app.clone().oneshot(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "without a certificate");
        }
    })
    .await;
}

#[tokio::test]
async fn two_gateways_may_bring_the_same_and_nobody_reads_what_others_brought() {
    each_store(async |store| {
        let house = House::new(&store).await;
        let hash = hash_of(b"the same");
        let half = house.put(&house.other, &hash, 8, 0, "the ").await;
        assert_eq!(half.offset, Some(4));
        assert_eq!(house.held(&house.site, &hash).await, 0, "each goes on with its own");
        house.whole(&house.site, b"the same").await;
        assert_eq!(house.held(&house.other, &hash).await, 4, "and is not told that it is here already");
        let answer = house.put(&house.other, &hash, 8, 4, "same").await;
        assert_eq!((answer.status, answer.offset), (StatusCode::CREATED, Some(8)));
        assert_eq!((house.held(&house.site, &hash).await, house.held(&house.other, &hash).await), (8, 0));
        assert_eq!(house.read(&hash).await, b"the same");
        assert_eq!(house.content.totals().await.unwrap(), (1, 8));
        for site in [&house.site, &house.other] {
            let request = Request::get(format!("/content/{hash}")).body(Body::empty()).unwrap();
            assert_eq!(house.ask(site, request).await.status, StatusCode::NOT_FOUND);
        }
    })
    .await;
}

#[tokio::test]
async fn a_newer_connection_takes_over_from_one_that_hangs() {
    each_store(async |store| {
        let house = House::new(&store).await;
        let hash = hash_of(b"hanging on");
        let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(1);
        sender.send(Ok(Bytes::from_static(b"hanging"))).await.unwrap();
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let older = house.put(&house.site, &hash, 10, 0, body);
        let newer = async {
            // The older one has begun once its first bytes were taken from the channel.
            sender.reserve().await.unwrap().send(Ok(Bytes::new()));
            loop {
                let at = house.held(&house.site, &hash).await;
                let answer = house.put(&house.site, &hash, 10, at, &b"hanging on"[at as usize..]).await;
                if answer.status == StatusCode::CREATED {
                    return;
                }
                assert_eq!(answer.status, StatusCode::CONFLICT);
            }
        };
        let (older, ()) = tokio::join!(older, newer);
        assert_eq!((older.status, older.offset), (StatusCode::ACCEPTED, Some(7)), "it was stopped, and lost nothing");
        assert_eq!(house.read(&hash).await, b"hanging on");
        assert_eq!(house.content.uploads(), 0, "places are given back");
        drop(sender);
    })
    .await;
}

#[tokio::test]
async fn a_site_has_a_budget_of_bytes_and_of_begun_files() {
    each_store(async |store| {
        let house = House::new(&store).await;
        let data = vec![7; 900_000];
        assert_eq!(house.put(&house.site, &hash_of(&data), 900_000, 0, data).await.status, StatusCode::CREATED);
        let hash = hash_of(b"one more");
        let answer = house.put(&house.site, &hash, 200_000, 0, "one more").await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::INSUFFICIENT_STORAGE, "content.site_full".into()));
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
        assert_eq!(house.put(&house.other, &hash, 200_000, 0, "one more").await.status, StatusCode::ACCEPTED);
        for number in 0..63_u8 {
            house.put(&house.other, &hash_of(&[number]), 2, 0, "x").await;
        }
        let answer = house.put(&house.other, &hash_of(b"begun"), 2, 0, "x").await;
        assert_eq!(answer.problem(), "content.site_full");
        assert_eq!(house.content.uploads_refused(), 2);
    })
    .await;
}

#[tokio::test]
async fn the_disk_keeps_room_for_the_ledger() {
    each_store(async |store| {
        let config = ContentConfig { keep_free_mib: 1_048_576, ..ContentConfig::default() };
        let house = House::with(&store, config).await;
        let answer = house.put(&house.site, &hash_of(b"x"), 1, 0, "x").await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::INSUFFICIENT_STORAGE, "content.no_room".into()));
        assert!(house.content.put(0, b"x", MediaType::Wav, Audience::Gateways).await.is_err());
        assert_eq!(house.files(), 0);
    })
    .await;
}

#[test]
fn a_full_disk_is_no_room_and_not_a_failure_of_the_hub() {
    use super::upload::Refused;
    for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded] {
        assert!(matches!(Refused::from(std::io::Error::from(kind)), Refused::NoRoom));
    }
    let other = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    assert!(matches!(Refused::from(other), Refused::Failed(_)));
}

#[tokio::test]
async fn gateways_fetch_what_is_for_them_whole_or_in_ranges() {
    each_store(async |store| {
        let house = House::new(&store).await;
        let hash = house.content.put(5, b"0123456789", MediaType::Ogg, Audience::Gateways).await.unwrap();
        assert_eq!(house.content.put(6, b"0123456789", MediaType::Ogg, Audience::Gateways).await.unwrap(), hash);
        let cases = [
            ("bytes=0-", 206, "0123456789", "bytes 0-9/10"),
            ("bytes=4-6", 206, "456", "bytes 4-6/10"),
            ("bytes=4-99", 206, "456789", "bytes 4-9/10"),
            ("bytes=-3", 206, "789", "bytes 7-9/10"),
            ("bytes=0-1,4-5", 200, "0123456789", ""),
            ("lines=1-2", 200, "0123456789", ""),
            ("bytes=x", 200, "0123456789", ""),
            ("bytes=10-", 416, "", "bytes */10"),
        ];
        for (range, status, body, content_range) in cases {
            let answer = house.get(&hash, range).await;
            assert_eq!(answer.status.as_u16(), status, "{range}");
            let said = answer.headers.get(header::CONTENT_RANGE).map_or("", |range| range.to_str().unwrap());
            assert_eq!(said, content_range, "{range}");
            if status != 416 {
                assert_eq!(answer.body, body, "{range}");
                assert_eq!(answer.headers[header::CONTENT_LENGTH], body.len().to_string());
                assert_eq!(answer.headers[header::CONTENT_TYPE], "audio/ogg");
            }
        }
        let other = Request::get(format!("/content/{hash}"))
            .header(header::RANGE, "bytes=4-6")
            .header(header::IF_RANGE, "\"another\"")
            .body(Body::empty());
        assert_eq!(house.ask(&house.other, other.unwrap()).await.status, StatusCode::OK);
        let nothing = house.get(&hash_of(b"nothing"), "bytes=0-").await;
        assert_eq!(nothing.status, StatusCode::NOT_FOUND);

        // A gateway that was not told of it hears the same as of nothing: neither that it is here nor how long it is.
        for range in ["bytes=0-", "bytes=4-6", "bytes=10-"] {
            let request = Request::get(format!("/content/{hash}")).header(header::RANGE, range).body(Body::empty());
            let foreign = house.ask(&house.site, request.unwrap()).await;
            assert_eq!(
                (foreign.status, &foreign.headers, &foreign.body),
                (nothing.status, &nothing.headers, &nothing.body)
            );
        }
        assert_eq!(house.held(&house.site, &hash).await, 0);
    })
    .await;
}

#[tokio::test]
async fn content_goes_when_nothing_keeps_it_any_more() {
    each_store(async |store| {
        let house = House::new(&store).await;
        let content = &house.content;
        let make = async |data: &[u8]| content.put(0, data, MediaType::Jpeg, Audience::Hub).await.unwrap();
        let (kept, unclaimed) = (make(b"kept").await, make(b"unclaimed").await);
        let mut transaction = store.begin().await.unwrap();
        link(&mut transaction, &kept, "evidence:1", 30 * DAY_MS).await.unwrap();
        link(&mut transaction, &kept, "export:1", 20 * DAY_MS).await.unwrap();
        link(&mut transaction, &hash_of(b"to come"), "evidence:2", 90 * DAY_MS).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(task::expire(content, 7 * DAY_MS).await.unwrap(), 0, "what was just brought may be claimed yet");
        assert_eq!(task::expire(content, 8 * DAY_MS).await.unwrap(), 1);
        assert_eq!(content.stat(&unclaimed).await.unwrap(), None);
        assert!(content.read(&unclaimed, None).await.unwrap().is_none(), "its bytes are gone, too");
        make(b"to come").await;
        assert_eq!(task::expire(content, 29 * DAY_MS).await.unwrap(), 0, "one that keeps it is enough");
        assert_eq!(task::expire(content, 31 * DAY_MS).await.unwrap(), 1);
        assert_eq!(content.stat(&kept).await.unwrap(), None);
        let mut transaction = store.begin().await.unwrap();
        unlink(&mut transaction, "evidence:2").await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(task::expire(content, 32 * DAY_MS).await.unwrap(), 1);
        assert_eq!(house.files(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_file_without_a_row_and_a_row_without_a_file_go_at_the_start() {
    each_store(async |store| {
        let house = House::new(&store).await;
        let whole = house.whole(&house.site, b"whole").await;
        let (rowless, fileless) = (house.whole(&house.site, b"rowless").await, house.whole(&house.site, b"x").await);
        let mut transaction = house.store.begin().await.unwrap();
        super::store::remove(&mut transaction, &rowless).await.unwrap();
        transaction.commit().await.unwrap();
        house.content.0.shelf.remove(&fileless).await.unwrap();
        task::sweep(&house.content).await.unwrap();
        assert_eq!(house.files(), 1);
        assert_eq!(house.content.stat(&fileless).await.unwrap(), None);
        assert_eq!(house.read(&whole).await, b"whole");
    })
    .await;
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_are_removed() {
    each_store(async |store| {
        let house = House::new(&store).await;
        house.put(&house.site, &hash_of(b"begun"), 5, 0, "be").await;
        let now_ms = crate::clock::utc_ms();
        task::expire(&house.content, now_ms).await.unwrap();
        assert_eq!(house.files(), 1);
        task::expire(&house.content, now_ms + 8 * DAY_MS).await.unwrap();
        assert_eq!(house.files(), 0);
    })
    .await;
}
