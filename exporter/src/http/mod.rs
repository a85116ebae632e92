//! What is served, and where.

mod app;
mod debug;
mod landing;
mod listen;
mod pages;
mod serve;

pub use app::App;
pub use listen::{ListenError, Listener, bind, check_local, inherited};
pub(crate) use pages::DEBUG_PAGES;
pub use pages::router;
pub use serve::answer;
