//! Adding the users of one metastore to another.
//!
//! A user's hash is all that a server keeps of the password, and no statement of InfluxQL takes
//! one. So users come over with their passwords only from metastore to metastore. Works on the
//! bytes, as [`super::edit`] does.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::edit::next;
use super::proto::{fields, message, put_bytes, put_varint, rewrite, text};
use super::{Data, UserInfo};

/// A metastore that users were added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithUsers {
    /// The protobuf message.
    pub meta: Vec<u8>,
    /// What became of the users.
    pub count: UserCount,
}

/// What became of the users that were to be added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserCount {
    /// Users that were added, with their password hashes.
    pub added: usize,
    /// Names of users that the target had already. They keep their passwords and rights.
    pub known: Vec<String>,
    /// Grants that were added, those of users that the target had already among them.
    pub grants: usize,
    /// Grants that were left out, because the target does not have their databases.
    pub without_database: usize,
}

/// Adds the users of `source` to `target`, with their password hashes and the grants on databases
/// that `target` has. A user that `target` has already stays what it is, but gets its grants on the
/// databases `new_databases`.
///
/// # Errors
///
/// When a message is malformed.
pub fn add_users(
    target: &[u8],
    source: &[u8],
    new_databases: &BTreeSet<String>,
) -> Result<WithUsers> {
    let data = Data::read(target)?;
    Data::read(source)?;
    let known: BTreeMap<&str, &UserInfo> = data
        .users
        .iter()
        .map(|user| (user.name.as_str(), user))
        .collect();
    let mut count = UserCount::default();
    let mut added = Vec::new();
    let mut grants: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for field in fields(source) {
        let field = field?;
        let (6, Some(user)) = (field.number, message(&field)) else {
            continue;
        };
        let name = text(user, 1)?;
        let Some(there) = known.get(name) else {
            let is_there = |database: &str| data.database(database).is_some();
            put_bytes(&mut added, 6, &retain_grants(user, is_there, &mut count)?);
            count.added += 1;
            continue;
        };
        let is_new = |database: &str| {
            let granted = |grant: &super::UserPrivilege| grant.database == database;
            new_databases.contains(database) && !there.privileges.iter().any(granted)
        };
        grants.insert(name.to_owned(), grants_on(user, is_new, &mut count)?);
        count.known.push(name.to_owned());
    }
    let mut meta = rewrite(target, |field, out| {
        if field.number > 6 {
            out.append(&mut added);
        }
        match (field.number, message(field)) {
            (2, _) => put_varint(out, 2, next(data.index)?),
            (6, Some(user)) => match grants.get(text(user, 1)?) {
                Some(more) => put_bytes(out, 6, &[user, more].concat()),
                None => out.extend_from_slice(field.raw),
            },
            _ => out.extend_from_slice(field.raw),
        }
        Ok(())
    })?;
    meta.append(&mut added);
    Ok(WithUsers { meta, count })
}

/// The user with the grants on those databases alone.
fn retain_grants(
    user: &[u8],
    keep: impl Fn(&str) -> bool,
    count: &mut UserCount,
) -> Result<Vec<u8>> {
    rewrite(user, |field, out| {
        if let (4, Some(grant)) = (field.number, message(field)) {
            if !keep(text(grant, 1)?) {
                count.without_database += 1;
                return Ok(());
            }
            count.grants += 1;
        }
        out.extend_from_slice(field.raw);
        Ok(())
    })
}

/// The user's grants on those databases, as fields of a user.
fn grants_on(user: &[u8], keep: impl Fn(&str) -> bool, count: &mut UserCount) -> Result<Vec<u8>> {
    let mut grants = Vec::new();
    for field in fields(user) {
        let field = field?;
        if let (4, Some(grant)) = (field.number, message(&field))
            && keep(text(grant, 1)?)
        {
            count.grants += 1;
            grants.extend_from_slice(field.raw);
        }
    }
    Ok(grants)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::{DatabaseInfo, UserPrivilege};
    use super::*;

    fn user(name: &str, hash: &str, grants: &[(&str, i32)]) -> UserInfo {
        let grant = |(database, privilege): &(&str, i32)| UserPrivilege {
            database: (*database).into(),
            privilege: *privilege,
        };
        UserInfo {
            name: name.into(),
            hash: hash.into(),
            admin: false,
            privileges: grants.iter().map(grant).collect(),
        }
    }

    fn store(databases: &[&str], users: Vec<UserInfo>) -> Data {
        let database = |name: &&str| DatabaseInfo {
            name: (*name).into(),
            ..Default::default()
        };
        Data {
            index: 7,
            databases: databases.iter().map(database).collect(),
            users,
            ..Default::default()
        }
    }

    #[test]
    fn new_users_bring_their_hash_and_known_ones_keep_theirs_and_get_the_new_databases() {
        let target = store(
            &["own", "new", "other"],
            vec![user("ada", "hash of the target", &[("own", 1)])],
        );
        let mut bob = user("bob", "hash of bob", &[("gone", 3), ("own", 2)]);
        bob.admin = true;
        let source = store(
            &["own", "new", "gone", "other"],
            vec![
                user(
                    "ada",
                    "another hash",
                    &[("new", 3), ("other", 3), ("own", 3)],
                ),
                bob,
            ],
        );
        let new = BTreeSet::from(["new".to_owned()]);
        let WithUsers { meta, count } =
            add_users(&target.encode_to_vec(), &source.encode_to_vec(), &new).unwrap();

        let mut expected = target.clone();
        expected.index = 8;
        expected.users[0] = user("ada", "hash of the target", &[("own", 1), ("new", 3)]);
        let mut bob = user("bob", "hash of bob", &[("own", 2)]);
        bob.admin = true;
        expected.users.push(bob);
        assert_eq!(Data::read(&meta).unwrap(), expected);
        let expected = UserCount {
            added: 1,
            known: vec!["ada".into()],
            grants: 2,
            without_database: 1,
        };
        assert_eq!(count, expected);

        // Once more, and nothing is new.
        let again = add_users(&meta, &source.encode_to_vec(), &new).unwrap();
        assert_eq!((again.count.added, again.count.grants), (0, 0));
        assert_eq!(
            Data::read(&again.meta).unwrap().users,
            Data::read(&meta).unwrap().users
        );
    }

    #[test]
    fn fields_we_do_not_know_survive_in_users_of_both_sides() {
        let unknown = b"\xfa\x3e\x05later"; // field 1007, bytes
        let with_unknown = |name: &str| {
            let mut bytes = user(name, "hash", &[]).encode_to_vec();
            bytes.extend(unknown);
            let mut meta = store(&["db"], Vec::new()).encode_to_vec();
            put_bytes(&mut meta, 6, &bytes);
            meta
        };
        let new = BTreeSet::new();
        let added = add_users(&with_unknown("ada"), &with_unknown("bob"), &new).unwrap();
        let windows = added.meta.windows(unknown.len());
        assert_eq!(windows.filter(|window| window == unknown).count(), 2);
    }
}
