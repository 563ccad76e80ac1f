//! People for tests.

use super::session;
use super::store::{self, NewAccount};
use crate::ids::{self, AccountId, RegionCode};
use crate::store::Store;
use crate::viewer::Role;
use crate::web::Language;

/// A hash that can be read and is no password's.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Makes an account of this role and region, logs it in, and returns the `Cookie` header.
pub(crate) async fn begin_session(store: &Store, role: Role, region: &RegionCode, now_ms: i64) -> String {
    let mut token = [0; 32];
    getrandom::fill(&mut token).unwrap();
    let id = ids::opaque();
    let account_id = AccountId::from_known(id.clone());
    let account = NewAccount {
        id: &account_id,
        username: &id,
        display_name: "测试员",
        password_hash: NOBODYS_HASH,
        role,
        region,
        language: Language::Chinese,
    };
    let mut transaction = store.begin().await.unwrap();
    store::insert_account(&mut transaction, now_ms, &account).await.unwrap();
    let hash = session::hash(&token);
    store::insert_session(&mut transaction, now_ms, &hash, (&account_id, role)).await.unwrap();
    transaction.commit().await.unwrap();
    let hexadecimal: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("tongluo_session={hexadecimal}")
}
