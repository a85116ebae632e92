//! What is served, and where.

mod app;
mod landing;
mod listen;
mod pages;
mod serve;

pub use app::App;
pub use listen::{ListenError, Listener, bind, inherited};
pub use pages::router;
pub use serve::answer;
