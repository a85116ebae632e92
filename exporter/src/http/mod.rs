//! What is served, and where.

mod app;
mod listen;
mod pages;

pub use app::App;
pub use listen::{ListenError, Listener, bind};
pub use pages::router;
