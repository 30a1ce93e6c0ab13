//! What the invariant tests stand on: servers, databases, clients, codes and time, all from outside.

pub(crate) mod database;
pub(crate) mod devices;
pub(crate) mod http;
pub(crate) mod keeper;
pub(crate) mod network;
pub(crate) mod own_postgres;
pub(crate) mod own_redis;
pub(crate) mod pairs;
pub(crate) mod random;
pub(crate) mod redis_scene;
pub(crate) mod rounds;
pub(crate) mod server;
pub(crate) mod surroundings;
pub(crate) mod walkers;

pub(crate) use database::{Database, Engine};
pub(crate) use devices::{Device, wrong_code};
pub(crate) use http::{Answer, Client, at_once};
pub(crate) use random::Random;
pub(crate) use server::{ADMIN_KEY, MASTER_SECRET, Node, Server};

/// Runs one check on both engines, as two tests.
macro_rules! on_both {
    ($check:ident: $sqlite:ident, $postgresql:ident) => {
        #[test]
        fn $sqlite() {
            $check($crate::harness::Engine::Sqlite);
        }

        #[test]
        fn $postgresql() {
            $check($crate::harness::Engine::Postgres);
        }
    };
}
pub(crate) use on_both;
