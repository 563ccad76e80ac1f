//! Accounts: who may make and change them, and why a county can never be left without an administrator.
//!
//! An administrator manages the accounts of the own region and below, never the own rank: role, region and being
//! enabled are changed by somebody else. Changes happen one by one (a counter row is held), each sees the actor as they
//! are at that moment, and none may take away the last administrator of the county.

use anyhow::Context as _;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use utoipa::ToSchema;

use super::login::{USERNAME_CHARS_MAX, normalised};
use super::{Identity, password, store};
use crate::audit;
use crate::ids::{self, AccountId, RegionCode};
use crate::store::Store;
use crate::viewer::{Right, Role, Viewer};
use crate::web::{Language, Problem};

/// Most accounts of a hub: half a county's end-grid leaders; a list of them is still one answer.
const ACCOUNTS_MAX: i64 = 5_000;
/// Most characters of a display name.
const DISPLAY_NAME_CHARS_MAX: usize = 40;
/// Digits of a village's code.
const VILLAGE_DIGITS: usize = 12;
/// What the first administrator logs in with.
const FIRST_USERNAME: &str = "admin";

/// A person who uses the pages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct User {
    /// Opaque.
    pub id: AccountId,
    /// What they log in with.
    pub username: String,
    /// What colleagues call them.
    pub display_name: String,
    /// What they are here for.
    pub role: Role,
    /// Where.
    pub region_code: RegionCode,
    /// That region's name.
    pub region_name: String,
    /// The language they read.
    pub language: Language,
    /// Whether they are kept out.
    pub disabled: bool,
    /// When the account was made.
    pub created_ms: i64,
}

/// An account to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserCreate {
    /// 2–32 of a–z, 0–9, dot, hyphen, underscore; case does not matter.
    username: String,
    /// 1–40 characters.
    display_name: String,
    /// 10–128 characters.
    #[schema(format = Password)]
    password: String,
    role: Role,
    /// A known region within the viewer's; for a village head, a village or below.
    region_code: RegionCode,
    #[serde(default)]
    language: Language,
}

/// What to change of an account; absent fields stay.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserPatch {
    display_name: Option<String>,
    /// Ends the account's sessions.
    #[schema(format = Password)]
    password: Option<String>,
    /// Ends the account's sessions.
    role: Option<Role>,
    /// Ends the account's sessions.
    region_code: Option<RegionCode>,
    language: Option<Language>,
    /// True ends the account's sessions.
    disabled: Option<bool>,
}

/// The accounts of the viewer's region.
pub(super) async fn list(identity: &Identity, viewer: &Viewer) -> Result<Vec<User>, Problem> {
    viewer.may(Right::UserManage)?;
    Ok(store::users(identity.store.reader(), &viewer.region).await?)
}

/// Makes an account.
pub(super) async fn create(
    identity: &Identity,
    viewer: &Viewer,
    request: UserCreate,
    now_ms: i64,
) -> Result<User, Problem> {
    viewer.may(Right::UserManage)?;
    let username = checked_username(&request.username)?;
    let display_name = checked_display_name(&request.display_name)?;
    password::check(&request.password, &username)?;
    let password_hash = identity.passwords.hash(request.password).await?;

    let mut transaction = identity.store.begin().await?;
    let actor = acting(&mut transaction, viewer, now_ms).await?;
    check_place(&mut transaction, &actor, request.role, &request.region_code).await?;
    if store::is_username_taken(&mut transaction, &username).await? {
        return Err(username_taken());
    }
    if store::count(&mut transaction).await? >= ACCOUNTS_MAX {
        return Err(too_many_accounts());
    }
    let id = AccountId::from_known(ids::sortable(now_ms));
    let account = store::NewAccount {
        id: &id,
        username: &username,
        display_name: &display_name,
        password_hash: &password_hash,
        role: request.role,
        region: &request.region_code,
        language: request.language,
    };
    store::insert_account(&mut transaction, now_ms, &account).await?;
    let line = audit::Record::done(&actor, "user.create", id.as_str(), &request.region_code)
        .detail(format!("role {}", request.role.as_str()));
    audit::record(&mut transaction, now_ms, line).await?;
    let user = store::user(&mut transaction, &id).await?.context("the account was just made")?;
    transaction.commit().await?;
    Ok(user)
}

/// Changes an account.
pub(super) async fn change(
    identity: &Identity,
    viewer: &Viewer,
    id: &AccountId,
    patch: UserPatch,
    now_ms: i64,
) -> Result<User, Problem> {
    viewer.may(Right::UserManage)?;
    let display_name = patch.display_name.as_deref().map(checked_display_name).transpose()?;
    let password_hash = match patch.password {
        Some(password) => {
            password::check(&password, "")?;
            Some(identity.passwords.hash(password).await?)
        }
        None => None,
    };

    let mut transaction = identity.store.begin().await?;
    let actor = acting(&mut transaction, viewer, now_ms).await?;
    let before = store::user(&mut transaction, id).await?.ok_or_else(Problem::not_found)?;
    actor.require_region(&before.region_code)?;
    let after = User {
        display_name: display_name.unwrap_or_else(|| before.display_name.clone()),
        role: patch.role.unwrap_or(before.role),
        region_code: patch.region_code.unwrap_or_else(|| before.region_code.clone()),
        language: patch.language.unwrap_or(before.language),
        disabled: patch.disabled.unwrap_or(before.disabled),
        ..before.clone()
    };
    let rank = |user: &User| (user.role, user.region_code.clone(), user.disabled);
    let rank_changes = rank(&before) != rank(&after);
    if rank_changes && actor.account_id == *id {
        return Err(own_rank());
    }
    check_place(&mut transaction, &actor, after.role, &after.region_code).await?;
    store::update_account(&mut transaction, &after, password_hash.as_deref()).await?;
    if rank_changes && is_county_administrator(&before) && store::county_administrators(&mut transaction).await? == 0 {
        return Err(last_administrator());
    }
    let sessions_end = rank_changes || password_hash.is_some();
    if sessions_end {
        store::delete_sessions(&mut transaction, id).await?;
    }
    let detail = changes(&before, &after, password_hash.is_some());
    let line = audit::Record::done(&actor, "user.change", id.as_str(), &before.region_code).detail(detail);
    audit::record(&mut transaction, now_ms, line).await?;
    let user = store::user(&mut transaction, id).await?.ok_or_else(Problem::not_found)?;
    transaction.commit().await?;
    if sessions_end {
        identity.tell_sessions_ended();
    }
    Ok(user)
}

/// Makes the county's first administrator. Returns user name and password; the password is known this once.
///
/// # Errors
/// There are accounts already, or the database fails.
pub async fn create_first_administrator(
    store: &Store,
    county: &RegionCode,
    now_ms: i64,
) -> anyhow::Result<(String, String)> {
    let password = password::make();
    let hashed = password.clone();
    let password_hash = tokio::task::spawn_blocking(move || password::hash_now(&hashed)).await??;
    let mut transaction = store.begin().await?;
    store::hold_accounts(&mut transaction).await?;
    anyhow::ensure!(store::count(&mut transaction).await? == 0, "the hub has accounts already");
    let id = AccountId::from_known(ids::sortable(now_ms));
    let account = store::NewAccount {
        id: &id,
        username: FIRST_USERNAME,
        display_name: "管理员",
        password_hash: &password_hash,
        role: Role::Administrator,
        region: county,
        language: Language::default(),
    };
    store::insert_account(&mut transaction, now_ms, &account).await?;
    let line = audit::Record::done_by("system", "user.create", id.as_str(), county).detail("the first administrator");
    audit::record(&mut transaction, now_ms, line).await?;
    transaction.commit().await?;
    Ok((FIRST_USERNAME.to_owned(), password))
}

/// The viewer as they are now, while no other account can change.
async fn acting(connection: &mut AnyConnection, viewer: &Viewer, now_ms: i64) -> Result<Viewer, Problem> {
    store::hold_accounts(connection).await?;
    let actor = store::viewer(connection, &viewer.session_sha256, now_ms).await?;
    let actor = actor.ok_or_else(Problem::unauthenticated)?;
    actor.may(Right::UserManage)?;
    Ok(actor)
}

/// Whether the actor may put somebody of this role there. Outside the own region and absent look alike.
async fn check_place(
    connection: &mut AnyConnection,
    actor: &Viewer,
    role: Role,
    region: &RegionCode,
) -> Result<(), Problem> {
    if !actor.sees(region) || !store::region_exists(connection, region).await? {
        return Err(Problem::invalid("region_code", "辖区里没有这个地方", "there is no such place in your region"));
    }
    if role == Role::VillageHead && region.as_str().len() < VILLAGE_DIGITS {
        return Err(Problem::invalid("region_code", "村干部应属于一个村", "a village head belongs to a village"));
    }
    Ok(())
}

fn is_county_administrator(user: &User) -> bool {
    user.role == Role::Administrator && !user.disabled && user.region_code.as_str().len() == 6
}

/// What was changed, in words for the audit trail; of a password only that.
fn changes(before: &User, after: &User, password: bool) -> String {
    let mut words = Vec::new();
    if before.role != after.role {
        words.push(format!("role {} → {}", before.role.as_str(), after.role.as_str()));
    }
    if before.region_code != after.region_code {
        words.push(format!("region {} → {}", before.region_code, after.region_code));
    }
    if before.disabled != after.disabled {
        words.push(if after.disabled { "disabled" } else { "enabled" }.to_owned());
    }
    if before.display_name != after.display_name {
        words.push("display name".to_owned());
    }
    if before.language != after.language {
        words.push(format!("language {}", after.language.tag()));
    }
    if password {
        words.push("password".to_owned());
    }
    words.join(", ")
}

fn checked_username(username: &str) -> Result<String, Problem> {
    let username = normalised(username);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    if (2..=USERNAME_CHARS_MAX).contains(&username.len()) && username.bytes().all(allowed) {
        return Ok(username);
    }
    Err(Problem::invalid(
        "username",
        "应为 2 到 32 个小写字母、数字、点、连字符或下划线",
        "it must be 2 to 32 letters a–z, digits, dots, hyphens or underscores",
    ))
}

fn checked_display_name(name: &str) -> Result<String, Problem> {
    let name = name.trim();
    let length = name.chars().count();
    if (1..=DISPLAY_NAME_CHARS_MAX).contains(&length) && !name.chars().any(char::is_control) {
        return Ok(name.to_owned());
    }
    Err(Problem::invalid("display_name", "应为 1 到 40 个字", "it must have 1 to 40 characters"))
}

fn username_taken() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "user.username_taken",
        "这个用户名已有人用，请换一个。",
        "This user name is taken. Choose another.",
    )
}

fn too_many_accounts() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "user.too_many",
        "账号已达 5000 个上限，没有新增。",
        "There are 5,000 accounts, the most a hub holds. None was added.",
    )
}

fn own_rank() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "user.own_rank",
        "不能更改自己的岗位、辖区或停用自己，请另一位管理员来做。什么都没有改变。",
        "You cannot change your own role or region, or disable yourself. Ask another administrator. Nothing was changed.",
    )
}

fn last_administrator() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "user.last_administrator",
        "这是全县最后一位管理员，什么都没有改变。",
        "This is the county's last administrator. Nothing was changed.",
    )
}
