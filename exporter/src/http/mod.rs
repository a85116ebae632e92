//! What is served, and where.

mod app;
mod crowd;
mod debug;
mod landing;
mod listen;
mod pages;
mod room;
mod sending;
mod serve;

pub use app::App;
pub use crowd::Crowd;
pub use listen::{ListenError, Listener, bind, check_local, inherited};
pub use pages::router;
pub(crate) use pages::{DEBUG_PAGES, HEALTH_PAGES};
pub use serve::answer;
