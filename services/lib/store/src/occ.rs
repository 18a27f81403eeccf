//! The conflict window.
