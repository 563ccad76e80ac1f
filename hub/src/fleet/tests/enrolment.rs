//! Claims, certificates and revocations.

use axum::http::{StatusCode, header};
use futures_util::future::join_all;
use rcgen::PKCS_ECDSA_P384_SHA384;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::{County, request, request_with};
use crate::fleet::Roster;
use crate::fleet::authority::serial_bytes;
use crate::store::testing::each_store;
use crate::viewer::testing::ask;

#[tokio::test]
async fn a_claim_becomes_a_certificate_once_and_the_same_key_may_ask_again() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let code = county.claim().await;
        assert_eq!(county.site().await["gateway"], Value::Null);
        assert!(county.site().await["claim"].is_object());

        let key = request();
        let first = county.enrol(&format!("{}-{}", code[..4].to_lowercase(), &code[4..]), &key).await;
        assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
        assert_eq!(first.body["mqtt_port"], 8883);
        assert_eq!(first.body["media_port"], 8884);
        assert_eq!(first.body["ca_certificate"], county.room.authority.ca_pem());
        let pem = first.body["certificate"].as_str().unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(certificate.subject().iter_common_name().next().unwrap().as_str(), Ok(county.site.as_str()));
        assert!(county.room.roster.allows(&county.site, certificate.raw_serial()));

        let site = county.site().await;
        assert_eq!(site["gateway"]["id"], first.body["gateway_id"]);
        assert_eq!(site["gateway"]["online"], false);
        assert_eq!(site["claim"], Value::Null);

        let again = county.enrol(&code, &key).await;
        assert_eq!(again.status, StatusCode::CREATED);
        assert_eq!(again.body["certificate"], first.body["certificate"]);
        assert_eq!(again.body["gateway_id"], first.body["gateway_id"]);
        assert_eq!(county.enrol(&code, &request()).await.code(), "claim.used");
        assert_eq!(county.count("select count(*) from certificate").await, 1);
        assert_eq!(
            county.count("select count(*) from audit where action = 'gateway.enrol' and outcome = 'refused'").await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn a_wrong_an_old_and_a_withdrawn_claim_are_told_apart() {
    each_store(async |store| {
        let county = County::new(&store).await;
        assert_eq!(county.enrol("ABCD2345", &request()).await.code(), "claim.unknown");
        assert_eq!(county.enrol("not a code", &request()).await.code(), "claim.unknown");

        let older = county.claim().await;
        let newer = county.claim().await;
        assert_eq!(county.enrol(&older, &request()).await.code(), "claim.withdrawn");

        sqlx::query("update claim set expires_ms = 1 where withdrawn_ms is null")
            .execute(store.reader())
            .await
            .unwrap();
        assert_eq!(county.enrol(&newer, &request()).await.code(), "claim.expired");

        let taken_back = county.claim().await;
        let path = format!("/api/v1/sites/{}/claims", county.site);
        for _ in 0..2 {
            assert_eq!(ask(&county.administrator(), "DELETE", &path, Value::Null).await.status, StatusCode::NO_CONTENT);
        }
        assert_eq!(county.enrol(&taken_back, &request()).await.code(), "claim.withdrawn");
        assert_eq!(county.count("select count(*) from certificate").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_new_box_puts_the_old_one_out() {
    each_store(async |store| {
        let county = County::new(&store).await;
        county.enrol(&county.claim().await, &request()).await;
        let old = county.site().await["gateway"]["certificate_serial"].clone();
        assert!(county.allows(&old));
        let mut revocations = county.room.roster.revocations();

        county.enrol(&county.claim().await, &request()).await;
        let new = county.site().await["gateway"]["certificate_serial"].clone();
        assert!(county.allows(&new) && !county.allows(&old));
        assert_eq!(revocations.try_recv().unwrap(), county.site);
        assert_eq!(county.count("select count(*) from certificate where revoked_ms is null").await, 1);
        // A hub that starts now sees the same.
        let fresh = Roster::load(&store).await.unwrap();
        assert!(!fresh.allows(&county.site, &serial_bytes(old.as_str().unwrap()).unwrap()));
    })
    .await;
}

#[tokio::test]
async fn a_revoked_gateway_is_out_and_on_the_list() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let code = county.claim().await;
        let key = request();
        county.enrol(&code, &key).await;
        let serial = county.site().await["gateway"]["certificate_serial"].clone();
        let path = format!("/api/v1/sites/{}/revoke", county.site);
        let revoke =
            async |reason: &str| ask(&county.administrator(), "POST", &path, json!({ "reason": reason })).await;
        assert_eq!(revoke("  ").await.code(), "invalid");
        assert!(county.allows(&serial));
        assert_eq!(revoke("stolen").await.status, StatusCode::NO_CONTENT);
        assert!(!county.allows(&serial));
        assert_eq!(county.site().await["gateway"], Value::Null);
        assert_eq!(revoke("stolen").await.code(), "site.no_gateway");
        assert_eq!(county.enrol(&code, &key).await.code(), "claim.used", "its claim is worth nothing any more");
        let list = std::fs::read(county.room.authority.revocation_list()).unwrap();
        let (_, list) = x509_parser::pem::parse_x509_pem(&list).unwrap();
        let (_, list) = x509_parser::parse_x509_crl(&list.contents).unwrap();
        let revoked: Vec<_> = list.iter_revoked_certificates().map(|one| one.raw_serial().to_vec()).collect();
        assert_eq!(revoked, [serial_bytes(serial.as_str().unwrap()).unwrap()]);
    })
    .await;
}

#[tokio::test]
async fn a_request_with_a_wrong_key_or_signature_does_not_use_the_claim() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let code = county.claim().await;
        let good = request();
        let mut forged = good.clone();
        // One character of the signature, which ends the request.
        let at = forged.rfind("\n-----END").unwrap() - 12;
        let other = if forged.as_bytes()[at] == b'A' { "B" } else { "A" };
        forged.replace_range(at..=at, other);
        for wrong in ["", "no request", &request_with(&PKCS_ECDSA_P384_SHA384), &forged] {
            let answer = county.enrol(&code, wrong).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"), "{wrong}");
        }
        assert_eq!(county.enrol(&code, &good).await.status, StatusCode::CREATED);
    })
    .await;
}

#[tokio::test]
async fn guessing_codes_is_slowed_down_per_address_and_remembered() {
    crate::clock::testing::stop();
    each_store(async |store| {
        let county = County::new(&store).await;
        let key = request();
        let code = county.claim().await;
        // Good ones are free, however many.
        for _ in 0..8 {
            assert_eq!(county.enrol_from("192.0.2.7", &code, &key).await.status, StatusCode::CREATED);
        }
        for _ in 0..6 {
            assert_eq!(county.enrol_from("192.0.2.7", "ABCD2345", &key).await.status, StatusCode::NOT_FOUND);
        }
        let slowed = county.enrol_from("192.0.2.7", &code, &key).await;
        assert_eq!((slowed.status, slowed.code()), (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"));
        assert_eq!(slowed.headers[header::RETRY_AFTER], "1");
        assert_eq!(county.enrol_from("192.0.2.8", &code, &key).await.status, StatusCode::CREATED);
    })
    .await;
}

#[tokio::test]
async fn of_many_boxes_with_one_code_one_wins() {
    each_store(async |store| {
        let county = County::new(&store).await;
        let code = county.claim().await;
        let keys: Vec<String> = (0..5).map(|_| request()).collect();
        let answers = join_all(keys.iter().map(|key| county.enrol(&code, key))).await;
        let mut codes: Vec<_> = answers.iter().map(|answer| answer.code().to_owned()).collect();
        codes.sort();
        assert_eq!(codes, ["", "claim.used", "claim.used", "claim.used", "claim.used"]);
        assert_eq!(county.count("select count(*) from certificate").await, 1);
        let serial = county.site().await["gateway"]["certificate_serial"].clone();
        assert!(county.allows(&serial));
    })
    .await;
}
